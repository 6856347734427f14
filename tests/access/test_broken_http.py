"""What is no HTTP at all: a problem like every other, counted, and quiet; and nothing of it is repeated."""

import asyncio
import json
import logging

import aiohttp
import pytest

from sidecar.app import make_app
from tests.access.conftest import LOOPBACK, config

SECRET = "a-token-that-nobody-may-see"
HEAD = b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n"
BROKEN = {
    "no method": b"hello " + SECRET.encode() + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "no such version": b"GET /" + SECRET.encode() + b" HTTP/7.1\r\n\r\n",
    "a control character": HEAD + b"Authorization: Bearer " + SECRET.encode() + b"\x01\r\n\r\n",
    "no colon": HEAD + SECRET.encode() + b"\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a long line": b"GET /" + SECRET.encode() * 1000 + b" HTTP/1.1\r\n\r\n",
    "a long header": HEAD + b"Authorization: " + SECRET.encode() * 1000 + b"\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "two framings": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded header": HEAD + b"X: a\r\n " + SECRET.encode() + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("listener", ["api", "otlp", "telemetry"])
async def test_it_is_a_problem_counted_quiet_and_repeats_nothing(listener, name, caplog):
    caplog.set_level(logging.DEBUG)
    async with make_app(config(otlp=LOOPBACK)) as app:
        host, port = app.urls[listener][0].removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(BROKEN[name])
        told = await asyncio.wait_for(reader.read(), 10)  # until it closes the connection
        writer.close()
        head, _, body = told.partition(b"\r\n\r\n")
        assert b" 400 Bad Request" in head
        assert b"application/problem+json" in head
        assert json.loads(body)["type"] == "urn:token-budget:problem:malformed"
        assert json.loads(body)["detail"].startswith("this is no HTTP/1.1")
        assert SECRET.encode() not in told
        url = f"{app.urls['telemetry'][0]}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            receiver = "other" if listener == "telemetry" else listener
            series = f'token_budget_events_rejected_total{{receiver="{receiver}",reason="malformed"}} 1'
            assert series in await answer.text()
    assert SECRET not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/startupz"])
async def test_whoever_looks_for_telemetry_at_the_api_is_told_where_it_is(path):
    async with make_app(config()) as app, aiohttp.ClientSession() as http:
        async with http.get(app.urls["api"][0] + path) as answer:
            problem = await answer.json(content_type=None)
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert f"{app.urls['telemetry'][0]}{path}" in problem["detail"]
        async with http.get(f"{app.urls['telemetry'][0]}{path}") as answer:
            assert answer.status == 200
