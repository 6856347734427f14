"""What the active windows hold, summed per agent and component while it changes.

Each session's last contribution is remembered, and the sums move by the difference when its next entries are durable:
no scrape adds up sessions, and nothing that is not durable is ever shown. Two things take longer than a decision may
wait for: what a cleanup would free, and the forecast. They are read for the sessions that changed, when somebody looks.
"""

from collections.abc import Callable, Iterator, Mapping

from sidecar.budget.policy import COMPONENTS, Mode, Status
from sidecar.budget.session import Session
from sidecar.exporters.sums import AgentSums, ComponentSums
from sidecar.exporters.worst import WorstOf


class _Part:
    """What one component of one window contributes to the sums."""

    __slots__ = ("allocated", "borrowed", "reclaimable", "status", "used")

    def __init__(self) -> None:
        self.allocated = self.used = self.borrowed = 0
        self.reclaimable: int | None = None
        self.status: Status | None = None


class _Window:
    """What one session contributes to the sums of `agent`. `version` is the session's then; -1 while it is idle."""

    __slots__ = (
        "agent",
        "directives",
        "kind",
        "parts",
        "pending",
        "status",
        "total",
        "unattributed",
        "used",
        "version",
    )

    def __init__(self, agent: AgentSums) -> None:
        self.agent = agent
        self.version = -1
        self.kind: tuple[Mode, str] | None = None
        self.status: Status | None = None
        self.total = self.used = self.unattributed = self.pending = self.directives = 0
        self.parts = [_Part() for _ in COMPONENTS]


class Windows:
    """The windows of all agents, by agent label. `monotonic` is the server's clock, in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._windows: dict[str, _Window] = {}
        self._changed: dict[str, Session] = {}
        self.agents: dict[str, AgentSums] = {}

    def agent(self, label: str) -> AgentSums:
        """The sums of an agent; they begin when they are first asked for."""
        sums = self.agents.get(label)
        if sums is None:
            sums = self.agents[label] = AgentSums(self._monotonic())
        return sums

    def end_agent(self, label: str) -> None:
        """Forget an agent that has no sessions."""
        self.agents.pop(label, None)

    def update(self, session: Session, label: str, *, opened: bool = False) -> None:
        """Let the sums follow a session's present state. `opened`: it is new, and began as a low window."""
        window = self._windows.get(session.id)
        if window is not None and window.version == session.version:
            return  # another command of the same turn, or one that changed nothing
        if session.closed:
            self.drop(session.id)
            return
        agent = self.agent(label)
        if window is None or window.agent is not agent:
            self.drop(session.id)
            window = self._windows[session.id] = _Window(agent)
        window.version = session.version
        self._changed[session.id] = session
        kind = (session.mode, "drifted" if session.directives and session.drifted else "active")
        if kind != window.kind:
            self._count(window, kind)
        used = self._follow_components(session, window, agent) + session.unattributed
        total = session.total
        agent.total += total - window.total
        agent.used += used - window.used
        agent.unattributed += session.unattributed - window.unattributed
        window.total, window.used, window.unattributed = total, used, session.unattributed
        if session.directives or window.directives:
            self._follow_directives(session, window, agent)
        utilization = used / total if total > 0 else float(used)
        agent.fullest[session.id] = utilization
        status = session.policy.status(utilization)
        if status != window.status:
            self._move(window, status, before="low" if opened and window.status is None else window.status)

    def _follow_components(self, session: Session, window: _Window, agent: AgentSums) -> int:
        """Move the sums of the components that changed; the tokens that all components hold."""
        all_used = pending = 0
        for held, part, sums in zip(session.components.values(), window.parts, agent.components, strict=True):
            used, allocated = held.used, held.allocated
            all_used += used
            pending += held.pending
            if used != part.used or allocated != part.allocated or part.status is None:
                sums.used += used - part.used
                sums.allocated += allocated - part.allocated
                part.used, part.allocated = used, allocated
                utilization = used / allocated if allocated > 0 else float(used)
                sums.fullest[session.id] = utilization
                status = session.policy.status(utilization)
                if status != part.status:
                    if part.status is not None:
                        sums.sessions[part.status] -= 1
                    sums.sessions[status] += 1
                    part.status = status
            if held.borrowed != part.borrowed:
                sums.borrowed += held.borrowed - part.borrowed
                part.borrowed = held.borrowed
        agent.pending += pending - window.pending
        window.pending = pending
        return all_used

    def _follow_directives(self, session: Session, window: _Window, agent: AgentSums) -> None:
        """Count those that are pending, and for how long the oldest has been."""
        agent.directives += len(session.directives) - window.directives
        window.directives = len(session.directives)
        for oldest in session.directives.values():
            agent.oldest[session.id] = session.clock - oldest.sent_at
            return
        agent.oldest.forget(session.id)

    def retire(self, session: Session, label: str) -> None:
        """The session went idle: it stays counted as that, and leaves everything else."""
        if session.closed:
            return
        self.drop(session.id)
        window = self._windows[session.id] = _Window(self.agent(label))
        self._count(window, (session.mode, "idle"))

    def drop(self, session: str) -> None:
        """Take a session out of all sums."""
        self._changed.pop(session, None)
        window = self._windows.pop(session, None)
        if window is None:
            return
        self._count(window, None)
        if window.status is None:
            return
        agent = window.agent
        self._move(window, None)
        agent.total -= window.total
        agent.used -= window.used
        agent.unattributed -= window.unattributed
        agent.pending -= window.pending
        agent.directives -= window.directives
        for worst in (agent.fullest, agent.oldest, agent.soonest):
            worst.forget(session)
        for part, sums in zip(window.parts, agent.components, strict=True):
            sums.used -= part.used
            sums.allocated -= part.allocated
            sums.borrowed -= part.borrowed
            sums.fullest.forget(session)
            if part.status is not None:
                sums.sessions[part.status] -= 1
            _reclaim(sums, part, None)

    def _count(self, window: _Window, kind: tuple[Mode, str] | None) -> None:
        """Count the session under another mode and state; None: no more."""
        sessions = window.agent.sessions
        if window.kind is not None:
            sessions[window.kind] -= 1
        if kind is not None:
            sessions[kind] = sessions.get(kind, 0) + 1
        window.kind = kind

    def _move(self, window: _Window, status: Status | None, *, before: Status | None = None) -> None:
        """Count the window under another status; None: no more. `before`: where it came from, None from nowhere."""
        agent = window.agent
        agent.pass_time(self._monotonic())
        if window.status is not None:
            agent.statuses[window.status] -= 1
        if status is not None:
            agent.statuses[status] += 1
            if before is not None and status != before:
                agent.entered[status] += 1
        window.status = status

    def worsts(self) -> Iterator[WorstOf]:
        """Whatever has a worst, of all agents."""
        for agent in list(self.agents.values()):
            yield from agent.worsts()

    def take_changed(self) -> dict[str, Session]:
        """The sessions that changed since they were last taken, for the taker to use up."""
        changed, self._changed = self._changed, {}
        return changed

    def leave_changed(self, sessions: Mapping[str, Session]) -> None:
        """Nobody got round to these: they stay changed, and whoever takes the last one first takes them first."""
        self._changed.update(sessions)

    def look_closer(self, session: Session) -> Iterator[None]:
        """Read what takes time, piece by piece; others may run between two pieces.

        A session that the ledger is deciding on stays changed: what it holds may turn out not to have happened.
        """
        for place, component in enumerate(COMPONENTS):
            window = self._durable(session)
            if window is None:
                return
            _reclaim(window.agent.components[place], window.parts[place], session.reclaimable(component))
            yield
        window = self._durable(session)
        if window is not None:
            eta = session.time_left().get("eta_seconds")
            if eta is not None:
                window.agent.soonest[session.id] = eta
            else:
                window.agent.soonest.forget(session.id)
            yield

    def _durable(self, session: Session) -> _Window | None:
        """The window, if it is active and the session has not moved on since it was published."""
        window = self._windows.get(session.id)
        if window is None or window.status is None:
            return None
        if window.version != session.version:
            self._changed.setdefault(session.id, session)
            return None
        return window


def _reclaim(sums: ComponentSums, part: _Part, tokens: int | None) -> None:
    if part.reclaimable is not None:
        sums.reclaimable -= part.reclaimable
        sums.known -= 1
    if tokens is not None:
        sums.reclaimable += tokens
        sums.known += 1
    part.reclaimable = tokens
