"""The thresholds of age in the cleanup strategies: which items are past one, and when the next item will be.

One table says for each step that goes by age which items it concerns, since when their age counts, and the setting that
bounds it. "Over an hour" is strict: an item exactly an hour old is not due. So the time at which it is due is the next
float after the hour, and asking `now >= due` is right at every instant.

Where a policy also counts age in model calls, an item is past the threshold by whichever comes first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, nextafter
from operator import attrgetter
from types import MappingProxyType
from typing import Literal, NamedTuple

from sidecar.budget.items import Item, Kind
from sidecar.budget.known import Known
from sidecar.budget.overlay import Overlay
from sidecar.budget.policy import CleanupPolicy, Component, Policy, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """A step's threshold: items of `kinds` (empty: all), `after` (a setting of the policy) seconds from `since` on.

    The setting's twin, of the same name and `_calls`, bounds the age in model calls. `larger_than` (a setting as well):
    the step shrinks, and only items of more tokens than that.
    """

    kinds: tuple[Kind, ...] = ()
    since: Literal["created_at", "last_accessed_at"]
    after: str
    larger_than: str | None = None


AGES: Mapping[Step, Age] = MappingProxyType(
    {
        "compress_inactive": Age(
            kinds=("context", "tool_result"),
            since="last_accessed_at",
            after="inactive_after",
            larger_than="large_item_tokens",
        ),
        "remove_debug": Age(kinds=("debug",), since="created_at", after="debug_after"),
        "unload_skills": Age(kinds=("skill",), since="last_accessed_at", after="unload_after"),
        "compress_idle": Age(since="last_accessed_at", after="idle_after", larger_than="large_item_tokens"),
        "summarize_old": Age(
            kinds=("interaction",), since="created_at", after="summarize_after", larger_than="summary_tokens"
        ),
        "archive": Age(kinds=("interaction",), since="created_at", after="archive_after"),
    }
)
_TIME = {name: attrgetter(name) for name in ("created_at", "last_accessed_at")}
_CALL = {"created_at": attrgetter("created_call"), "last_accessed_at": attrgetter("used_call")}


def past(held: Overlay, step: Step) -> Sequence[Item]:
    """The items that the step's threshold of age concerns and that are past it."""
    age, now = AGES[step], held.now
    after: float = getattr(held.policy.cleanup, age.after)
    calls = _calls(held, age) if held.call else None  # a session that shows no calls goes by the hour alone
    if calls is None and held.known.oldest.get(step, -inf) + after >= now:
        return ()  # known without a look at any item
    concerned, oldest = _concerned(held, step)
    if calls is not None:
        time, call, last = _TIME[age.since], _CALL[age.since], held.call - calls
        return [item for item in concerned if call(item) <= last or time(item) + after < now]
    if oldest + after >= now:  # mostly nothing is due, and the oldest says so
        return ()
    return [item for item, at in zip(concerned, _times(concerned, age.since), strict=True) if at + after < now]


def _calls(held: Overlay, age: Age) -> int | None:
    """The threshold in model calls; None: there is none."""
    calls: int | None = getattr(held.policy.cleanup, f"{age.after}_calls")
    return calls


def next_due(held: Overlay) -> float | None:
    """The earliest time after `held.now` at which an item that is left crosses a threshold of its strategy, if any."""
    cleanup, now = held.policy.cleanup, held.now
    due = inf
    for step in held.policy.components[held.component].steps:
        if step == "remove_redundant":
            due = min(due, min((end for end in _ends_of_youth(held) if end > now), default=inf))
        elif step in AGES:
            after: float = getattr(cleanup, AGES[step].after)
            concerned, oldest = _concerned(held, step)
            threshold = oldest + after
            if threshold < now:
                later = [at for since in _times(concerned, AGES[step].since) if (at := since + after) >= now]
                threshold = min(later, default=inf)
            due = min(due, nextafter(threshold, inf))
    return due if due < inf else None


def next_due_call(held: Overlay) -> int | None:
    """As `next_due`, in model calls: the first call, after the present one, at which that may be.

    What is protected for its last calls is so at most until then, unless it is used again.
    """
    cleanup, now = held.policy.cleanup, held.call
    if not cleanup.counts_calls:
        return None
    dues = [now + cleanup.protect_calls] if cleanup.protect_calls else []
    for step in held.policy.components[held.component].steps:
        if step in AGES and (calls := _calls(held, AGES[step])) is not None:
            call = _CALL[AGES[step].since]
            dues += [at for each in _concerned(held, step)[0] if (at := call(each) + calls) > now]
        elif step == "remove_redundant" and cleanup.full_text_for_calls is not None and (redundant := held.redundant()):
            youth = cleanup.full_text_for_calls
            ends = [each.created_call + youth for each in held.of("interaction") if each.id in redundant]
            dues += [end for end in ends if end > now]
    return min(dues, default=None)


def first_due_call(item: Item, policy: Policy) -> int | None:
    """As `first_due`, in model calls."""
    aging = policy.aging.get((item.component, item.kind)) or _aging(policy, item.component, item.kind)
    if not aging.calls or item.pinned or not item.tokens:
        return None
    dues = [call(item) + calls for call, calls, fits in aging.calls if fits(item)]
    return min(dues, default=None)


def first_due(item: Item, policy: Policy, known: Known | None = None) -> float | None:
    """The earliest time at which a threshold of age of its component's strategy could concern the item, if ever.

    `known`: where the age of the item is to be noted as well.
    """
    aging = policy.aging.get((item.component, item.kind)) or _aging(policy, item.component, item.kind)
    if item.pinned or not item.tokens:
        return None
    due = inf
    for step, time, after, larger in aging.seconds:
        if larger is not None and (item.tokens <= larger or item.original_tokens is not None):
            continue
        since = time(item)
        if known is not None:
            known.note(step, since)
        due = min(due, nextafter(since + after, inf))
    if aging.redundant is not None and item.fingerprint:
        due = min(due, item.created_at + aging.redundant[0] - aging.redundant[1])
    return due if due < inf else None


class _Aging(NamedTuple):
    """The thresholds that could ever concern an item of one kind in one component, as a policy has them.

    Each put asks for them, and would else look at every step for the few that go by age.
    """

    # Step, since when its age counts, for how long, and the size that it must exceed (None: any does).
    seconds: Sequence[tuple[Step, Callable[[Item], float], float, int | None]]
    # Since which model call its age counts, for how many, and whether it is such an item.
    calls: Sequence[tuple[Callable[[Item], int], int, Callable[[Item], bool]]]
    # Of exchanges: an older one may be what this one says again, and its youth ends by so much (the second) earlier.
    redundant: tuple[float, float] | None


def _aging(policy: Policy, component: Component, kind: Kind) -> _Aging:
    cleanup, steps = policy.cleanup, policy.components[component].steps
    ages = [(step, AGES[step]) for step in steps if step in AGES and kind in (AGES[step].kinds or (kind,))]
    calls: list[tuple[Callable[[Item], int], int, Callable[[Item], bool]]] = [
        (_CALL[age.since], getattr(cleanup, f"{age.after}_calls"), partial(_fits, larger=_larger(cleanup, age)))
        for _, age in ages
        if getattr(cleanup, f"{age.after}_calls") is not None
    ]
    redundant = kind == "interaction" and "remove_redundant" in steps
    if redundant and cleanup.full_text_for_calls is not None:
        calls.append((_CALL["created_at"], 1, _repeats))  # an exchange that this one says again may be old already
    policy.aging[component, kind] = found = _Aging(
        [(step, _TIME[age.since], getattr(cleanup, age.after), _larger(cleanup, age)) for step, age in ages],
        calls,
        (cleanup.full_text_for, cleanup.redundant_within) if redundant else None,
    )
    return found


def _larger(cleanup: CleanupPolicy, age: Age) -> int | None:
    return None if age.larger_than is None else getattr(cleanup, age.larger_than)


def _fits(item: Item, *, larger: int | None) -> bool:
    return larger is None or (item.original_tokens is None and item.tokens > larger)


def _repeats(item: Item) -> bool:
    return bool(item.fingerprint)


def _concerned(held: Overlay, step: Step) -> tuple[Sequence[Item], float]:
    """The items left that the step's threshold concerns, and the time of the oldest, from which its age counts.

    Remembered until the run changes something: mostly it changes nothing, and this is all it does.
    """
    known = held.memo.get(step)
    if known is not None and known[0] == held.changes:
        return known[1:]
    age, gone, shrunk = AGES[step], held.gone, held.shrunk
    if known is not None:  # items only leave during a run
        found = [item for item in known[1] if item.id not in gone] if gone else known[1]
    else:
        found = held.of(*age.kinds)
        if age.larger_than is not None:
            size: int = getattr(held.policy.cleanup, age.larger_than)
            found = [item for item in found if item.tokens > size and item.original_tokens is None]
    if age.larger_than is not None and shrunk:
        found = [item for item in found if item.id not in shrunk]
    oldest = min(_times(found, age.since), default=inf)
    held.memo[step] = (held.changes, found, oldest)
    if not held.changes:  # as the items really are
        held.known.oldest[step] = oldest
    return found, oldest


def _times(items: Sequence[Item], since: Literal["created_at", "last_accessed_at"]) -> list[float]:
    """Since when the items' ages count; written out, at a third of what asking each by the field's name takes."""
    if since == "created_at":
        return [item.created_at for item in items]
    return [item.last_accessed_at for item in items]


def _ends_of_youth(held: Overlay) -> Iterable[float]:
    """When the exchanges that are redundant already, but too young to be touched, are so no longer."""
    youth = held.policy.cleanup.full_text_for
    redundant = held.redundant()
    if not redundant:
        return ()
    return [item.created_at + youth for item in held.of("interaction") if item.id in redundant]
