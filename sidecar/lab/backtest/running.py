"""Every window under every policy, in as many processes as wanted; the outcome does not depend on how many.

A job is a recording's windows under all policies that treat each session alike. Where a policy carries what it learned
from an agent's session to its next one, all sessions of that agent are one job.
"""

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeAlias

from sidecar.budget.presets import add_preset
from sidecar.budget.profile import NOTHING_KNOWN, Profile
from sidecar.lab.backtest.arms import Arm, arms
from sidecar.lab.backtest.course import Course
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.parts import part_of, project_of
from sidecar.lab.backtest.window import Window

Job: TypeAlias = tuple[tuple[Course, ...], tuple[str, ...]]  # windows, and the names of the policies they run under


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is compared: presets and variants by name, policies by file. `total`: the size of every window, in tokens.

    Without a `total` a window has the size that was recorded, else that of the policy.
    """

    presets: tuple[str, ...]
    files: tuple[Path, ...] = ()
    total: int | None = None

    def arms(self) -> list[Arm]:
        """The policies, read anew."""
        return arms(self.presets, self.files)


async def compare(
    courses: Sequence[Course], contest: Contest, *, jobs: int, on_window: Callable[[int], None] = lambda _: None
) -> dict[str, list[Measures]]:
    """Run all windows under all policies; by policy, in the order of the windows.

    `on_window` is called with how many have come to their end each time a job has.
    """
    named = {arm.name: arm for arm in contest.arms()}
    work = _jobs(courses, list(named.values()))
    outcome: dict[str, dict[str, Measures]] = {name: {} for name in named}
    loop = asyncio.get_running_loop()
    # Spawned, not forked: the parent runs an event loop, whose threads and signals a fork would take along.
    spawn = get_context("spawn")
    stop = spawn.Event()
    pool = ProcessPoolExecutor(min(jobs, len(work)) or 1, spawn, _prepare, (contest, stop))
    try:
        for done in asyncio.as_completed([loop.run_in_executor(pool, _work, job, contest.total) for job in work]):
            measured = await done
            for each in measured:
                outcome[each.policy][each.session] = each
            on_window(len(measured))
    finally:
        stop.set()  # who is interrupted does not wait for jobs to come to their end
        # Waiting is short then. Not to wait would leave a thread that closes the pool's pipe while the end of the
        # interpreter writes to it: "OSError: Bad file descriptor" now and then.
        pool.shutdown(cancel_futures=True)
    return {name: [by_session[course.session] for course in courses] for name, by_session in outcome.items()}


def _jobs(courses: Sequence[Course], compared: Iterable[Arm]) -> list[Job]:
    alike = tuple(arm.name for arm in compared if not arm.carries)
    carrying = tuple(arm.name for arm in compared if arm.carries)
    by_agent: dict[str, list[Course]] = {}
    by_recording: dict[str, list[Course]] = {}
    for course in courses:
        by_agent.setdefault(course.opened.agent, []).append(course)
        by_recording.setdefault(course.opened.parent or course.session, []).append(course)
    # The longest first: nobody waits for them at the end.
    work: list[Job] = [(tuple(each), (name,)) for name in carrying for each in by_agent.values()]
    work += [(tuple(each), alike) for each in by_recording.values() if alike]
    return sorted(work, key=lambda job: -sum(len(course.moves) for course in job[0]) * len(job[1]))


# Of a process that works: the policies, and what says that nobody waits for it any more.
_ARMS: dict[str, Arm] = {}
_STOP: list[Event] = []


def _prepare(contest: Contest, stop: Event) -> None:
    """Make a process ready: it ends when it is told to, not by the terminal's Ctrl-C, which is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _ARMS.update({arm.name: arm for arm in contest.arms()})
    _STOP.append(stop)


def _work(job: Job, total: int | None) -> list[Measures]:
    courses, names = job
    outcome = []
    for name in names:
        for each in _run(courses, _ARMS[name], total):
            outcome.append(each)
            if _STOP[-1].is_set():
                return outcome
    return outcome


def measured(courses: Iterable[Course], arm: Arm, *, total: int | None = None) -> list[Measures]:
    """Run windows under one policy, one after the other; `total` as in `Contest`.

    From then on the engine of this process knows the policy by its name.
    """
    return list(_run(courses, arm, total))


def _run(courses: Iterable[Course], arm: Arm, total: int | None) -> Iterator[Measures]:
    add_preset(arm.policy)
    profiles: dict[str, Profile] = {}  # by agent, what its sessions so far have taught
    for course in courses:
        project, agent = project_of(course.session), course.opened.agent
        measures = Measures(
            session=course.session,
            project=project,
            part=part_of(project),
            policy=arm.name,
            limit=total or course.opened.window_tokens or arm.policy.total_tokens,
        )
        window = Window(course, arm, measures, profiles.get(agent, NOTHING_KNOWN))
        yield window.run()
        if arm.carries:
            profiles[agent] = window.close()
