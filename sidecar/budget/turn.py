"""One command's way through a session: what it emits, cleans up and answers.

A `Turn` applies each entry through `evolve` as soon as it is true, because the steps of SPEC 3.2 build on each other:
a request that did not fit is tried again on what its cleanup left.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from sidecar.budget.cleanup import CleanupRun, own_reasons, run_cleanup
from sidecar.budget.entries import Action, AnyEntry, BoundExceeded, CleanedUp, Exhausted, Trigger
from sidecar.budget.errors import Invalid
from sidecar.budget.evolve import evolve
from sidecar.budget.gain import pays
from sidecar.budget.lending import missing
from sidecar.budget.policy import COMPONENTS, Component, Step
from sidecar.budget.profile import NOTHING_KNOWN
from sidecar.budget.ratio import portion
from sidecar.budget.replies import Cleanup
from sidecar.budget.session import Session
from sidecar.budget.whole import call_back, clean_window


class Turn:
    """Collects what one command does to one session at session time `at`. `store_content`: texts are kept.

    `cleaning`: the seconds that cleanups took, those planned and not carried out included.
    `profile`: what is known of the agent, for the commands that ask for it; `learns`: what it does changes that.
    """

    __slots__ = (
        "answered",
        "at",
        "cleaned",
        "cleaning",
        "contents",
        "entries",
        "event",
        "exhausted",
        "host",
        "learns",
        "over",
        "profile",
        "protected",
        "runs",
        "session",
        "stopwatch",
        "store_content",
    )

    # Each command makes one: written out, it takes half of what a dataclass and its factories take.
    def __init__(
        self,
        session: Session,
        at: float,
        host: bool,
        event: str | None,
        answered: bool,
        stopwatch: Callable[[], float],
        store_content: bool = True,
    ) -> None:
        self.session = session
        self.at = at
        self.host = host
        self.event = event
        self.answered = answered
        self.stopwatch = stopwatch
        self.store_content = store_content
        self.entries: list[AnyEntry] = []
        self.runs: list[CleanupRun] = []
        self.contents: dict[int, str] = {}
        self.protected: set[str] = set()  # items of the current command
        self.over: set[Component] = set()  # above their budgets when the command began
        self.exhausted: set[Component] = set()
        self.cleaned: set[Component] = set()
        self.cleaning = 0.0
        self.profile = NOTHING_KNOWN
        self.learns = False

    def begin(self) -> None:
        """Note where the components stand before the command, for those that `settle` at its end."""
        for name, held in self.session.components.items():
            if held.used > held.allocated:
                self.over.add(name)

    def emit(self, entry: AnyEntry) -> None:
        """Make an entry true. The first one of a command carries its id and whether its answer has directives."""
        if not self.entries and (self.event is not None or self.answered):
            entry.event = self.event
            entry.answered = self.answered
        self.entries.append(entry)
        evolve(self.session, entry, id=self.session.id)

    def exhaust(self, component: Component, *, tokens: int, available: int, by_request: bool) -> None:
        """Count an exhaustion, at most one per component and command."""
        if component in self.exhausted:
            return
        self.exhausted.add(component)
        self.emit(
            Exhausted(
                time=self.at,
                host=self.host,
                component=component,
                by="request" if by_request else "fact",
                tokens=tokens,
                available_tokens=available,
            )
        )

    def clean(
        self, component: Component, trigger: Trigger, *, pending: int = 0, steps: Sequence[Step] | None = None
    ) -> CleanupRun:
        """Run a component's cleanup; what it frees becomes an entry, with directives in a managed session."""
        return self.carry_out(self.plan(component, trigger, pending=pending, steps=steps))

    def plan(
        self,
        component: Component,
        trigger: Trigger,
        *,
        pending: int = 0,
        steps: Sequence[Step] | None = None,
        reduce: int | None = None,
        done: Sequence[Action] = (),
    ) -> CleanupRun:
        """What a cleanup would do (arguments as `run_cleanup`). `done`: planned before it and not carried out yet."""
        session = self.session
        held = session.components[component]
        run = run_cleanup(
            component,
            trigger,
            items={name: each.items for name, each in session.components.items()},
            groups=session.groups,
            policy=session.policy,
            now=self.at,
            used=held.used,
            allocated=held.allocated,
            pending=pending,
            protected=self.protected,
            steps=steps,
            call=session.calls,
            reduce=reduce,
            done=done,
            known=held.known,
            first_number=None if session.mode == "observed" else session.issued + 1 + len(done),
            stopwatch=self.stopwatch,
        )
        self.cleaning += run.duration
        return run

    def pays(self, runs: Sequence[CleanupRun]) -> bool:
        """Whether cleanups planned together pay for the prompt cache that they cost."""
        begun = self.stopwatch()
        worth = pays(self.session, runs)
        self.cleaning += self.stopwatch() - begun
        return worth

    def carry_out(self, run: CleanupRun) -> CleanupRun:
        """Make a planned cleanup true; in an observed session it stays advice."""
        begun = self.stopwatch()
        advice = self.session.mode == "observed"
        if run.actions and not advice:
            self.emit(
                CleanedUp(
                    time=self.at,
                    host=self.host,
                    component=run.component,
                    trigger=run.trigger,
                    tokens_freed=run.tokens_freed,
                    actions=run.actions,
                    due=run.due,
                    sent=self.answered,
                    due_call=run.due_call,
                    reasons=own_reasons(self.session.policy.cleanup, (each.step for each in run.steps)),
                )
            )
        seconds = self.stopwatch() - begun
        self.cleaning += seconds
        run = replace(run, duration=run.duration + seconds, advice=advice)
        self.runs.append(run)
        self.cleaned.add(run.component)
        return run

    def settle(self, touched: Iterable[Component] = COMPONENTS) -> None:
        """After facts: an exhaustion where a component went over its budget, and its cleanup (SPEC 3.2)."""
        session = self.session
        elastic = session.policy.elastic.on
        for component in touched:
            held = session.components[component]
            used = held.used
            if used <= held.allocated:
                continue
            if component not in self.over:
                self.exhaust(component, tokens=used - held.allocated, available=0, by_request=False)
            elif elastic or not self._grown(component, held.budget_mark):
                continue
            if session.mode != "managed" or not held.policy.steps or component in self.cleaned:
                continue
            if elastic and missing(session):
                continue  # it is called back what it cannot borrow
            if elastic and session.policy.window.upper is not None:  # its marks say when the window is cleaned up
                self.note(component, "budget", held.due, held.due_call)
            else:
                self.clean_bound(component, "allocation", waits=elastic)
        if elastic and session.mode == "managed":
            call_back(self)

    def check_targets(self) -> None:
        """Crossing a target upwards runs the component's action (SPEC 3.1, 3.5), before anything is exhausted.

        A component that stays above its budget is cleaned up again here, whatever the command, when that is due: the
        action of its target, a part of its strategy, would take the time of the whole.
        """
        session = self.session
        if session.mode != "managed":
            return
        for component, held in session.components.items():
            if not held.above_target or not held.policy.above_target:  # the rarer first
                continue
            if component in self.cleaned:
                if held.target_mark is None:  # what its cleanup made room for crossed the target; nothing is left to do
                    self.note(component, "target", held.due, held.due_call)
            elif (
                held.budget_mark is not None
                and not session.policy.elastic.on
                and self._grown(component, held.budget_mark)
            ):
                self.clean_bound(component, "allocation")
            elif held.target_mark is None or self._grown(component, held.target_mark):
                self.clean_bound(component, "target", held.policy.above_target, waits=True)
        if session.policy.window.upper is not None:
            clean_window(self)

    def _grown(self, component: Component, mark: int | None) -> bool:
        """Whether a component that stays above a bound is to be cleaned up again."""
        held = self.session.components[component]
        if mark is None:
            return True
        growth = held.used - mark
        if 0 < growth >= portion(held.rules.cleanup.rerun_growth)(held.allocated):
            return True
        return self.is_due(held.due, held.due_call)

    def is_due(self, due: float | None, due_call: int | None) -> bool:
        """Whether an age could matter by now."""
        return (due is not None and self.at >= due) or (due_call is not None and self.session.calls >= due_call)

    def clean_bound(
        self,
        component: Component,
        trigger: Trigger,
        steps: Sequence[Step] | None = None,
        *,
        reduce: int | None = None,
        waits: bool = False,
    ) -> None:
        """Clean up a component that stands above a bound, or note that this was in vain.

        `waits`: it may wait where it would not pay for the prompt cache that it costs.
        """
        run = self.plan(component, trigger, steps=steps, reduce=reduce)
        waits = waits and bool(run.actions) and not self.pays((run,))
        if not waits:
            self.carry_out(run)
        if waits or not run.actions:
            self.note(component, "target" if trigger == "target" else "budget", run.due, run.due_call)

    def note(
        self, component: Component, bound: Literal["target", "budget"], due: float | None, due_call: int | None
    ) -> None:
        """Remember that nothing is to be done above a bound for now."""
        self.emit(
            BoundExceeded(
                time=self.at,
                host=self.host,
                component=component,
                bound=bound,
                used_tokens=self.session.components[component].used,
                due=due,
                due_call=due_call,
            )
        )


def cleanup_reply(run: CleanupRun) -> Cleanup:
    """A cleanup as a caller sees it."""
    reply: Cleanup = {
        "component": run.component,
        "trigger": run.trigger,
        "tokens_freed": run.tokens_freed,
        "duration_ms": round(run.duration * 1000, 3),
        "actions_taken": [each.step for each in run.steps],
        "steps": [{"step": each.step, "items": each.items, "tokens_freed": each.tokens_freed} for each in run.steps],
    }
    if run.advice:
        reply["advice"] = True
    return reply


def named(component: Component | None, *, path: str = "component") -> Component:
    """The component, which this command cannot do without."""
    if component is None:
        raise Invalid(f"{path} is required: one of {', '.join(COMPONENTS)}", path=path)
    return component
