"""A long agent run with the sizes of a recorded session: what the model says and what its tools answer.

By default as much of it as overflows a small window; `make agents` sets `WHOLE_RUNS`, and takes all of it.
"""

import functools
import os
from dataclasses import dataclass

from sidecar.client.tokens import estimate
from sidecar.lab.recordings import MAIN, bundled, read

WHOLE = bool(os.environ.get("WHOLE_RUNS"))
weigh = functools.cache(estimate)  # models of tests weigh each prompt whole, hundreds of times
RESULTS = frozenset({"tool_result", "file_read"})
SAID = frozenset({"assistant_message", "thinking", "tool_call"})


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call that calls a tool, and the tool's answer."""

    number: int
    said: int
    path: str | None
    result: int
    ts: float

    @property
    def call_id(self) -> str:
        return f"call-{self.number}"

    def text(self) -> str:
        return filler(f"said {self.number}", self.said)

    def answer(self) -> str:
        return filler(f"result {self.number}", self.result)


def filler(mark: str, tokens: int) -> str:
    """A text of about so many tokens that no other text equals."""
    return (f"{mark}: " + "lorem ipsum dolor sit amet " * (tokens // 6 + 1))[: max(len(mark) + 2, 4 * tokens)]


def turns(session: str) -> list[Turn]:
    """The turns of a bundled recording: each tool result, with all that the model wrote before it."""
    [recording] = read([next(bundled().glob(f"{session}*"))])
    told: list[Turn] = []
    said = 0
    for step in recording.steps:
        if step.window != MAIN:
            continue
        if step.kind in RESULTS and step.role != "assistant":
            told.append(Turn(len(told), min(said, 4000), step.path, step.tokens, step.ts))
            said = 0
        elif step.kind in SAID:
            said += step.tokens
    return told


def total(told: list[Turn]) -> int:
    """What the run comes to, were all of it kept."""
    return sum(estimate(turn.text()) + estimate(turn.answer()) for turn in told)
