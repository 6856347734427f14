"""Other pages: what a browser may be talked into sending here is refused, whatever name it was led here by."""

import aiohttp
import pytest

from sidecar.app import make_app
from sidecar.config.forms import UnixPath
from tests.access.conftest import LOOPBACK, READ, bearer, config

EVENT = [{"type": "put_item", "session": "s", "item": {"id": "a", "kind": "file", "tokens": 1}}]


@pytest.fixture
async def app():
    async with make_app(config(otlp=LOOPBACK)) as app:
        yield app


@pytest.fixture
async def http(app):
    async with aiohttp.ClientSession(app.urls["api"][0]) as session:
        yield session


def port(app):
    return app.urls["api"][0].rpartition(":")[2]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8321",
        "localhost.evil.example",
        "127.0.0.1.nip.example",
        "192.0.2.7:8321",
        "x",
        "[2001:db8::1]:8321",
        "0.0.0.0:8321",
        "",
    ],
)
async def test_a_request_under_a_name_that_is_not_ours_is_refused(app, http, host):
    """DNS rebinding: the page's own name leads here, so the browser takes us for the page's own server."""
    for method, path in (("GET", "/v1/sessions"), ("GET", "/"), ("POST", "/v1/events"), ("GET", "/v1/stream")):
        async with http.request(method, path, headers={"Host": host}, json=EVENT if method == "POST" else None) as told:
            assert told.status == 403
            assert "hosts" in (await told.json(content_type=None))["detail"]
    async with http.post(f"{app.urls['otlp'][0]}/v1/traces", headers={"Host": host}, json={}) as told:
        assert told.status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "127.1.2.3", "[::1]:8321", "a.localhost"]
)
async def test_a_request_under_any_name_of_loopback_is_answered(http, host):
    async with http.get("/v1/sessions", headers={"Host": host}) as told:
        assert told.status == 200


async def test_the_names_that_the_operator_gives_are_ours(http):
    async with make_app(config(hosts=("budget.example",))) as app:
        for host, status in (("Budget.Example:443", 200), ("other.example", 403)):
            async with http.get(f"{app.urls['api'][0]}/v1/sessions", headers={"Host": host}) as told:
                assert told.status == status


async def test_where_a_token_is_asked_for_the_name_does_not_matter(http, token_files):
    async with make_app(config(**token_files)) as app:
        for headers, status in ((bearer(READ), 200), ({}, 401)):
            async with http.get(f"{app.urls['api'][0]}/v1/sessions", headers={"Host": "x.svc", **headers}) as told:
                assert told.status == status


async def test_on_a_unix_socket_any_name_goes(tmp_path):
    async with make_app(config(listen=(UnixPath(str(tmp_path / "s")),))):
        connector = aiohttp.UnixConnector(str(tmp_path / "s"))
        async with aiohttp.ClientSession(connector=connector) as http, http.get("http://sidecar/v1/sessions") as told:
            assert told.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/events"), ("PUT", "/v1/sessions/s"), ("GET", "/v1/stream")])
async def test_a_page_of_another_origin_can_neither_write_nor_hold_a_stream(http, method, path, headers):
    async with http.request(method, path, headers=headers, json=None if method == "GET" else EVENT) as told:
        assert told.status == 403
        assert not any(name.startswith("Access-Control") for name in told.headers)
    async with http.get("/v1/sessions") as told:
        assert (await told.json())["sessions"] == []


async def test_a_form_that_posts_here_from_another_page_changes_nothing(http):
    """Without a preflight a browser sends only these media types, or none."""
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None):
        headers = {} if media is None else {"Content-Type": media}
        async with http.post("/v1/events", data=b"[]", headers=headers, skip_auto_headers=["Content-Type"]) as told:
            assert told.status == 415
            assert "Content-Type: application/json" in (await told.json(content_type=None))["detail"]


async def test_otlp_without_a_media_type_is_refused_too(app, http):
    async with http.post(f"{app.urls['otlp'][0]}/v1/traces", data=b"{}", skip_auto_headers=["Content-Type"]) as told:
        assert told.status == 415


async def test_our_own_page_may_call_and_a_link_from_elsewhere_may_be_followed(app, http):
    own = {"Origin": f"http://127.0.0.1:{port(app)}", "Sec-Fetch-Site": "same-origin"}
    async with http.put("/v1/sessions/s1", json={}, headers=own) as told:
        assert told.status == 201
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/", "/v1/sessions"):
        async with http.get(path, headers=followed) as told:
            assert told.status == 200
    async with http.delete("/v1/sessions/s1", headers=followed) as told:
        assert told.status == 403


async def test_behind_a_proxy_that_changes_the_host_the_configured_name_is_the_pages_own(http):
    async with make_app(config(hosts=("budget.example",))) as app:
        headers = {"Origin": "https://budget.example", "Sec-Fetch-Site": "same-origin"}
        async with http.put(f"{app.urls['api'][0]}/v1/sessions/s1", json={}, headers=headers) as told:
            assert told.status == 201


@pytest.mark.parametrize("path", ["/", "/live/main.js"])
async def test_the_page_lets_nobody_frame_it_guess_its_types_or_learn_where_it_came_from(http, path):
    async with http.get(path) as told:
        policy = told.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert told.headers["X-Content-Type-Options"] == "nosniff"
        assert told.headers["Referrer-Policy"] == "no-referrer"
        assert told.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_no_answer_is_taken_for_something_else_by_a_browser(http):
    for path in ("/v1/sessions", "/v1/sessions/none", "/openapi.json", "/nothing"):
        async with http.get(path) as told:
            assert told.headers["X-Content-Type-Options"] == "nosniff"
