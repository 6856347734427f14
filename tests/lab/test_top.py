"""`top`: what it hears, what it draws, and the whole program in a terminal."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from os import terminal_size

import pytest

from sidecar.app import make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.lab.connection import connect, session_path
from sidecar.lab.style import Style
from sidecar.lab.top.drawing import View, clipped, ordered, screen, scrolled, table, window_bar
from sidecar.lab.top.terminal import ENTER, LEAVE, keys
from sidecar.lab.top.watch import Watch, Window
from sidecar.lab.top.words import tell

FREE = HostPort("127.0.0.1", 0)
SOON = 10.0
PLAIN, RICH = Style(), Style(colour=True, blocks=True, live=True)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
async def sidecar():
    config = Config(listen=(FREE,), telemetry=FREE, otlp=None, journal="memory:")
    async with make_app(config) as app:
        yield app


@pytest.fixture
async def connection(sidecar):
    async with connect(sidecar.urls["api"][0], patience=5.0) as connection:
        yield connection


@contextlib.asynccontextmanager
async def following(connection):
    """A watch that follows the stream, and what to wait with until something is so."""
    watch = Watch(connection=connection)
    news = asyncio.Event()
    watch.changed = news.set
    task = asyncio.create_task(watch.follow())

    async def until(condition):
        async with asyncio.timeout(SOON):
            while not condition():
                news.clear()
                await news.wait()

    try:
        yield watch, until
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def put(connection, session, *sizes, kind="file", start=0):
    events = [
        {"type": "put_item", "session": session, "item": {"id": f"{kind}-{at}", "kind": kind, "tokens": tokens}}
        for at, tokens in enumerate(sizes, start)
    ]
    body = (await connection.call("POST", "/v1/events", events)).body
    assert body["accepted"] == len(sizes), body


async def freed(connection, session):
    entries = (await connection.call("GET", f"{session_path(session, 'ledger')}?limit=1000")).body["entries"]
    return sum(entry["tokens_freed"] for entry in entries if entry["type"] == "cleaned_up")


# --- what it hears ----------------------------------------------------------------------------------------------------


async def test_it_knows_windows_from_before_and_follows_those_that_come(connection):
    await put(connection, "before", 10_000)
    async with following(connection) as (watch, until):
        await until(lambda: "components" in getattr(watch.windows.get("before"), "report", {}))
        await put(connection, "after", 20_000)
        await until(lambda: "after" in watch.windows and watch.windows["after"].report["overall"]["used_tokens"])
        assert ordered(watch.windows) == ["after", "before"]


async def test_what_was_freed_is_what_the_ledger_has_whenever_it_began_to_watch(connection):
    await put(connection, "s", *[9_000] * 7)  # over the budget: files are evicted
    before = await freed(connection, "s")
    assert before
    async with following(connection) as (watch, until):
        await until(lambda: "s" in watch.windows)
        await watch.complete("s")
        assert watch.windows["s"].freed == before
        await put(connection, "s", *[9_000] * 7, start=100)
        after = await freed(connection, "s")
        assert after > before
        await until(lambda: watch.windows["s"].freed == after)


async def test_after_a_broken_connection_nothing_is_missed_or_counted_twice(sidecar, connection):
    async with following(connection) as (watch, until):
        await put(connection, "s", *[9_000] * 7)
        await until(lambda: "s" in watch.windows and watch.windows["s"].version)
        await watch.complete("s")
        for writer in sidecar.stream._writers:
            writer.abort()
        await put(connection, "s", *[9_000] * 7, start=100)
        expected = await freed(connection, "s")
        await until(lambda: watch.windows["s"].freed == expected)
        versions = [entry["version"] for entry in watch.windows["s"].entries]
        assert versions == list(range(1, len(versions) + 1))


async def test_the_latest_decisions_of_a_window_can_be_recalled(connection):
    await put(connection, "s", *[9_000] * 7)
    async with following(connection) as (watch, until):
        await until(lambda: "s" in watch.windows)
        await watch.recall("s")
        told = [tell(entry) for entry in watch.windows["s"].entries]
        assert [text for text, _ in filter(None, told) if "working memory cleaned up" in text]


# --- what it draws ----------------------------------------------------------------------------------------------------


def report(used=(10_000, 30_000, 0, 5_000, 0), total=200_000, status="low", **more):
    names = ("system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer")
    parts = {
        name: {
            "used_tokens": tokens,
            "allocated_tokens": total // 5,
            "utilization_ratio": tokens / total * 5,
            "status": status,
            "exhaustions": 1,
            "target": {"low": 0.6, "high": 0.75},
        }
        for name, tokens in zip(names, used, strict=True)
    }
    overall = {
        "used_tokens": sum(used),
        "total_tokens": total,
        "utilization_ratio": sum(used) / total,
        "status": status,
        "target": {"low": 0.75, "high": 0.85},
    }
    told = {"agent": "a", "model": None, "mode": "managed", "state": "active", "forecast": {"eta_seconds": 90.0}}
    return {**told, "components": parts, "overall": overall, **more}


def bare(line):
    return ESCAPES.sub("", line)


def test_a_bar_has_a_letter_a_component_where_there_are_no_colours():
    assert window_bar(report(), 40, PLAIN) == "SSMMMMMMA" + "." * 25 + "|" + "." * 5


def test_a_bar_is_as_wide_as_asked_whatever_fills_the_window():
    for used in ((0,) * 5, (1,) * 5, (200_000, 0, 0, 0, 0), (90_000,) * 5, (39_999, 40_001, 3, 39_997, 80_000)):
        for width in (12, 33, 100):
            assert len(bare(window_bar(report(used), width, RICH))) == width


def test_a_window_of_which_only_the_level_is_known_has_a_bar_too():
    known = {"overall": {"used_tokens": 50, "total_tokens": 100, "utilization_ratio": 0.5, "status": "moderate"}}
    assert window_bar(known, 10, PLAIN) == "?????...|."


def test_the_fullest_open_window_comes_first_and_closed_ones_last():
    windows = {
        "closed": Window(report((0, 190_000, 0, 0, 0), state="closed")),
        "half": Window(report((0, 100_000, 0, 0, 0))),
        "full": Window(report((0, 180_000, 0, 0, 0))),
    }
    assert ordered(windows) == ["full", "half", "closed"]


def test_a_line_tells_level_status_time_to_exhaustion_exhaustions_and_what_was_freed():
    (_, line) = table({"s": Window(report(status="high"), freed=12_345)}, ["s"], PLAIN, 120, View())
    assert re.search(r"22 %  high +1 min 30 s +5 +12,345$", line)


@pytest.mark.parametrize("size", [(130, 40), (80, 24), (60, 8), (200, 6), (30, 5)])
@pytest.mark.parametrize("alone", [False, True])
def test_a_screen_has_as_many_lines_as_the_terminal_and_none_is_too_long(size, alone):
    windows = {f"window-{number:04}-{'x' * number}": Window(report()) for number in range(60)}
    drawn = screen(
        windows, "http://sidecar", terminal_size(size), RICH, View(chosen="window-0007-xxxxxxx", alone=alone)
    )
    assert len(drawn) == max(size[1], 6)
    assert max(len(bare(line)) for line in drawn) <= max(size[0], 40)


def test_of_eighty_columns_none_is_missing_at_the_end_of_a_line():
    windows = {"window": Window(report(mode="managed", model="claude-opus-4-6", agent="claude-code"), freed=12_345)}
    size = terminal_size((80, 24))
    listed, alone = (
        [bare(line) for line in screen(windows, "http://sidecar", size, RICH, View(chosen="window", alone=alone))]
        for alone in (False, True)
    )
    assert listed[3].endswith("12,345")
    assert alone[3].endswith("managed")
    assert all(line.endswith("exhausted 1 time") for line in alone[11:16])
    assert listed[-1].endswith("talk")
    assert alone[-1].endswith("talk")
    first, second = [bare(line) for line in screen({}, "x", size, RICH, View())[2:4]]
    assert f"{first} {second}".endswith("sends its first event.")


def test_the_chosen_window_is_always_in_sight():
    ids = [f"{number}" for number in range(50)]
    for chosen in ids:
        for room in (1, 2, 7, 60):
            shown = scrolled(ids, chosen, room)
            assert len(shown) <= room
            assert chosen in shown or room == 1


def test_a_cut_line_keeps_its_colours_apart_from_what_follows():
    assert clipped("\x1b[1mabcdef\x1b[0m", 3) == "\x1b[1mabc\x1b[0m"
    assert clipped("abcdef", 3) == "abc"
    assert clipped("\x1b[1mabc\x1b[0m", 3) == "\x1b[1mabc\x1b[0m"


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("\x1b[A\x1b[Bq", ["up", "down", "quit"]),
        ("\x1bOA", ["up"]),
        ("\x1b[5~\x1b[6~\r", ["page up", "page down", "enter"]),
        ("\x1b", ["back"]),
        ("\x1b[1;5Cjk", ["down", "up"]),
        ("xyzé", []),
        ("\x03", ["quit"]),
    ],
)
def test_keys_are_known_by_what_a_terminal_sends(sent, named):
    assert list(keys(sent)) == named


# --- the whole program ------------------------------------------------------------------------------------------------


def command(*arguments):
    return [sys.executable, "-m", "sidecar", "top", *arguments]


async def program(*arguments, **more):
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **more
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def test_without_a_terminal_it_prints_every_window_once(sidecar, connection):
    await put(connection, "small", 10_000)
    await put(connection, "large", *[9_000] * 7)
    status, out, err = await program("--url", sidecar.urls["api"][0])
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "2 windows" in lines[0]
    assert lines[3].startswith("  large")
    assert lines[4].startswith("  small")
    assert f"{await freed(connection, 'large'):,}" in lines[3]
    assert "\x1b" not in out


async def test_where_there_is_no_sidecar_it_says_so():
    status, out, err = await program("--url", "http://127.0.0.1:9")
    assert (status, out) == (1, "")
    assert err.startswith("top: http://127.0.0.1:9: ")


class Tty:
    """`top` on a terminal of its own."""

    def __init__(self, url, *, columns=110, lines=20):
        self.master, child = pty.openpty()
        self.resize(columns, lines)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(
            command("--url", url), stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
        )
        os.close(child)
        self.seen = ""

    def resize(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, sent):
        self.seen = ""
        os.write(self.master, sent.encode())

    def read_until(self, text, seconds=30.0):
        """Read what it draws until this text was drawn."""
        ends = time.monotonic() + seconds
        while text not in bare(self.seen):
            assert time.monotonic() < ends, f"{text!r} is not in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65_536).decode(errors="replace")
                except OSError:  # it has ended
                    break
        return self.seen

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
async def tty(sidecar, connection):
    await put(connection, "small", 10_000)
    await put(connection, "large", *[9_000] * 7)
    terminal = Tty(sidecar.urls["api"][0])
    yield terminal
    terminal.end()


async def test_in_a_terminal_it_goes_along_looks_into_a_window_and_leaves_all_as_it_was(connection, tty):
    async def shows(text):
        return await asyncio.to_thread(tty.read_until, text)

    first = await shows("▸ large")
    assert first.startswith(ENTER)
    await shows("2 windows")
    tty.press("\x1b[B")
    await shows("▸ small")
    await put(connection, "newcomer", 40_000)
    await shows("newcomer")
    tty.press("\r")
    await shows("latest decisions")
    await shows("working_memory")
    tty.process.send_signal(28)  # SIGWINCH, as a resize sends
    tty.press("\x1b")
    await shows("window  ")
    tty.press("q")
    await asyncio.to_thread(tty.read_until, "\0", 30.0)
    assert tty.seen.endswith(LEAVE) or LEAVE in tty.seen
    assert await asyncio.to_thread(tty.process.wait, 20) == 0
