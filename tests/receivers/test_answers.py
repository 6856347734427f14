"""An answer that is written in one piece is, byte by byte, the one that aiohttp would have written."""

import asyncio
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web

from sidecar.receivers.answers import HEADERS, _head, answer, encode

BODY = {"granted": 10, "directives": []}


@pytest.fixture
async def exchange():
    """Send lines to a handler that answers as ours do, or as aiohttp does, and read until it closes or has said all."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if "aiohttp" in request.path:
            return web.Response(body=encode(BODY), status=201, headers=HEADERS)
        return answer(BODY, 201)

    app = web.Application()
    app.router.add_route("*", "/{who}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    async def exchange(sent: bytes, *, answers: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(sent)
        said = b""
        while said.count(b"HTTP/1.") < answers or not said.endswith((b"}", b"\r\n\r\n")):
            piece = await reader.read(65536)
            said += piece
            if not piece:
                break
        writer.close()
        return b"\r\n".join(line for line in said.split(b"\r\n") if not line.startswith(b"Date: "))

    yield exchange
    await runner.cleanup()


@pytest.mark.parametrize(
    ("method", "version", "more"),
    [
        ("POST", "1.1", ""),
        ("GET", "1.1", ""),
        ("HEAD", "1.1", ""),
        ("POST", "1.0", ""),
        ("POST", "1.0", "Connection: keep-alive\r\n"),
        ("POST", "1.1", "Connection: close\r\n"),
    ],
)
async def test_an_answer_is_what_aiohttp_would_have_said(exchange, method, version, more):
    ours, theirs = [
        await exchange(f"{method} /{who} HTTP/{version}\r\nHost: localhost\r\n{more}\r\n".encode(), answers=1)
        for who in ("ours", "aiohttp")
    ]
    assert ours == theirs
    assert b"201 Created" in ours


async def test_calls_that_were_sent_at_once_are_answered_one_after_the_other(exchange):
    call = b"POST /ours HTTP/1.1\r\nHost: localhost\r\n\r\n"
    once = await exchange(call, answers=1)
    assert await exchange(call * 3, answers=3) == once * 3


async def test_an_answer_names_the_second_in_which_it_was_made():
    head = (_head(200, 1_800_000_000) % 2).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert head.endswith("\r\n\r\n")
    (date,) = [line.removeprefix("Date: ") for line in head.split("\r\n") if line.startswith("Date: ")]
    assert parsedate_to_datetime(date).timestamp() == 1_800_000_000
