"""What operators write: every setting once, with its default, its form and its meaning.

A setting is given as a flag (`--idle-after 15m`), in the environment (`TOKEN_BUDGET_IDLE_AFTER=15m`) or in a TOML file
(`idle_after = "15m"`): the first of these that names it wins. `sidecar.config.load` reads them.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidecar.budget.policy import MODES
from sidecar.budget.presets import PRESETS
from sidecar.budget.profile import Profile
from sidecar.config import forms
from sidecar.config.declaring import files, optional_file, optional_url, setting
from sidecar.config.forms import Address, HostPort
from sidecar.config.profiles import profiles as profiles_file

__all__ = ["Config"]


def state_file() -> Path:
    """Where the journal is kept unless told: the user's state folder (XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "token-budget-sidecar" / "journal.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one sidecar. `Config()` is what a sidecar runs with that was told nothing."""

    # --- where it listens -------------------------------------------------------------------------------------------

    listen: tuple[Address, ...] = setting(
        (HostPort("127.0.0.1", 8321),),
        "where the HTTP API listens, with https:// before it by TLS; repeat it for several, port 0 takes a free one",
        forms.several(forms.address),
        "HOST:PORT|unix:PATH",
        repeat=True,
    )
    telemetry: HostPort = setting(  # noqa: RUF009 - it makes a field, as `field` does
        HostPort("0.0.0.0", 9464),  # noqa: S104 - Prometheus and the kubelet are outside the pod; there is no API here
        "where /metrics and the health checks listen",
        forms.host_port,
        "HOST:PORT",
    )
    otlp: HostPort | None = setting(  # noqa: RUF009 - as above
        HostPort("127.0.0.1", 4318),
        "where OTLP/HTTP is received, with https:// before it by TLS",
        forms.optional(forms.web_address),
        "HOST:PORT|off",
    )

    # --- who may call -----------------------------------------------------------------------------------------------

    read_tokens: tuple[str, ...] = files(
        "files with a bearer token a line; whoever has one may read. With any of these, every call needs a token"
    )
    write_tokens: tuple[str, ...] = files(
        "the same of those who may write: sessions, events, OTLP. A token in several files has all of their scopes"
    )
    admin_tokens: tuple[str, ...] = files("the same of those who may do everything, also erase what was archived")
    tls_certificate: str | None = optional_file(
        "the certificate (PEM) that is shown where https:// is listened on; read again when it changes"
    )
    tls_key: str | None = optional_file("the key of that certificate (PEM); off if the same file has it")
    tls_client_ca: str | None = optional_file(
        "the certificates (PEM) of the authority of our clients: where https:// is listened on, each must show one"
    )
    hosts: tuple[str, ...] = setting(
        (),
        "names that it is reached by besides its own address; calls by others are refused unless they need a token",
        forms.any_number(forms.host),
        "NAME,...|off",
        repeat=True,
    )
    allow_unauthenticated: bool = setting(
        False,
        "listen beyond loopback also where nobody asks who calls, because something else does (a mesh, a policy)",
        forms.flag,
        "true|false",
    )
    telemetry_web_config: str | None = optional_file(
        "what gives the telemetry port TLS and passwords: a web configuration file as of Prometheus' exporters"
    )

    # --- where it remembers -----------------------------------------------------------------------------------------

    journal: str = setting(
        "",
        "where the ledger is kept",
        forms.journal_url,
        "sqlite:///PATH|postgresql://USER@HOST/DATABASE|memory:",
    )
    replica: str = setting(
        "",
        "the name of this sidecar among those that share a PostgreSQL journal, each another and kept over restarts",
        forms.name,
        "NAME",
    )
    durability: Literal["normal", "full"] = setting(
        "normal",
        "what an answered write outlives: the end of the process (normal), or that of the machine (full, slower)",
        forms.choice("normal", "full"),
        "normal|full",
    )
    store_content: bool = setting(
        True,
        "keep the content that agents send with their items, so that what is archived can be read again",
        forms.flag,
        "true|false",
    )

    observe_without_journal: bool = setting(
        False,
        "let observed sessions go on in memory while the journal takes no writes; what is lost then is counted",
        forms.flag,
        "true|false",
    )

    # --- how long it remembers --------------------------------------------------------------------------------------

    keep_closed: float | None = setting(
        30 * 86400.0,
        "closed sessions are forgotten after this time, with their ledger and archive",
        forms.optional(forms.duration),
        "DURATION|off",
    )
    keep_entries: float | None = setting(
        None,
        "entries of open sessions are forgotten after this time, where a snapshot stands for them",
        forms.optional(forms.duration),
        "DURATION|off",
    )
    keep_archive: float | None = setting(
        None,
        "archived items are forgotten after this time, with their content",
        forms.optional(forms.duration),
        "DURATION|off",
    )
    max_journal_bytes: int | None = setting(
        None,
        "above this size, closed sessions are forgotten, then archived items, then entries: the oldest first",
        forms.optional(forms.size),
        "SIZE|off",
    )
    max_content_bytes: int = setting(
        1 << 20, "an item's content that is longer is not kept; the item is", forms.size, "SIZE"
    )

    # --- what a new session starts from, where it does not say itself -----------------------------------------------

    agent: str = setting("unknown", "the agent of sessions that name none", forms.name, "NAME")
    mode: Literal["managed", "observed"] = setting(
        "managed",
        "the mode of sessions that name none; those that OTLP opens are observed",
        forms.choice(*MODES),
        "managed|observed",
    )
    preset: str = setting("standard", "the policy of sessions that name none", forms.choice(*PRESETS), "NAME")
    total_tokens: int | None = setting(
        None,
        "the window of sessions that do not say; off is the preset's own",
        forms.optional(forms.whole(at_least=1)),
        "TOKENS|off",
    )
    adjust_interval: float | None = setting(
        None,
        "how much session time passes between two adjustments of the shares",
        forms.optional(forms.duration),
        "DURATION|off",
    )
    profiles: Mapping[str, Profile] | None = setting(
        None,
        "a TOML file of what is known of agents: the shares their sessions start from, what their tasks need",
        forms.optional(profiles_file),
        "FILE|off",
    )
    learn: bool = setting(
        True, "adapt what is known of agents to what their sessions and tasks came to", forms.flag, "true|false"
    )
    auto_open: bool = setting(
        True, "open a session at its first event; else it must be opened explicitly", forms.flag, "true|false"
    )

    # --- when a session ends ----------------------------------------------------------------------------------------

    idle_after: float = setting(
        900.0, "idle, and out of the gauges, after this time without an event", forms.duration, "DURATION"
    )
    close_after: float = setting(86400.0, "closed after this time without an event", forms.duration, "DURATION")

    # --- how much it takes on ---------------------------------------------------------------------------------------

    max_sessions: int = setting(
        100_000, "sessions held at a time; one more is answered 429", forms.whole(at_least=1), "COUNT"
    )
    max_items: int = setting(
        100_000, "items that one session holds; one more is answered 409", forms.whole(at_least=1), "COUNT"
    )
    max_waiting: int = setting(
        10_000,
        "commands that may wait for the journal; of more, those of whoever has most waiting are answered 429",
        forms.whole(at_least=1),
        "COUNT",
    )
    max_wait: float = setting(
        0.25,
        "a command that would wait longer for its turn is answered 429; sessions have their turns one after the other",
        forms.duration,
        "DURATION",
    )
    max_connections: int = setting(
        400,
        "connections that API, OTLP and telemetry each keep open; for one more an idle one gives way, or it gets 429",
        forms.whole(at_least=1),
        "COUNT",
    )
    max_streams: int = setting(
        64, "event streams that are read at a time; one more is answered 429", forms.whole(at_least=1), "COUNT"
    )
    max_body_bytes: int = setting(
        8 << 20, "size of a request's body, unpacked; a larger one is answered 413", forms.size, "SIZE"
    )
    max_batch_events: int = setting(
        10_000, "events in one batch; a longer one is answered 413", forms.whole(at_least=1), "COUNT"
    )

    # --- where the agent's own telemetry goes on to, as it came; traces of our own go where OTEL_* says -------------

    downstream: str | None = optional_url(
        "the OTLP/HTTP endpoint that what is received is forwarded to, as it came; /v1/traces and so on are appended"
    )
    downstream_traces: str | None = optional_url("another endpoint for traces, used as it is")
    downstream_logs: str | None = optional_url("another endpoint for logs, used as it is")
    downstream_metrics: str | None = optional_url("another endpoint for metrics, used as it is")
    downstream_headers: tuple[tuple[str, str], ...] = setting(
        (),
        "headers to add to what is forwarded, values percent-encoded; those that the agent sends go along anyway",
        forms.headers,
        "NAME=VALUE,...",
        secret=True,
    )
    downstream_certificate: str | None = optional_file(
        "the certificates (PEM) to trust downstream; off is the system's"
    )
    downstream_client_certificate: str | None = optional_file("the certificate (PEM) to show downstream")
    downstream_client_key: str | None = optional_file("the key of that certificate (PEM); off if the same file has it")
    downstream_queue: int = setting(
        16 << 20,
        "bytes of each signal that wait while downstream is slow or away; what is more is dropped and counted",
        forms.size,
        "SIZE",
    )

    # --- what it tells ----------------------------------------------------------------------------------------------

    max_agents: int = setting(
        20,
        "agents with metrics of their own; those after them are counted as `other`",
        forms.whole(at_least=1),
        "COUNT",
    )
    metrics_detail: bool = setting(False, "export the metrics marked as detail too", forms.flag, "true|false")
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        "how much is written to the log, on standard error",
        forms.choice("debug", "info", "warning", "error"),
        "debug|info|warning|error",
    )

    @property
    def journal_url(self) -> str:
        """The journal's URL, the default filled in."""
        return self.journal or f"sqlite:///{state_file()}"

    @property
    def asks_for_tokens(self) -> bool:
        """Whether a call needs a token."""
        return bool(self.read_tokens or self.write_tokens or self.admin_tokens)

    @property
    def replica_name(self) -> str:
        """The replica's name, the default filled in: the host's, which in a pod is the pod's."""
        return self.replica or socket.gethostname()
