"""Tasks of recorded sessions: what the prior and the calibrated prediction say of them, and what they took.

A task is what happened in the main window from one message of the user to the next, if that was at least three steps
and no compaction. Its files are the paths that it touched, its agents the sub-agents that it called, its minutes those
that it took: what a planner would have said who knew. What it took are the tokens that came in, by component.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sidecar.budget.commands import TaskSpec
from sidecar.budget.policy import Component
from sidecar.budget.prediction import Needs, calibrated, predict_needs
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import TASKS, DoneTask, Profile
from sidecar.lab.backtest.parts import Part, part_of, project_of
from sidecar.lab.recordings import MAIN, Recording

JUDGED: tuple[Component, ...] = ("working_memory", "agent_context", "knowledge_base")
LEAST_STEPS = 3


@dataclass(slots=True)
class Task:
    """A task while it is told: its beginning and end in seconds, and what came in."""

    begun: float
    ended: float
    steps: int = 0
    agents: int = 0
    files: set[str] = field(default_factory=set)
    actual: Counter[Component] = field(default_factory=Counter)

    @property
    def spec(self) -> TaskSpec:
        """As a planner would have told it."""
        agents = [str(number) for number in range(self.agents)]
        return TaskSpec(
            id="t", files=sorted(self.files), agents=agents, estimated_minutes=(self.ended - self.begun) / 60
        )


@dataclass(frozen=True, slots=True)
class Guess:
    """A component's need, predicted and taken, in parts of its standard budget; `known`: tasks learned from before."""

    part: Part
    component: Component
    known: int
    prior: float
    calibrated: float


def tasks(recording: Recording) -> Iterator[Task]:
    """The tasks of a recording, in order."""
    task: Task | None = None
    for step in recording.steps:
        if step.window != MAIN:
            continue
        if step.kind in ("user_message", "compaction"):
            if task is not None and task.steps >= LEAST_STEPS and step.kind == "user_message":
                yield task
            task = Task(step.ts, step.ts) if step.kind == "user_message" else None
        elif task is not None:
            task.steps += 1
            task.ended = step.ts
            task.agents += step.kind == "subagent_call"
            task.files |= {step.path} if step.path else set()
            task.actual[step.placement.component] += step.tokens
    if task is not None and task.steps >= LEAST_STEPS:
        yield task


def guesses(recordings: Iterable[Recording]) -> Iterator[Guess]:
    """Each task predicted by what its agent's former ones taught, then learned from; the parts know only their own."""
    learned: dict[tuple[str, str], list[DoneTask]] = defaultdict(list)
    for recording in recordings:
        part = part_of(project_of(recording.session))
        done = learned[part, recording.agent]
        for task in tasks(recording):
            profile = Profile(tasks=tuple(done[-TASKS:]))

            def calibrate(complexity: str, prior: Needs, profile: Profile = profile) -> Needs:
                return calibrated(profile, complexity, prior)  # type: ignore[arg-type]

            told = predict_needs([task.spec], STANDARD, calibrate=calibrate)
            for name in JUDGED:
                budget = STANDARD.total_tokens * STANDARD.components[name].share
                errors = (abs(needs[name] - task.actual[name]) / budget for needs in (told.prior, told.predicted))
                yield Guess(part, name, len(done), *errors)
            done.append(DoneTask(complexity=told.tasks[0]["complexity"], prior=told.prior, actual=dict(task.actual)))
