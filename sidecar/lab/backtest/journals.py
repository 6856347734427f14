"""The sessions of a journal as courses: what their hosts told, without what cleanups did about it.

Refused items had a size and a component, and no more is known of them. Sessions that never told an item, as observed
ones without content, have nothing that a policy could decide about, and are left out.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType

from sidecar.budget.commands import ItemSpec
from sidecar.budget.entries import (
    Allocated,
    AnyEntry,
    CleanedUp,
    ItemCompleted,
    ItemPut,
    ItemRemoved,
    ItemResized,
    ItemTouched,
    LeaseLapsed,
    Opened,
    Released,
    UsageReported,
    WindowSynced,
)
from sidecar.budget.items import Item, Kind
from sidecar.budget.policy import Component
from sidecar.config import Config
from sidecar.journal import Journal, JournalError
from sidecar.lab.backtest.course import Course, Level, course
from sidecar.lab.recordings import RecordingError
from sidecar.lab.script import AnyMove, Compact, Complete, Gain, ModelCall, Open, Use
from sidecar.opening import open_journal

PAGE = 1_000
# What a request without an item, or a refused one, is taken for.
STAND_IN: Mapping[Component, Kind] = MappingProxyType(
    {
        "system_context": "prompt",
        "working_memory": "tool_result",
        "knowledge_base": "memory",
        "agent_context": "execution",
        "interaction_buffer": "interaction",
    }
)
SPEC_FIELDS = tuple(
    field.name for field in fields(ItemSpec) if field.name in Item.__struct_fields__ and field.name != "content"
)


async def of_journal(url: str) -> list[Course]:
    """The courses of all sessions of a journal, each epoch of a session by itself.

    Raises:
        RecordingError: the journal is not there, cannot be read, or holds no items.
    """
    _check(url)
    try:
        journal = open_journal(Config(journal=url))
        await journal.open()
        try:
            found = [each async for session in _sessions(journal) for each in await _courses(journal, session)]
        finally:
            await journal.close()
    except (OSError, JournalError) as error:
        raise RecordingError(f"{url}: cannot be read: {error}") from error
    if not found:
        raise RecordingError(f"{url}: no session of it has told an item")
    return found


def _check(url: str) -> None:
    """A file that is not there would be made: say that it is not there."""
    if url.startswith("sqlite:") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise RecordingError(f"{url}: there is no such journal")


async def _sessions(journal: Journal) -> AsyncIterator[str]:
    after: str | None = None
    while page := await journal.sessions(after=after, limit=PAGE):
        for session in page:
            yield session
        after = page[-1]


async def _courses(journal: Journal, session: str) -> list[Course]:
    epochs: list[_Epoch] = []
    async for stored in journal.read(session):
        if isinstance(stored.entry, Opened):
            epochs.append(_Epoch(session if not epochs else f"{session}~{len(epochs) + 1}"))
        if epochs:
            epochs[-1].add(stored.entry, stored.version)
    return [course(epoch.told, epoch.levels) for epoch in epochs if any(isinstance(move, Gain) for move in epoch.told)]


@dataclass(slots=True)
class _Epoch:
    """One life of a session, told as moves while its entries go by."""

    session: str
    told: list[AnyMove] = field(default_factory=list)
    levels: list[Level | None] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)  # as the ledger had it, cleanups included
    grants: dict[str, tuple[Component, int]] = field(default_factory=dict)  # stand-ins for tokens without an item

    def add(self, entry: AnyEntry, version: int) -> None:
        self.told += self._moves(entry, version)

    def _moves(self, entry: AnyEntry, version: int) -> Iterator[AnyMove]:  # noqa: C901, PLR0912 - one branch per entry
        session, time = self.session, entry.time
        match entry:
            case Opened():
                yield Open(
                    session=session,
                    time=time,
                    agent=entry.agent,
                    parent=entry.parent,
                    model=entry.model,
                    window_tokens=entry.total_tokens - entry.reserve_tokens,
                )
            case Allocated() if entry.item is None or entry.granted < entry.requested:
                id = entry.item or entry.request_id or f"request-{version}"
                if entry.item is None:
                    self.grants[id] = (entry.component, entry.requested)
                item = ItemSpec(id=id, kind=STAND_IN[entry.component], tokens=entry.requested)
                yield Gain(session=session, time=time, item=item, declinable=True)
            case ItemPut(restored=True):
                self.held[entry.item.id] = entry.item.tokens
                yield Use(session=session, time=time, item=entry.item.id)
            case ItemPut():
                if entry.claims is not None:
                    yield from self._drop(entry.claims, time)
                self.held[entry.item.id] = entry.item.tokens
                item = ItemSpec(**{name: getattr(entry.item, name) for name in SPEC_FIELDS})
                yield Gain(session=session, time=time, item=item, declinable=entry.granted)
            case ItemTouched():
                yield Use(session=session, time=time, item=entry.item)
            case ItemCompleted():
                yield Complete(session=session, time=time, item=entry.item)
            case ItemRemoved():
                self.held.pop(entry.item, None)
                yield Compact(session=session, time=time, items=(entry.item,))
            case ItemResized():
                self.held[entry.item] = entry.tokens
            case CleanedUp():
                self.held.update({action.item: action.tokens_after for action in entry.actions})
            case LeaseLapsed():
                yield from self._drop(entry.request_id, time)
            case Released():
                yield from self._release(entry)
            case UsageReported(total=int(total), call=True):
                yield self._call(time, total)
            case WindowSynced():
                yield self._call(time, None)
            case _:
                pass

    def _drop(self, id: str, time: float) -> Iterator[AnyMove]:
        if self.grants.pop(id, None) is not None:
            yield Compact(session=self.session, time=time, items=(id,))

    def _release(self, entry: Released) -> Iterator[AnyMove]:
        left = entry.tokens
        for id, (component, tokens) in list(self.grants.items()):
            if component == entry.component and left >= tokens:
                left -= tokens
                yield from self._drop(id, entry.time)

    def _call(self, time: float, billed: int | None) -> ModelCall:
        counted = sum(self.held.values())
        known = (counted, billed) if counted and billed else None
        self.levels.append(known or (self.levels[-1] if self.levels else None))
        return ModelCall(session=self.session, time=time, billed=billed)
