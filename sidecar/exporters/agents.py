"""The `agent` label: one value per agent, up to a bound; later ones share `other`."""

from collections.abc import Callable
from typing import Final

from sidecar.exporters.catalog import OTHER

# A name as a label: longer ones are cut. Folded names remembered, so that each is counted as dropped once.
MAX_LENGTH: Final = 64
MAX_FOLDED: Final = 10_000


class AgentLabels:
    """Maps an agent's name to its label. The first `limit` labels are given out for good; `other` is beyond the bound.

    `configured` is the operator's own agent and never folded; `folded` is called once per name that was.
    """

    def __init__(self, configured: str, *, limit: int, folded: Callable[[], None]) -> None:
        self._limit = max(1, limit)
        self._folded = folded
        self._labels: dict[str, str] = {}
        self._given: set[str] = set()
        self._others: set[str] = set()
        self(configured)

    def __call__(self, name: str) -> str:
        """The label of an agent."""
        label = self._labels.get(name)
        if label is not None:
            return label
        label = tidy(name)
        if label not in self._given:
            if len(self._given) >= self._limit and label != OTHER:
                return self._fold(name)
            self._given.add(label)
        if len(self._labels) < MAX_FOLDED:
            self._labels[name] = label
        return label

    def _fold(self, name: str) -> str:
        if name not in self._others and len(self._others) < MAX_FOLDED:
            self._others.add(name)
            self._folded()
        return OTHER


def tidy(name: str) -> str:
    """A name that every tool on the way can show: printable, and of bounded length."""
    return "".join(each if each.isprintable() else "_" for each in name[:MAX_LENGTH]) or "unknown"
