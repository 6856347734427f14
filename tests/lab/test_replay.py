"""Replaying recordings to a real sidecar, on loopback."""

import argparse
import contextlib
import re
import time
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.app import make_app
from sidecar.budget.policy import COMPONENTS
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.lab import replay as command
from sidecar.lab.connection import SidecarAway, SidecarError, connect, session_path
from sidecar.lab.player import Options
from sidecar.lab.recordings import bundled, read

ROOMY = 100_000_000  # a window in which nothing is ever short
FREE = HostPort("127.0.0.1", 0)


@contextlib.asynccontextmanager
async def running(journal="memory:"):
    """A sidecar and a connection to it."""
    config = Config(listen=(FREE,), telemetry=FREE, otlp=None, journal=journal)
    async with make_app(config) as sidecar, connect(sidecar.urls["api"][0], patience=5.0) as connection:
        yield connection


@pytest.fixture
async def connection():
    async with running() as connection:
        yield connection


async def play(connection, recordings, **options):
    """Replay recordings and give their sessions."""
    replayed = await command.replay(recordings, connection, Options(**options))
    assert not replayed.errors, replayed.errors[0]
    return replayed.sessions


@pytest.fixture(scope="module")
def short():
    """Bundled recordings that replay quickly, with sub-agents, a compaction and cleanups among them."""
    recordings = [recording for recording in read([bundled()]) if len(recording.steps) < 500]
    assert any(len(recording.windows) > 1 for recording in recordings)
    assert any(step.kind == "compaction" for recording in recordings for step in recording.steps)
    return recordings


def used(session):
    """Tokens by component, as the report has them."""
    return {name: session.report["components"][name]["used_tokens"] for name in COMPONENTS}


def held(session):
    """Tokens by component, as the host has them."""
    return {name: session.sender.host.tokens[name] for name in COMPONENTS}


def agree(session):
    """The ledger and the host know the same window, and the report's parts make its whole."""
    overall = session.report["overall"]
    assert used(session) == held(session), session.session
    assert overall["pending_tokens"] == 0
    assert overall["used_tokens"] == sum(used(session).values()) + overall["unattributed_tokens"]


async def archive_explains_what_is_gone(connection, session):
    """Every item that was shrunk or removed is in the archive with its former size."""
    path = session_path(session.session, "archive")
    archived = {record["id"]: record async for record in connection.pages(path, "items")}
    acted_on: dict[str, int] = {}
    async for entry in connection.pages(session_path(session.session, "ledger"), "entries"):
        for action in entry.get("actions", ()):
            acted_on.setdefault(action["item"], action["tokens_before"])
    assert set(acted_on) <= set(archived)
    assert {item: archived[item]["tokens_before"] for item in acted_on} == acted_on
    assert set(session.sender.host.stubs) <= set(archived)
    return archived


async def test_told_as_items_or_as_windows_a_session_ends_with_the_same_totals(connection, short):
    items = await play(connection, short, way="items", total_tokens=ROOMY)
    windows = await play(connection, short, way="window", total_tokens=ROOMY, prefix="w-")
    assert [f"w-{session.session}" for session in items] == [session.session for session in windows]
    assert [used(session) for session in items] == [used(session) for session in windows]
    assert sum(sum(used(session).values()) for session in items) > 500_000


@pytest.mark.parametrize("way", ["items", "window"])
async def test_a_managed_host_applies_what_it_is_told_and_the_ledger_knows_it(connection, short, way):
    sessions = await play(connection, short, way=way)
    for session in sessions:
        agree(session)
        await archive_explains_what_is_gone(connection, session)
    assert sum(session.account.freed.total() for session in sessions) > 100_000
    assert sum(session.account.cleanups.total() for session in sessions) > 5
    assert len({step for session in sessions for step in session.account.freed}) >= 2


@pytest.mark.parametrize("way", ["items", "window"])
async def test_an_observed_session_is_never_cleaned_up(connection, short, way):
    sessions = await play(connection, short, way=way, mode="observed")
    assert {session.report["mode"] for session in sessions} == {"observed"}
    assert sum(session.account.freed.total() + session.account.outcomes.total() for session in sessions) == 0
    assert not any(session.sender.host.stubs for session in sessions)


async def test_a_recorded_compaction_is_seen_in_an_observed_session(connection, short):
    compacted = [recording for recording in short if any(step.kind == "compaction" for step in recording.steps)]
    sessions = await play(connection, compacted, mode="observed")
    assert all(session.account.compactions for session in sessions if session.opened.parent is None)


async def test_a_refused_item_does_not_come_into_the_window(connection, record, line):
    path = record(line(0, "tool_result", role="tool", tokens=70_000), line(1, "tool_result", role="tool", tokens=10))
    (session,) = await play(connection, read([path]))
    assert list(session.sender.host.held) == ["tool_result-1"]
    assert session.account.refused_tokens == 70_000
    agree(session)


async def test_the_same_recording_makes_the_same_decisions_at_any_speed(connection, short):
    (recording,) = [each for each in short if "entire-cli-17f8" in each.session]
    start = time.time() - recording.duration
    fast = await play(connection, [recording], start=start, prefix="fast-")
    await connection.call("DELETE", f"/v1/profiles/{recording.agent}")  # what closed sub-agents have taught
    began = time.monotonic()
    paced = await play(connection, [recording], start=start, prefix="paced-", speed=1000.0)
    assert time.monotonic() - began > 1.0, "it did keep the pace"
    assert sum(session.account.freed.total() for session in fast) > 10_000
    for one, other in zip(fast, paced, strict=True):
        assert await decisions(connection, one) == await decisions(connection, other)


async def decisions(connection, session):
    """The ledger of a session without what is made anew for each replay: ids, and what follows from them."""
    entries = connection.pages(session_path(session.session, "ledger"), "entries")
    made_anew = ("event", "request_id", "digest", "parent", "asked")
    return [{name: value for name, value in entry.items() if name not in made_anew} async for entry in entries]


async def test_a_recording_that_stands_there_already_is_replayed_beside_it(connection, record, line):
    recordings = read([record(line(0))])
    names = [(await play(connection, recordings))[0].session for _ in range(3)]
    assert names == ["agent__project-1", "agent__project-1~2", "agent__project-1~3"]


async def test_a_closed_session_is_opened_again_by_the_next_replay(connection, record, line):
    recordings = read([record(line(0))])
    for _ in range(2):
        (session,) = await play(connection, recordings, close=True)
        assert (session.session, session.report["state"]) == ("agent__project-1", "closed")


async def test_sub_agents_are_sessions_with_a_parent_and_end_before_it(connection, record, line):
    recordings = read([record(line(0), line(1, ctx="sub:x"), line(2))])
    main, sub = await play(connection, recordings, prefix="p-")
    assert (sub.report["session"], sub.report["parent"]) == ("p-agent__project-1.x", "p-agent__project-1")
    assert (main.report["state"], sub.report["state"]) == ("active", "closed")


async def test_a_recorded_window_size_is_used_unless_another_is_asked_for(connection, record, line):
    usage = {"context_tokens": 5, "context_window": 258_400}
    recordings = read([record(line(0), line(1, "assistant_message", role="assistant", usage=usage))])
    totals = [(await play(connection, recordings, total_tokens=asked))[0].total_tokens for asked in (None, 1000)]
    assert totals == [258_400, 1000]


async def test_what_one_recording_is_refused_does_not_stop_the_others(connection, record, line):
    bad = record({**line(0), "session": "s" * 300}, name="bad.jsonl")
    good = record(line(0), name="good.jsonl")
    replayed = await command.replay(read([bad, good]), connection, Options())
    assert [session.session for session in replayed.sessions] == ["agent__project-1"]
    (error,) = replayed.errors
    assert "400" in str(error)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["items", "window"])
async def test_all_recorded_sessions_replay_and_a_restart_rebuilds_what_was_there(full_set, tmp_path, way):
    journal = f"sqlite:///{tmp_path}/journal.db"
    async with running(journal) as connection:
        sessions = await play(connection, read([full_set]), way=way)
        assert len(sessions) > 100
        for session in sessions:
            agree(session)
            await archive_explains_what_is_gone(connection, session)
        before = [await everything(connection, session.session) for session in sessions]
    async with running(journal) as connection:
        assert [await everything(connection, session.session) for session in sessions] == before


async def everything(connection, session):
    """All that a sidecar tells of a session, but for how long ago it was."""
    report = (await connection.call("GET", session_path(session))).body
    lists = {
        path: [each async for each in connection.pages(session_path(session, path), plural)]
        for path, plural in (("items", "items"), ("archive", "items"), ("directives", "directives"))
    }
    return {name: value for name, value in report.items() if name not in ("timestamp", "forecast")} | lists


# --- patience ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def busy(times, status=503, **headers):
    """A server that is busy so many times, and then answers."""
    calls = []

    async def answer(request):
        calls.append(await request.text())
        if len(calls) <= times:
            return web.json_response({"detail": "later"}, status=status, headers=headers)
        return web.json_response({"fine": True})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", calls
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_sidecar_is_asked_again_when_it_says(status):
    async with busy(2, status, **{"Retry-After": "0"}) as (url, calls), connect(url) as connection:
        assert (await connection.call("POST", "/v1/events", [1])).body == {"fine": True}
    assert calls == ["[1]"] * 3


async def test_patience_ends():
    async with busy(100) as (url, _), connect(url, patience=0.2) as connection:
        with pytest.raises(SidecarAway, match="503: later"):
            await connection.call("GET", "/")


async def test_a_refusal_is_not_repeated():
    async with busy(1, 400) as (url, calls), connect(url) as connection:
        with pytest.raises(SidecarError, match="GET /x: 400: later"):
            await connection.call("GET", "/x")
    assert len(calls) == 1


# --- the command ------------------------------------------------------------------------------------------------------


def parsed(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(each) for each in argv])


async def test_the_command_replays_and_shows_what_became_of_it(connection, record, line, capsys):
    assert await command.run(parsed(record(line(0, tokens=500)), "--to", connection.name)) == 0
    out, err = capsys.readouterr()
    assert "agent__project-1  managed · 1 step" in out
    assert re.search(r"interaction_buffer +500 of +50,000", out)
    assert "1 of 1 step, 1 of 1 recording" in err


async def test_the_command_says_what_is_wrong_with_a_recording(record, capsys, tmp_path):
    assert await command.run(parsed(record("{}"), tmp_path / "absent")) == 2
    assert "agent__project-1.jsonl:1: Object missing required field `session`" in capsys.readouterr().err


async def test_the_command_says_that_there_is_no_sidecar(record, line, capsys, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    assert await command.run(parsed(record(line(0)), "--to", url)) == 1
    assert capsys.readouterr().err == (
        f"replay: {url}: GET /v1/sessions?limit=1: cannot be reached: Connection refused\n"
    )


@pytest.mark.parametrize("to", ["localhost", "127.0.0.1:8321", "http://", "http://host:port", "ftp://host"])
async def test_the_command_says_what_an_address_looks_like(to, record, line, capsys):
    assert await command.run(parsed(record(line(0)), "--to", to)) == 1
    assert capsys.readouterr().err == (
        f"replay: {to!r} is no address of a sidecar: write http://HOST:PORT, https://HOST:PORT or unix:PATH\n"
    )


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--speed", "0"), "neither a number above 0 nor max"),
        (("--speed", "nan"), "neither a number above 0 nor max"),
        (("--skip-idle", "-1"), "not a number of seconds"),
        (("--total", "1.5"), "not a whole number above 0"),
        (("--start", "2026-01-01T00:00"), "has no offset"),
        (("--start", "soon"), "is not a time like"),
        (("--mode", "both"), "invalid choice"),
    ],
)
def test_a_bad_flag_names_itself_and_the_rule(flags, reason, capsys):
    with pytest.raises(SystemExit):
        parsed("file.jsonl", *flags)
    err = capsys.readouterr().err
    assert flags[0] in err
    assert reason in err


def test_flags_are_read_as_they_are_meant():
    args = parsed("a", "b", "--speed", "60", "--total", "1_000_000", "--start", "2026-01-01T00:00:00Z")
    assert (args.files, args.speed, args.total, args.start) == ([Path("a"), Path("b")], 60.0, 1_000_000, 1767225600.0)
    assert parsed("a").speed is None
