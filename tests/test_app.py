"""The wiring: a whole sidecar in the process of the test, on real listeners."""

import asyncio
import contextlib
import os
import socket
import time

import aiohttp
import pytest

from sidecar.app import make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort, UnixPath
from sidecar.journal.memory import MemoryJournal
from sidecar.journal.sqlite import SqliteJournal
from sidecar.opening import open_journal

LOOPBACK = HostPort("127.0.0.1", 0)
ASK = {"component": "working_memory", "tokens": 10}


def config(**settings):
    return Config(**{"listen": (LOOPBACK,), "telemetry": LOOPBACK, "otlp": None, "journal": "memory:", **settings})


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def text(http, url, **headers):
    async with http.get(url, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def until(condition, *, seconds=20):
    """Wait for something that the sidecar does by itself."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it is asked from outside, as an operator would
            await asyncio.sleep(0.01)


async def test_a_sidecar_listens_where_it_says(http, tmp_path):
    listen = (LOOPBACK, HostPort("localhost", 0), UnixPath(str(tmp_path / "s")))
    async with make_app(config(listen=listen)) as app:
        tcp = [url for url in app.urls["api"] if url.startswith("http://")]
        assert len(tcp) >= 2
        for url in tcp:
            assert (await text(http, f"{url}/v1/sessions"))[0] == 200
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as unix:
            assert (await text(unix, "http://sidecar/v1/sessions"))[0] == 200
        assert app.urls["api"][-1] == f"unix:{tmp_path / 's'}"
    assert list(tmp_path.iterdir()) == []


async def test_whoever_reaches_a_sockets_folder_may_speak_as_on_loopback(tmp_path):
    """In a pod the agent's container runs as another user."""
    async with make_app(config(listen=(UnixPath(str(tmp_path / "s")),))):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o666


async def test_sessions_that_name_no_mode_have_the_configured_one(http):
    async with make_app(config(mode="observed")) as app:
        (api,) = app.urls["api"]
        for body, mode in (({}, "observed"), ({"mode": "managed"}, "managed")):
            async with http.put(f"{api}/v1/sessions/{mode}", json=body) as answer:
                assert (await answer.json())["mode"] == mode


async def test_health_and_metrics_are_on_a_port_that_has_no_api(http):
    async with make_app(config()) as app:
        (api,), (telemetry,) = app.urls["api"], app.urls["telemetry"]
        for path in ("/healthz", "/readyz", "/startupz"):
            assert (await text(http, telemetry + path))[:2] == (200, "ok\n")
            assert (await text(http, api + path))[0] == 404
        assert (await text(http, f"{telemetry}/v1/sessions"))[0] == 404
        assert (await text(http, f"{api}/metrics"))[0] == 404


async def test_metrics_are_answered_in_the_form_that_is_asked_for(http):
    async with make_app(config(agent="tester")) as app:
        url = f"{app.urls['telemetry'][0]}/metrics"
        status, body, headers = await text(http, url, Accept="text/plain", Accept_Encoding="gzip")
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
        assert 'token_budget_window_total_tokens{agent="tester"} 0' in body
        status, body, headers = await text(http, url, Accept="application/openmetrics-text; version=1.0.0")
        assert headers["Content-Type"].partition(";")[0] == "application/openmetrics-text"
        assert body.endswith("# EOF\n")


async def test_metrics_are_packed_for_who_takes_that(http):
    async with make_app(config()) as app, aiohttp.ClientSession(auto_decompress=False) as raw:
        answer = await raw.get(f"{app.urls['telemetry'][0]}/metrics", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (await answer.read())[:2] == b"\x1f\x8b"


async def test_what_the_api_does_is_in_the_metrics(http):
    async with make_app(config()) as app:
        api = app.urls["api"][0]
        await http.put(f"{api}/v1/sessions/s1", json={"agent": "tester"})
        await http.post(f"{api}/v1/sessions/s1/allocations", json=ASK)
        _, body, _ = await text(http, f"{app.urls['telemetry'][0]}/metrics")
        assert 'token_budget_allocations_total{agent="tester",component="working_memory",outcome="full"} 1' in body
        assert 'token_budget_component_used_tokens{agent="tester",component="working_memory"} 10' in body
        assert 'token_budget_events_total{receiver="api",type="request_allocation"} 1' in body
        assert "token_budget_journal_entries_total 2" in body
        assert "token_budget_journal_up 1" in body


async def test_the_settings_of_new_sessions_are_the_operators(http):
    async with make_app(config(agent="house", total_tokens=50_000, auto_open=False)) as app:
        api = app.urls["api"][0]
        async with http.put(f"{api}/v1/sessions/s1") as answer:
            report = await answer.json()
        assert (report["agent"], report["overall"]["total_tokens"]) == ("house", 50_000)
        event = {"type": "request_allocation", "session": "s2", **ASK}
        async with http.post(f"{api}/v1/events", json=[event]) as answer:
            assert (await answer.json())["errors"][0]["status"] == 404


async def test_a_restarted_sidecar_shows_what_it_showed_before(http, tmp_path):
    settings = config(journal=f"sqlite:///{tmp_path}/j.db")
    shown: list[list[str]] = []
    for _ in range(2):
        async with make_app(settings) as app:
            api, telemetry = app.urls["api"][0], app.urls["telemetry"][0]
            if not shown:
                await http.put(f"{api}/v1/sessions/s1", json={"agent": "tester"})
                await http.post(f"{api}/v1/sessions/s1/allocations", json=ASK)
            gauge = [
                line for line in (await text(http, f"{telemetry}/metrics"))[1].splitlines() if "used_tokens" in line
            ]
            shown.append([(await text(http, f"{api}/v1/sessions/s1{part}"))[1] for part in ("", "/ledger")] + gauge)
    assert shown[0] == shown[1]


async def test_the_clock_is_an_argument(http):
    async with make_app(config(), clock=lambda: 1_000_000_000.0) as app:
        answer = await http.put(f"{app.urls['api'][0]}/v1/sessions/s1")
        assert (await answer.json())["timestamp"] == "2001-09-09T01:46:40.000Z"


# A journal that does not work


async def test_a_broken_journal_does_not_stop_the_start_and_heals_without_a_restart(http, tmp_path):
    folder = tmp_path / "data"
    folder.write_text("a file is in the way")
    async with make_app(config(journal=f"sqlite:///{folder}/j.db")) as app:
        api, telemetry = app.urls["api"][0], app.urls["telemetry"][0]
        for method, path in (("PUT", "/v1/sessions/s1"), ("GET", "/v1/sessions"), ("GET", "/v1/sessions/s1")):
            async with http.request(method, api + path) as answer:
                assert (answer.status, answer.content_type) == (503, "application/problem+json"), path
                assert int(answer.headers["Retry-After"]) >= 1
        async with http.post(f"{api}/v1/events", json=[{"type": "close_session", "session": "s"}]) as answer:
            assert answer.status == 503
        for path in ("/healthz", "/readyz", "/startupz"):
            assert (await text(http, telemetry + path))[0] == 200
        assert "token_budget_journal_up 0" in (await text(http, f"{telemetry}/metrics"))[1]

        folder.unlink()
        folder.mkdir()

        async def opened():
            async with http.put(f"{api}/v1/sessions/s1") as answer:
                return answer.status == 201

        await until(opened)
        assert "token_budget_journal_up 1" in (await text(http, f"{telemetry}/metrics"))[1]


async def test_a_sidecar_whose_journal_never_worked_stops_at_once(tmp_path):
    (tmp_path / "j.db").write_text("this is no database, and long enough to be told from an empty one" * 99)
    app = make_app(config(journal=f"sqlite:///{tmp_path}/j.db"))
    await app.start()
    async with asyncio.timeout(2):
        await app.stop()


# The end


async def test_it_ends_in_time_with_idle_connections_and_a_call_that_hangs(http):
    app = make_app(config())
    await app.start()
    host, port = app.urls["api"][0].removeprefix("http://").split(":")
    await text(http, f"{app.urls['api'][0]}/v1/sessions")  # its connection stays open
    await text(http, f"{app.urls['telemetry'][0]}/healthz")
    _, hanging = await asyncio.open_connection(host, int(port))
    hanging.write(
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n["
    )
    await hanging.drain()
    begun = time.monotonic()
    await app.stop()
    assert time.monotonic() - begun < 5
    assert not app.ready
    hanging.close()
    with contextlib.suppress(ConnectionError):
        await hanging.wait_closed()


async def test_calls_under_way_are_answered_before_it_ends_and_what_was_answered_stays(http, tmp_path):
    settings = config(journal=f"sqlite:///{tmp_path}/j.db")
    app = make_app(settings)
    await app.start()
    api = app.urls["api"][0]
    await http.put(f"{api}/v1/sessions/s1", json={})

    async def ask():
        try:
            async with http.post(f"{api}/v1/sessions/s1/allocations", json=ASK) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None

    calls = [asyncio.create_task(ask()) for _ in range(50)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await app.stop()
    granted = (await asyncio.gather(*calls)).count(200)
    assert granted > 0
    async with make_app(settings) as again, http.get(f"{again.urls['api'][0]}/v1/sessions/s1") as answer:
        used = (await answer.json())["overall"]["used_tokens"]
    assert used >= granted * 10


async def test_an_address_that_is_taken_is_named_and_nothing_stays_open():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = make_app(config(listen=(LOOPBACK, HostPort("127.0.0.1", port))))
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
            await app.start()
    assert not any(app.urls.values())


async def test_a_socket_that_a_dead_sidecar_left_behind_is_taken_over(tmp_path):
    path = str(tmp_path / "s")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    async with make_app(config(listen=(UnixPath(path),))) as app:
        assert app.urls["api"] == [f"unix:{path}"]


async def test_a_socket_that_another_sidecar_listens_on_is_left_to_it(http, tmp_path):
    settings = config(listen=(UnixPath(str(tmp_path / "s")),))
    async with make_app(settings):
        with pytest.raises(OSError, match=f"cannot listen on unix:{tmp_path}/s: "):
            await make_app(settings).start()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as unix:
            assert (await text(unix, "http://sidecar/v1/sessions"))[0] == 200


def test_the_journal_is_the_one_that_the_settings_name(tmp_path):
    assert isinstance(open_journal(config()), MemoryJournal)
    journal = open_journal(config(journal=f"sqlite:///{tmp_path}/new/folder/j.db"))
    assert isinstance(journal, SqliteJournal)
    assert os.fspath(journal.path) == f"{tmp_path}/new/folder/j.db"
    assert journal.path.parent.is_dir()
