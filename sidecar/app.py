"""The wiring: the only module that knows all the others.

A `Sidecar` is a ledger with its journal behind it, receivers before it and exporters beside it. It starts even when
its journal does not work: it is then tried again until it does, and meanwhile every call is answered 503.
"""

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from aiohttp import web

from sidecar import parts
from sidecar.access.guard import guarding
from sidecar.config import Config, exposure
from sidecar.config.forms import Address, HostPort, masked
from sidecar.exporters.endpoint import telemetry_app
from sidecar.exporters.forward import Tee
from sidecar.exporters.live import Feed, LivePage, StreamApi
from sidecar.exporters.prometheus import Exporter
from sidecar.exporters.traces import traces
from sidecar.journal import Journal
from sidecar.listening import listen, sockets
from sidecar.opening import Opening, open_journal
from sidecar.receivers import Receiver, elsewhere, openapi
from sidecar.receivers.api import SessionApi
from sidecar.receivers.connections import Runner
from sidecar.receivers.events import EventsApi
from sidecar.receivers.otlp import PATHS, OtlpReceiver
from sidecar.receivers.problems import answering_problems
from sidecar.receivers.profiles import ProfilesApi
from sidecar.receivers.shortcut import take_short_way

log = logging.getLogger(__name__)

# What an orderly end may take, in seconds; together they stay below the 5 that `serve` promises.
FINISH_CALLS = 1.5
FINISH_WRITES = 1.5
FINISH_EXPORTS = 2.5  # what waits to go downstream and to the collector, or what `FINISH_ALL` leaves of it
FINISH_ALL = 4.5
FINISH_HEALTH = 0.5
FLAGS = {"api": "--listen", "otlp": "--otlp", "telemetry": "--telemetry"}


def make_app(config: Config, *, journal: Journal | None = None, clock: Callable[[], float] = time.time) -> "Sidecar":
    """A sidecar, not started yet. `journal`: instead of the configured one; `clock`: seconds since the epoch."""
    return Sidecar(config, journal=journal or open_journal(config), clock=clock)


class Sidecar:
    """One sidecar: `async with make_app(config) as app`, or `start` and `stop`. Its `urls` are known once started."""

    def __init__(self, config: Config, *, journal: Journal, clock: Callable[[], float]) -> None:
        self.config = config
        self.entrance = parts.entrance(config)
        self.exporter = Exporter(
            agent=config.agent, max_agents=config.max_agents, detail=config.metrics_detail, clock=clock
        )
        self.traces = traces(os.environ, dropped=self.exporter.dropped, clock=clock)
        tracing = () if self.traces is None else (self.traces,)
        if self.traces is not None:
            self.exporter.exemplar = self.traces.exemplar
        self.tee = Tee(parts.downstream(config), self.exporter, size=config.downstream_queue)
        self.feed = Feed()
        self.ledger = parts.ledger(
            config,
            journal,
            sinks=(*tracing, self.exporter, self.feed),  # traces first: metrics point to them
            tell=self.exporter,
            clock=clock,
        )
        self.exporter.journal_up = lambda: self.ledger.journal_up
        self.otlp = OtlpReceiver(
            self.ledger,
            self.exporter,
            auto_open=config.auto_open,
            max_body_bytes=config.max_body_bytes,
            set_total=config.total_tokens,
            forward=self.tee,
            clock=clock,
            admit=self.entrance.guard.admit,
        )
        self.stream = StreamApi(
            self.ledger,
            self.feed,
            dropped=self.exporter.dropped,
            most=config.max_streams,
            admits=lambda request: self.entrance.guard.admits(request, "read"),
        )
        self.sessions = SessionApi(
            self.ledger,
            max_body_bytes=config.max_body_bytes,
            tracing=bool(tracing),
            admit=self.entrance.guard.admit,
        )
        self.receivers: Sequence[Receiver] = (
            self.sessions,
            EventsApi(
                self.ledger,
                self.exporter,
                auto_open=config.auto_open,
                max_body_bytes=config.max_body_bytes,
                max_batch_events=config.max_batch_events,
                tracing=bool(tracing),
            ),
            self.otlp,
            ProfilesApi(self.ledger, admit=self.entrance.guard.admit),
            self.stream,
            LivePage(self.ledger),
        )
        self.started = False
        self.ready = False
        self.why = "it was told to"  # it ends
        self._opening = Opening(self.ledger, opened=self._opened)
        self._bound: dict[str, list[str]] = {"api": [], "otlp": [], "telemetry": []}
        self._api = self._runner(self._app(*self.receivers, whole=True), "api", patience=FINISH_CALLS)
        self._otlp = self._runner(self._app(self.otlp), "otlp", patience=FINISH_CALLS)
        asking = () if self.entrance.telemetry is None else (self.entrance.telemetry.middleware(),)
        self._telemetry = self._runner(
            telemetry_app(self.exporter.render, self, asking=asking), "other", patience=FINISH_HEALTH
        )

    def _app(self, *receivers: Receiver, whole: bool = False) -> web.Application:
        """An application. `whole`: with what the API has besides its receivers."""
        app = web.Application(
            middlewares=[answering_problems(self.exporter), guarding(self.entrance.guard, themselves=PATHS)],
            client_max_size=self.config.max_body_bytes,
        )
        for receiver in receivers:
            app.add_routes(receiver.routes())
        if whole:
            app.add_routes(openapi.routes())
            app.add_routes(elsewhere.routes(lambda: self._bound["telemetry"]))
        return app

    def _runner(self, app: web.Application, receiver: str, *, patience: float) -> Runner:
        # Bodies are unpacked where their size is watched (receivers/bodies.py), and not before.
        return Runner(
            app,
            tally=self.exporter,
            receiver=receiver,
            most=self.config.max_connections,
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=patience,
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the journal and the listeners. Raises `OSError` where an address or a certificate cannot be used."""
        for _, address in exposure.exposed(self.config):
            raise OSError(errno.EACCES, f"{address.text} is beyond this machine, and nobody asks who calls")
        try:
            self.exporter.start()
            self.entrance.start()
            await self._telemetry.setup()
            await self._listen("telemetry", self._telemetry, self.config.telemetry)
            await self._opening.start()
            await self._start_exports()
            await self._api.setup()
            take_short_way(self._api, self.sessions.calls())
            for each in self.config.listen:
                await self._listen("api", self._api, each)
            await self._otlp.setup()
            if self.config.otlp is not None:
                await self._listen("otlp", self._otlp, self.config.otlp)
        except BaseException:
            await self.stop()
            raise
        self.started = self.ready = True
        self._tell_start()

    async def _listen(self, name: str, runner: Runner, address: Address) -> None:
        tls = self.entrance.context if isinstance(address, HostPort) and address.tls else None
        if name == "telemetry" and self.entrance.telemetry is not None:
            tls = self.entrance.telemetry.context
        self._bound[name] += await listen(runner, address, flag=FLAGS[name], tls=tls)

    def _tell_start(self) -> None:
        places = [f"{name} {' '.join(urls)}" for name, urls in self._bound.items() if urls]
        log.info(
            "serving: %s; journal %s; preset %s; tokens %s",
            ", ".join(places),
            masked(self.config.journal_url),
            self.config.preset,
            "asked for" if self.config.asks_for_tokens else "not asked for",
        )
        for address in exposure.unencrypted(self.config):
            log.warning("tokens come to %s as they are: https:// before it encrypts them", address.text)

    async def stop(self) -> None:
        """Take no more calls, finish those under way, make everything durable. Under 5 seconds."""
        self.ready = False
        loop = asyncio.get_running_loop()
        latest = loop.time() + FINISH_ALL
        unix_sockets = sockets(self._api)
        self.stream.close()
        await asyncio.gather(self._api.cleanup(), self._otlp.cleanup())
        await self.otlp.close()
        await self._opening.stop()
        await self.ledger.stop(patience=FINISH_WRITES)
        await self._stop_exports(patience=min(FINISH_EXPORTS, latest - loop.time()))
        self.exporter.stop()
        await self.entrance.stop()
        await self._telemetry.cleanup()
        for socket in unix_sockets:
            socket.unlink(missing_ok=True)
        for urls in self._bound.values():
            urls.clear()
        if self.started:
            self.started = False
            log.info("stopped: %s", self.why)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _opened(self) -> None:
        self.exporter.adopt(self.ledger.active())

    async def _start_exports(self) -> None:
        addresses = (*self.config.listen, self.config.otlp)
        ours = [(each.host, each.port) for each in addresses if isinstance(each, HostPort)]
        await self.tee.start(ours)
        if self.traces is not None:
            await self.traces.start(ours)

    async def _stop_exports(self, *, patience: float) -> None:
        ending = [self.tee.stop(patience=patience)]
        if self.traces is not None:
            ending.append(self.traces.stop(patience=patience))
        await asyncio.gather(*ending)

    # --- where it can be reached --------------------------------------------------------------------------------------

    @property
    def urls(self) -> Mapping[str, Sequence[str]]:
        """The addresses that are listened on, by what answers there; each an URL, or `unix:PATH`."""
        return {name: list(urls) for name, urls in self._bound.items()}
