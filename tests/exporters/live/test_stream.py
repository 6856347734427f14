"""`GET /v1/stream`: entries as they become durable, resumed where they were left, and no burden to anybody."""

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack

import pytest

from sidecar.exporters.live.reports import INTERVAL
from sidecar.journal.memory import MemoryJournal
from tests.exporters.live.conftest import SOON, client_of


async def dropped(app):
    text = (await app.exporter.render())[0].decode()
    line = 'token_budget_dropped_total{what="stream_event",reason="queue_full"} '
    return next((float(each.removeprefix(line)) for each in text.splitlines() if each.startswith(line)), 0.0)


async def until(condition):
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - what it waits for lies in sockets
            await asyncio.sleep(0.005)


# --- what it says -----------------------------------------------------------------------------------------------------


async def test_every_entry_comes_as_the_ledger_shows_it_with_its_session_in_order(client):
    async with client.stream() as reader:
        assert reader.answer.headers["Content-Type"].startswith("text/event-stream")
        await client.put("s1", "a", "b")
        await client("POST", "/v1/sessions/s1/allocations", {"component": "working_memory", "tokens": 90_000})
        ledger = (await client("GET", "/v1/sessions/s1/ledger"))["entries"]
        events = await reader.many(len(ledger))
    assert [event.data for event in events] == [{"session": "s1", **entry} for entry in ledger]
    assert {event.name for event in events} == {"message"}
    assert len({event.id for event in events}) == len(events)


async def test_with_a_session_only_its_entries_come(client):
    await client.put("s1", "a")
    await client.put("s2", "a")
    async with client.stream("?session=s1") as reader:
        await client.put("s2", "b")
        await client.put("s1", "b")
        event = await reader.next()
    assert (event.data["session"], event.data["item"]["id"], event.id) == ("s1", "b", str(event.data["version"]))


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [("?session=none", 404, "'none' does not exist"), ("?sesion=a", 400, "sesion is not"), ("?reports=1", 400, "true")],
)
async def test_what_cannot_be_streamed_is_a_problem_that_says_why(client, query, status, words):
    async with client.http.get(f"/v1/stream{query}") as answer:
        assert answer.status == status
        assert words in (await answer.json(content_type=None))["detail"]


async def test_what_is_refused_or_changes_nothing_is_no_event(client):
    await client.put("s1", "a")
    async with client.stream() as reader:
        async with client.http.post("/v1/sessions/s1/releases", json={"item": "none"}) as answer:
            assert answer.status == 404
        await client.put("s1", "b")
        assert (await reader.next()).data["item"]["id"] == "b"


# --- going on where it was left ---------------------------------------------------------------------------------------


async def test_the_stream_of_all_goes_on_after_the_last_event_that_was_seen(client):
    async with client.stream() as reader:
        await client.put("s1", "a", "b", "c")
        seen = (await reader.many(3))[-1]
        assert seen.data["item"]["id"] == "b"
    await client.put("s2", "d")
    async with client.stream(last=seen.id) as reader:
        ids = [event.data.get("item", {}).get("id") for event in await reader.many(3)]
    assert ids == ["c", None, "d"]


async def test_who_left_before_the_first_event_misses_nothing_either(client):
    async with client.stream() as reader:
        await asyncio.wait_for(reader.answer.content.readuntil(b"\n\n"), SOON)
    async with client.stream() as reader:
        await client.put("s1", "a")
        start = (await reader.next()).id
    run, _, place = start.partition("-")
    async with client.stream(last=f"{run}-{int(place) - 1}") as reader:
        assert (await reader.next()).data["type"] == "opened"


@pytest.mark.parametrize("last", ["0", "1-1", "nonsense", "ffffffff-1", "-1", "²-²"])
async def test_a_place_that_is_not_known_is_answered_with_a_reset_and_then_what_is_new(client, last):
    await client.put("s1", "a")
    async with client.stream(last=last.encode().decode("latin-1")) as reader:
        assert (await reader.next()).name == "reset"
        await client.put("s1", "b")
        assert (await reader.next()).data["item"]["id"] == "b"


async def test_the_stream_of_a_session_is_resumed_from_the_journal_however_old_it_is(build):
    app, client = await build(capacity=8)
    await client.put("s1", *(str(number) for number in range(300)))
    assert not app.feed.has(0)
    async with client.stream("?session=s1", last="0") as reader:
        events = await reader.many(301)
        await client.put("s1", "last")
        events.append(await reader.next())
    assert [event.data["version"] for event in events] == list(range(1, 303))


async def test_the_stream_of_a_session_is_resumed_over_a_restart_and_that_of_all_is_reset(build):
    journal = MemoryJournal()
    first, client = await build(journal=journal)
    async with client.stream() as everything:
        await client.put("s1", "a", "b")
        place = (await everything.many(2))[-1].id
    await first.stop()
    _, client = await build(journal=journal)
    async with client.stream("?session=s1", last="2") as reader:
        assert (await reader.next()).data["item"]["id"] == "b"
    async with client.stream(last=place) as reader:
        assert (await reader.next()).name == "reset"


async def test_a_version_that_the_session_never_had_is_answered_with_a_reset(client):
    await client.put("s1", "a")
    async with client.stream("?session=s1", last="99") as reader:
        assert (await reader.next()).name == "reset"
        await client.put("s1", "b")
        assert (await reader.next()).data["version"] == 3


# --- slow readers -----------------------------------------------------------------------------------------------------


async def test_who_reads_too_slowly_is_told_so_and_it_is_counted(build):
    app, client = await build(capacity=16)
    async with client.stream() as reader:
        await client.put("s1", *(str(number) for number in range(500)))  # faster than anybody could read
        await client.put("s1", "after")
        names = set()
        while (event := await reader.next()).data.get("item", {}).get("id") != "after":
            names.add(event.name)
    assert "reset" in names
    assert await dropped(app) > 100


async def test_of_one_session_even_the_slowest_reader_gets_every_entry(build):
    app, client = await build(capacity=16)
    await client.put("s1", "first")
    async with client.stream("?session=s1") as reader:
        await client.put("s1", *(str(number) for number in range(500)))
        events = await reader.many(500)
    assert [event.data["version"] for event in events] == list(range(3, 503))
    assert await dropped(app) == 0


async def deaf(app, path="/v1/stream"):
    """A client that asks for a stream and never reads it."""
    host, port = app.urls["api"][0].removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (host, int(port)))
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await until(lambda: app.stream._writers)
    return client


def stuck(app):
    return [writer for writer in app.stream._writers if writer.stuck]


async def test_who_does_not_read_holds_a_bounded_piece_and_delays_nobody(app, client):
    silent = await deaf(app)
    async with client.stream() as reader:
        for batch in itertools.count():
            names = [f"{batch}-{number}-{'x' * 200}" for number in range(100)]
            await client.put("s1", *names)
            async with asyncio.timeout(SOON):
                while (await reader.next()).data.get("item", {}).get("id") != names[-1]:
                    pass
            if stuck(app) and batch % 5 == 4:
                break
    (writer,) = stuck(app)
    assert writer._request.transport.get_write_buffer_size() < 1 << 19
    assert len(app.feed._ring) <= 4096
    silent.close()


async def test_who_does_not_read_for_too_long_is_let_go(build):
    app, client = await build()
    app.stream._patience = 0.05
    silent = await deaf(app)
    async with asyncio.timeout(SOON):
        while app.stream._writers:
            await client.put("s1", *("x" * 250 + str(number) for number in range(200)))
    silent.close()


# --- life -------------------------------------------------------------------------------------------------------------


async def test_a_silent_stream_shows_that_it_lives(build):
    app, client = await build()
    app.stream._heartbeat = 0.01
    async with client.stream() as reader:
        line = b""
        async with asyncio.timeout(SOON):
            while not line.startswith(b":"):
                line = await reader.answer.content.readline()


async def test_more_streams_than_the_limit_are_refused_until_one_ends(app, client, monkeypatch):
    monkeypatch.setattr(app.stream, "_most", 2)
    async with client.stream(), AsyncExitStack() as one:
        await one.enter_async_context(client.stream())
        async with client.http.get("/v1/stream") as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) >= 1
        await one.aclose()
        await until(lambda: sum(not each.gone for each in app.stream._writers) < 2)
        async with client.stream():
            pass


async def test_when_the_sidecar_stops_every_stream_ends_at_once(build):
    app, client = await build()
    silent = await deaf(app)
    await client.put("s1", *("x" * 250 + str(number) for number in range(2000)))
    async with client.stream() as reader, client.stream("?session=s1&reports=true"):
        begun = asyncio.get_running_loop().time()
        await app.stop()
        assert asyncio.get_running_loop().time() - begun < 1.0
        while await asyncio.wait_for(reader.answer.content.readany(), SOON):
            pass
    silent.close()


async def test_streams_leave_the_order_of_turns_alone(app):
    """A reader asks the ledger only between turns: what it is told was durable before."""
    async with client_of(app) as client, client.stream("?reports=true") as reader:
        await asyncio.gather(*(client.put("s1", f"{number}") for number in range(50)))
        versions: list[int] = []
        while len(versions) < 51:
            event = await reader.next()
            if event.name == "report":
                stored = await client("GET", f"/v1/sessions/s1/ledger?after={event.data['version'] - 1}")
                assert stored["entries"]
            else:
                versions.append(event.data["version"])
    assert versions == list(range(1, 52))


# --- reports ----------------------------------------------------------------------------------------------------------


async def test_with_reports_it_begins_with_the_active_sessions_the_fullest_first(client):
    for number in (1, 3, 2):
        await client.put(f"s{number}", "a", tokens=number * 10_000)
    async with client.stream("?reports=true") as reader:
        events = await reader.many(3)
    assert [(event.name, event.data["session"]) for event in events] == [("report", f"s{n}") for n in (3, 2, 1)]
    assert events[0].data == {"version": 2, **await client("GET", "/v1/sessions/s3")}


async def test_a_changed_session_is_reported_at_its_latest_once_for_many_changes(client):
    async with client.stream("?reports=true") as reader:
        for number in range(30):
            await client.put("s1", f"{number}", tokens=100)
        reports, entries, used = 0, 0, 0
        while used < 3000:
            event = await reader.next()
            if event.name == "report":
                reports += 1
                used = event.data["overall"]["used_tokens"]
            else:
                entries += 1
    assert entries == 31
    assert reports < 30
    assert INTERVAL >= 0.1


async def test_of_one_session_only_its_reports_come(client):
    await client.put("s1", "a")
    await client.put("s2", "a")
    async with client.stream("?session=s2&reports=true") as reader:
        assert (await reader.named("report")).data["session"] == "s2"
        await client.put("s1", "b")
        await client.put("s2", "b")
        assert (await reader.named("report")).data["session"] == "s2"


async def test_a_session_that_falls_idle_is_reported_so(build):
    app, client = await build(idle_after=0.001)
    await client.put("s1", "a")
    async with client.stream("?reports=true") as reader:
        await reader.named("report")
        await asyncio.sleep(0.01)
        await app.ledger.expire()
        assert (await reader.named("report")).data["state"] == "idle"
