"""What answers in the sidecar's place is broken, or no sidecar at all: the agent goes on, and its prompt fits."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections import deque

import pytest
from typing_extensions import override

from sidecar.client import Client, recall
from sidecar.client.driving import adrive, drive
from sidecar.client.pieces import Piece
from sidecar.client.threads import Threads

WINDOW = 3_000
PIECES = [Piece(id=f"m{number}", kind="interaction", text="word " * 400) for number in range(12)]
DIRECTIVE = b'{"number": 1, "item": "m3", "tokens_after": 0, "stub": "gone"}'


def answer(status, body, head=b""):
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (status, head, len(body), body)


ANSWERS = {
    "a fault": answer(500, b'{"detail": "oops"}'),
    "a proxy's fault": answer(500, b"<html>"),
    "a redirection": answer(302, b"", b"Location: /elsewhere\r\n"),
    "a page that is not there": answer(404, b"<html>"),
    "a call that is wrong": answer(400, b""),
    "a call that is forbidden": answer(403, b'{"detail": "this token may only read"}'),
    "nothing": answer(200, b""),
    "null": answer(200, b"null"),
    "a list": answer(200, b"[]"),
    "no field": answer(200, b"{}"),
    "no JSON": answer(200, b"\xff\xfe\xfa"),
    "JSON too deep": answer(200, b"[" * 100_000),
    "no list of directives": answer(200, b'{"directives": 7}'),
    "no directives": answer(200, b'{"directives": [null, {"number": "1"}, {}]}'),
    "a number for a stub": answer(200, b'{"directives": [%s]}' % DIRECTIVE.replace(b'"gone"', b"5")),
    "a list for an item": answer(200, b'{"directives": [%s]}' % DIRECTIVE.replace(b'"m3"', b'["m3"]')),
    "no number": b"HTTP/1.1 \xb2\xb2\xb2 X\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "the end": b"",
}


@contextlib.contextmanager
def stranger(says):
    """Listens in the sidecar's place, and says the same to everything: its address, and what it was asked."""
    asked = []

    def talk(made):
        with contextlib.suppress(OSError), made:
            while data := made.recv(1 << 20):
                asked.append(data)
                made.sendall(says)
                if not says:
                    return

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_answers_the_agent_goes_on_and_its_prompt_fits(name, awaited):
    with stranger(ANSWERS[name]) as (url, asked):
        thread = Threads(url, agent="coder", total_tokens=WINDOW, settings={"timeout": 0.1})["s1"]

        def course(session):
            plan = yield from thread.window.turn(session, PIECES)
            yield from thread.window.billed(session, plan.tokens)
            searched = yield from recall.search(session, "word")
            restored = yield from recall.restore(session, "m1", thread.window)
            return plan, searched, restored

        for _ in range(2):
            if awaited:
                plan, *told = asyncio.run(adrive(thread.awaited, course(thread.awaited)))
            else:
                plan, *told = drive(thread.session, course(thread.session))
            assert plan.tokens <= WINDOW
            assert all("cannot be reached" in text or "was not" in text for text in told)
        asyncio.run(thread.awaited.client.close())
        thread.session.client.close()
    assert asked


def test_a_sidecar_that_says_to_come_back_at_once_is_not_asked_without_a_pause():
    with stranger(answer(503, b"", b"Retry-After: 0\r\n")) as (url, asked), Client(url, timeout=0.3) as client:
        assert client.session("s1", agent="coder").tell({"type": "remove_item", "item": "a"})["offline"]
    assert 1 < len(asked) < 8


def test_facts_wait_for_a_sidecar_that_fails(client, neighbour, asks):
    """A fault is no refusal: what was told meanwhile is in the ledger once it is gone."""
    session = client.session("s1", agent="coder")
    session.open()
    with stranger(answer(500, b'{"detail": "oops"}')) as (url, _):
        there, client.address = client.address, Client(url).address
        client.close()
        told = session.tell({"type": "put_item", "item": {"id": "a", "kind": "file", "tokens": 7}})
        assert told["offline"]
        client.address = there
        client.close()
    session.report()
    assert [item["id"] for item in asks("s1", "items")["items"]] == ["a"]


class Raced(deque):
    """What was kept, of which another thread takes the last between a look and a grasp."""

    @override
    def __len__(self):
        return super().__len__() + 1

    def __bool__(self):
        return True


def test_threads_that_tell_what_was_kept_do_not_trip_over_each_other(client):
    session = client.session("s1", agent="coder")
    client.courses.kept = Raced([{"type": "touch_item", "session": "s1", "item": "a", "id": "1"}])
    assert session.report()["session"] == "s1"


@pytest.mark.parametrize(
    ("adapter", "framework", "extra"),
    [
        ("langchain", "langchain", "langchain"),
        ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
        ("openai_agents", "agents", "openai-agents"),
        ("litellm", "litellm", "litellm"),
    ],
)
def test_a_missing_framework_names_the_extra_to_install(adapter, framework, extra):
    code = f"import sys; sys.modules[{framework!r}] = None; import sidecar.client.{adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: this needs the extra {extra!r}: pip install 'token-budget-sidecar[{extra}]'")
