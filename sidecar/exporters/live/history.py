"""How a window came to be what it is: its entries folded once more, and a point kept for each change of a level.

The page draws it; it is folded when asked for and kept nowhere. Where the first entries have been forgotten, the levels
begin at the snapshot. What follows from the entries is left to `evolve`, so a
line in the picture is what the budget itself decided by.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sidecar.budget.entries import Allocated, AnyEntry, CleanedUp, Compacted, Exhausted, SharesAdjusted
from sidecar.budget.evolve import evolve
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.session import Session
from sidecar.journal import SessionId, StoredEntry
from sidecar.ledger import Ledger

POINTS = 600  # as many as a chart has room for
MARKS = 200  # the latest
PAGE = 500  # entries read at a time
PIECE = 0.002  # seconds of work before others have a turn


@dataclass(slots=True)
class Curve:
    """Levels over time, in columns. Where they would be more than `POINTS`, every other one makes room."""

    columns: list[list[float]] = field(default_factory=lambda: [[] for _ in range(2 * len(COMPONENTS) + 3)])
    stride: int = 1
    skipped: int = 0
    latest: list[float] = field(default_factory=list)

    def add(self, session: Session) -> None:
        """Keep how the session stands now, if that has changed and the point is not one that is left out."""
        row = [session.clock, session.total, session.unattributed]
        for held in session.components.values():
            row += (held.used, held.allocated)
        if row[1:] == self.latest[1:]:
            return
        self.latest = row
        self.skipped += 1
        if self.skipped >= self.stride:
            self._keep(row)

    def end(self) -> None:
        """The last point is how the session stands, also where it would be left out."""
        if self.skipped:
            self._keep(self.latest)

    def _keep(self, row: list[float]) -> None:
        self.skipped = 0
        for column, value in zip(self.columns, row, strict=True):
            column.append(value)
        if len(self.columns[0]) >= 2 * POINTS:
            self.columns = [column[1::2] for column in self.columns]  # the latest stays
            self.stride *= 2

    def reply(self) -> dict[str, Any]:
        """The columns by name: `times` in epoch seconds, the rest in tokens."""
        times, total, unattributed, *levels = self.columns
        return {
            "times": times,
            "total": total,
            "unattributed": unattributed,
            "used": dict(zip(COMPONENTS, levels[::2], strict=True)),
            "allocated": dict(zip(COMPONENTS, levels[1::2], strict=True)),
        }


class Tale:
    """What happened so far: how often, how much, and the moments worth a mark in the picture."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.marks: list[dict[str, Any]] = []
        self.last_cleanup: dict[str, Any] | None = None

    def add(self, entry: AnyEntry) -> None:
        """Count an entry."""
        match entry:
            case CleanedUp():
                self.sums["cleanups"] += 1
                self.sums["freed_tokens"] += entry.tokens_freed
                self.last_cleanup = {
                    "time": entry.time,
                    "component": entry.component,
                    "trigger": entry.trigger,
                    "tokens_freed": entry.tokens_freed,
                }
                self._mark(entry, "cleaned_up", entry.tokens_freed)
            case Compacted():
                self.sums["compactions"] += 1
                self.sums["compacted_tokens"] += entry.tokens_before - entry.tokens_after
                self._mark(entry, "compacted", entry.tokens_before - entry.tokens_after)
            case Exhausted():
                self.sums["exhaustions"] += 1
                self._mark(entry, "exhausted", entry.tokens)
            case Allocated(outcome=outcome):
                self.sums["requests"] += 1
                self.sums["refused"] += outcome in ("partial", "denied")
            case SharesAdjusted():
                self.sums["adjustments"] += 1
                self._mark(entry, "shares_adjusted", 0)
            case _:
                pass

    def _mark(self, entry: AnyEntry, type: str, tokens: int) -> None:
        self.marks.append({"time": entry.time, "type": type, "tokens": tokens})
        if len(self.marks) > 2 * MARKS:
            del self.marks[:MARKS]

    def reply(self) -> dict[str, Any]:
        """The sums, the latest cleanup, the latest marks."""
        names = (
            "cleanups",
            "freed_tokens",
            "compactions",
            "compacted_tokens",
            "exhaustions",
            "requests",
            "refused",
            "adjustments",
        )
        return {
            "sums": {name: self.sums[name] for name in names},
            "last_cleanup": self.last_cleanup,
            "marks": self.marks[-MARKS:],
        }


def _go_on(session: Session | None, stored: StoredEntry) -> Session:
    """The session with an entry, unless that is in it already."""
    if session is not None and stored.version <= session.version:
        return session
    return evolve(session, stored.entry, id=stored.session)


async def history(
    ledger: Ledger, id: SessionId, *, stopwatch: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Fold a session's entries up to now. Raises `NotFound`, `JournalError`."""
    curve, tale = Curve(), Tale()
    session: Session | None = None
    version, begun = 0, stopwatch()
    while True:
        page = await ledger.entries(id, after=version, limit=PAGE)
        if version == 0 and page and page[0].version > 1:  # the first entries have been forgotten
            session = await ledger.snapshot(id)
        for stored in page:
            tale.add(stored.entry)
            if session is not None or stored.version == 1:
                session = _go_on(session, stored)
                curve.add(session)
            if stopwatch() - begun > PIECE:
                await asyncio.sleep(0)
                begun = stopwatch()
        if page:
            version = page[-1].version
        if len(page) < PAGE:
            break
    curve.end()
    return {"session": id, "version": version, **curve.reply(), **tale.reply()}
