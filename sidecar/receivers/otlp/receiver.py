"""OTLP/HTTP: `POST /v1/traces`, `/v1/logs`, `/v1/metrics` (OTLP specification 1.10, "OTLP/HTTP").

A payload is decoded, read, and answered when what follows from it is durable. It is a tee: whatever was accepted is
handed on as it came. What waits at a time is bounded in bytes, and one payload is read at a time.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from aiohttp import web

from sidecar.access.guard import Admit, admit_all
from sidecar.journal import JournalError
from sidecar.ledger import Ledger, Overloaded, Tally
from sidecar.receivers.arriving import Arrivals
from sidecar.receivers.bodies import UnsupportedMedia, gunzip
from sidecar.receivers.otlp.reader import Reader, Refused
from sidecar.receivers.otlp.traces import Bounds
from sidecar.receivers.otlp.wire import JSON, MEDIA, PROTOBUF, SIGNALS, Signal, decode, encode_response, encode_status
from sidecar.receivers.problems import explain

_log = logging.getLogger(__name__)

SLICE = 0.005  # seconds of reading after which others get the event loop
PATHS = frozenset(f"/v1/{signal}" for signal in SIGNALS)

# google.rpc.Code by HTTP status (its own mapping, read backwards).
_CODES: Mapping[int, int] = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 409: 10, 413: 3, 415: 3, 429: 8, 500: 13, 503: 14}


class Forward(Protocol):
    """Where payloads go on to, unchanged. Never blocks, never raises."""

    def __call__(
        self,
        signal: str,
        body: bytes,
        content_type: str,
        content_encoding: str | None,
        headers: Mapping[str, str],
    ) -> None:
        """One accepted payload, as its sender sent it."""
        ...


class OtlpReceiver:
    """The three routes. Mount it on any number of listeners; `close` it before the ledger stops."""

    def __init__(  # noqa: PLR0913 - each is a part that the wiring gives it
        self,
        ledger: Ledger,
        tally: Tally,
        *,
        auto_open: bool = True,
        max_body_bytes: int,
        set_total: int | None = None,
        forward: Forward | None = None,
        clock: Callable[[], float] = time.time,
        bounds: Bounds | None = None,
        admit: Admit = admit_all,
    ) -> None:
        """`set_total`: the window's size, where the operator set one; `clock`: seconds since the epoch.

        `admit`: asked about each request before its body is read.
        """
        self._admit = admit
        self._reader = Reader(ledger, auto_open=auto_open, clock=clock, set_total=set_total, bounds=bounds)
        self._tally = tally
        self._arrivals = Arrivals(max_body_bytes)
        self._forward = forward
        self._clock = clock
        self._reading = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: asyncio.Task[None] | None = None

    def routes(self) -> Iterable[web.RouteDef]:
        """A route a signal."""
        for signal in SIGNALS:
            yield web.post(f"/v1/{signal}", self._handler(signal))

    async def settle(self) -> None:
        """Count now what waits for its conversation. Raises `JournalError` or `Overloaded`."""
        await self._reader.take((), patient=False)

    async def close(self) -> None:
        """The last things are counted, and nothing is done later."""
        if self._timer is not None:
            self._timer.cancel()
        if self._overdue is not None:
            await self._overdue
        with contextlib.suppress(JournalError, Overloaded):
            await self.settle()

    def _handler(self, signal: Signal) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def receive(request: web.Request) -> web.Response:
            media = request.content_type if request.content_type in MEDIA else PROTOBUF
            try:
                return await self._receive(signal, request)
            except ConnectionError:
                raise  # the client is gone
            except Exception as error:  # noqa: BLE001 - `explain` logs what it does not know
                problem = explain(error)
            self._tally.rejected("otlp", problem.kind.name)
            status = problem.kind.status
            if "Content-Type" in request.headers and request.content_type not in MEDIA:
                media = JSON  # a sender of neither may be a person
            return web.Response(
                status=status,
                headers=problem.headers,
                body=encode_status(_CODES.get(status, 2), problem.detail, media),
                content_type=media,
            )

        return receive

    async def _receive(self, signal: Signal, request: web.Request) -> web.Response:
        self._admit(request, "write")
        # A body must say what it is: any page could have a browser send one that does not.
        media = request.content_type if "Content-Type" in request.headers or request.body_exists else PROTOBUF
        if media not in MEDIA:
            wanted = " or ".join(MEDIA)
            raise UnsupportedMedia(f"the body is {media}; send it with `Content-Type: {wanted}`", accept=MEDIA)
        coding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("gzip", "x-gzip", "identity"):
            raise UnsupportedMedia(f"the body is encoded as {coding}; send it as it is, or as gzip", encoding="gzip")
        body = await self._arrivals.read(request)
        refused = await self._take(
            signal, gunzip(body, self._arrivals.limit) if coding != "identity" and body else body, media
        )
        if self._forward is not None:
            encoding = request.headers.get("Content-Encoding")
            self._forward(signal, body, request.headers.get("Content-Type", media), encoding, request.headers)
        answer = encode_response(signal, media, rejected=refused.count, detail=refused.detail)
        return web.Response(body=answer, content_type=media)

    async def _take(self, signal: Signal, body: bytes, media: str) -> Refused:
        observations = []
        async with self._reading:
            begun = time.perf_counter()
            for record in decode(signal, body, media):
                observation = self._reader.note(record)
                if observation is not None:
                    observations.append(observation)
                if time.perf_counter() - begun > SLICE:
                    await asyncio.sleep(0)
                    begun = time.perf_counter()
        refused = await self._reader.take(observations)
        if refused.count:
            self._tally.rejected("otlp", "conflict", refused.count)
        self._wake()
        return refused

    def _wake(self) -> None:
        """See to it that what waits for its conversation does not wait for ever."""
        due = self._reader.next_due()
        if self._timer is None and due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - self._clock()) + 0.01, self._take_overdue)

    def _take_overdue(self) -> None:
        self._timer = None
        self._overdue = asyncio.get_running_loop().create_task(self._count_overdue())

    async def _count_overdue(self) -> None:
        try:
            await self._reader.take(())
        except (JournalError, Overloaded) as error:
            _log.warning("what waited for its conversation could not be counted: %s", error)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(math.ceil(getattr(error, "retry_after", 2.0)), self._take_overdue)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the counting for good
            _log.exception("what waited for its conversation could not be counted")
        else:
            self._wake()
