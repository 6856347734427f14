"""Tokens: who may do what, over HTTP against a real sidecar; and files that change."""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidecar.access.tokens import TokenFileError, Tokens
from sidecar.app import make_app
from sidecar.receivers.operations import OPERATIONS
from tests.access.conftest import ADMIN, LOOPBACK, READ, WRITE, bearer, config

STRANGER = "nobody-knows-this-token"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def app(token_files):
    """A sidecar that asks for tokens."""
    async with make_app(config(otlp=LOOPBACK, **token_files)) as app:
        yield app


@pytest.fixture
async def http(app):
    async with aiohttp.ClientSession(app.urls["api"][0]) as session:
        yield session


@pytest.fixture
async def session(http):
    """A session to try the calls on."""
    async with http.put("/v1/sessions/s1", json={}, headers=bearer(WRITE)) as answer:
        assert answer.status == 201
    return "s1"


async def ask(http, method, path, token=None, body=None):
    headers = {} if token is None else bearer(token)
    async with http.request(method, path, json=body, headers=headers) as answer:
        await answer.read()
        return answer


# method, path, and the least scope that it takes: every call that there is
CALLS = [(each.method, each.path.format(session="s1", item="i1", agent="a1"), each.scope) for each in OPERATIONS] + [
    ("GET", "/v1/stream", "read"),
    ("GET", "/live/history/s1", "read"),
    ("POST", "/v1/traces", "write"),
    ("POST", "/v1/logs", "write"),
    ("POST", "/v1/metrics", "write"),
]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
async def test_a_call_is_answered_to_whoever_has_its_scope_and_to_nobody_else(http, session, method, path, scope):
    for token, has in ((READ, {"read"}), (WRITE, {"write"}), (ADMIN, {"read", "write", "admin"})):
        answer = await asyncio.wait_for(start(http, method, path, token), 10)
        if scope in has:
            assert answer.status not in (401, 403)
        else:
            assert answer.status == 403
            assert answer.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"' or (
                scope == "admin" and 'scope="write"' in answer.headers["WWW-Authenticate"]
            )
    for headers in ({}, bearer(STRANGER), bearer(READ[:-1]), {"Authorization": f"Basic {READ}"}, bearer("")):
        answer = await start(http, method, path, headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="token-budget"')


async def start(http, method, path, token=None, headers=None):
    """The beginning of an answer: a stream has no end."""
    async with http.request(method, path, headers=bearer(token) if token else headers) as answer:
        return answer


async def test_without_a_token_the_answer_is_a_problem_and_with_a_wrong_one_it_says_so(http):
    async with http.get("/v1/sessions") as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["type"]) == (401, "urn:token-budget:problem:unauthenticated")
        assert "error" not in answer.headers["WWW-Authenticate"]
    async with http.get("/v1/sessions", headers=bearer(STRANGER)) as answer:
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert STRANGER not in await answer.text()


async def test_otlp_refuses_in_the_form_that_its_senders_read(app):
    async with aiohttp.ClientSession(app.urls["otlp"][0]) as http:
        empty = ExportTraceServiceRequest().SerializeToString()
        sent = {"Content-Type": "application/x-protobuf"}
        for path in ("/v1/traces", "/v1/logs"):
            async with http.post(path, data=empty, headers=sent) as answer:
                assert (answer.status, answer.content_type) == (401, "application/x-protobuf")
            async with http.post(path, data=empty, headers=sent | bearer(WRITE)) as answer:
                assert answer.status == 200
        async with http.post("/v1/traces", data=b"{}", headers=JSON | bearer(READ)) as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, 7)


@pytest.mark.parametrize(
    "path", ["/v1/%74races", "/v1/traces?x=1", "/v1//traces", "/v1/sessions/s1/%61rchive", "/v1/sessions/s%31/archive"]
)
async def test_a_path_written_otherwise_opens_nothing(app, session, path):
    from yarl import URL

    url = URL(app.urls["api"][0] + path, encoded=True)
    async with aiohttp.ClientSession() as http:
        for method in ("DELETE", "POST"):
            async with http.request(method, url, headers=JSON) as answer:
                assert answer.status == 401
        async with http.delete(url, headers=bearer(WRITE)) as answer:
            assert answer.status in (403, 404, 405)


@pytest.mark.parametrize("path", ["/", "/live/main.js", "/openapi.json"])
async def test_what_is_the_same_for_everybody_needs_no_token(http, path):
    assert (await ask(http, "GET", path)).status == 200


@pytest.mark.parametrize("path", ["/nothing", "/live/nothing.js", "/v1/sessions/nobody", "/live/history/x"])
async def test_what_there_is_cannot_be_found_out_without_a_token(http, path):
    for method in ("GET", "PUT", "POST", "OPTIONS"):
        assert (await ask(http, method, path)).status == 401


async def test_refused_calls_are_counted_reads_too(app, http):
    await ask(http, "GET", "/v1/sessions")
    await ask(http, "POST", "/v1/events", READ, [])
    async with http.get(f"{app.urls['telemetry'][0]}/metrics") as answer:
        text = await answer.text()
    assert 'token_budget_events_rejected_total{receiver="api",reason="unauthenticated"} 1' in text
    assert 'token_budget_events_rejected_total{receiver="events",reason="forbidden"} 1' in text


async def test_two_headers_are_one_too_many(http):
    from multidict import CIMultiDict

    headers = CIMultiDict([("Authorization", f"Bearer {READ}"), ("Authorization", f"Bearer {STRANGER}")])
    async with http.get("/v1/sessions", headers=headers) as answer:
        assert answer.status == 401


def write(path, text):
    Path(path).write_text(text)


async def test_tokens_are_rotated_without_a_restart(http, token_files):
    (path,) = token_files["read_tokens"]
    new = "another-token-for-reading"
    write(path, f"{READ}\n{new}\n")
    assert (await ask(http, "GET", "/v1/sessions", new)).status == 200  # at once
    assert (await ask(http, "GET", "/v1/sessions", READ)).status == 200
    write(path, f"{new}\n")
    async with asyncio.timeout(10):  # within a second
        while (await ask(http, "GET", "/v1/sessions", READ)).status == 200:  # noqa: ASYNC110 - as a caller finds out
            await asyncio.sleep(0.02)
    assert (await ask(http, "GET", "/v1/sessions", new)).status == 200


# The files themselves


def tokens_of(tmp_path, **files):
    paths: dict[Any, tuple[str, ...]] = {}
    for scope, text in files.items():
        path = tmp_path / scope
        path.write_text(text)
        paths[scope] = (str(path),)
    return Tokens(paths)


def test_a_token_in_several_files_has_all_of_their_scopes_and_admin_has_all(tmp_path):
    tokens = tokens_of(tmp_path, read=f"# people\n{READ}\n\n{WRITE}\n", write=f"  {WRITE}  \n", admin=ADMIN)
    assert tokens.scopes_of(READ) == {"read"}
    assert tokens.scopes_of(WRITE) == {"read", "write"}
    assert tokens.scopes_of(ADMIN) == {"read", "write", "admin"}
    assert tokens.scopes_of("") == tokens.scopes_of("# people") == tokens.scopes_of("x" * 100_000) == set()
    assert tokens.scopes_of("\udcff" * 20) == set()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "has no token"),
        ("# none\n", "has no token"),
        ("short\n", "line 1 is no token: it must have 16 to 4,096 letters"),
        (f"{READ}\ntwo words of some length\n", "line 2 is no token"),
        ("x" * 5000, "line 1 is no token"),
    ],
)
def test_a_file_that_has_no_good_tokens_stops_the_start_and_is_not_quoted(tmp_path, text, rule):
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(TokenFileError, match=rule) as caught:
        Tokens({"read": (str(path),)})
    assert str(caught.value).startswith(str(path))
    assert not text or text.split()[-1] not in str(caught.value)


def test_a_broken_file_of_several_scopes_is_told_once(tmp_path, caplog):
    path = tmp_path / "tokens"
    path.write_text(READ)
    tokens = Tokens({"read": (str(path),), "write": (str(path),)})
    path.write_text("short")
    assert tokens.refresh()
    assert caplog.text.count("its tokens are not taken any more") == 1


def test_a_file_that_is_gone_or_broken_later_opens_nothing_while_the_others_go_on(tmp_path, caplog):
    tokens = tokens_of(tmp_path, read=READ, write=WRITE)
    os.truncate(tmp_path / "read", 4)
    assert tokens.refresh()
    assert tokens.scopes_of(READ) == set()
    (tmp_path / "write").unlink()
    tokens.refresh()
    assert tokens.scopes_of(WRITE) == set()
    (tmp_path / "write").write_text(WRITE)
    assert tokens.scopes_of(WRITE) == {"write"}
    assert READ[:4] + ";" not in caplog.text
    assert "its tokens are not taken any more" in caplog.text


def test_no_token_is_kept_in_memory(tmp_path):
    tokens = tokens_of(tmp_path, read=READ)
    assert READ not in str(vars(tokens))
    assert READ.encode() not in b"".join(tokens._scopes)


async def test_a_stream_ends_before_it_tells_anything_to_a_token_that_was_withdrawn(app, http, token_files):
    other = "another-0123456789abcdef"
    async with http.get("/v1/stream", headers=bearer(READ)) as stream, asyncio.timeout(20):
        assert stream.status == 200
        async with http.put("/v1/sessions/told", json={}, headers=bearer(WRITE)):
            told = b""
            while b"told" not in told:
                told += await stream.content.readany()
        await asyncio.to_thread(Path(token_files["read_tokens"][0]).write_text, f"{other}\n")
        for refresh in app.entrance._refreshing:  # as it does each second
            refresh()
        async with http.put("/v1/sessions/secret", json={}, headers=bearer(WRITE)):
            assert b"secret" not in await stream.content.read()
