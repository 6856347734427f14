"""`POST /v1/events`: a batch of commands as events (SPEC section 4). A bad event never blocks the good ones.

An event is a command's own fields with the `type` that names it and the `session` it is for; its classes are generated
from the commands, so there is one description of each. A long batch is taken in chunks, and other requests have their
turn between two of them.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Annotated, Any, Literal, Protocol, Union, cast

import msgspec
from aiohttp import web
from pydantic import Field

from sidecar.budget.commands import EVENTS, Name, StopAtFirst
from sidecar.journal import JournalError
from sidecar.ledger import Ask, Ledger, Origin, Overloaded, Tally
from sidecar.receivers.answers import answer
from sidecar.receivers.arriving import Arrivals, read_body
from sidecar.receivers.bodies import JSON, NDJSON, TooLarge, Undecodable
from sidecar.receivers.callers import traced
from sidecar.receivers.pages import BatchReply
from sidecar.receivers.problems import EVENTS_PATH, RETRYABLE, Problem, explain
from sidecar.receivers.requests import Query
from sidecar.receivers.shapes import Malformed, Shape

CHUNK = 256  # events that are read, decided and made durable together
ORIGIN = Origin(receiver="events")
# The events whose answer says more than that they are taken: requests and cleanups.
ANSWERED = frozenset({"request_allocation", "restore_item", "clean_up"})


class Event(Protocol):
    """What the generated classes have beside their command."""

    @property
    def type(self) -> str:
        """The name of its command."""
        ...

    @property
    def session(self) -> str:
        """The session that it is for."""
        ...


@cache
def event_type() -> Any:
    """Any event: a union of classes generated from the commands, told apart by `type`."""
    classes = []
    for type_, command in EVENTS.items():
        extra = [("type", Literal[type_], field()), ("session", Name, field())]
        made = make_dataclass(
            f"{command.__name__}Event", extra, bases=(command,), frozen=True, slots=True, kw_only=True
        )
        made.__doc__ = command.__doc__
        classes.append(made)
    return Annotated[Union[tuple(classes)], Field(discriminator="type")]  # noqa: UP007 - of a tuple


@cache
def event_shapes() -> tuple[Shape[Event], Shape[list[Event]]]:
    """The shapes of one event, and of many: one call for many takes a fifth off the time."""
    event = event_type()
    many = Annotated[list[event], StopAtFirst()]  # type: ignore[valid-type]  # it is made at run time
    return Shape(event, tagged=True, whole="the event"), Shape(many)


_SPLIT = msgspec.json.Decoder(list[msgspec.Raw])
_LINE = re.compile(rb"\S[^\n]*")


@dataclass(slots=True)
class Tallied:
    """What a batch has come to so far, and where it came from."""

    origin: Origin
    accepted: int = 0
    duplicates: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    problems: list[tuple[int, Problem]] = field(default_factory=list)

    @property
    def retry(self) -> Problem | None:
        """Where nothing was taken and trying again may help: the problem that the whole batch has."""
        if self.accepted or self.duplicates:
            return None
        return next((problem for _, problem in self.problems if problem.kind.status in RETRYABLE), None)

    @property
    def reply(self) -> BatchReply:
        """The answer to the batch."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": len(self.problems),
            "errors": [
                {"index": index, "detail": problem.detail, "status": problem.kind.status}
                for index, problem in sorted(self.problems, key=itemgetter(0))
            ],
            "results": self.results,
        }


class EventsApi:
    """The batch call. `tracing`: somebody wants to know the callers' trace contexts."""

    def __init__(
        self,
        ledger: Ledger,
        tally: Tally,
        *,
        auto_open: bool,
        max_body_bytes: int,
        max_batch_events: int,
        tracing: bool = False,
    ) -> None:
        self._event, self._batch = event_shapes()
        self._batch.build()  # the largest of all: no batch should wait for it, and everybody else meanwhile
        self._ledger = ledger
        self._tally = tally
        self._auto_open = auto_open
        self._arrivals = Arrivals(max_body_bytes)
        self._max_events = max_batch_events
        self._tracing = tracing
        self._reading = asyncio.Lock()

    def routes(self) -> Iterable[web.RouteDef]:
        """The one call."""
        yield web.post(EVENTS_PATH, self.send_events)

    async def send_events(self, request: web.Request) -> web.Response:
        """Take a batch: 200 also where each event is bad; 429 or 503 only where trying all of it again is right."""
        Query(request).end()
        body = await read_body(request, self._arrivals, accept=(JSON, NDJSON))
        lines = request.content_type == NDJSON
        events = split_lines(body, self._max_events) if lines else split_array(body, self._max_events)
        batch = Tallied(traced(ORIGIN, request) if self._tracing else ORIGIN)
        for start in range(0, len(events), CHUNK):
            chunk = events[start : start + CHUNK]
            async with self._reading:  # of all batches one chunk at a time, so that other calls come in between
                await asyncio.sleep(0)
                # Lines are checked one by one: joined, two half objects could make a whole one.
                read = [self._read(event) for event in chunk] if lines else self._read_all(chunk)
            await self._take(start, read, batch)
        for _, problem in batch.problems:
            self._tally.rejected("events", problem.kind.name)
        if batch.retry is not None:
            return batch.retry.response()
        return answer(batch.reply)

    def _read(self, event: bytes) -> Event | Malformed:
        """One event, or what is wrong with it."""
        try:
            return self._event.read(bytes(event))
        except Malformed as error:
            return error

    def _read_all(self, events: Sequence[bytes]) -> Sequence[Event | Malformed]:
        """The elements of an array: in one call, and one by one only if that fails."""
        try:
            return self._batch.read(b"[%b]" % b",".join(events))
        except Malformed:
            return [self._read(event) for event in events]

    async def _take(self, start: int, events: Sequence[Event | Malformed], batch: Tallied) -> None:
        """Hand events to the ledger, all at once and in order, and count what becomes of them."""
        asks = []
        for index, event in enumerate(events, start):
            if isinstance(event, Malformed):
                batch.problems.append((index, explain(event)))
            else:
                asks.append((index, event))
        try:
            replies = await self._ledger.handle_all([self._ask(event, batch.origin) for _, event in asks])
        except (JournalError, Overloaded) as error:
            replies = [error] * len(asks)
        for (index, event), reply in zip(asks, replies, strict=True):
            if isinstance(reply, Exception):
                batch.problems.append((index, explain(reply)))
            elif reply.duplicate:
                batch.duplicates += 1
            else:
                batch.accepted += 1
                if event.type in ANSWERED:
                    batch.results.append({"index": index, **reply.body})

    def _ask(self, event: Event, origin: Origin) -> Ask:
        command: Any = event
        return Ask(event.session, command, origin, event.type in ANSWERED, self._auto_open)


def split_lines(body: bytes, limit: int) -> Sequence[bytes]:
    """The lines of NDJSON that are not blank. Raises `TooLarge` where there are more than `limit`."""
    # Blank ones are passed over without being made: a few packed kilobytes may hold millions.
    return _few([line[0] for line in islice(_LINE.finditer(body), limit + 1)], limit)


def split_array(body: bytes, limit: int) -> Sequence[bytes]:
    """The elements of a JSON array, each still as JSON.

    Raises:
        Undecodable: the body is no array.
        TooLarge: it has more than `limit` elements.
    """
    try:
        return _few(cast("list[bytes]", _SPLIT.decode(body)), limit)
    except (msgspec.MsgspecError, RecursionError):
        # Python's own reader is slower, but takes what other languages let their users write (NaN, half of a surrogate
        # pair), so that only the event which has it is rejected.
        return _split_slowly(body, limit)


def _split_slowly(body: bytes, limit: int) -> list[bytes]:
    decoder, elements = json.JSONDecoder(), []
    try:
        text = body.decode()
        at = _expect("[", text, 0)
        more = text[at : at + 1] != "]"
        while more:
            begun = at
            _, at = decoder.raw_decode(text, begun)
            elements.append(text[begun:at].encode())
            _few(elements, limit)
            at = _skip(text, at)
            more = text[at : at + 1] == ","
            at = _skip(text, at + more)
        if _expect("]", text, at) != len(text):
            raise Undecodable("the body is not valid JSON: there is more after the array")
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the body is not valid JSON: {error}") from None
    return elements


def _few(events: list[bytes], limit: int) -> list[bytes]:
    if len(events) > limit:
        raise TooLarge(f"the batch has more than {limit:,} events (the setting max_batch_events)")
    return events


def _expect(bracket: str, text: str, at: int) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != bracket:
        raise Undecodable(
            f"the body is not valid JSON: it must be an array of events, with a {bracket} at character {at}"
        )
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    """The place of what follows the white space at `at`."""
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at
