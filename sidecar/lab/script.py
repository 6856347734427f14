"""A recording told as what its host does to its windows: the moves, before anybody decides how to send them.

A window opens; a model call takes it as it is; pieces come in, are used again, are finished; a compaction throws out
what its summary replaces; a sub-agent's window ends with its last step. Offline tools and the replayer follow the same
moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from sidecar.budget.commands import ItemSpec
from sidecar.lab.mapping import Finish, Placement, item_id, item_of
from sidecar.lab.recordings import MAIN, Recording, Step

ASSISTANT = "assistant"
USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Something that happens to the window of `session` at `time` (epoch seconds)."""

    session: str
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(Move):
    """A window opens. `window_tokens` is its size where the recording knows it."""

    agent: str
    parent: str | None
    model: str | None
    window_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall(Move):
    """The window is sent to the model as it is now; `billed` is what the provider counted, where that was recorded."""

    billed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain(Move):
    """A piece comes in. `declinable`: the host could still leave it out."""

    item: ItemSpec
    declinable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(Move):
    """A piece is used again."""

    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Move):
    """A piece (a plan, a sub-agent, its execution) is finished."""

    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact(Move):
    """The host throws `items` out, all that is not lasting; their summary comes next, as a Gain."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Move):
    """The window is gone."""


AnyMove: TypeAlias = Open | ModelCall | Gain | Use | Complete | Compact | Close


def moves(recording: Recording, *, start: float = 0.0, compacting: bool = True) -> Iterator[AnyMove]:
    """Tell a recording that began at `start` (epoch seconds) as the moves of its windows, in the recorded order.

    The main window stays open at the end: whether it closes is for the caller to say. Without `compacting` the host
    never compacts its window: what it threw out stays and can be used again, and the summaries never come.
    """
    told = {window: _Window(recording, window, start, compacting) for window in recording.windows}
    last = {step.window: step.number for step in recording.steps}
    for step in recording.steps:
        window = told[step.window]
        yield from window.opening(step)
        yield from window.moves(step)
        if step.window != MAIN and last[step.window] == step.number:
            yield Close(session=window.session, time=start + step.ts)


@dataclass(slots=True)
class _Call:
    """A tool call without a result yet."""

    item: str
    name: str | None
    path: str | None


@dataclass(slots=True)
class _Window:
    """What must be remembered of one window while its steps go by."""

    recording: Recording
    window: str
    start: float
    compacting: bool = True
    session: str = field(init=False)
    billed: dict[int, int | None] = field(init=False)  # first step of each model call -> billed tokens
    opened: bool = False
    passing: list[str] = field(default_factory=list)  # items that the next compaction throws out
    calls: list[_Call] = field(default_factory=list)
    newest_at: dict[str, str] = field(default_factory=dict)  # path -> the newest item with it
    plans: dict[str | None, list[str]] = field(default_factory=dict)  # tool -> the items of its last call
    reported: list[str] = field(default_factory=list)  # came in since the last model call
    read: list[str] = field(default_factory=list)  # were in the prompt of the last model call

    def __post_init__(self) -> None:
        self.session = self.recording.windows[self.window]
        self.billed = model_calls([step for step in self.recording.steps if step.window == self.window])

    def opening(self, step: Step) -> Iterator[AnyMove]:
        if self.opened:
            return
        self.opened = True
        usages = [s.usage for s in self.recording.steps if s.window == self.window and s.usage is not None]
        yield Open(
            session=self.session,
            time=self.start + step.ts,
            agent=self.recording.agent,
            parent=None if self.window == MAIN else self.recording.session,
            model=next((usage.model for usage in usages if usage.model), None),
            window_tokens=next((usage.context_window for usage in usages if usage.context_window), None),
        )

    def moves(self, step: Step) -> Iterator[AnyMove]:
        time, placement = self.start + step.ts, step.placement
        if step.number in self.billed:
            yield ModelCall(session=self.session, time=time, billed=self.billed[step.number])
            for item in self.read:
                yield Complete(session=self.session, time=time, item=item)
            self.read, self.reported = self.reported, []
        if placement.summary and not self.compacting:
            return
        if placement.summary:
            yield Compact(session=self.session, time=time, items=tuple(self.passing))
            self._forget()
        if placement.calls and step.path in self.newest_at:
            yield Use(session=self.session, time=time, item=self.newest_at[step.path])
        item = item_id(step)
        if placement.finish is Finish.SUPERSEDED and placement.calls:
            for former in self.plans.pop(step.name, []):
                yield Complete(session=self.session, time=time, item=former)
        yield Gain(
            session=self.session,
            time=time,
            item=item_of(step, time=time, group=self._group(step, placement, item)),
            declinable=placement.declinable and step.tokens > 0,
        )
        self._remember(step, placement, item)

    def _group(self, step: Step, placement: Placement, item: str) -> str | None:
        """Name the group by the call: its own item, or that of the oldest open call that this answers."""
        if placement.calls:
            self.calls.append(_Call(item=item, name=step.name, path=step.path))
            return item
        if not placement.answers:
            return None
        # Calls run side by side and recordings carry no call ids: same tool and path first, then same tool.
        # A result without a tool's name is a notice from the background and answers no call.
        answered = next(
            (call for call in self.calls if (call.name, call.path) == (step.name, step.path)),
            next((call for call in self.calls if call.name == step.name), None),
        )
        if answered is None:
            return None
        self.calls.remove(answered)
        if placement.finish is Finish.REPORTED:
            self.reported.append(answered.item)
        return answered.item

    def _remember(self, step: Step, placement: Placement, item: str) -> None:
        if not placement.lasting:
            self.passing.append(item)
        if placement.answers and step.path is not None:
            self.newest_at[step.path] = item
        if placement.finish is Finish.SUPERSEDED:
            self.plans.setdefault(step.name, []).append(item)
        if placement.finish is Finish.REPORTED and placement.answers:
            self.reported.append(item)

    def _forget(self) -> None:
        """After a compaction nothing refers to what came before it."""
        self.passing.clear()
        self.calls.clear()
        self.newest_at.clear()
        self.plans.clear()
        self.reported.clear()
        self.read.clear()


def model_calls(steps: list[Step]) -> dict[int, int | None]:
    """Find the model calls of one window: the number of the first step that each wrote, and what it was billed.

    A provider's usage stands on the last step of its call. Where none was recorded, all that the model writes between
    two inputs is one call.
    """
    recorded = any(step.usage is not None and step.usage.context_tokens is not None for step in steps)
    calls: dict[int, int | None] = {}
    current: int | None = None
    for step in steps:
        if step.role == ASSISTANT:
            if current is None:
                current = step.number
                calls[current] = None
            if step.usage is not None and step.usage.context_tokens is not None:
                calls[current] = step.usage.context_tokens
                current = None
        elif not recorded or step.role == USER:
            current = None
    return calls
