"""The `agent` label: one value per agent, up to a bound; later ones share `other`."""

from collections.abc import Callable
from typing import Final

from sidecar.exporters.metric import OTHER

UNKNOWN: Final = "unknown"  # an agent that nobody named
MAX_LENGTH: Final = 64  # characters of a name that a label shows
MAX_NAMES: Final = 10_000  # names remembered, so that each folded one is counted once


class AgentLabels(dict[str, str]):
    """Maps an agent's name to its label: the first `limit` labels are given out for good, then `other`.

    It is asked with each command, so what it knows is a dictionary: of each name that was asked for.

    `begin` is told of each label when it is first used, `fold` once of each name that has to share `other`. The
    `configured` agent is the operator's own: its label is there from the start.
    """

    def __init__(self, configured: str, *, limit: int, begin: Callable[[str], None], fold: Callable[[], None]) -> None:
        super().__init__()
        self._limit = max(1, limit)
        self._begin = begin
        self._fold = fold
        self._begun: set[str] = set()
        self._use(tidy(configured))

    def give_back(self, label: str) -> None:
        """Nothing shows this label any more: it takes no place until it is used again."""
        self._begun.discard(label)
        for name in [name for name, each in self.items() if each == label]:
            del self[name]

    def __missing__(self, name: str) -> str:
        """The label of an agent that was not asked for yet, or is one too many to be remembered."""
        label = tidy(name)
        folded = label not in self._begun and len(self._begun - {OTHER}) >= self._limit
        if folded:
            label = OTHER
        self._use(label)
        if len(self) < MAX_NAMES:
            self[name] = label
            if folded:
                self._fold()
        return label

    def _use(self, label: str) -> None:
        if label not in self._begun:
            self._begun.add(label)
            self._begin(label)


def tidy(name: str) -> str:
    """A name that every tool on the way can show: printable, and of bounded length."""
    return "".join(each if each.isprintable() else "_" for each in name[:MAX_LENGTH]) or UNKNOWN
