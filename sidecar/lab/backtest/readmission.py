"""What a policy freed and the agent then needed again.

Figures without text cannot tell why something is read again: an agent reads a file anew because it was edited, too, or
reads another part of it. Both count here, so this is an upper bound.
"""

from dataclasses import dataclass, field

from sidecar.budget.commands import ItemSpec
from sidecar.budget.items import Kind

# What an agent reads, and can read again. The same short answer twice is no reading again.
READ: frozenset[Kind] = frozenset({"file", "tool_result", "doc", "skill", "memory"})


@dataclass(slots=True)
class Readmission:
    """Remembers what was taken from a window, by path and by text, until it is needed again.

    `tokens`: what was needed again, at most once for each time it was taken.
    """

    tokens: int = 0
    _taken: dict[str, tuple[ItemSpec, int]] = field(default_factory=dict)  # the item, and what taking it has freed
    _taken_at: dict[str, set[str]] = field(default_factory=dict)  # path or text -> the ids of items taken
    _whole: dict[str, set[str]] = field(default_factory=dict)  # path or text -> the ids of items there as they came

    def came(self, item: ItemSpec) -> None:
        """The item has come in: what was taken of it, and is not there in another copy, came back.

        A part of a file may come back where the whole was taken: no more than what came in counts.
        """
        room = item.tokens
        for key in _keys(item):
            if not self._whole.get(key):
                counted = min(self._forget(key), room)
                self.tokens += counted
                room -= counted
            self._whole.setdefault(key, set()).add(item.id)

    def taken(self, item: ItemSpec, freed: int, *, at_once: bool) -> None:
        """The policy removed or shrunk the item, which freed so much; `at_once`: in the call after it was read."""
        if item.kind not in READ:
            return
        self.left(item)
        if at_once:
            self.tokens += freed
            return
        _, before = self._taken.get(item.id, (item, 0))
        self._taken[item.id] = (item, before + freed)
        for key in _keys(item):
            self._taken_at.setdefault(key, set()).add(item.id)

    def left(self, item: ItemSpec) -> None:
        """The item is not there any more as it came."""
        for key in _keys(item):
            self._whole.get(key, set()).discard(item.id)

    def used(self, item: str) -> None:
        """The agent uses an item as if it were there: what was taken of it is needed again."""
        if item in self._taken:
            self.tokens += self._taken[item][1]
            for key in _keys(self._taken.pop(item)[0]):
                self._forget(key)

    def _forget(self, key: str) -> int:
        """What was taken of a key counts no second time; the tokens that were freed so."""
        taken = (self._taken.pop(id, None) for id in self._taken_at.pop(key, ()))
        return sum(each[1] for each in taken if each is not None)


def _keys(item: ItemSpec) -> list[str]:
    """By what one recognizes the item when it is read again."""
    if item.kind not in READ:
        return []
    return [f"{name}:{value}" for name, value in (("path", item.path), ("text", item.fingerprint)) if value]
