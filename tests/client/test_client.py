"""The client against a real sidecar: what is asked, told and kept, blocking and awaited."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from typing import get_type_hints

import pytest

from sidecar.budget import replies as theirs
from sidecar.client import AsyncClient, Away, Client, Refused
from sidecar.client import replies as ours
from sidecar.client.address import Address
from sidecar.client.course import Courses
from sidecar.client.wire import Reading
from sidecar.config.forms import HostPort, UnixPath


def put(id, tokens=100, kind="file"):
    return {"type": "put_item", "item": {"id": id, "kind": kind, "tokens": tokens, "content": f"text of {id}"}}


def silent():
    """A socket that takes connections and never answers."""
    made = socket.create_server(("127.0.0.1", 0))
    return made, f"http://127.0.0.1:{made.getsockname()[1]}"


def test_importing_the_client_imports_nothing_but_the_standard_library():
    code = (
        "import sys; import sidecar.client; "
        "print([n for n in sys.modules if n.partition('.')[0] not in sys.stdlib_module_names | {'sidecar'} "
        "and getattr(sys.modules[n], '__spec__', None) and not n.startswith(('_', '__')) "
        "and 'site-packages' in str(getattr(sys.modules[n], '__file__', ''))], "
        "[n for n in sys.modules if n.startswith('sidecar.') and not n.startswith('sidecar.client')])"
    )
    out = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=".")
    assert out.stdout.split() == ["[]", "[]"]


def test_a_session_opens_by_its_first_call(client, asks):
    reply = client.session("s1", agent="coder", model="m", total_tokens=1000).allocate("working_memory", 100)
    assert (reply["outcome"], reply["granted"]) == ("full", 100)
    report = asks("s1")
    assert (report["agent"], report["model"], report["overall"]["total_tokens"]) == ("coder", "m", 1000)


async def test_awaited_calls_answer_what_blocking_ones_do(neighbour, client):
    blocking = client.session("s1", agent="coder")
    async with AsyncClient(neighbour.url) as awaited:
        session = awaited.session("s1", agent="coder")
        assert (await session.tell(put("a")))["accepted"] == 1
        mine, its = await session.report(), blocking.report()
    assert {**mine, "timestamp": ""} == {**its, "timestamp": ""}


async def test_many_awaited_calls_at_once_are_all_answered(neighbour):
    async with AsyncClient(neighbour.url, timeout=20) as awaited:
        session = awaited.session("s1")
        replies = await asyncio.gather(*(session.allocate("working_memory", 10) for _ in range(40)))
        assert sum(reply["granted"] for reply in replies) == 400
        assert (await session.report())["components"]["working_memory"]["used_tokens"] == 400


def test_connections_are_used_again(client):
    session = client.session("s1")
    for _ in range(20):
        session.allocate("working_memory", 1)
    assert len(client._idle) == 1


def test_threads_may_share_a_client(client):
    session = client.session("s1")
    session.open()
    threads = [threading.Thread(target=session.allocate, args=("working_memory", 10)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.report()["components"]["working_memory"]["used_tokens"] == 80


def test_a_unix_socket_does_as_well(neighbour, tmp_path):
    neighbour.stop()
    neighbour.settings["listen"] = (UnixPath(str(tmp_path / "s")), HostPort("127.0.0.1", neighbour.port))
    neighbour.start()
    with Client(f"unix:{tmp_path / 's'}") as client:
        assert client.session("s1").allocate("working_memory", 5)["granted"] == 5


def test_a_wrong_call_raises_what_the_sidecar_says(client):
    with pytest.raises(Refused, match="tokens") as refused:
        client.session("s1").allocate("working_memory", -1)
    assert refused.value.status == 400
    assert refused.value.errors[0]["path"] == "tokens"


def test_an_unknown_item_is_no_lost_session(client):
    with pytest.raises(Refused) as refused:
        client.session("s1").archived("nothing")
    assert refused.value.status == 404


def test_a_repeated_request_is_granted_once(client):
    session = client.session("s1")
    first = session.allocate("working_memory", 100, request_id="r")
    assert session.allocate("working_memory", 100, request_id="r")["granted"] == first["granted"]
    assert session.report()["components"]["working_memory"]["used_tokens"] == 100


def test_while_the_sidecar_is_away_the_agent_goes_on_and_the_ledger_hears_of_it_later(neighbour, client):
    session = client.session("s1", agent="coder")
    session.tell(put("a"))
    neighbour.stop()
    client.courses.timeout = 0.2
    assert session.tell(put("b"), put("c"))["offline"]
    assert session.allocate("working_memory", 10)["offline"]
    assert session.allocate_item({"id": "d", "kind": "file", "tokens": 7})["granted"] == 7
    assert session.sync([])["offline"]
    assert (len(client.courses.kept), client.courses.absences) == (3, 4)
    neighbour.start()
    client.courses.timeout = 10
    held = {item["id"]: item["tokens"] for item in session.call("GET", "items")["items"]}
    assert held == {"a": 100, "b": 100, "c": 100, "d": 7}
    assert (len(client.courses.kept), client.courses.rejected) == (0, 0)


def test_a_client_that_fails_closed_says_that_the_sidecar_is_away(neighbour):
    neighbour.stop()
    with Client(neighbour.url, fail="closed", timeout=0.1) as client, pytest.raises(Away, match="/v1/sessions/s1"):
        client.session("s1").allocate("working_memory", 10)


def test_the_buffer_is_bounded_and_what_it_drops_is_counted(neighbour):
    neighbour.stop()
    with Client(neighbour.url, timeout=0.05, buffer=3) as client:
        client.session("s1").tell(*(put(f"i{n}") for n in range(5)))
        assert [event["item"]["id"] for event in client.courses.kept] == ["i2", "i3", "i4"]
        assert client.courses.dropped == 2


def test_a_slow_sidecar_costs_one_timeout_and_then_nothing():
    server, url = silent()
    with server, Client(url, timeout=0.2, rest=60) as client:
        client.courses._rest = 60
        session = client.session("s1")
        assert session.allocate("working_memory", 1)["offline"]
        server.close()  # a call that was made now would be refused, and would be another error
        started = time.monotonic()
        for _ in range(100):
            assert session.allocate("working_memory", 1)["offline"]
        assert time.monotonic() - started < 0.2


async def test_an_awaited_call_of_a_slow_sidecar_ends_in_time():
    server, url = silent()
    with server:
        async with AsyncClient(url, timeout=0.2) as client:
            assert (await client.session("s1").allocate("working_memory", 1))["offline"]


def test_a_sidecar_that_lost_its_journal_is_told_of_the_session_again(neighbour):
    neighbour.stop()
    neighbour.settings["journal"] = "memory:"
    neighbour.start()
    with Client(neighbour.url, timeout=10) as client:
        session = client.session("s1", agent="coder")
        session.open()
        neighbour.stop()
        neighbour.start()
        assert session.allocate("working_memory", 10)["granted"] == 10
        assert session.report()["agent"] == "coder"


def test_a_closed_session_that_goes_on_is_a_new_epoch(client):
    session = client.session("s1")
    session.open()
    assert session.close()["state"] == "closed"
    assert session.allocate("working_memory", 10)["granted"] == 10


def test_the_trace_context_of_the_caller_goes_with_each_call(neighbour):
    seen = []

    def trace():
        seen.append(1)
        return {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "bad": "a\r\nb: c"}

    with Client(neighbour.url, trace=trace) as client:
        assert client.session("s1").allocate("working_memory", 1)["granted"] == 1
    assert len(seen) == 2  # the opening and the call


def test_a_chunked_answer_is_read_in_whatever_pieces_it_comes():
    raw = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'
    for size in (1, 7, len(raw)):
        reading, answer = Reading(), None
        for start in range(0, len(raw), size):
            answer = reading.feed(raw[start : start + size])
        assert answer is not None
        assert answer.json() == {"a": 1}


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_what_is_no_answer_counts_as_an_absence(raw):
    with pytest.raises(Away):
        Reading().feed(raw)


@pytest.mark.parametrize("url", ["https://", "ftp://x", "unix:", "x", "http://x/path"])
def test_an_address_of_another_form_names_the_forms(url):
    with pytest.raises(ValueError, match="http://HOST:PORT, https://HOST:PORT or unix:PATH"):
        Address.read(url)


def test_an_unknown_way_to_fail_names_the_two():
    with pytest.raises(ValueError, match="'open' or 'closed'"):
        Courses(fail="never")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["Report", "WindowReply", "AllocationReply", "AcknowledgeReply", "RestoreReply", "ArchiveRecord", "Directive"],
)
def test_the_clients_replies_have_the_servers_fields(name):
    former = {"ArchiveRecord": "ArchiveRecordReply", "Directive": "DirectiveReply"}.get(name, name)
    mine, its = get_type_hints(getattr(ours, name)), get_type_hints(getattr(theirs, former))
    assert set(mine) - {"offline"} == set(its)
