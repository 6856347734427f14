"""A well-behaved host: holds one window's list, asks and tells as it changes, and applies the directives it is given.

This is what an adapter does inside an agent, for a recorded one: the replayer drives it with the moves of a recording.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from sidecar.budget.commands import Acknowledge, ItemSpec, SyncWindow, WindowItem
from sidecar.budget.items import COMPONENT_OF
from sidecar.budget.policy import Component

SHRINKING = frozenset({"compress", "summarize", "excerpt"})  # the other actions take the item out

ITEM_FIELDS = tuple(field.name for field in fields(ItemSpec))


class Host:
    """The window of one session as its host has it.

    `held` is the list in its order, `stubs` what stands in the place of archived items (a line each, too small to
    count), `tokens` the sum by component, `applied` the number of the last directive applied.
    """

    def __init__(self) -> None:
        self.held: dict[str, ItemSpec] = {}
        self.stubs: dict[str, str] = {}
        self.applied = 0
        self.tokens: Counter[Component] = Counter()
        self._acknowledged = 0
        # What the last sync told of each item, and how the next says that nothing changed.
        self._told: dict[str, tuple[ItemSpec, WindowItem]] = {}

    def gain(self, item: ItemSpec) -> None:
        """Put an item at the end of the list."""
        self.drop(item.id)
        self.held[item.id] = item
        self.tokens[COMPONENT_OF[item.kind]] += item.tokens

    def use(self, item: str, time: float) -> bool:
        """Use an item again; False if it is no longer there."""
        return self._change(item, last_accessed_at=time)

    def complete(self, item: str) -> bool:
        """Finish an item; False if it is no longer there."""
        return self._change(item, completed=True)

    def drop(self, item: str) -> bool:
        """Take an item out; False if it is no longer there."""
        dropped = self.held.pop(item, None)
        if dropped is None:
            return False
        self.tokens[COMPONENT_OF[dropped.kind]] -= dropped.tokens
        return True

    def apply(self, directives: Iterable[Mapping[str, Any]]) -> None:
        """Carry out directives that were not carried out before; for items that are gone there is nothing to do."""
        for directive in directives:
            if directive["number"] <= self.applied:
                continue
            self.applied = directive["number"]
            item = self.held.get(directive["item"])
            if item is None:
                continue
            if directive["action"] in SHRINKING:
                self.held[item.id] = replace(item, tokens=directive["tokens_after"])
                self.tokens[COMPONENT_OF[item.kind]] -= item.tokens - directive["tokens_after"]
            else:
                self.drop(item.id)
                self.stubs[item.id] = directive.get("stub", "")

    @property
    def acknowledgement_due(self) -> bool:
        """Whether directives were applied that the sidecar does not know of yet."""
        return self.applied > self._acknowledged

    def acknowledgement(self, time: float) -> Acknowledge | None:
        """Say how far directives were applied, if there is something new to say."""
        if not self.acknowledgement_due:
            return None
        self._acknowledged = self.applied
        return Acknowledge(through=self.applied, time=time)

    def window(self, time: float) -> SyncWindow:
        """Show the whole list: everything about items that are new, only what may have changed about the others."""
        told, self._told, items = self._told, {}, []
        for item in self.held.values():
            before, short = told.get(item.id, (None, None))
            if short is None or before is not item:
                short = WindowItem(id=item.id, tokens=item.tokens)
            self._told[item.id] = (item, short)
            items.append(short if before is item else _shown(item, before))
        return SyncWindow(items=items, through=self.applied, time=time)

    def _change(self, item: str, **changes: Any) -> bool:
        if item not in self.held:
            return False
        self.held[item] = replace(self.held[item], **changes)
        return True


def _shown(item: ItemSpec, before: ItemSpec | None) -> WindowItem:
    """Show an item that is new, or has changed since it was shown as `before`."""
    if before is None:
        return WindowItem(**{name: getattr(item, name) for name in ITEM_FIELDS})
    used = item.last_accessed_at != before.last_accessed_at
    return WindowItem(
        id=item.id,
        tokens=item.tokens,
        last_accessed_at=item.last_accessed_at if used else None,
        completed=True if item.completed else None,
    )
