"""One signal on its way downstream: a bounded queue, and a few senders that empty it.

Whatever comes in is counted once when it is gone: delivered, or failed and why. When the queue is full, the new payload
is dropped: what waits has been waited for longest.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Literal, Protocol

import aiohttp

from sidecar.exporters.forward.retry import RETRYABLE, Patience, retry_after
from sidecar.exporters.peers import shown

_log = logging.getLogger(__name__)

SENDERS = 4  # payloads of a signal that are under way together
PAYLOADS = 4_096  # that wait at a time, however small they are
ANSWER = 1 << 16  # bytes of an answer that are read so that its connection can be used again

Reason = Literal["queue_full", "shutdown", "failed"]


class Count(Protocol):
    """What became of payloads; `reason` is why they were lost, None for those delivered."""

    def __call__(self, signal: str, reason: Reason | None, count: int = 1) -> None:
        """So many of them."""
        ...


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as it came, and the headers it goes on with."""

    body: bytes
    headers: Mapping[str, str]


class _Refused(Exception):
    """An attempt failed. `final`: another one would too. `asked`: seconds to wait that the other side asks for."""

    def __init__(self, why: str, *, final: bool = False, asked: float | None = None) -> None:
        super().__init__(why)
        self.final = final
        self.asked = asked


class Lane:
    """Payloads for one endpoint. `size` bounds the bytes that wait or are under way."""

    def __init__(
        self, signal: str, url: str, *, http: aiohttp.ClientSession, size: int, patience: Patience, count: Count
    ) -> None:
        self.signal = signal
        self._url = url
        self._http = http
        self._size = size
        self._patience = patience
        self._count = count
        self._held = 0
        self._queue: deque[Payload] = deque()
        self._waiting = asyncio.Semaphore(0)
        self._closing = asyncio.Event()
        self._troubled = False
        self._senders = [asyncio.create_task(self._send_all()) for _ in range(SENDERS)]

    def put(self, payload: Payload) -> None:
        """Take a payload, or count it as lost where there is no room."""
        if self._closing.is_set():
            self._count(self.signal, "shutdown")
        elif len(self._queue) >= PAYLOADS or self._held + len(payload.body) > self._size:
            self._trouble("the queue is full")
            self._count(self.signal, "queue_full")
        else:
            self._held += len(payload.body)
            self._queue.append(payload)
            self._waiting.release()

    async def close(self, patience: float) -> None:
        """Take no more, and try what is left once more at most, for so many seconds; what is left then is lost."""
        self._closing.set()
        for _ in self._senders:
            self._waiting.release()
        _, late = await asyncio.wait(self._senders, timeout=patience)
        for sender in late:
            sender.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if self._queue:
            self._count(self.signal, "shutdown", len(self._queue))
            self._queue.clear()

    async def _send_all(self) -> None:
        while True:
            await self._waiting.acquire()
            if not self._queue:  # woken to end
                return
            payload = self._queue.popleft()
            reason: Reason | None = "shutdown"  # unless it gets further than being cancelled
            try:
                reason = await self._send(payload)
            finally:
                self._held -= len(payload.body)
                self._count(self.signal, reason)

    async def _send(self, payload: Payload) -> Reason | None:
        """Deliver a payload; otherwise, why it could not be."""
        begun, attempts = time.monotonic(), 0
        while True:
            last = self._closing.is_set()
            try:
                await self._attempt(payload)
            except _Refused as refused:
                self._trouble(str(refused))
                attempts += 1
                pause = self._patience.pause(attempts, asked=refused.asked)
                if refused.final or time.monotonic() + pause - begun > self._patience.payload:
                    return "failed"
                if last:
                    return "shutdown"
                await self._rest(pause)
            except Exception:  # noqa: BLE001 - a payload that cannot be sent must not end its sender
                _log.exception("%s could not be forwarded", self.signal)
                return "failed"
            else:
                self._relief()
                return None

    async def _rest(self, seconds: float) -> None:
        """Pause, but no longer than until the lane is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _attempt(self, payload: Payload) -> None:
        timeout = aiohttp.ClientTimeout(total=self._patience.attempt)
        try:
            async with self._http.post(
                self._url, data=BytesIO(payload.body), headers=payload.headers, allow_redirects=False, timeout=timeout
            ) as answer:
                status = answer.status
                if status in RETRYABLE:
                    asked = retry_after(answer.headers.get("Retry-After"))
                    raise _Refused(f"it answers {status}", asked=asked)
                if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                    raise _Refused(f"it answers {status}", final=True)
                await answer.content.read(ANSWER)
        except TimeoutError:
            raise _Refused(f"no answer within {self._patience.attempt:g} s") from None
        except aiohttp.ClientError as error:
            raise _Refused(str(error) or type(error).__name__) from None

    # One line when trouble begins and one when it ends, however many payloads it concerns.

    def _trouble(self, why: str) -> None:
        if not self._troubled:
            self._troubled = True
            _log.warning("%s cannot be forwarded to %s: %s", self.signal, shown(self._url), why)

    def _relief(self) -> None:
        if self._troubled:
            self._troubled = False
            _log.info("%s are forwarded to %s again", self.signal, shown(self._url))
