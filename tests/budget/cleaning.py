"""What the tests of cleanup share: a few items, the window that holds them, and a run over it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from sidecar.budget.cleanup import CleanupRun, reclaimable, run_cleanup
from sidecar.budget.items import COMPONENT_OF, Item, Kind
from sidecar.budget.policy import COMPONENTS, Component, Policy
from sidecar.budget.presets import STANDARD

NOW = 1_700_000_000.0
MINUTE = 60.0
HOUR = 3600.0


def item(
    id: str, kind: Kind = "file", tokens: int = 1_000, *, age: float = 0.0, idle: float = 0.0, **more: Any
) -> Item:
    """An item created `age` seconds ago and last accessed `idle` seconds ago."""
    more.setdefault("component", COMPONENT_OF[kind])
    return Item(id=id, kind=kind, tokens=tokens, created_at=NOW - age, last_accessed_at=NOW - idle, **more)


def held(items: Iterable[Item]) -> dict[Component, dict[str, Item]]:
    """The items by component and id, in the order given."""
    window: dict[Component, dict[str, Item]] = {name: {} for name in COMPONENTS}
    for each in items:
        window[each.component][each.id] = each
    return window


def groups_of(items: Iterable[Item]) -> dict[str, list[str]]:
    """The ids that share a group."""
    groups: dict[str, list[str]] = {}
    for each in items:
        if each.group is not None:
            groups.setdefault(each.group, []).append(each.id)
    return groups


def clean(component: Component, *items: Item, **more: Any) -> CleanupRun:
    """A run over these items. The budget is so wide that nothing is evicted, unless `allocated` says otherwise."""
    used = sum(each.tokens for each in items if each.component == component)
    more = {"used": used, "allocated": 10 * used + 1, "now": NOW, "policy": STANDARD, **more}
    return run_cleanup(component, "target", items=held(items), groups=groups_of(items), **more)


def would_free(component: Component, *items: Item, **more: Any) -> int:
    """What `clean` would free, by the shorter way."""
    used = sum(each.tokens for each in items if each.component == component)
    more = {"used": used, "allocated": 10 * used + 1, "now": NOW, "policy": STANDARD, **more}
    return reclaimable(component, items=held(items), groups=groups_of(items), **more)


def left_after(run: CleanupRun, *items: Item) -> list[Item]:
    """The items as they are when the run's actions have become true."""
    left = {each.id: each for each in items}
    for action in run.actions:
        before = left[action.item]
        if action.tokens_after == 0:
            del left[action.item]
            continue
        left[action.item] = msgspec.structs.replace(
            before,
            tokens=action.tokens_after,
            full=before.full and action.step != "cache_docs",
            doc_tokens=min(before.doc_tokens, action.tokens_after),
            original_tokens=action.original_tokens,
        )
    return list(left.values())


def acted(run: CleanupRun) -> list[tuple[str, str, int, int]]:
    """Step, item, size before and after of each action."""
    return [(each.step, each.item, each.tokens_before, each.tokens_after) for each in run.actions]


def with_cleanup(policy: Policy, **settings: Any) -> Policy:
    """The policy with other cleanup settings."""
    return replace(policy, cleanup=replace(policy.cleanup, **settings))
