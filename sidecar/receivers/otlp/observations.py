"""What telemetry says of a context window, whoever emitted it: the five things that emitters are translated into.

Content never gets this far: a message is a size here, in estimated tokens by component. Nobody changes an observation;
it is not frozen because that would double what it costs to make, and one is made for each span that says something.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sidecar.budget.policy import Component
from sidecar.receivers.otlp.wire import Signal

Sizes: TypeAlias = Mapping[Component, float]


@dataclass(slots=True, kw_only=True)
class Observation:
    """What all have in common: when (seconds since the epoch), by whom, and where it belongs.

    `session` is the conversation as the record itself names it (None: look around in its trace). `agent` is the name
    it gives itself, `part` a sub-agent's own id within the conversation (its window is a session of its own).
    `emitter` names a row of `mapping.EMITTERS`; `service` and `process` are what the resource says of the program.
    """

    emitter: str
    signal: Signal
    at: float
    trace: str = ""
    span: str = ""
    session: str | None = None
    agent: str | None = None
    part: str | None = None
    service: str | None = None
    process: str | None = None


@dataclass(slots=True, kw_only=True)
class Call(Observation):
    """A model call. `input` is all of its input, cached too (None: not told); `output` includes `reasoning`.

    `content` is the size of the captured input by component, None where none was captured. `reply` likewise of the
    output. `side`: the call does not show the window (a summary of it, a title). `compacted`: the conversation was
    compacted before it.
    """

    start: float
    response: str | None = None
    model: str | None = None
    input: int | None = None
    output: int | None = None
    reasoning: int = 0
    content: Sizes | None = None
    reply: Sizes | None = None
    tools_called: bool = False
    failed: bool = False
    side: bool = False
    compacted: bool = False


@dataclass(slots=True, kw_only=True)
class Arrival(Observation):
    """Something came in between two calls: a tool's result, a prompt, a skill. `tokens` None: how much is not told.

    `written`: it is part of the last call's output (its text), not of what came after it. `call` names it, so that two
    signals which tell of the same arrival count once.
    """

    component: Component
    tokens: float | None = None
    written: bool = False
    call: str | None = None


@dataclass(slots=True, kw_only=True)
class Compaction(Observation):
    """The emitter says that it compacted its window; sizes None where it does not say them.

    `partial`: the sizes are of the part that it worked on, so only their difference says something of the window.
    """

    tokens_before: int | None = None
    tokens_after: int | None = None
    partial: bool = False


@dataclass(slots=True, kw_only=True)
class Start(Observation):
    """A conversation began, or told its frame: the size of its window, its model."""

    model: str | None = None
    total_tokens: int | None = None


@dataclass(slots=True, kw_only=True)
class End(Observation):
    """A window is gone: a sub-agent has finished."""


AnyObservation: TypeAlias = Call | Arrival | Compaction | Start | End


@dataclass(slots=True)
class Measured:
    """Sizes while they are being summed: estimated tokens by component."""

    sizes: dict[Component, float] = field(default_factory=dict)

    def add(self, component: Component, tokens: float) -> None:
        """Count tokens to a component."""
        if tokens > 0:
            self.sizes[component] = self.sizes.get(component, 0.0) + tokens
