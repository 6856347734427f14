"""Recorded sessions through decisions: nothing fails, the sums hold, and the server's clock does not matter.

By default one recording of each source; all of them where TOKEN_BUDGET_ALL_RECORDINGS is set, as CI does once.
"""

import contextlib
import os
from pathlib import Path

import pytest

from sidecar.budget.commands import (
    CloseSession,
    CompleteItem,
    OpenSession,
    PutItem,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    TouchItem,
)
from sidecar.budget.decide import Defaults, decide
from sidecar.budget.errors import NotFound
from sidecar.budget.evolve import replay
from sidecar.budget.session import state_of
from sidecar.lab.host import Host
from sidecar.lab.recordings import read
from sidecar.lab.script import Close, Compact, Complete, Gain, ModelCall, Open, Use, moves
from tests.budget.desk import NOW, explain, hold_together

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("TOKEN_BUDGET_RECORDINGS") or ROOT.parent / "shared" / "data" / "sessions")
BUNDLED = ROOT / "sidecar" / "lab" / "sessions"


def files():
    """The bundled recordings; of the full set one of each folder, or all."""
    found = sorted(BUNDLED.rglob("*.jsonl*"))
    every = bool(os.environ.get("TOKEN_BUDGET_ALL_RECORDINGS"))
    if FOLDER.is_dir():
        for folder in sorted(each for each in FOLDER.iterdir() if each.is_dir()):
            recorded = sorted(folder.rglob("*.jsonl*"), key=lambda path: (path.stat().st_size, path))
            found += recorded if every else recorded[len(recorded) // 4 : len(recorded) // 4 + 1]
    return found


class Run:
    """A recording decided: sessions and their entries, by window."""

    def __init__(self, mode, *, preset="standard", speed=1.0):
        self.mode = mode
        self.preset = preset
        self.speed = speed
        self.sessions = {}
        self.entries = {}
        self.hosts = {}

    def do(self, move, command):
        name = move.session
        now = NOW + 10_000_000 + (move.time - NOW) / self.speed  # the same moment for no two speeds
        decision = decide(self.sessions.get(name), command, id=name, now=now, defaults=Defaults())
        self.sessions[name] = decision.session
        self.entries.setdefault(name, []).extend(decision.entries)
        return decision.reply

    def open(self, move):
        self.hosts[move.session] = Host()
        self.do(
            move,
            OpenSession(
                agent=move.agent,
                parent=move.parent,
                model=move.model,
                mode=self.mode,
                preset=self.preset,
                total_tokens=move.window_tokens,
                time=move.time,
            ),
        )

    def by_events(self, move):
        at = move.time
        match move:
            case ModelCall():
                if move.billed is not None:
                    self.do(move, ReportUsage(total=move.billed, time=at))
            case Gain():
                asks = move.declinable
                self.do(move, RequestAllocation(item=move.item, time=at) if asks else PutItem(item=move.item, time=at))
            case Use():
                self.unless_gone(move, TouchItem(item=move.item, time=at))
            case Complete():
                self.unless_gone(move, CompleteItem(item=move.item, time=at))
            case Compact():
                for item in move.items:
                    self.unless_gone(move, RemoveItem(item=item, time=at))
            case Close():
                self.do(move, CloseSession(time=at))

    def unless_gone(self, move, command):
        with contextlib.suppress(NotFound):  # declined, or cleaned up
            self.do(move, command)

    def by_sync(self, move):
        host = self.hosts[move.session]
        match move:
            case ModelCall():
                reply = self.do(move, host.window(move.time))
                session = self.sessions[move.session]
                unheld = sum(held.unheld for held in session.components.values())
                assert (unheld, session.unattributed) == (0, 0)
                host.apply(reply["directives"])
            case Gain():
                host.gain(move.item)
            case Use():
                host.use(move.item, move.time)
            case Complete():
                host.complete(move.item)
            case Compact():
                for item in move.items:
                    host.drop(item)
            case Close():
                self.do(move, CloseSession(time=move.time))

    def adds_up(self, session):
        entries = self.entries[session.id]
        hold_together(session)
        assert state_of(replay(session.id, entries)) == state_of(session)
        levels, unattributed, pending = explain(entries)
        assert {key: held.used for key, held in session.components.items()} == levels
        assert (session.unattributed, session.pending) == (unattributed, pending)

    def play(self, recording, how):
        for move in moves(recording, start=NOW):
            if isinstance(move, Open):
                self.open(move)
            else:
                getattr(self, how)(move)
        return self


@pytest.mark.parametrize("mode", ["managed", "observed"])
@pytest.mark.parametrize("path", files(), ids=lambda path: path.name.split(".")[0])
def test_a_recording_is_decided_without_error_and_adds_up(path, mode):
    """As events and as syncs: sums, restart and explanation hold, whatever the server's clock says."""
    for recording in read([path]):
        for how in ("by_events", "by_sync"):
            run = Run(mode).play(recording, how)
            for session in run.sessions.values():
                run.adds_up(session)
                if mode == "observed":
                    assert not session.issued
                    assert not session.cleanups
            if how == "by_events" and mode == "managed":
                assert Run(mode, speed=1_000.0).play(recording, how).entries == run.entries


@pytest.mark.parametrize("how", ["by_events", "by_sync"])
@pytest.mark.parametrize("path", sorted(BUNDLED.rglob("*.jsonl*")), ids=lambda path: path.name.split(".")[0])
def test_a_recording_under_the_policy_of_coding_agents_adds_up_and_its_window_stays_within_its_limit(path, how):
    """Also at the end, with every loan and each calibration of the total behind it."""
    for recording in read([path]):
        run = Run("managed", preset="coding-agent").play(recording, how)
        for session in run.sessions.values():
            run.adds_up(session)
            assert session.used <= session.total
            lent = sum(held.borrowed for held in session.components.values())
            assert lent == sum(held.over for held in session.components.values())
