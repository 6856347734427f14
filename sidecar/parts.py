"""The parts that are told much by the settings: the entrance, the ledger, what is forwarded."""

import time
from collections.abc import Callable, Sequence

from sidecar.access.entrance import Entrance
from sidecar.budget.decide import Defaults
from sidecar.config import Config, exposure
from sidecar.exporters.forward import Downstream, endpoints
from sidecar.exporters.live import LivePage
from sidecar.exporters.prometheus import Exporter
from sidecar.journal import Journal
from sidecar.ledger import Keep, Ledger, Limits, Sink
from sidecar.ledger.ages import unset


def ledger(
    config: Config, journal: Journal, *, sinks: Sequence[Sink], tell: Exporter, clock: Callable[[], float]
) -> Ledger:
    """The ledger. `tell` counts what becomes of its writes."""
    return Ledger(
        journal,
        defaults=Defaults(
            agent=config.agent,
            mode=config.mode,
            preset=config.preset,
            total_tokens=config.total_tokens,
            store_content=config.store_content,
            adjust_interval=config.adjust_interval,
            profiles=config.profiles or {},
            learn=config.learn,
        ),
        sinks=sinks,
        limits=Limits(
            waiting_commands=config.max_waiting,
            waiting_seconds=config.max_wait,
            open_sessions=config.max_sessions,
            items=config.max_items,
            idle_after=config.idle_after,
            close_after=config.close_after,
            content_bytes=config.max_content_bytes,
            observe_without_journal=config.observe_without_journal,
        ),
        keep=Keep(
            closed=config.keep_closed,
            entries=config.keep_entries,
            archive=config.keep_archive,
            size=config.max_journal_bytes,
        ),
        clock=clock,
        steady=unset if clock is time.time else None,
        on_append=tell.on_append,
        on_moved=tell.forget,
        on_dropped=tell.dropped,
    )


def entrance(config: Config) -> Entrance:
    """Who may come in, and by which names."""
    return Entrance(
        tokens={"read": config.read_tokens, "write": config.write_tokens, "admin": config.admin_tokens},
        bound=[address.host for _, address in exposure.listeners(config)],
        hosts=config.hosts,
        public=(*LivePage.public(), "/openapi.json"),
        certificate=config.tls_certificate,
        key=config.tls_key,
        client_ca=config.tls_client_ca,
        web_config=config.telemetry_web_config,
    )


def downstream(config: Config) -> Downstream:
    """Where received telemetry goes on to."""
    return Downstream(
        endpoints=endpoints(
            config.downstream,
            traces=config.downstream_traces,
            logs=config.downstream_logs,
            metrics=config.downstream_metrics,
        ),
        headers=config.downstream_headers,
        withheld=("Authorization",) if config.asks_for_tokens else (),  # it has the token that was meant for us
        certificate=config.downstream_certificate,
        client_certificate=config.downstream_client_certificate,
        client_key=config.downstream_client_key,
    )
