"""The lanes of all signals together: what the OTLP receiver is given as its `forward`."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

import aiohttp

from sidecar.exporters.forward.downstream import Downstream
from sidecar.exporters.forward.lane import Lane, Payload, Reason
from sidecar.exporters.forward.retry import Patience
from sidecar.exporters.peers import Listener, leads_to, shown

_log = logging.getLogger(__name__)

# What the client would add of its own. Only what the agent sends and the operator configured goes downstream.
_CLIENTS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Counters(Protocol):
    """What the tee tells the metrics."""

    def begin_forwarding(self) -> None:
        """There is an endpoint to forward to."""
        ...

    def forwarded(self, signal: str, result: str, count: int = 1) -> None:
        """So many payloads were delivered, or failed."""
        ...

    def dropped(self, what: str, reason: str, count: int = 1) -> None:
        """Why so many failed."""
        ...


class Tee:
    """Forwards payloads to `downstream`; a signal without an endpoint there goes nowhere.

    `size`: bytes of each signal that may wait. Forwards between `start` and `stop`, on one event loop.
    """

    def __init__(
        self, downstream: Downstream, counters: Counters, *, size: int = 16 << 20, patience: Patience | None = None
    ) -> None:
        self._downstream = downstream
        self._counters = counters
        self._size = size
        self._patience = patience or Patience()
        self._http: aiohttp.ClientSession | None = None
        self._lanes: dict[str, Lane] = {}

    async def start(self, listeners: Iterable[Listener] = ()) -> None:
        """Begin to forward, but never to one of our own `listeners`.

        Raises `OSError` where a certificate or key cannot be used.
        """
        endpoints = dict(self._downstream.endpoints)
        for signal in [signal for signal, url in endpoints.items() if await leads_to(url, listeners)]:
            _log.error("%s are not forwarded: %s is where they are received", signal, shown(endpoints.pop(signal)))
        if not endpoints:
            return
        tls = self._downstream.tls()
        self._http = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_CLIENTS,
        )
        self._counters.begin_forwarding()
        for signal, url in endpoints.items():
            self._lanes[signal] = Lane(
                signal, url, http=self._http, size=self._size, patience=self._patience, count=self._count
            )

    def __call__(
        self,
        signal: str,
        body: bytes,
        content_type: str,
        content_encoding: str | None,
        headers: Mapping[str, str],
    ) -> None:
        """Take one accepted payload, as its sender sent it. Never blocks, never raises."""
        lane = self._lanes.get(signal)
        if lane is None:
            return
        sent = self._downstream.passed_on(headers.items())
        sent["Content-Type"] = content_type
        if content_encoding is not None:
            sent["Content-Encoding"] = content_encoding
        lane.put(Payload(body, sent))

    async def stop(self, *, patience: float = 2.0) -> None:
        """Deliver what waits, as far as that works within so many seconds."""
        await asyncio.gather(*(lane.close(patience) for lane in self._lanes.values()))
        if self._http is not None:
            await self._http.close()

    def _count(self, signal: str, reason: Reason | None, count: int = 1) -> None:
        self._counters.forwarded(signal, "delivered" if reason is None else "failed", count)
        if reason is not None:
            self._counters.dropped("forward", reason, count)
