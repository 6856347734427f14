"""One window under one policy, run through the engine as a well-behaved managed host would.

The host asks for what it can still leave out and leaves out what it is refused; all else it tells as facts. Directives
are applied and acknowledged before the next model call; what the call was billed is reported after it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from sidecar.budget.commands import (
    CloseSession,
    Command,
    CompleteItem,
    ItemSpec,
    OpenSession,
    PutItem,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    TouchItem,
)
from sidecar.budget.decide import Decision, Defaults, decide
from sidecar.budget.entries import CleanedUp, Exhausted
from sidecar.budget.profile import NOTHING_KNOWN, Profile, learn, lesson_of
from sidecar.budget.session import Session
from sidecar.lab.backtest.arms import Arm
from sidecar.lab.backtest.course import Course
from sidecar.lab.backtest.measures import HORIZON, RECENT, Measures
from sidecar.lab.backtest.readmission import Readmission
from sidecar.lab.host import SHRINKING, Host
from sidecar.lab.script import AnyMove, Compact, Complete, Gain, ModelCall, Use


class Window:
    """One window under one policy; `run` it, then read `measures` and the `session`."""

    def __init__(self, course: Course, arm: Arm, measures: Measures, profile: Profile = NOTHING_KNOWN) -> None:
        """`measures` says whose it is, and how large the window; the rest of it is counted here.

        `profile`: what the agent's sessions before this one have taught.
        """
        self.measures = measures
        self.host = Host()
        self._course = course
        self._profile = profile
        self._defaults = Defaults(
            preset=arm.policy.name,
            store_content=False,
            adjust_interval=arm.adjust_interval,
            profiles={course.opened.agent: profile},
            learn=arm.carries,
        )
        self._session: Session | None = None
        self._readmission = Readmission()
        self._seen: dict[str, int] = {}  # item -> model calls made when it came in or was last used
        self._prompt: list[tuple[str, int]] = []  # that of the last model call
        self._changed = False  # something in that prompt is not as it was
        self._forecasts: deque[tuple[int, float]] = deque()  # for which model call, which utilization
        self._time = course.opened.time

    @property
    def session(self) -> Session:
        """The session as the engine has it."""
        if self._session is None:
            raise AssertionError("a window is opened before anything else happens to it")
        return self._session

    def run(self) -> Measures:
        """Run the window from its opening to its end."""
        opened, measures = self._course.opened, self.measures
        measures.total_tokens = self._course.total
        measures.fits = self._course.total <= measures.limit
        measures.fits_billed = self._course.billed_total <= measures.limit
        self._tell(
            OpenSession(
                agent=opened.agent,
                parent=opened.parent,
                mode="managed",
                model=opened.model,
                total_tokens=measures.limit,
                time=opened.time,
            )
        )
        for move in self._course.moves:
            self._time = move.time
            self._take(move)
        self._settle()
        measures.readmitted_tokens = self._readmission.tokens
        return measures

    def close(self) -> Profile:
        """Close the session; what is known of the agent then (SPEC 3.4)."""
        for entry in self._tell(CloseSession(time=self._time)).entries:
            lesson = lesson_of(entry)
            if lesson is not None:
                self._profile = learn(self._profile, lesson[1], at=self._time)
        return self._profile

    def _take(self, move: AnyMove) -> None:
        match move:
            case ModelCall():
                self._call()
            case Gain(item=item, declinable=declinable):
                self._gain(item, declinable=declinable)
            case Use(item=item):
                self._settle()  # what is confirmed may be answered with more, about this very item
                self._readmission.used(item)
                if self.host.use(item, move.time):
                    self._seen[item] = self.measures.calls
                    self._tell(TouchItem(item=item, time=move.time))
            case Complete(item=item):
                self._settle()
                if self.host.complete(item):
                    self._tell(CompleteItem(item=item, time=move.time))
            case Compact(items=items):  # what the host itself took out
                for each in items:
                    self._drop(each)
            case _:
                pass

    def _gain(self, item: ItemSpec, *, declinable: bool) -> None:
        self._drop_copy(item.id)
        self.host.gain(item)
        self._seen[item.id] = self.measures.calls
        if not declinable:
            self._readmission.came(item)
            self._tell(PutItem(item=item, time=self._time))
            return
        self.measures.requests += 1
        reply = self._tell(RequestAllocation(item=item, time=self._time)).reply
        if reply["granted"] >= item.tokens:
            self._readmission.came(item)
            return
        self.host.drop(item.id)
        self.measures.refusals += 1
        self.measures.refused_tokens += item.tokens - reply["granted"]

    def _drop_copy(self, item: str) -> None:
        if item in self.host.held:
            self._changed = True
            self._readmission.left(self.host.held[item])

    def _drop(self, item: str) -> None:
        self._settle()
        if item in self.host.held:
            self._drop_copy(item)
            self.host.drop(item)
            self._tell(RemoveItem(item=item, time=self._time))

    def _call(self) -> None:
        """The window goes to the model as it is now."""
        self._settle()
        measures, session = self.measures, self.session
        self._lose_cache()
        counted = self.host.tokens.total()
        billed = round(counted * self._course.ratio(measures.calls, counted))
        measures.calls += 1
        measures.overflows += billed > measures.limit
        measures.peak_billed = max(measures.peak_billed, billed)
        target, utilization = session.policy.overall_target, billed / measures.limit
        measures.calls_in_target += target.low <= utilization <= target.high
        measures.calls_above += utilization > target.high
        self._tell(ReportUsage(total=billed, time=self._time))
        self._foresee()

    def _lose_cache(self) -> None:
        """A provider's cache holds the last prompt, as far as the new one begins with the same."""
        prompt = [(item.id, item.tokens) for item in self.host.held.values()]
        if self._changed:
            self.measures.cache_lost_tokens += lost(self._prompt, prompt)
        self._prompt, self._changed = prompt, False

    def _foresee(self) -> None:
        """Hold what was foreseen for this call against what it is, and keep what is foreseen now."""
        measures, session = self.measures, self.session
        while self._forecasts and self._forecasts[0][0] <= measures.calls:
            due, expected = self._forecasts.popleft()
            if due == measures.calls:
                measures.errors.append(100 * abs(expected - session.utilization))
        for each in session.forecast().get("expected", ()):
            if each["calls"] == HORIZON:
                self._forecasts.append((measures.calls + HORIZON, each["utilization_ratio"]))

    def _settle(self) -> None:
        """Confirm what was applied, until nothing is asked for any more."""
        while (acknowledgement := self.host.acknowledgement(self._time)) is not None:
            self._decide(acknowledgement)

    def _tell(self, command: Command) -> Decision:
        if (acknowledgement := self.host.acknowledgement(self._time)) is not None:
            self._decide(acknowledgement)
        return self._decide(command)

    def _decide(self, command: Command) -> Decision:
        decision = decide(
            self._session, command, id=self._course.session, now=self._time, defaults=self._defaults, answered=True
        )
        self._session, measures = decision.session, self.measures
        for entry in decision.entries:
            if isinstance(entry, Exhausted):
                measures.exhaustions += 1
            elif isinstance(entry, CleanedUp):
                measures.cleanups += 1
                measures.freed_tokens += entry.tokens_freed
                self._forecasts.clear()  # they say what comes if nothing is cleaned up
        measures.emergencies += sum(run.trigger == "allocation" for run in decision.runs)
        for directive in decision.reply.get("directives", ()):
            self._apply(directive)
        return decision

    def _apply(self, directive: dict[str, Any]) -> None:
        if directive["number"] > self.host.applied and (item := self.host.held.get(directive["item"])) is not None:
            age = self.measures.calls - self._seen[item.id]
            self.measures.recent_actions += age < RECENT
            self._changed = True
            left = directive["tokens_after"] if directive["action"] in SHRINKING else 0
            self._readmission.taken(item, item.tokens - left, at_once=age <= 1)
        self.host.apply([directive])


def lost(before: Sequence[tuple[str, int]], prompt: Sequence[tuple[str, int]]) -> int:
    """Tokens of a prompt that were in the one before, but behind the first piece that is not as it was there."""
    same = next(
        (at for at, (old, new) in enumerate(zip(before, prompt, strict=False)) if old != new),
        min(len(before), len(prompt)),
    )
    cached = {piece for piece, _ in before[same:]}
    return sum(tokens for piece, tokens in prompt[same:] if piece in cached)
