"""Forecasts of recorded windows: what the engine would have expected at each model call, held against what came.

Each window is an observed session that is told the level of each of its calls, as billed where most were billed, else
as counted; its host's own compactions are falls. The engine decides as it always does; nothing here forecasts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from sidecar.budget.commands import CloseSession, Command, OpenSession, ReportUsage
from sidecar.budget.decide import Defaults, decide
from sidecar.budget.items import COMPONENT_OF
from sidecar.budget.pace import FALL, REACHES
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.prediction import straight_line
from sidecar.budget.profile import NOTHING_KNOWN, Profile, learn, lesson_of
from sidecar.budget.session import Session
from sidecar.lab.backtest.parts import Part, part_of, project_of
from sidecar.lab.recordings import Recording
from sidecar.lab.script import Compact, Gain, ModelCall, Open, moves

HINDSIGHT = "hindsight: the window's own median growth"
PREDICTORS = ("no growth", "straight line", "pace", "pace, agent known", HINDSIGHT)
START = 1_700_000_000.0
BILLED = 0.9  # of the calls of a window, so that its level is what was billed


@dataclass(frozen=True, slots=True)
class Call:
    """A model call: when, the whole window's level, and the counted tokens of each component."""

    time: float
    level: int
    components: Mapping[Component, int]


@dataclass(slots=True)
class Window:
    """A recorded window, as levels."""

    session: str
    agent: str
    total: int
    calls: list[Call] = field(default_factory=list)

    @property
    def part(self) -> Part:
        """Whether its project is tuned on, or judges."""
        return part_of(project_of(self.session))


@dataclass(frozen=True, slots=True)
class Miss:
    """A forecast and what came of it, in parts of the budget. `component`: None is the whole window."""

    part: Part
    agent: str
    predictor: str
    calls: int
    component: Component | None
    error: float
    within: bool | None = None  # the interval; None: the predictor tells none
    largest: float = 0.0  # what the largest single call until then added, in parts of the window


def windows(recordings: Iterable[Recording]) -> Iterator[Window]:  # noqa: C901 - a branch for each move
    """The windows of recordings that saw at least four model calls, in their order."""
    for recording in recordings:
        opened: dict[str, Window] = {}
        held: dict[str, dict[str, tuple[Component, int]]] = defaultdict(dict)
        billed: dict[str, list[int | None]] = defaultdict(list)
        for move in moves(recording, start=START):
            match move:
                case Open():
                    opened[move.session] = Window(move.session, move.agent, move.window_tokens or 200_000)
                case Gain():
                    held[move.session][move.item.id] = COMPONENT_OF[move.item.kind], move.item.tokens
                case Compact():
                    for item in move.items:
                        held[move.session].pop(item, None)
                case ModelCall():
                    sums: Counter[Component] = Counter()
                    for component, tokens in held[move.session].values():
                        sums[component] += tokens
                    opened[move.session].calls.append(Call(move.time, sums.total(), dict(sums)))
                    billed[move.session].append(move.billed)
                case _:
                    pass
        for name, window in opened.items():
            _as_billed(window, billed[name])
            if len(window.calls) >= 4:
                yield window


def _as_billed(window: Window, billed: list[int | None]) -> None:
    """Take the levels that were billed, where most were."""
    known = [tokens for tokens in billed if tokens is not None]
    if known and len(known) >= BILLED * len(billed):
        window.calls = [
            Call(call.time, tokens, _scaled(call.components, tokens))
            for call, tokens in zip(window.calls, billed, strict=True)
            if tokens is not None
        ]


def misses(found: Iterable[Window]) -> Iterator[Miss]:
    """Every forecast of every window, by each predictor; each part's agents are known by that part's sessions alone."""
    profiles: dict[tuple[str, str], Profile] = {}
    for window in found:
        key = window.part, window.agent
        plain, _ = _run(window, NOTHING_KNOWN)
        known, profile = _run(window, profiles.get(key, NOTHING_KNOWN))
        profiles[key] = profile
        yield from _judge(window, plain, known)


def _run(window: Window, profile: Profile) -> tuple[list[dict[str, Any]], Profile]:
    """What the engine expects at each call, and what the session teaches."""
    session: Session | None = None
    defaults = Defaults(profiles={window.agent: profile})
    told: list[dict[str, Any]] = []

    def do(command: Command) -> None:
        nonlocal session, profile
        decision = decide(session, command, id=window.session, now=START + 10**9, defaults=defaults)
        session = decision.session
        for entry in decision.entries:
            if (lesson := lesson_of(entry)) is not None:
                profile = learn(profile, lesson[1], at=0.0)

    do(OpenSession(agent=window.agent, mode="observed", total_tokens=window.total, time=window.calls[0].time))
    for call in window.calls:
        do(ReportUsage(components=dict(call.components), total=call.level, time=call.time))
        assert session is not None
        calls = straight_line(session.samples, session.available).get("eta_calls")
        told.append(
            {
                "expected": {one["calls"]: one for one in session.forecast().get("expected", [])},
                "line": session.available / calls if calls else 0.0,
                "utilization": session.utilization,
                "components": {name: held.utilization for name, held in session.components.items()},
            }
        )
    do(CloseSession(time=window.calls[-1].time))
    return told, profile


def _judge(window: Window, plain: list[dict[str, Any]], known: list[dict[str, Any]]) -> Iterator[Miss]:
    levels = [call.level for call in window.calls]
    falls = [after < before * (1 - FALL) for before, after in pairwise(levels)]
    best = {reach.calls: _median_growth(levels, falls, reach.calls) / window.total for reach in REACHES}
    for now in range(len(levels)):
        if not plain[now]["expected"]:
            continue
        for reach in REACHES:
            then = now + reach.calls
            if then >= len(levels) or any(falls[now:then]):
                continue
            actual, before = plain[then]["utilization"], plain[now]["utilization"]
            largest = max(levels[each + 1] - levels[each] for each in range(now, then)) / window.total

            def miss(predictor: str, error: float, *, within: bool | None = None, of: Component | None = None) -> Miss:
                return Miss(window.part, window.agent, predictor, reach.calls, of, abs(error), within, largest)  # noqa: B023

            yield miss("no growth", before - actual)
            yield miss("straight line", before + plain[now]["line"] * reach.calls / window.total - actual)
            yield miss(HINDSIGHT, before + best[reach.calls] - actual)
            for predictor, run in (("pace", plain), ("pace, agent known", known)):
                one = run[now]["expected"][reach.calls]
                inside = one["low"] <= actual <= one["high"]
                yield miss(predictor, one["utilization_ratio"] - actual, within=inside)
                for name in COMPONENTS:
                    part = one["components"][name]["utilization_ratio"]
                    yield miss(predictor, part - run[then]["components"][name], of=name)


def _median_growth(levels: list[int], falls: list[bool], calls: int) -> float:
    """The best that a constant could say of this window, known only afterwards."""
    grown = [levels[n + calls] - levels[n] for n in range(len(levels) - calls) if not any(falls[n : n + calls])]
    return median(grown) if grown else 0.0


def _scaled(components: Mapping[Component, int], level: int) -> dict[Component, int]:
    """Counted tokens as parts of what was billed: never more than that."""
    counted = sum(components.values())
    if counted <= level:
        return dict(components)
    return {name: tokens * level // counted for name, tokens in components.items()}
