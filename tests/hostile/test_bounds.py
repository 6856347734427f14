"""Every bound is documented as it is, and what lies beyond it is answered, counted, and harms nobody."""

import asyncio
import contextlib
import importlib
import json
import re
import socket
from dataclasses import fields
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.budget.commands import EVENTS
from sidecar.config import Config, forms
from sidecar.receivers import arriving, connections
from sidecar.receivers.outlines import Unlike, outline
from sidecar.receivers.pieces import read_window
from sidecar.receivers.shapes import Malformed, Shape
from tests.benchmarks.server import sidecar
from tests.hostile.commands import BODIES, dated
from tests.hostile.telemetry import Telemetry, telemetry

TABLE = (Path(arriving.__file__).parent / "bounds.md").read_text()
ROWS = [line.split(" | ") for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| what")]
SETTINGS = {match[1]: row[1] for row in ROWS if (match := re.fullmatch(r"setting `(\w+)`", row[2]))}
CONSTANTS = [
    (f"sidecar.{match[1]}", match[2], row[1])
    for row in ROWS
    if (match := re.fullmatch(r"`([a-z_.]+)\.([A-Z_]+)`", row[2]))
]


def test_each_setting_that_bounds_something_is_in_the_table_and_nothing_else_is():
    """What is called `max_...`, but for what bounds a file on disk."""
    bounds = {field.name for field in fields(Config) if field.name.startswith("max_")} - {"max_journal_bytes"}
    assert set(SETTINGS) == bounds | {"downstream_queue"}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_table_tells_each_settings_default(name: str):
    told, default = SETTINGS[name], getattr(Config(), name)
    if "as a body" in told:
        return
    read = {float: forms.duration, int: forms.size}[type(default)]
    assert read(told.replace(",", "").replace(" ", "")) == default


@pytest.mark.parametrize(("module", "name", "told"), CONSTANTS)
def test_the_table_tells_each_constant(module: str, name: str, told: str):
    assert float(told.partition(" s, ")[0].replace(",", "").removesuffix(" s")) == getattr(
        importlib.import_module(module), name
    )


async def put(sidecar: Telemetry, session: str, item: str) -> Any:
    event = {"type": "put_item", "session": session, "item": {"id": item, "kind": "file", "tokens": 1}}
    async with sidecar.http.post(f"{sidecar.app.urls['api'][0]}/v1/events", json=[event]) as answer:
        return (await answer.json())["errors"]


async def rejected(sidecar: Telemetry, reason: str) -> float:
    async with sidecar.http.get(f"{sidecar.app.urls['telemetry'][0]}/metrics") as answer:
        text = await answer.text()
    found = re.findall(rf'^token_budget_events_rejected_total{{.*reason="{reason}".*}} (\S+)$', text, re.MULTILINE)
    return sum(map(float, found))


async def test_a_session_that_is_full_of_items_takes_no_more_and_goes_on():
    """New items and windows over the bound conflict; a held item may change, and one that goes makes room."""
    async with telemetry(max_items=2) as sidecar:
        assert [await put(sidecar, "s", item) for item in "aba"] == [[], [], []]
        ((error,)) = await put(sidecar, "s", "c")
        assert error["status"] == 409
        assert "max_items" in error["detail"]
        url = f"{sidecar.app.urls['api'][0]}/v1/sessions/s"
        window = {"items": [{"id": each, "tokens": 1, "kind": "file"} for each in "xyz"]}
        async with sidecar.http.put(f"{url}/window", json=window) as answer:
            assert answer.status == 409
        async with sidecar.http.post(f"{url}/releases", json={"item": "a"}) as answer:
            assert answer.status == 200
        assert await put(sidecar, "s", "c") == []
        assert await rejected(sidecar, "conflict") == 2


async def test_one_connection_too_many_is_told_so_and_closed_and_the_others_work_on():
    async with telemetry(max_connections=1) as sidecar:
        url = sidecar.app.urls["api"][0]
        async with sidecar.http.get(f"{url}/v1/stream") as stream:
            assert stream.status == 200
            async with aiohttp.ClientSession() as another, another.get(f"{url}/v1/sessions") as refused:
                assert refused.status == 429
                assert refused.headers["Retry-After"] == "1"
                assert "max_connections" in (await refused.json(content_type=None))["detail"]
            assert await stream.content.readline() == b"retry: 1000\n"
        assert await rejected(sidecar, "overloaded") == 1


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost:"])
async def test_connections_that_say_nothing_keep_nobody_out(said: bytes):
    """As many as there may be are held open; health is told all the same, and the oldest of them gives way."""
    async with telemetry(max_connections=3) as sidecar:
        url = sidecar.app.urls["telemetry"][0]
        host, port = url.removeprefix("http://").rsplit(":", 1)
        async with asyncio.timeout(20):
            held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
            for _, writer in held:
                writer.write(said)
                await asyncio.sleep(0)
            async with aiohttp.ClientSession() as kubelet, kubelet.get(f"{url}/healthz") as answer:
                assert answer.status == 200
            assert await held[0][0].read() == b""
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(("listener", "path"), [("api", "/openapi.json"), ("telemetry", "/metrics")])
async def test_a_connection_whose_client_takes_no_answer_is_closed(monkeypatch: Any, listener: str, path: str):
    """Else as many as may be open hold the listener for ever, health checks too."""
    monkeypatch.setattr(connections, "UNREAD", 0.1)
    async with telemetry() as sidecar:
        host, port = sidecar.app.urls[listener][0].removeprefix("http://").rsplit(":", 1)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
            asking = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
            async with asyncio.timeout(30):
                with pytest.raises(ConnectionError):
                    await ask_without_end(client, asking)


async def ask_without_end(client: socket.socket, asking: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, asking)
        await asyncio.sleep(0.001)


async def sent_slowly(url: str, path: str, told: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {told}\r\n\r\n["
    writer.write(head.encode())
    return reader, writer


@pytest.mark.parametrize(("listener", "path"), [("api", "/v1/events"), ("otlp", "/v1/traces")])
async def test_a_body_that_does_not_arrive_in_time_is_told_so(monkeypatch: Any, listener: str, path: str):
    monkeypatch.setattr(arriving, "PATIENCE", 0.05)
    async with telemetry() as sidecar:
        reader, writer = await sent_slowly(sidecar.app.urls[listener][0], path, 1_000)
        assert b" 408 " in await reader.readline()
        writer.close()
        assert await rejected(sidecar, "timeout") == 1


async def test_bodies_that_arrive_together_are_bounded_in_bytes():
    """Of one more than there is room for, one is refused at once; small bodies come through all the same."""
    async with telemetry(max_body_bytes=100_000) as sidecar:
        url = sidecar.app.urls["api"][0]
        slow = [await sent_slowly(url, "/v1/events", 100_000) for _ in range(arriving.AT_ONCE + 1)]
        answers = [asyncio.create_task(reader.readline()) for reader, _ in slow]
        async with asyncio.timeout(20):
            (refused,), _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert b" 429 " in refused.result()
        assert await put(sidecar, "s", "a") == []
        for _, writer in slow:
            writer.close()
        await asyncio.gather(*answers)


async def test_a_connection_on_which_no_whole_request_comes_is_closed(monkeypatch: Any):
    """Headers that come drop by drop hold a connection for a while and not for ever."""
    monkeypatch.setattr(connections, "IDLE", 0.2)
    async with telemetry() as sidecar:
        host, port = sidecar.app.urls["api"][0].removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(20):
            dropping = asyncio.create_task(_drop_by_drop(writer))
            with contextlib.suppress(ConnectionResetError):  # a drop that comes after the end is answered so
                assert await reader.read() == b""
        dropping.cancel()
        writer.close()


async def _drop_by_drop(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.02)


def hostile() -> list[bytes]:
    """Megabytes of wrong fields: names of shares, fields that are unknown, an array of arrays."""
    return [
        b'{"shares":{%b}}' % b",".join(b'"k%d":1' % number for number in range(400_000)),
        b"{%b}" % b",".join(b'"k%d":1' % number for number in range(400_000)),
        b'{"agent":%b}' % (b"[" * 100 + b",".join([b"1"] * 2_000_000) + b"]" * 100),
    ]


def test_a_body_of_nothing_but_mistakes_takes_little_more_memory_than_itself(tmp_path: Path):
    """Seven megabytes of wrong fields once took hundreds of megabytes and a second."""
    import urllib.error
    import urllib.request

    with sidecar(tmp_path) as server:

        def send(body: bytes) -> bytes:
            url = f"{server.urls['api']}/v1/sessions/s"
            request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": "application/json"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=30)
            assert refused.value.code == 400
            return bytes(refused.value.read())

        send(b"{")
        bodies = hostile()
        before = server.memory()
        for body in bodies:
            assert len(json.loads(send(body))["errors"]) == 1
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]
        assert peak - before < 10 * max(map(len, bodies)), f"{(peak - before) >> 20} MiB"


@given(type_=st.sampled_from(list(BODIES)), data=st.data())
@settings(max_examples=120, derandomize=True)
def test_whatever_a_shape_accepts_is_like_its_outline(type_: str, data: st.DataObject):
    body = json.dumps(dated(data.draw(BODIES[type_]), 1_800_000_000.0)).encode()
    try:
        Shape(EVENTS[type_]).read(body)
    except Malformed:
        return
    outline(EVENTS[type_])(body)


@pytest.mark.parametrize(
    ("body", "path", "rule"),
    [
        (b'{"items": [{"id": "a", "tokens": 1}, 5]}', "items[1]", "must be an object"),
        (b'{"items": [{"id": "a", "tokens": 1, "colour": 1}]}', "items[0].colour", "is not a field that is known here"),
        (b'{"items": {}}', "items", "must be an array"),
        (b'{"items": [{"id": "a"}]}', "items[0].tokens", "is required"),
        (b'{"items": [], "through": []}', "through", "must be a single value"),
    ],
)
def test_an_outline_names_the_first_thing_that_is_wrong_and_the_rule(body: bytes, path: str, rule: str):
    with pytest.raises(Unlike) as wrong:
        outline(EVENTS["sync_window"])(body)
    assert (wrong.value.path, wrong.value.rule) == (path, rule)


async def test_a_window_read_in_pieces_is_the_window_read_whole():
    """Also what is wrong in it is named by its place in the whole."""
    items = [{"id": f"item-{number}", "kind": "file", "tokens": number} for number in range(3_000)]
    body = json.dumps({"items": items, "through": 4, "time": 1_800_000_000}).encode()
    whole: Shape[Any] = Shape(EVENTS["sync_window"])
    assert await read_window(body) == whole.read(body)
    items[2_500]["tokens"] = -1
    with pytest.raises(Malformed) as wrong:
        await read_window(json.dumps({"items": items}).encode())
    assert [rule.detail for rule in wrong.value.broken] == ["items[2500].tokens must be 0 or more"]
