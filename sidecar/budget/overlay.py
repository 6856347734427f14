"""What a cleanup run has left so far: the session's items as they would be, while they themselves stay untouched.

A cleanup is decided first and becomes true later, by its entry. So each step looks at an overlay, which remembers what
the steps before it shrank and removed. It also guards what no step may touch: the pinned, the protected, the young
exchanges, what the last model calls used, and groups that hold any of them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from sidecar.budget.entries import Action
from sidecar.budget.items import Item, Kind
from sidecar.budget.known import Known
from sidecar.budget.policy import Component, Policy
from sidecar.budget.ratio import is_over
from sidecar.budget.similarity import superseded

Change: TypeAlias = tuple[Item, int, int]  # an item with its sizes before and after


class Overlay:
    """One component during one run. Sizes are tokens, `now` seconds since the epoch.

    `call`: the session's model calls so far; 0: it shows none. `reduce`: free so many tokens, whatever the component's
    own bounds say, and no more. `done`: what runs before this one, in the same breath, did. `known`: of the
    component's items, brought up to date by what a run finds.
    """

    __slots__ = (
        "_by_kind",
        "_groups",
        "_guarding",
        "_marked",
        "_of_kind",
        "_protected",
        "_redundant",
        "_staying",
        "_used_after",
        "allocated",
        "call",
        "component",
        "freed_elsewhere",
        "freed_here",
        "gone",
        "items",
        "known",
        "memo",
        "now",
        "pending",
        "policy",
        "reduce",
        "removed",
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
        call: int = 0,
        reduce: int | None = None,
        done: Iterable[Action] = (),
        known: Known | None = None,
    ) -> None:
        self.component: Component = component
        self.items = items
        self.policy = policy
        self.now = now
        self.used = used
        self.allocated = allocated
        self.pending = pending
        self.call = call
        self.reduce = reduce
        self.known = Known() if known is None else known
        self.gone = {action.item for action in done if not action.tokens_after}
        self.shrunk = {action.item: action.tokens_after for action in done if action.tokens_after}
        self.freed_here = 0  # of this component
        self.freed_elsewhere = 0  # companions of a group, in other components
        self.removed = 0  # items
        # Used later than at this model call: protected. A session that shows no calls cannot say what its last were.
        self._used_after = call - policy.cleanup.protect_calls if call and policy.cleanup.protect_calls else None
        self._groups = groups
        self._protected = frozenset(protected)
        self._guarding = bool(self._protected) or self._used_after is not None
        self.memo: dict[str, tuple[int, Sequence[Item], float]] = {}  # see `ages`
        self._staying: set[str] = set()  # groups known to hold something untouchable
        self._by_kind: Mapping[Kind, list[Item]] | None = None
        self._of_kind: dict[Kind, list[Item]] = {}
        self._marked: list[Item] | None = None
        self._redundant: dict[str, Item] | None = None

    def of(self, *kinds: Kind) -> Sequence[Item]:
        """What the component still holds of these kinds (none: of every kind) that is neither pinned nor empty."""
        if self.known.kinds is not None and kinds:
            kinds = tuple([kind for kind in kinds if kind in self.known.kinds])
            if not kinds:
                return ()
        if len(kinds) == 1 and self._by_kind is None:
            return self._left(self._of_one(kinds[0]))
        by_kind = self._scan()
        lists = [by_kind[kind] for kind in kinds or tuple(by_kind) if kind in by_kind]
        found = lists[0] if len(lists) == 1 else [item for each in lists for item in each]
        return self._left(found)

    def _of_one(self, kind: Kind) -> Sequence[Item]:
        """Of one kind, by looking for it: a third of the time that sorting all of them takes."""
        found = self._of_kind.get(kind)
        if found is None:
            items = self.items[self.component].values()
            found = [item for item in items if item.kind == kind and item.tokens and not item.pinned]
            self._of_kind[kind] = found
        return found

    def fingerprinted(self) -> Sequence[Item]:
        """What the component still holds that has a fingerprint, pinned or not, in order of insertion."""
        if self._marked is None:
            self._marked = [item for item in self.items[self.component].values() if item.fingerprint]
        return self._left(self._marked)

    def _scan(self) -> Mapping[Kind, list[Item]]:
        """Sort the items by kind, once in a run."""
        if self._by_kind is None:
            by_kind: defaultdict[Kind, list[Item]] = defaultdict(list)
            for item in self.items[self.component].values():
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

    @property
    def freed(self) -> int:
        """The tokens that the run freed so far, wherever."""
        return self.freed_here + self.freed_elsewhere

    def is_over(self, utilization: float) -> bool:
        """Whether the component, without the request that waits, still stands above a utilization."""
        return is_over(max(0, self.used - self.freed_here), self.allocated, utilization)

    def satisfied(self) -> bool:
        """Whether the goal is reached: so many tokens are free, or the waiting request fits, inside the target."""
        if self.reduce is not None:
            stubs = self.removed * self.policy.cleanup.stub_tokens
            return self.freed - stubs >= self.reduce
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
        if self._used_after is not None and item.used_call > self._used_after:
            return False
        # A young exchange keeps its full text; a component without steps (the fixed one) is never cleaned up.
        if item.kind == "interaction" and self._is_young(item):
            return False
        return item.component == self.component or bool(self.policy.components[item.component].steps)

    def _is_young(self, item: Item) -> bool:
        cleanup = self.policy.cleanup
        if item.created_at + cleanup.full_text_for <= self.now:
            return False
        calls = cleanup.full_text_for_calls
        return calls is None or not self.call or item.created_call + calls > self.call

    def shrink(self, item: Item, tokens: int) -> bool:
        """The item is left with so many tokens, if it may be shrunk: at most once until it is put again."""
        id, before, shrunk = item.id, item.tokens, self.shrunk
        if tokens >= before or item.original_tokens is not None or id in shrunk or id in self.gone:
            return False
        # Mostly nothing but a pin guards an item, and ten thousand calls less are to be made.
        if item.pinned or ((self._guarding or item.kind == "interaction") and not self.is_free(item)):
            return False
        if item.component == self.component:
            self.freed_here += before - tokens
        else:
            self.freed_elsewhere += before - tokens
        shrunk[id] = tokens
        return True

    def shrink_all(self, proposals: Iterable[tuple[Item, int | None]]) -> list[Change]:
        """What `shrink` does, for as many items as there are: ten thousand in a third of the time.

        Each is the component's own, proposed once, and with a size.
        """
        shrunk, gone, guarding = self.shrunk, self.gone, self._guarding
        if shrunk or gone:
            proposals = [each for each in proposals if each[0].id not in shrunk and each[0].id not in gone]
        changes = [
            (item, before, tokens)
            for item, tokens in proposals
            if tokens is not None
            and tokens < (before := item.tokens)
            and item.original_tokens is None
            and not item.pinned
            and not ((guarding or item.kind == "interaction") and not self.is_free(item))
        ]
        for item, _, tokens in changes:
            shrunk[item.id] = tokens
        self.freed_here += sum([before - tokens for _, before, tokens in changes])
        return changes

    def remove(self, item: Item) -> int:
        """The item is gone; the size it had."""
        tokens = self.shrunk.get(item.id, item.tokens)
        if item.component == self.component:
            self.freed_here += tokens
        else:
            self.freed_elsewhere += tokens
        self.removed += 1
        self.gone.add(item.id)
        return tokens
