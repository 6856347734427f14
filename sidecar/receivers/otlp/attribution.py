"""What fills a window: the billed input of a call, divided among the components.

With captured content each part is estimated and the estimates are scaled to what was billed. Without it, the growth
from one call to the next is attributed to what happened between them: the model's own output, results of tools,
prompts. What cannot be attributed stays unattributed; nothing is made up to fill it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sidecar.budget.commands import Source
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.receivers.otlp.calibration import Calibration
from sidecar.receivers.otlp.observations import Arrival, Call, Sizes

# Estimates that reach so much of the billed input are taken for all of it, and scaled to it.
NEARLY_ALL = 0.9
# As long as no ratio is known: a bill of up to so many times the estimate is still the tokenizer's doing.
PLAUSIBLE = 1.6
# What arrived with a known size may still have been larger by this factor (wrapping, line numbers, reminders).
LARGER = 1.3
# Remembered of what came in between two calls; of more, the first are forgotten, and so left unattributed.
ARRIVED = 1_024

Parts: TypeAlias = dict[Component, float]


@dataclass(slots=True, kw_only=True)
class Composition:
    """Of one window: how its last level was made up, and what came in since. Sizes are provider tokens.

    `coding`: an emitter whose first prompt is a system prompt of its own.
    """

    coding: bool = False
    parts: Parts = field(default_factory=dict)
    total: int = 0
    source: Source = "exact"
    arrived: list[Arrival] = field(default_factory=list)
    last: Call | None = None
    estimated: float | None = None  # the last call's content, in estimated tokens

    def call(self, call: Call, calibration: Calibration) -> dict[Component, int]:
        """The components of a call's input; they sum to at most its level (its `input`, or an estimate of it)."""
        if call.content is not None:
            self._by_content(call, call.content, calibration)
        else:
            self._by_growth(call, calibration)
        self.last, self.arrived = call, []
        return self.shown()

    def arrive(self, arrival: Arrival) -> None:
        """Something came in since the last call."""
        self.arrived.append(arrival)
        if len(self.arrived) > ARRIVED:
            del self.arrived[0]

    def compact(self, total: int) -> dict[Component, int]:
        """The window was compacted to so many tokens: the system context stays, the rest is a summary."""
        system = min(self.parts.get("system_context", 0.0), float(total))
        rest = total - system
        unattributed = 0.0 if self.coding else max(0.0, min(rest, self.total - sum(self.parts.values())))
        self.parts = {"system_context": system, "working_memory": rest - unattributed}
        self.total, self.arrived, self.last, self.estimated = total, [], None, None
        self.source = "inferred"
        return self.shown()

    def stayed(self, calibration: Calibration) -> Parts:
        """What of the last call's output is known to stay, by component: it was followed by something."""
        if self.last is None:
            return {}
        return _reply(self.last, self.arrived, calibration)

    def shown(self) -> dict[Component, int]:
        """Whole tokens by component, all five of them."""
        return whole(self.parts, self.total)

    def _by_content(self, call: Call, content: Sizes, calibration: Calibration) -> None:
        estimated = sum(content.values())
        if call.input is None:
            self.total = round(estimated * calibration.ratio(call.model))
        else:
            if self.estimated is not None:
                grown = estimated - self.estimated
                calibration.learn(call.model, estimated=grown, billed=float(call.input - self.total))
            self.total = call.input
        self.estimated = estimated
        factor = _factor(estimated, self.total, call.model, calibration)
        self.parts = {name: tokens * factor for name, tokens in content.items()}
        self.source = "estimated"

    def _by_growth(self, call: Call, calibration: Calibration) -> None:
        level = call.input or 0
        if self.last is None and not self.parts and not self.total:
            self._begin(level, calibration.ratio(call.model))
        elif level >= self.total:
            self._grow(level - self.total, call.model, calibration)
        else:
            self._shrink(level)
        self.total, self.estimated = level, None
        if any(self.parts.values()):
            self.source = "inferred"

    def _begin(self, level: int, ratio: float) -> None:
        """A window's first call: what was said before it; the rest is a coding agent's own prompt."""
        self.parts = _fitted(_sized(self.arrived, ratio), float(level))
        if self.coding:
            self.parts["system_context"] = level - sum(self.parts.values())

    def _grow(self, grown: int, model: str | None, calibration: Calibration) -> None:
        ratio = calibration.ratio(model)
        reply = _reply(self.last, self.arrived, calibration) if self.last is not None else {}
        since = [each for each in self.arrived if not each.written]
        sized = _sized(since, ratio)
        rest = grown - sum(reply.values())
        estimated = sum(sized.values()) / ratio
        unsized = {each.component for each in since if each.tokens is None}
        if not unsized and estimated:
            calibration.learn(model, estimated=estimated, billed=float(rest))
        if rest <= 0 or sum(sized.values()) > rest:
            self._add(_fitted(_sum(reply, sized), float(grown)))
            return
        self._add(reply)
        if unsized:
            self._add(sized)
            rest -= sum(sized.values())
            self._add(dict.fromkeys(unsized, rest / len(unsized)))
        else:
            most = sum(sized.values()) * LARGER
            scale = min(rest, most) / sum(sized.values()) if most else 0.0
            self._add({name: tokens * scale for name, tokens in sized.items()})

    def _shrink(self, level: int) -> None:
        """A small fall: providers drop reasoning between turns. A large one: a compaction that nobody reported."""
        if level < self.total * 0.9:
            self.compact(level)
            return
        lost = self.total - level
        taken = min(self.parts.get("working_memory", 0.0), float(lost))
        if taken:
            self.parts["working_memory"] -= taken
        self.parts = _fitted(self.parts, float(level))

    def _add(self, more: Mapping[Component, float]) -> None:
        self.parts = _sum(self.parts, more)


def _factor(estimated: float, total: int, model: str | None, calibration: Calibration) -> float:
    """Provider tokens per estimated one, such that the whole is at most `total`."""
    if not estimated:
        return 0.0
    exact = total / estimated
    known = calibration.known(model)
    if known is None:
        return exact if exact <= PLAUSIBLE else calibration.ratio(model)
    return exact if known >= exact * NEARLY_ALL else known


def _reply(call: Call, arrived: list[Arrival], calibration: Calibration) -> Parts:
    """A call's output as far as it stays in the window, by component: without its reasoning."""
    if not call.output:
        return {}
    stays = float(max(0, call.output - call.reasoning))
    if call.reply:
        said = sum(call.reply.values())
        return {name: stays * tokens / said for name, tokens in call.reply.items()} if said else {}
    ratio = calibration.ratio(call.model)
    text = sum((each.tokens or 0.0) * ratio for each in arrived if each.written)
    if text:
        text = min(text, stays)
        return {"interaction_buffer": text, "working_memory": stays - text}
    since = [each.component for each in arrived if not each.written]
    tools = call.tools_called or any(name != "interaction_buffer" for name in since)
    if not tools:
        return {"interaction_buffer": stays}
    # The call and its result are of the same component.
    others: Iterator[Component] = (name for name in since if name != "interaction_buffer")
    return {next(others, "working_memory"): stays}


def _sized(arrived: list[Arrival], ratio: float) -> Parts:
    parts: Parts = {}
    for each in arrived:
        if each.tokens and not each.written:
            parts[each.component] = parts.get(each.component, 0.0) + each.tokens * ratio
    return parts


def _sum(one: Mapping[Component, float], other: Mapping[Component, float]) -> Parts:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in COMPONENTS if name in one or name in other}


def _fitted(parts: Mapping[Component, float], most: float) -> Parts:
    """The parts, scaled down in proportion where they are more than that."""
    found = sum(parts.values())
    scale = 1.0 if found <= most or not found else most / found
    return {name: tokens * scale for name, tokens in parts.items()}


def whole(parts: Mapping[Component, float], most: int) -> dict[Component, int]:
    """Whole tokens for all five components, of largest remainder, and never more than `most` together."""
    floors = {name: int(parts.get(name, 0.0)) for name in COMPONENTS}
    target = min(most, round(sum(parts.values())))
    missing = target - sum(floors.values())
    if not missing:
        return floors
    by_remainder = sorted(COMPONENTS, key=lambda name: floors[name] - parts.get(name, 0.0))
    for name in by_remainder[: max(0, missing)]:
        floors[name] += 1
    for name in reversed(by_remainder):
        if missing >= 0:
            break
        taken = min(floors[name], -missing)
        floors[name] -= taken
        missing += taken
    return floors
