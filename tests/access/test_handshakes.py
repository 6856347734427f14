"""Until its handshake has ended a connection is bounded too: in number, time and cost. On both event loops."""

import asyncio
import contextlib
import os
import re
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from sidecar.app import Sidecar, make_app
from sidecar.receivers import handshakes
from tests.access.conftest import LOOPBACK, TLS_LOOPBACK, config
from tests.hostile.telemetry import resident

CROWD = 2_000
HELLO = bytes.fromhex("160301020001")  # the beginning of a handshake, and then nothing


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def serve(request, certificate_files) -> Callable[[Callable[[Sidecar], Awaitable[None]]], None]:
    """Run something against a sidecar that speaks TLS, in the event loop's own way, to the end of both."""
    certificate, key = certificate_files
    settings = config(
        listen=(TLS_LOOPBACK, LOOPBACK), otlp=TLS_LOOPBACK, tls_certificate=str(certificate), tls_key=str(key)
    )

    def run(client: Callable[[Sidecar], Awaitable[None]]) -> None:
        async def both() -> None:
            async with asyncio.timeout(60), make_app(settings) as app:
                before = descriptors()
                await client(app)
                while descriptors() > before:  # noqa: ASYNC110 - what was closed is gone some turns of the loop later
                    await asyncio.sleep(0.01)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(both())

    return run


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many file descriptors as the crowd needs, and a server that held them all would too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CROWD + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"at most {hard} file descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def door(app: Sidecar) -> tuple[str, int]:
    host, port = app.urls["api"][0].removeprefix("https://").split(":")
    return host, int(port)


async def connected(app: Sidecar, said: bytes = b"") -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, door(app))
    if said:
        await loop.sock_sendall(connection, said)
    return connection


async def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    told = b""
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.get_running_loop().sock_recv(connection, 65_536):
            told += piece
    return told


async def status(app: Sidecar, context: ssl.SSLContext) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{app.urls['api'][0]}/v1/sessions", ssl=context) as answer:
        return answer.status


@pytest.mark.usefixtures("many_descriptors")
def test_two_thousand_half_open_handshakes_keep_nobody_out_and_cost_little(serve, trusting):
    """Half of them say nothing, half of them begin a handshake."""

    async def crowd(app: Sidecar) -> None:
        assert await status(app, trusting()) == 200
        held, before = descriptors(), resident()
        with contextlib.ExitStack() as stack:
            for number in range(CROWD):
                stack.enter_context(await connected(app, HELLO if number % 2 else b""))
                if number % 500 == 0:
                    assert await status(app, trusting()) == 200
            assert await status(app, trusting()) == 200
            assert descriptors() - held <= CROWD + handshakes.MOST + 10
            assert resident() - before < 64 << 20

    serve(crowd)


@pytest.mark.parametrize("said", [b"", HELLO], ids=["silent", "begun"])
def test_a_handshake_that_takes_too_long_is_closed(serve, monkeypatch, said):
    monkeypatch.setattr(handshakes, "PATIENCE", 0.05)

    async def wait(app: Sidecar) -> None:
        with await connected(app, said) as connection:
            assert await heard(connection) == b""

    serve(wait)


def test_the_oldest_handshake_gives_way_to_the_newest(serve, monkeypatch):
    monkeypatch.setattr(handshakes, "MOST", 2)

    async def come(app: Sidecar) -> None:
        with await connected(app) as first, await connected(app, HELLO) as second, await connected(app) as third:
            assert await heard(first) == b""
            with await connected(app):
                assert await heard(second) == b""
                with pytest.raises(BlockingIOError):
                    third.recv(1)

    serve(come)


def test_plain_http_is_told_that_tls_is_spoken_counted_and_logged_once(serve, caplog):
    async def speak(app: Sidecar) -> None:
        for _ in range(5):
            url = app.urls["api"][0].replace("https", "http")
            async with aiohttp.ClientSession() as http, http.post(url, data=b"x" * 500_000) as answer:
                assert answer.status == 400
                problem: Any = await answer.json(content_type="application/problem+json")
                assert problem["detail"] == "TLS is spoken here: the URL begins with https://"
        async with aiohttp.ClientSession() as http, http.get(f"{app.urls['telemetry'][0]}/metrics") as scrape:
            counted = re.search(r'rejected_total{.*"api",reason="malformed"} (\S+)', await scrape.text())
            assert counted is not None
            assert float(counted[1]) == 5

    serve(speak)
    lines = [each.getMessage() for each in caplog.records if "plain HTTP" in each.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("plain HTTP came from 127.0.0.1 to port ")


@pytest.mark.parametrize("said", [b"\x00" * 100, b"\x16" * 100], ids=["unknown", "broken"])
def test_what_is_neither_is_closed_without_a_line_in_the_log(serve, caplog, said):
    async def speak(app: Sidecar) -> None:
        with await connected(app, said) as connection:
            await heard(connection)

    serve(speak)
    assert [each for each in caplog.records if each.levelname in ("WARNING", "ERROR")] == []


def test_a_sidecar_that_ends_leaves_no_handshake_open(serve):
    async def end(app: Sidecar) -> None:
        with await connected(app) as silent, await connected(app, HELLO) as begun:
            await app.stop()
            assert await heard(silent) + await heard(begun) == b""

    serve(end)


def test_an_address_that_is_taken_is_told(serve):
    async def again(app: Sidecar) -> None:
        host, port = door(app)
        taken = type(TLS_LOOPBACK)(host, port, tls=True)
        settings = app.config.__class__(**{**vars_of(app.config), "listen": (taken,), "otlp": None})
        with pytest.raises(OSError, match=rf"cannot listen on https://{host}:{port}: {os.strerror(98)}"):
            await make_app(settings).start()

    serve(again)


def vars_of(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}
