"""What is summed of the active windows: per agent, and per component of an agent. `windows` keeps them up to date."""

from collections.abc import Iterable

from sidecar.budget.policy import COMPONENTS, STATUSES, Mode, Status
from sidecar.exporters.worst import WorstOf


class ComponentSums:
    """One component over an agent's active windows. `known`: in how many of them its reclaimable tokens are known."""

    __slots__ = ("allocated", "borrowed", "fullest", "known", "reclaimable", "sessions", "used")

    def __init__(self) -> None:
        self.allocated = self.used = self.borrowed = self.reclaimable = self.known = 0
        self.sessions: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        self.fullest = WorstOf()


class AgentSums:
    """An agent's windows. `sessions` counts them by mode and state, idle ones too; all else is of the active ones."""

    __slots__ = (
        "components",
        "directives",
        "entered",
        "fullest",
        "oldest",
        "pending",
        "seconds",
        "sessions",
        "since",
        "soonest",
        "statuses",
        "total",
        "unattributed",
        "used",
    )

    def __init__(self, now: float) -> None:
        self.total = self.used = self.unattributed = self.pending = self.directives = 0
        self.components = [ComponentSums() for _ in COMPONENTS]
        self.sessions: dict[tuple[Mode, str], int] = {}
        self.statuses: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        self.entered: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        self.seconds: dict[Status, float] = dict.fromkeys(STATUSES, 0.0)
        self.since = now
        self.fullest = WorstOf()
        self.oldest = WorstOf()
        self.soonest = WorstOf(min)

    def worsts(self) -> Iterable[WorstOf]:
        """Whatever is the worst of a window."""
        return self.fullest, self.oldest, self.soonest, *[component.fullest for component in self.components]

    @property
    def active(self) -> int:
        """How many windows there are."""
        return sum(self.statuses.values())

    def pass_time(self, now: float) -> None:
        """Give the time since the last change to the statuses that the windows were in; call before they change."""
        passed = now - self.since
        if passed > 0:
            for status, windows in self.statuses.items():
                if windows:
                    self.seconds[status] += windows * passed
            self.since = now
