"""The Prometheus exporter: a sink that counts, and the scrape that shows it.

Counting happens when entries are durable, on the event loop, in plain numbers (`counting`, `windows`). A scrape reads
what takes longer in small pieces, fills in the gauges and joins the lines, so that it never
holds the loop for more than a few milliseconds, whatever the number of sessions.
"""

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

import sidecar
from sidecar.budget.entries import Opened
from sidecar.budget.held import ratio
from sidecar.budget.policy import COMPONENTS, STATUSES, Component
from sidecar.budget.session import Session
from sidecar.exporters.agents import UNKNOWN, AgentLabels
from sidecar.exporters.catalog import BY_NAME, CATALOG
from sidecar.exporters.counting import Counting, Exemplar
from sidecar.exporters.forecasts import LEVELS, Forecasts
from sidecar.exporters.lag import LoopLag
from sidecar.exporters.metric import FORWARDED, OTHER, PREDICTED_ALWAYS, SIGNALS
from sidecar.exporters.negotiation import content_type
from sidecar.exporters.series import OPENMETRICS, Cell, exemplar, exposition
from sidecar.exporters.sums import AgentSums, ComponentSums
from sidecar.exporters.windows import Windows
from sidecar.ledger import Record

# How long a scrape may work before others on the loop have their turn, and how long it reads at all: what it did not
# get round to is read by the next scrape, and shown as it was until then. In seconds.
PIECE: Final = 0.002
PATIENCE: Final = 1.0
LEDGER: Final = "idle"  # the origin of what the ledger itself commands


class Exporter:
    """The metrics of SPEC section 6. A `Sink` of the ledger and the `Tally` of the receivers.

    `agent` is the operator's own: its series are there from the start. `max_agents` bounds the agents that have series
    of their own; `detail` shows the metrics that a pod does without. Two are set later, where there is such a thing:
    `exemplar` gives the labels that lead from a record to its trace, `journal_up` tells whether the journal works.
    """

    def __init__(
        self,
        *,
        agent: str = UNKNOWN,
        max_agents: int = 20,
        detail: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        lag_interval: float = 1.0,
    ) -> None:
        self.exemplar: Callable[[Record], Mapping[str, str] | None] | None = None
        self.journal_up: Callable[[], bool] | None = None
        self._journal_works = True
        self._monotonic = monotonic
        self._clock = clock
        self._counting = Counting(detail=detail)
        self._windows = Windows(monotonic)
        self._forecasts = Forecasts(LEVELS if detail else PREDICTED_ALWAYS)
        self._scraping = asyncio.Lock()
        self._since = 0.0  # when the scrape last let others run
        self._shown = [self._counting.family(metric.name) for metric in CATALOG if detail or not metric.detail]
        self._detail = detail
        self._received = self._counting.counted("token_budget_events_total")
        self._rejected = self._counting.counted("token_budget_events_rejected_total")
        self._dropped = self._counting.counted("token_budget_dropped_total")
        self._forwarded = self._counting.counted("token_budget_forwarded_total")
        self._appends = self._counting.distributed("token_budget_journal_append_duration_seconds")[()]
        self._entries = self._counting.counted("token_budget_journal_entries_total")[()]
        lag = self._counting.distributed("token_budget_event_loop_lag_seconds")[()]
        self._lag = LoopLag(lag.observe, interval=lag_interval)
        build = self._counting.counted("token_budget_build_info")
        build[sidecar.__version__, platform.python_version()].value = 1
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        self._stand_in = UNKNOWN if agent == UNKNOWN else None
        self._label = AgentLabels(agent, limit=max_agents, begin=self._begin_agent, fold=self._fold_agent)

    def start(self) -> None:
        """Begin to measure the event loop."""
        self._lag.start()

    def stop(self) -> None:
        """Measure no more; scrapes are still answered."""
        self._lag.stop()

    # What the ledger says

    def publish(self, record: Record) -> None:
        """Count a command whose entries are durable."""
        session, origin, entries = record.session, record.origin, record.entries
        agent = self._label[session.agent] if self._stand_in is None else self._agent(session)
        if origin is not None and origin.receiver != LEDGER:
            self.received(origin.receiver, record.command.type)
        if entries or record.runs:
            self._counting.record(agent, record, None if self.exemplar is None else self._exemplar_of(record))
        if record.called is not None or session.closed:
            for miss in self._forecasts.look(session, record.called):
                self._counting.missed(miss)
        self._windows.update(session, agent, opened=bool(entries) and type(entries[0].entry) is Opened)

    def adopt(self, sessions: Iterable[Session]) -> None:
        """Show sessions that were there before: restored by a restart. Nothing is counted."""
        for session in sessions:
            agent = self._agent(session)
            self._counting.begin_mode(agent, session.mode)
            self._windows.update(session, agent)

    def retire(self, session: Session) -> None:
        """The session went idle: out of the gauges, until it is published again."""
        self._windows.retire(session, self._agent(session))
        self._forecasts.drop(session)

    def forget(self, session: Session) -> None:
        """Another replica serves the session now: its gauges come from there."""
        self._windows.drop(session.id)
        self._forecasts.drop(session)

    def on_append(self, seconds: float, entries: int, ok: bool) -> None:
        """The journal took so long for so many entries, or failed."""
        self._appends.observe(seconds)
        self._journal_works = ok
        if ok:
            self._entries.add(entries)

    # What the receivers and the other exporters say

    def received(self, receiver: str, type: str, count: int = 1) -> None:
        """A receiver's command was carried out."""
        cell = self._received.get((receiver, type))
        if cell is None:
            cell = self._received[_bounded("token_budget_events_total", receiver=receiver, type=type)]
        cell.add(count)

    def rejected(self, receiver: str, reason: str, count: int = 1) -> None:
        """A receiver answered with an error."""
        labels = _bounded("token_budget_events_rejected_total", receiver=receiver, reason=reason)
        self._rejected[labels].add(count)

    def begin_forwarding(self) -> None:
        """There is an endpoint to forward to: what is passed on to it begins at 0."""
        for labels in product(SIGNALS, FORWARDED):
            self._forwarded[labels]

    def forwarded(self, signal: str, result: str, count: int = 1) -> None:
        """The tee passed on payloads, or could not."""
        self._forwarded[_bounded("token_budget_forwarded_total", signal=signal, result=result)].add(count)

    def dropped(self, what: str, reason: str, count: int = 1) -> None:
        """Something was lost, on purpose and counted."""
        self._dropped[_bounded("token_budget_dropped_total", what=what, reason=reason)].add(count)

    # The scrape

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in the format that the `Accept` header asks for, and its content type."""
        answer = content_type(accept)
        openmetrics = answer == OPENMETRICS
        async with self._scraping:
            await self._look_closer()
            await self._fill_in()
            parts = []
            for family in self._shown:
                parts.append(exposition(family, openmetrics=openmetrics))
                await self._pause()
        process = (generate_openmetrics if openmetrics else generate_latest)(
            self._process
        )  # ends with `# EOF` as it must
        return "".join(parts).encode() + process, answer

    async def _pause(self) -> None:
        """Let others run if a piece of work's time is over."""
        if self._monotonic() - self._since > PIECE:
            await asyncio.sleep(0)
            self._since = self._monotonic()

    async def _look_closer(self) -> None:
        """Read what takes time, of the sessions that changed."""
        begun = self._since = self._monotonic()
        changed = self._windows.take_changed()
        while changed and self._since - begun < PATIENCE:
            _, session = changed.popitem()
            for _ in self._windows.look_closer(session):
                await self._pause()
        self._windows.leave_changed(changed)
        for each in self._windows.worsts():
            each.worst()  # with many sessions these take long together; what changes until they are shown does not
            await self._pause()

    async def _fill_in(self) -> None:
        up = self._journal_works if self.journal_up is None else self.journal_up()
        self._counting.counted("token_budget_journal_up")[()].value = int(up)
        for label, sums in list(self._windows.agents.items()):
            self._show_agent(label, sums)
            for component, part in zip(COMPONENTS, sums.components, strict=True):
                self._show_component(label, component, part, sums.active)
            await self._pause()

    def _show_agent(self, agent: str, sums: AgentSums) -> None:
        sums.pass_time(self._monotonic())
        for (mode, state), count in sums.sessions.items():
            self._gauge("sessions", agent, mode, state).value = count
        self._gauge("window_total_tokens", agent).value = sums.total
        self._gauge("window_used_tokens", agent).value = sums.used
        self._gauge("window_unattributed_tokens", agent).value = sums.unattributed
        self._gauge("window_pending_tokens", agent).value = sums.pending
        self._gauge("window_utilization_ratio", agent).value = ratio(sums.used, sums.total)
        self._gauge("window_utilization_max_ratio", agent).value = sums.fullest.worst() or 0
        for status in STATUSES:
            self._gauge("window_sessions", agent, status).value = sums.statuses[status]
            self._gauge("window_status_entered_total", agent, status).value = sums.entered[status]
            self._gauge("window_status_seconds_total", agent, status).value = sums.seconds[status]
        self._gauge("directives_pending", agent).value = sums.directives
        self._gauge("directives_oldest_age_seconds", agent).value = sums.oldest.worst() or 0
        self._gauge("exhaustion_eta_seconds", agent).value = sums.soonest.worst()

    def _show_component(self, agent: str, component: Component, sums: ComponentSums, windows: int) -> None:
        self._gauge("component_allocated_tokens", agent, component).value = sums.allocated
        self._gauge("component_used_tokens", agent, component).value = sums.used
        self._gauge("component_borrowed_tokens", agent, component).value = sums.borrowed
        known = sums.known or not windows
        self._gauge("component_reclaimable_tokens", agent, component).value = sums.reclaimable if known else None
        self._gauge("component_utilization_ratio", agent, component).value = ratio(sums.used, sums.allocated)
        self._gauge("component_utilization_max_ratio", agent, component).value = sums.fullest.worst() or 0
        for status in STATUSES:
            self._gauge("component_sessions", agent, component, status).value = sums.sessions[status]

    def _gauge(self, name: str, *labels: str) -> Cell:
        return self._counting.counted(f"token_budget_{name}")[labels]

    def _agent(self, session: Session) -> str:
        """The label of a session's agent.

        Where the operator named no agent, zeros stand in for the one to come. The first that comes takes their place:
        a pod has one agent, and should not show the series of two.
        """
        if self._stand_in is not None:
            stand_in, self._stand_in = self._stand_in, None
            if session.agent != stand_in:
                self._counting.end_agent(stand_in)
                self._windows.end_agent(stand_in)
                self._label.give_back(stand_in)
        return self._label[session.agent]

    def _begin_agent(self, label: str) -> None:
        self._counting.begin_agent(label)
        self._windows.agent(label)

    def _fold_agent(self) -> None:
        self.dropped("agent_label", "max_agents")

    def _exemplar_of(self, record: Record) -> Exemplar:
        def text(value: float) -> str:
            labels = self.exemplar(record) if self.exemplar is not None else None
            return exemplar(labels, value, self._clock()) if labels else ""

        return text


def _bounded(name: str, **values: str) -> tuple[str, ...]:
    """Label values, each `other` where the catalogue does not list it."""
    return tuple(
        value if not allowed or value in allowed else OTHER
        for value, allowed in zip(values.values(), BY_NAME[name].labels.values(), strict=True)
    )
