"""What is known of an agent, and how it learns: a pure fold over lessons, as a session is one over its entries.

A lesson is an entry that names the agent: a task it completed, or what one of its sessions came to at its close. The
journal folds it into the agent's profile in the transaction that stores the entry, so nothing is learned twice and
nothing of two replicas is lost. What is learned is bounded: the newest few of everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from types import MappingProxyType
from typing import Any, TypeAlias

from sidecar.budget.allocation import adjust_shares
from sidecar.budget.entries import AnyEntry, Learned, TaskCompleted
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.presets import PRESETS, STANDARD
from sidecar.budget.replies import Complexity

TASKS = 32  # completed tasks that a profile remembers
SESSIONS = 16  # closed sessions whose growth it remembers, and ratios for each model
MODELS = 16  # models whose ratio it remembers

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneTask:
    """A completed task: what the prior had said of it and what it took, in tokens; components of neither left out."""

    complexity: Complexity
    prior: Mapping[Component, int] = field(default_factory=lambda: _NOTHING)
    actual: Mapping[Component, int] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of an agent: what its sessions start from, and what its tasks need.

    Attributes:
        shares: what its sessions start from (None: their preset's).
        preset: the preset whose sessions start from them (None: any).
        calibration: by component, the multiple of the prior that tasks are taken to need before there are any; 1 where
            there is none.
        tasks: the newest completed ones, oldest first.
        growth: tokens a model call added to the window, of the newest sessions, oldest first.
        provider_ratios: by model, provider tokens for each counted token, of the newest sessions, oldest first.
        raised: by component, whether its last adjustment of its own raised (True) or lowered it.
        doubted: components whose last adjustment would have gone the other way, and waits for a second sign.
        revision: counts the lessons; 0 is a profile that has learned nothing.
        sessions: closed sessions that it has learned from.
        learned_at: server time of the last lesson, seconds since the epoch.
    """

    shares: Mapping[Component, float] | None = None
    preset: str | None = None
    calibration: Mapping[Component, float] = field(default_factory=lambda: _NOTHING)
    tasks: tuple[DoneTask, ...] = ()
    growth: tuple[float, ...] = ()
    provider_ratios: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: _NOTHING)
    raised: Mapping[Component, bool] = field(default_factory=lambda: _NOTHING)
    doubted: tuple[Component, ...] = ()
    revision: int = 0
    sessions: int = 0
    learned_at: float = 0.0

    def shares_for(self, preset: str) -> Mapping[Component, float] | None:
        """What sessions of this preset start from; None is the preset's own."""
        return self.shares if self.preset in (None, preset) else None

    @property
    def call_growth(self) -> float | None:
        """Tokens a model call adds to the window: the median session's; None where nothing is known."""
        return median(self.growth) if self.growth else None

    def provider_ratio(self, model: str | None) -> float | None:
        """Provider tokens for each counted token of this model: the median session's; None where nothing is known."""
        known = self.provider_ratios.get(model or "")
        return median(known) if known else None


NOTHING_KNOWN = Profile()

Lesson: TypeAlias = TaskCompleted | Learned
_LESSONS = (TaskCompleted, Learned)  # a union written where it is used would be made for each entry


def lesson_of(entry: AnyEntry) -> tuple[str, Lesson] | None:
    """The agent that learns from this entry, and the entry; None for those that teach nothing."""
    if isinstance(entry, _LESSONS) and entry.agent is not None:
        return entry.agent, entry
    return None


def learn(profile: Profile, lesson: Lesson, *, at: float) -> Profile:
    """The profile with one lesson more. `at`: server time, for the order in which profiles are forgotten."""
    profile = replace(profile, revision=profile.revision + 1, learned_at=at)
    if isinstance(lesson, TaskCompleted):
        done = DoneTask(
            complexity=lesson.complexity,  # type: ignore[arg-type]  # an entry has it as text
            prior=_those(lesson.prior),
            actual=_those(lesson.actual),
        )
        return replace(profile, tasks=(*profile.tasks, done)[-TASKS:])
    ratios = dict(profile.provider_ratios)
    if lesson.provider_ratio is not None:
        model = lesson.model or ""
        newest = (*ratios.pop(model, ()), lesson.provider_ratio)[-SESSIONS:]
        ratios = dict([*ratios.items(), (model, newest)][-MODELS:])
    growth = profile.growth if lesson.call_growth is None else (*profile.growth, lesson.call_growth)
    return replace(
        profile,
        **({} if lesson.shares is None else _adopted(profile, lesson, lesson.shares)),
        growth=growth[-SESSIONS:],
        provider_ratios=ratios,
        raised={**profile.raised, **lesson.raised},
        doubted=tuple(lesson.doubted),
        sessions=profile.sessions + 1,
    )


def _adopted(profile: Profile, lesson: Learned, shares: Mapping[Component, float]) -> dict[str, Any]:
    """The shares of a session that closed become the agent's.

    Where other sessions have changed the profile since this one began, what this one changed is added to that: neither
    is lost, and the bounds hold.
    """
    own, began = profile.shares_for(lesson.preset), lesson.began_with
    if own is not None and began is not None and dict(own) != dict(began):
        policy = PRESETS.get(lesson.preset, STANDARD)
        moved = {name: max(0.0, own[name] + shares[name] - began[name]) for name in COMPONENTS}
        for name in COMPONENTS:  # what is fixed was given, each time as a whole: two of them do not add up
            if policy.components[name].fixed:
                moved[name] = own[name] if shares[name] == began[name] else shares[name]
        shares = adjust_shares(moved, {}, policy).after
    return {"shares": dict(shares), "preset": lesson.preset}


def merged(given: Profile, learned: Profile | None) -> Profile:
    """What the operator gave, and what was learned since: the learned wins where there is any."""
    if learned is None:
        return given
    if learned.shares is None:
        learned = replace(learned, shares=given.shares, preset=given.preset)
    calibration = {**given.calibration, **learned.calibration}
    ratios = {**given.provider_ratios, **learned.provider_ratios}
    return replace(learned, calibration=calibration, provider_ratios=ratios, growth=learned.growth or given.growth)


def _those(needs: Mapping[Component, int]) -> dict[Component, int]:
    return {name: needs[name] for name in COMPONENTS if needs.get(name)}
