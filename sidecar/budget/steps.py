"""The steps of the cleanup strategies, one small generator each (SPEC 3.5).

A step looks at what the steps before it left, and proposes: an item and the size it should shrink to, or an item and
None, to remove it. What no step may touch, groups, and sizes that would not shrink are the runner's business, so a step
says nothing but its own rule.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import TypeAlias

from sidecar.budget.ages import past
from sidecar.budget.entries import ActionName
from sidecar.budget.items import Item
from sidecar.budget.overlay import Overlay
from sidecar.budget.policy import HOUR, MINUTE, CleanupPolicy, Step
from sidecar.budget.presets import STANDARD
from sidecar.budget.ratio import portion, portions

Proposal: TypeAlias = tuple[Item, int | None]


def compress_inactive(held: Overlay) -> Iterable[Proposal]:
    """Large contexts and tool results that nobody used for long."""
    return _compressed(held, past(held, "compress_inactive"))


def _compressed(held: Overlay, items: Sequence[Item]) -> Iterable[Proposal]:
    return zip(items, portions(held.policy.cleanup.compress_to, [item.tokens for item in items]), strict=True)


def remove_debug(held: Overlay) -> Iterator[Proposal]:
    """Old debug output."""
    for item in past(held, "remove_debug"):
        yield item, None


def archive_tasks(held: Overlay) -> Iterator[Proposal]:
    """Completed tasks."""
    for item in held.of("task"):
        if item.completed:
            yield item, None


def evict_lru(held: Overlay) -> Iterator[Proposal]:
    """The least recently used files, while the component is too full without the request that waits.

    What counts as a file, and which goes first, is policy. A run that is to free so many tokens evicts until it has.
    """
    cleanup = held.policy.cleanup
    if held.reduce is None and not held.is_over(cleanup.evict_above):
        return
    found = held.of(*cleanup.evict_kinds)
    ranks = _by_size_and_age(held, found) if cleanup.eviction == "size_adjusted" else _by_last_use(found)
    last = _newest_copies(found) if cleanup.newest_copies_last else ()
    order = [
        (item.id in last, rank, number, item) for number, (rank, item) in enumerate(zip(ranks, found, strict=True))
    ]
    heapq.heapify(order)
    count = len(order) if held.reduce is not None else cleanup.evict_count
    chosen: list[Item] = []
    while order and len(chosen) < count:
        item = heapq.heappop(order)[3]
        if held.together(item):
            chosen.append(item)
    for item in chosen:
        yield item, None


def _newest_copies(items: Sequence[Item]) -> Collection[str]:
    """The newest item of each path and kind, and what shares a group with one: it would take it along.

    Items of a kind stand in the order in which they came.
    """
    newest = {(item.kind, item.path): item for item in items if item.path}
    groups = {item.group for item in newest.values() if item.group}
    copies = {item.id for item in newest.values()}
    return copies | {item.id for item in items if item.group in groups}


def _by_last_use(items: Sequence[Item]) -> Iterator[float]:
    return (item.last_accessed_at for item in items)


def _by_size_and_age(held: Overlay, items: Sequence[Item]) -> Iterator[float]:
    """Largest product of size and age first; age in model calls, in seconds where the session shows none.

    Something used just now still has an age: of two such, the larger goes first.
    """
    if held.call:
        return (-float(item.tokens * (held.call - item.used_call + 1)) for item in items)
    return (-item.tokens * (max(0.0, held.now - item.last_accessed_at) + 1) for item in items)


def unload_skills(held: Overlay) -> Iterator[Proposal]:
    """Skills that nobody used for long."""
    for item in past(held, "unload_skills"):
        yield item, None


def cache_docs(held: Overlay) -> Iterator[Proposal]:
    """Documents held in full: a summary is enough."""
    summary = portion(held.policy.cleanup.doc_summary_to)
    for item in held.of("doc"):
        if item.full:
            yield item, summary(item.tokens)


def remove_duplicates(held: Overlay) -> Iterator[Proposal]:
    """All copies but the newest."""
    newest: dict[str, Item] = {}
    staying: dict[str, Item] = {}
    copies: list[Item] = []
    # Sorting is stable: of two created at the same time, the one inserted later is the newer.
    for item in sorted(held.fingerprinted(), key=attrgetter("created_at")):
        mark = item.fingerprint or ""
        if mark in newest:
            copies.append(newest[mark])
            staying[mark] = item
        newest[mark] = item
    # The group of a copy may hold what another copy is a copy of. That stays, so the whole group does.
    groups = {item.group for item in staying.values() if item.group}
    for item in copies:
        if item.group not in groups:
            yield item, None


def compress_docs(held: Overlay) -> Iterator[Proposal]:
    """The documentation part of skills, where it is large."""
    cleanup = held.policy.cleanup
    excerpt = portion(cleanup.compress_docs_to)
    for item in held.of("skill"):
        if item.doc_tokens > cleanup.large_doc_tokens:
            part = min(item.doc_tokens, item.tokens)
            yield item, item.tokens - part + excerpt(part)


def archive_completed(held: Overlay) -> Iterator[Proposal]:
    """Completed agents, plans and executions."""
    for item in held.of("agent", "plan", "execution"):
        if item.completed:
            yield item, None


def compress_idle(held: Overlay) -> Iterable[Proposal]:
    """Large items of agents that nobody used for long."""
    return _compressed(held, past(held, "compress_idle"))


def summarize_old(held: Overlay) -> Iterator[Proposal]:
    """Old exchanges: a short summary is enough."""
    to = held.policy.cleanup.summary_tokens
    for item in past(held, "summarize_old"):
        yield item, to


def remove_redundant(held: Overlay) -> Iterator[Proposal]:
    """Exchanges that a newer one, soon after, says again."""
    redundant = held.redundant()
    if not redundant:
        return
    # The last one of a chain is what all the others are redundant to: it stays, and so does what shares its group.
    groups = {newer.group for newer in redundant.values() if newer.group and newer.id not in redundant}
    for item in held.of("interaction"):
        if item.id in redundant and item.group not in groups:
            yield item, None


def archive(held: Overlay) -> Iterator[Proposal]:
    """Very old exchanges."""
    for item in past(held, "archive"):
        yield item, None


STEPS: Mapping[Step, Callable[[Overlay], Iterable[Proposal]]] = MappingProxyType(
    {
        "compress_inactive": compress_inactive,
        "remove_debug": remove_debug,
        "archive_tasks": archive_tasks,
        "evict_lru": evict_lru,
        "unload_skills": unload_skills,
        "cache_docs": cache_docs,
        "remove_duplicates": remove_duplicates,
        "compress_docs": compress_docs,
        "archive_completed": archive_completed,
        "compress_idle": compress_idle,
        "summarize_old": summarize_old,
        "remove_redundant": remove_redundant,
        "archive": archive,
    }
)

# What a host is told to do (SPEC 3.5, "Steps make directives").
ACTION: Mapping[Step, ActionName] = MappingProxyType(
    {
        "compress_inactive": "compress",
        "remove_debug": "remove",
        "archive_tasks": "archive",
        "evict_lru": "evict",
        "unload_skills": "unload",
        "cache_docs": "summarize",
        "remove_duplicates": "remove",
        "compress_docs": "excerpt",
        "archive_completed": "archive",
        "compress_idle": "compress",
        "summarize_old": "summarize",
        "remove_redundant": "remove",
        "archive": "archive",
    }
)


@lru_cache(maxsize=64)
def reasons(policy: CleanupPolicy) -> Mapping[Step, str]:
    """Why each step acted, in words: the rule with the policy's own numbers."""
    large = f"over {policy.large_item_tokens:,} tokens and not accessed for over"
    evicted = "file" if policy.evict_kinds == ("file",) else " or ".join(policy.evict_kinds).replace("_", " ")
    evicted = f"{'least recently used' if policy.eviction == 'lru' else 'large and long unused'} {evicted}"
    if policy.evict_kinds == ("file",) and policy.eviction == "lru":
        evicted += f" while utilization was above {policy.evict_above:.2f}"
    return MappingProxyType(
        {
            "compress_inactive": f"{large} {_age(policy.inactive_after, policy.inactive_after_calls)}",
            "remove_debug": f"debug output created over {_age(policy.debug_after, policy.debug_after_calls)} ago",
            "archive_tasks": "task completed",
            "evict_lru": evicted,
            "unload_skills": f"skill not accessed for over {_age(policy.unload_after, policy.unload_after_calls)}",
            "cache_docs": "document held in full, a summary is enough",
            "remove_duplicates": "a newer item has the same fingerprint",
            "compress_docs": f"documentation of the skill over {policy.large_doc_tokens:,} tokens",
            "archive_completed": "completed",
            "compress_idle": f"{large} {_age(policy.idle_after, policy.idle_after_calls)}",
            "summarize_old": f"exchange created over {_age(policy.summarize_after, policy.summarize_after_calls)} ago",
            "remove_redundant": f"a newer exchange within {_span(policy.redundant_within)} says the same",
            "archive": f"exchange created over {_age(policy.archive_after, policy.archive_after_calls)} ago",
        }
    )


def _age(seconds: float, calls: int | None) -> str:
    return _span(seconds) if calls is None else f"{_span(seconds)} or {calls} model calls"


def own_reasons(policy: CleanupPolicy, steps: Iterable[Step]) -> dict[Step, str]:
    """Why these steps acted, as far as it is put otherwise than with the numbers of `standard`."""
    if policy == STANDARD.cleanup:
        return {}
    own, usual = reasons(policy), reasons(STANDARD.cleanup)
    return {step: own[step] for step in steps if own[step] != usual[step]}


def _span(seconds: float) -> str:
    for unit, name in ((HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"{seconds:g} seconds"
