"""What a cleanup run has left so far: the session's items as they would be, while they themselves stay untouched.

A cleanup is decided first and becomes true later, by its entry. So each step looks at an overlay, which remembers what
the steps before it shrank and removed. It also guards what no step may touch: the pinned, the protected, the young
exchanges, and groups that hold any of them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sidecar.budget.items import Item, Kind
from sidecar.budget.policy import Component, Policy
from sidecar.budget.ratio import is_over
from sidecar.budget.similarity import superseded


class Overlay:
    """One component during one run. Sizes are tokens, `now` seconds since the epoch."""

    __slots__ = (
        "_by_kind",
        "_groups",
        "_marked",
        "_protected",
        "_redundant",
        "_staying",
        "allocated",
        "component",
        "freed_here",
        "gone",
        "items",
        "memo",
        "now",
        "pending",
        "policy",
        "shrunk",
        "used",
    )

    def __init__(  # noqa: PLR0913 - as `run_cleanup`
        self,
        component: Component,
        *,
        items: Mapping[Component, Mapping[str, Item]],
        groups: Mapping[str, Collection[str]],
        policy: Policy,
        now: float,
        used: int,
        allocated: int,
        pending: int = 0,
        protected: Collection[str] = (),
    ) -> None:
        self.component: Component = component
        self.items = items
        self.policy = policy
        self.now = now
        self.used = used
        self.allocated = allocated
        self.pending = pending
        self.gone: set[str] = set()
        self.shrunk: dict[str, int] = {}
        self.freed_here = 0  # of this component; companions of a group may be freed elsewhere
        self._groups = groups
        self._protected = frozenset(protected)
        self.memo: dict[str, tuple[int, Sequence[Item], float]] = {}  # see `ages`
        self._staying: set[str] = set()  # groups known to hold something untouchable
        self._by_kind: Mapping[Kind, list[Item]] | None = None
        self._marked: list[Item] = []
        self._redundant: dict[str, Item] | None = None

    def of(self, *kinds: Kind) -> Sequence[Item]:
        """What the component still holds of these kinds (none: of every kind) that is neither pinned nor empty."""
        by_kind = self._scan()
        lists = [by_kind[kind] for kind in kinds or tuple(by_kind) if kind in by_kind]
        found = lists[0] if len(lists) == 1 else [item for each in lists for item in each]
        return self._left(found)

    def fingerprinted(self) -> Sequence[Item]:
        """What the component still holds that has a fingerprint, pinned or not, in order of insertion."""
        self._scan()
        return self._left(self._marked)

    def _scan(self) -> Mapping[Kind, list[Item]]:
        """Sort the items by kind, in the one pass over all of them that a run makes."""
        if self._by_kind is None:
            by_kind: defaultdict[Kind, list[Item]] = defaultdict(list)
            marked = self._marked
            for item in self.items[self.component].values():
                if item.fingerprint:
                    marked.append(item)
                if item.tokens and not item.pinned:
                    by_kind[item.kind].append(item)
            self._by_kind = by_kind
        return self._by_kind

    def _left(self, items: Sequence[Item]) -> Sequence[Item]:
        gone = self.gone
        return [item for item in items if item.id not in gone] if gone else items

    def redundant(self) -> Mapping[str, Item]:
        """By id: the exchanges that a newer one, soon after, says again. Found once, by the first that asks."""
        if self._redundant is None:
            cleanup = self.policy.cleanup
            exchanges = (item for item in self.fingerprinted() if item.kind == "interaction")
            self._redundant = superseded(exchanges, within=cleanup.redundant_within, bits=cleanup.similar_bits)
        return self._redundant

    @property
    def changes(self) -> int:
        """How much the run did so far: grows with everything that it shrinks or removes."""
        return len(self.shrunk) + len(self.gone)

    def is_over(self, utilization: float) -> bool:
        """Whether the component, without the request that waits, still stands above a utilization."""
        return is_over(max(0, self.used - self.freed_here), self.allocated, utilization)

    def satisfied(self) -> bool:
        """Whether the request that waits fits, and the component is inside its target."""
        left = max(0, self.used - self.freed_here)
        fits = self.pending == 0 or left + self.pending <= self.allocated
        return fits and not self.is_over(self.policy.components[self.component].target.high)

    def together(self, item: Item) -> Sequence[Item]:
        """The item and what goes with it when it is removed; nothing if it must stay."""
        if item.id in self.gone or not self.is_free(item):
            return ()
        group = item.group
        if group is None:
            return (item,)
        if group in self._staying:
            return ()
        members = [item]
        for name in self._groups.get(group, ()):
            if name == item.id or name in self.gone:
                continue
            for held in self.items.values():
                member = held.get(name)
                if member is None:
                    continue
                if not self.is_free(member):
                    self._staying.add(group)
                    return ()
                members.append(member)
                break
        return members

    def is_free(self, item: Item) -> bool:
        """Whether a cleanup may touch the item at all, its group left aside."""
        if item.pinned or (self._protected and item.id in self._protected):
            return False
        # A young exchange keeps its full text; a component without steps (the fixed one) is never cleaned up.
        if item.kind == "interaction" and item.created_at + self.policy.cleanup.full_text_for > self.now:
            return False
        return item.component == self.component or bool(self.policy.components[item.component].steps)

    def shrink(self, item: Item, tokens: int) -> bool:
        """The item is left with so many tokens, if it may be shrunk: at most once until it is put again."""
        id, before = item.id, item.tokens
        if tokens >= before or item.original_tokens is not None or id in self.shrunk or id in self.gone:
            return False
        if not self.is_free(item):
            return False
        if item.component == self.component:
            self.freed_here += before - tokens
        self.shrunk[id] = tokens
        return True

    def remove(self, item: Item) -> int:
        """The item is gone; the size it had."""
        tokens = self.shrunk.get(item.id, item.tokens)
        if item.component == self.component:
            self.freed_here += tokens
        self.gone.add(item.id)
        return tokens
