"""A cleanup run: the steps of a component's strategy in order, each on what the previous left (SPEC 3.5).

A run decides and changes nothing: its actions become true when they are in the ledger, as one entry, together with what
they archive. So the same run serves an observed session, where it is only advice.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, repeat
from typing import Literal, NamedTuple

from sidecar.budget.ages import AGES, first_due, first_due_call, next_due, next_due_call
from sidecar.budget.entries import Action, Trigger
from sidecar.budget.items import Item
from sidecar.budget.known import Known, nothing_held
from sidecar.budget.overlay import Change, Overlay
from sidecar.budget.policy import Component, Policy, Step
from sidecar.budget.steps import ACTION, STEPS, own_reasons, reasons

__all__ = [
    "ACTION",
    "CleanupRun",
    "StepRun",
    "first_due",
    "first_due_call",
    "known_empty",
    "own_reasons",
    "reasons",
    "reclaimable",
    "run_cleanup",
    "zero",
]


class StepRun(NamedTuple):
    """What one step of a run did: the items it acted on, those that went along with their group included."""

    step: Step
    items: int
    tokens_freed: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupRun:
    """One run of a component's cleanup. Tokens are exact sums over `actions`, `duration` is in seconds.

    `steps`: those that did something, in order. `due`: the earliest later time at which an item of the component
    crosses a threshold of age (None: never, or a manual run that did nothing, of which nobody asks it), `due_call` the
    same in the session's model calls. `advice`: the session is
    observed, nothing was done.
    """

    component: Component
    trigger: Trigger
    actions: tuple[Action, ...] = ()
    steps: tuple[StepRun, ...] = ()
    tokens_freed: int = 0
    due: float | None = None
    due_call: int | None = None
    duration: float = 0.0
    advice: bool = False

    @property
    def result(self) -> Literal["freed", "noop"]:
        """The metric label."""
        return "freed" if self.tokens_freed else "noop"


def known_empty(strategy: Sequence[Step]) -> Known:
    """What is known of a component that holds nothing."""
    return nothing_held(step for step in strategy if step in AGES)


def zero() -> float:
    """A stopwatch that stands still: nothing here reads a clock of its own."""
    return 0.0


def run_cleanup(  # noqa: PLR0913 - a run has many circumstances, each named by its caller
    component: Component,
    trigger: Trigger,
    *,
    items: Mapping[Component, Mapping[str, Item]],
    groups: Mapping[str, Collection[str]],
    policy: Policy,
    now: float,
    used: int,
    allocated: int,
    pending: int = 0,
    protected: Collection[str] = (),
    steps: Sequence[Step] | None = None,
    extent: Literal["full", "goal"] | None = None,
    call: int = 0,
    reduce: int | None = None,
    done: Sequence[Action] = (),
    known: Known | None = None,
    first_number: int | None = None,
    stopwatch: Callable[[], float] = zero,
) -> CleanupRun:
    """Decide what a cleanup of the component does now.

    Args:
        component: whose strategy runs.
        trigger: why it runs; only recorded.
        items: per component, by id, in order of insertion. Not changed.
        groups: the ids that share a group, whatever their component.
        policy: thresholds, strategy and target.
        now: the session's time, in seconds since the epoch.
        used: the component's used tokens, those that no item holds included.
        allocated: the component's budget, in tokens.
        pending: the request that waits, in tokens.
        protected: ids that must not be touched: those of the command that causes the run.
        steps: the part of the strategy to run; None is all of it.
        extent: `goal` stops as soon as `pending` fits and the component is inside its target; None is the policy's.
        call: the session's model calls so far; 0: it shows none, and age goes by the seconds alone.
        reduce: stop as soon as so many tokens are free, whatever the component's own bounds say; None: no such goal.
        done: what other runs of the same breath did already.
        known: of the component's items, brought up to date. None: nothing is.
        first_number: the directive number of the first action, the others count on from there; None: no directives.
        stopwatch: seconds, for how long the run and its steps took.
    """
    started = stopwatch()
    held = Overlay(
        component,
        items=items,
        groups=groups,
        policy=policy,
        now=now,
        used=used,
        allocated=allocated,
        pending=pending,
        protected=protected,
        call=call,
        reduce=reduce,
        done=done,
        known=known,
    )
    strategy = policy.components[component].steps if steps is None else steps
    goal = reduce is not None or (extent or policy.cleanup.extent) == "goal"
    actions: list[Action] = []
    runs: list[StepRun] = []
    for step in strategy:
        begun, before = stopwatch(), held.freed
        done_here = _actions(step, _changes(step, held, goal=goal), first_number and first_number + len(actions))
        if done_here:
            actions += done_here
            runs.append(StepRun(step, len(done_here), held.freed - before, stopwatch() - begun))
    asked = bool(actions) or trigger != "manual"  # one that finds nothing, run by hand, leaves no mark behind
    return CleanupRun(
        component=component,
        trigger=trigger,
        actions=tuple(actions),
        steps=tuple(runs),
        tokens_freed=sum(run.tokens_freed for run in runs),
        due=next_due(held) if asked else None,
        due_call=next_due_call(held) if asked else None,
        duration=stopwatch() - started,
    )


def reclaimable(  # noqa: PLR0913 - as `run_cleanup`
    component: Component,
    *,
    items: Mapping[Component, Mapping[str, Item]],
    groups: Mapping[str, Collection[str]],
    policy: Policy,
    now: float,
    used: int,
    allocated: int,
    call: int = 0,
    known: Known | None = None,
) -> int:
    """The tokens that a manual cleanup of the component would free now (arguments as in `run_cleanup`)."""
    held = Overlay(
        component,
        items=items,
        groups=groups,
        policy=policy,
        now=now,
        used=used,
        allocated=allocated,
        call=call,
        known=known,
    )
    goal = policy.cleanup.extent == "goal"
    return sum(
        size - left for step in policy.components[component].steps for _, size, left in _changes(step, held, goal=goal)
    )


def _changes(step: Step, held: Overlay, *, goal: bool) -> Iterable[Change]:
    """Carry out what a step proposes, as far as the rules over all steps allow."""
    if not goal and ACTION[step] in ("compress", "summarize", "excerpt"):  # then it shrinks whatever it proposes
        return held.shrink_all(STEPS[step](held))
    return _one_by_one(step, held, goal=goal)


def _one_by_one(step: Step, held: Overlay, *, goal: bool) -> Iterator[Change]:
    if goal and held.satisfied():
        return
    stub = held.policy.cleanup.stub_tokens
    for item, to in STEPS[step](held):
        if to is None:
            if item.tokens > stub:
                for member in held.together(item):
                    yield member, held.remove(member), 0
        elif held.shrink(item, to):
            yield item, item.tokens, to
        if goal and held.satisfied():
            break


def _actions(step: Step, changes: Iterable[Change], first_number: int | None) -> list[Action]:
    """What the step did as actions, in one go: there may be ten thousand of them."""
    action = ACTION[step]
    numbers = repeat(0) if first_number is None else count(first_number)
    return [
        Action(
            step,
            action,
            item.id,
            item.kind,
            item.component,
            size,
            left,
            item.tokens if item.original_tokens is None else item.original_tokens,
            item.content,
            number,
        )
        for number, (item, size, left) in zip(numbers, changes, strict=False)
    ]
