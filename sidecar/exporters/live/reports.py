"""Reports of the sessions that changed, for streams that ask for them: what a page draws without ever polling.

A report costs more than an entry, so each session's is sent at most twice a second, the latest only, and one watcher
never takes more than a tenth of the event loop.
"""

import time
from collections.abc import Callable

import msgspec

from sidecar.budget.errors import NotFound
from sidecar.budget.report import report
from sidecar.exporters.live.sse import event
from sidecar.journal import SessionId
from sidecar.ledger import Ledger, SessionView

INTERVAL = 0.5  # seconds
PART_OF_LOOP = 0.1
PIECE = 0.002  # seconds of work before others have a turn
AT_START = 1000  # sessions whose report is sent without a change; a fuller picture is read through the API

_encode = msgspec.json.Encoder().encode


class Reports:
    """The reports of one stream. `touched` is the follower's: what it has come across since the last round."""

    def __init__(
        self, ledger: Ledger, touched: dict[SessionId, None], *, stopwatch: Callable[[], float] = time.perf_counter
    ) -> None:
        self._ledger = ledger
        self._touched = touched
        self._stopwatch = stopwatch
        self._due = 0.0
        self._round: list[SessionId] = []
        self._spent = 0.0

    async def begin(self) -> None:
        """Begin with the active sessions, the fullest ones first."""
        await self._ledger.settled()
        sessions = sorted(self._ledger.active(), key=lambda session: -session.utilization)
        self._touched.update(dict.fromkeys(session.id for session in sessions[:AT_START]))

    @property
    def pause(self) -> float | None:
        """Seconds until there is something to send; None if there is nothing."""
        if self._round:
            return 0.0
        return max(0.0, self._due - self._stopwatch()) if self._touched else None

    async def next(self) -> bytes:
        """The next piece; empty if nothing is due."""
        if not self._round:
            if self.pause != 0.0:
                return b""
            self._round = list(reversed(self._touched))
            self._touched.clear()
        events: list[bytes] = []
        spent = 0.0
        while self._round and spent < PIECE:
            try:
                view = await self._ledger.view(self._round.pop())
            except NotFound:
                continue
            begun = self._stopwatch()
            events.append(event(report_data(view), name="report"))
            spent += self._stopwatch() - begun
        self._spent += spent
        if not self._round:
            self._due = self._stopwatch() + max(INTERVAL, self._spent / PART_OF_LOOP)
            self._spent = 0.0
        return b"".join(events)


def report_data(view: SessionView) -> bytes:
    """The report, and the version up to which entries are in it."""
    return _encode({"version": view.session.version, **report(view.session, idle=view.idle)})
