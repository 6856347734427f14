"""The two ways of telling a sidecar about a window: piece by piece, or as a whole at each model call.

A window sync is exact, and the only signal of its session. Piece by piece, an observed session also tells what each
model call was billed, as telemetry would; a managed one does not, for its window is no longer the one that was billed.
Both drive the same well-behaved `Host`. A sender takes the moves of one session; what it learns in return (directives,
refusals) it lets the host carry out before it goes on.
"""

import asyncio
from typing import Any, Protocol

from sidecar.budget.commands import (
    Command,
    CompleteItem,
    PutItem,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    TouchItem,
)
from sidecar.lab.connection import BUSY, PAGE, Connection, SidecarError, session_path
from sidecar.lab.host import Host
from sidecar.lab.script import AnyMove, Compact, Complete, Gain, ModelCall, Use
from sidecar.lab.wire import body, event

BATCH = 500
PAUSE = 0.2  # seconds, before events are sent again; from then on the whole call is refused, and `Connection` waits
EVENTS = "/v1/events"


class Sender(Protocol):
    """Takes the moves of one session."""

    host: Host

    async def send(self, move: AnyMove) -> None:
        """Take one move; it may wait for others before it is sent."""

    async def flush(self) -> None:
        """Send what waits."""

    async def settle(self) -> None:
        """Bring the ledger to the last move, and apply and confirm whatever the sidecar still asks for."""


class Sending:
    """What both ways share: where to send, in which mode, and the events that wait to be sent."""

    def __init__(self, connection: Connection, session: str, *, managed: bool, run: str) -> None:
        """`run` makes the ids of this replay's events unlike those of any other."""
        self.host = Host()
        self._connection = connection
        self._session = session
        self._managed = managed
        self._run = run
        self._waiting: list[Command] = []
        self._sent = 0
        self._time = 0.0

    async def _post(self, commands: list[Command]) -> None:
        """Send events, and leave out of the window what was refused.

        Each event has an id, and each request a `request_id`: repeated after a lost answer, they count once.
        """
        if not commands:
            return
        first, self._sent = self._sent, self._sent + len(commands)
        events = []
        for number, command in enumerate(commands, start=first):
            key = "request_id" if isinstance(command, RequestAllocation) else "id"
            events.append({**event(command), "session": self._session, key: f"{self._run}-{number}"})
        for result in await self._take(events):
            command = commands[result["index"]]
            item = command.item if isinstance(command, RequestAllocation) else None
            if item is not None and result["granted"] < item.tokens:
                self.host.drop(item.id)  # refused: it never comes in

    async def _take(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send events until all are taken; the results come with the index of the event they are for."""
        results: list[dict[str, Any]] = []
        left = list(range(len(events)))
        while left:
            answer = (await self._connection.call("POST", EVENTS, [events[index] for index in left])).body
            results += [{**result, "index": left[result["index"]]} for result in answer["results"]]
            for error in answer["errors"]:
                if error["status"] not in BUSY:
                    raise SidecarError(f"{self._session}: {events[left[error['index']]]}: {error['detail']}")
            # The journal went away in the middle of the batch: what it did not take is sent again.
            left = [left[error["index"]] for error in answer["errors"]]
            if left:
                await asyncio.sleep(PAUSE)
        return results


class AsItems(Sending):
    """Tells each change as it happens, in batches, and asks for what the host can still leave out."""

    async def send(self, move: AnyMove) -> None:
        """Take one move."""
        self._time = move.time
        match move:
            case ModelCall(billed=billed):
                await self.flush()
                if billed is not None and not self._managed:
                    self._waiting.append(ReportUsage(total=billed, time=move.time))
            case Gain(item=item, declinable=declinable):
                self.host.gain(item)
                asks = declinable and self._managed
                self._waiting.append((RequestAllocation if asks else PutItem)(item=item, time=move.time))
            case Use(item=item):
                await self._before_referring()
                if self.host.use(item, move.time):
                    self._waiting.append(TouchItem(item=item, time=move.time))
            case Complete(item=item):
                await self._before_referring()
                if self.host.complete(item):
                    self._waiting.append(CompleteItem(item=item, time=move.time))
            case Compact(items=items):
                await self._before_referring()
                self._waiting += [RemoveItem(item=item, time=move.time) for item in items if self.host.drop(item)]
            case _:
                pass

    async def flush(self) -> None:
        """Send what waits; the directives applied since the last time are acknowledged with it."""
        waiting, self._waiting = self._waiting, []
        acknowledgement = self.host.acknowledgement(self._time)
        commands = [*([acknowledgement] if acknowledgement is not None else []), *waiting]
        for start in range(0, len(commands), BATCH):
            await self._post(commands[start : start + BATCH])
        if commands and self._managed:
            # A batch answers its requests; what its facts have caused is asked for.
            path = f"{session_path(self._session, 'directives')}?limit={PAGE}&after={self.host.applied}"
            self.host.apply((await self._connection.call("GET", path)).body["directives"])

    async def settle(self) -> None:
        """Acknowledge until nothing is asked for any more."""
        await self.flush()
        while self.host.acknowledgement_due:
            await self.flush()

    async def _before_referring(self) -> None:
        # A cleanup caused by a put may take the very item that the next event names. So what names an item is never
        # in one batch with a put before it: its directives are known by then.
        if any(isinstance(command, PutItem | RequestAllocation) for command in self._waiting):
            await self.flush()


class AsWindow(Sending):
    """Shows the whole list before each model call, and applies what is answered before the call is made."""

    async def send(self, move: AnyMove) -> None:
        """Take one move."""
        self._time = move.time
        match move:
            case ModelCall():
                await self._sync()
            case Gain(item=item):
                self.host.gain(item)
            case Use(item=item):
                self.host.use(item, move.time)
            case Complete(item=item):
                self.host.complete(item)
            case Compact(items=items):
                for item in items:
                    self.host.drop(item)
            case _:
                pass

    async def flush(self) -> None:
        """Nothing waits: the list is shown when the model is called."""

    async def settle(self) -> None:
        """Show the list as it is at the end, and again until nothing is asked for any more."""
        while await self._sync():
            pass

    async def _sync(self) -> bool:
        """Show the list; True if directives were applied in answer, so that they are still to be confirmed."""
        before = self.host.applied
        path = session_path(self._session, "window")
        answer = (await self._connection.call("PUT", path, body(self.host.window(self._time)))).body
        self.host.apply(answer["directives"])
        return self.host.applied > before
