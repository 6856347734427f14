"""Plays a recording to a sidecar: its windows as sessions, its times as the host's, at any speed."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Literal, TypeAlias
from uuid import uuid4

from sidecar.budget.commands import OpenSession
from sidecar.budget.policy import Mode
from sidecar.lab.account import Account
from sidecar.lab.connection import Answer, Connection, session_path
from sidecar.lab.recordings import Recording
from sidecar.lab.script import AnyMove, Close, Gain, Open, moves
from sidecar.lab.sending import AsItems, AsWindow, Sender
from sidecar.lab.wire import body

Way: TypeAlias = Literal["items", "window"]
CREATED = 201  # 200 and 409: another replay has it
# Recorded seconds without a step after which what waits is sent. What is sent together depends on the recording alone,
# so that the same recording makes the same decisions at any speed.
LULL = 10.0
NOTICEABLE = 0.02  # seconds: shorter waits are not worth a turn of the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to replay. `speed` is recorded seconds per second, None as fast as possible; `start` epoch seconds.

    Pauses of the recorded agent, nights among them, are waited for `skip_idle` recorded seconds at most; the times that
    are sent stay the recorded ones.

    Without `start` a recording ends now: its times stay in the sidecar's past, which no host's time may leave by more
    than minutes (SPEC 3.9). `total_tokens` is the size of every window; without it, the recorded size or the sidecar's
    default.
    """

    way: Way = "items"
    mode: Mode = "managed"
    speed: float | None = None
    skip_idle: float | None = None
    start: float | None = None
    total_tokens: int | None = None
    prefix: str = ""
    close: bool = False


@dataclass(slots=True, kw_only=True)
class Played:
    """One session of a replay: what it was opened as, what it was told, and how it stands."""

    opened: Open
    sender: Sender
    total_tokens: int
    steps: int = 0
    peak_tokens: int = 0
    seconds: float = 0.0
    closed: bool = False
    report: dict[str, Any] = field(default_factory=dict)
    account: Account = field(default_factory=Account)

    @property
    def session(self) -> str:
        """The session's id on the sidecar."""
        return self.opened.session


@dataclass(slots=True)
class Pace:
    """When recorded moments are due: recorded seconds at `speed` per second, pauses cut to `skip_idle`."""

    speed: float | None
    skip_idle: float | None
    began: float = field(default_factory=time.monotonic)
    at: float = 0.0
    due: float = 0.0

    def wait(self, at: float) -> float:
        """Seconds from now until the recorded moment `at` is due; windows side by side may step back a little."""
        if self.speed is None:
            return 0.0
        passed, self.at = max(at - self.at, 0.0), max(at, self.at)
        self.due += (passed if self.skip_idle is None else min(passed, self.skip_idle)) / self.speed
        return self.began + self.due - time.monotonic()


@dataclass(slots=True, kw_only=True)
class Player:
    """Plays one recording. `played` fills up as its windows open, in that order; `on_step` is called for each step."""

    connection: Connection
    recording: Recording
    options: Options
    on_step: Callable[[], None] = lambda: None
    played: dict[str, Played] = field(default_factory=dict)  # by the session's id in the recording

    async def play(self) -> None:
        """Play to the end.

        Raises:
            SidecarError: the sidecar refused something, or went away for too long.
        """
        start = self.options.start
        if start is None:
            start = time.time() - self.recording.duration
        pace = Pace(self.options.speed, self.options.skip_idle)
        at = 0.0
        for move in moves(self.recording, start=start):
            elapsed = move.time - start
            if elapsed - at > LULL:
                await self._flush()
            at = max(at, elapsed)
            if (wait := pace.wait(elapsed)) > NOTICEABLE:
                await asyncio.sleep(wait)
            await self._take(move)
        for played in self.played.values():
            if not played.closed:
                await self._end(played, close=self.options.close)

    async def _flush(self) -> None:
        for played in self.played.values():
            if not played.closed:
                await played.sender.flush()

    async def _take(self, move: AnyMove) -> None:
        if isinstance(move, Open):
            await self._open(move)
            return
        played = self.played[move.session]
        played.seconds = move.time - played.opened.time
        if isinstance(move, Close):
            await self._end(played, close=True)
            return
        await played.sender.send(move)
        if isinstance(move, Gain):
            played.steps += 1
            played.peak_tokens = max(played.peak_tokens, played.sender.host.tokens.total())
            self.on_step()

    async def _open(self, move: Open) -> None:
        """Open a session under the recording's name, or the next free one if that is open on the sidecar already."""
        parent = self.played[move.parent].session if move.parent in self.played else None
        command = OpenSession(
            agent=move.agent,
            parent=parent,
            mode=self.options.mode,
            model=move.model,
            total_tokens=self.options.total_tokens or move.window_tokens,
            time=move.time,
        )
        wanted = name = self.options.prefix + move.session
        numbers = count(2)
        while (answer := await self._put(name, command)).status != CREATED:
            name = f"{wanted}~{next(numbers)}"
        way = AsItems if self.options.way == "items" else AsWindow
        managed = self.options.mode == "managed"
        sender = way(self.connection, name, managed=managed, run=uuid4().hex[:12])
        self.played[move.session] = Played(
            opened=replace(move, session=name, parent=parent),
            sender=sender,
            total_tokens=answer.body["overall"]["total_tokens"],
        )

    async def _put(self, session: str, command: OpenSession) -> Answer:
        return await self.connection.call("PUT", session_path(session), body(command), expect=(200, 201, 409))

    async def _end(self, played: Played, *, close: bool) -> None:
        await played.sender.settle()
        path = session_path(played.session)
        played.report = (await self.connection.call("DELETE" if close else "GET", path)).body
        played.closed = close
        async for entry in self.connection.pages(session_path(played.session, "ledger"), "entries"):
            played.account.add(entry)
