"""A desk where commands are decided one by one: it keeps entries as a journal would, and a clock that is moved by hand.

After every command it holds the session against its entries, so the restart law and the sums hold in each example of
each test, not only where a test is about them.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sidecar.budget.ages import AGES
from sidecar.budget.commands import Command, ItemSpec, OpenSession, PutItem, RequestAllocation, SyncWindow, WindowItem
from sidecar.budget.decide import Decision, Defaults, decide
from sidecar.budget.entries import (
    Action,
    Allocated,
    AnyEntry,
    CleanedUp,
    DirectivesConfirmed,
    DirectivesUndone,
    ItemPut,
    ItemRemoved,
    ItemResized,
    LeaseLapsed,
    Opened,
    Released,
    UsageReported,
    WindowSynced,
)
from sidecar.budget.errors import BudgetError
from sidecar.budget.evolve import replay
from sidecar.budget.held import Held
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.session import Session, state_of
from sidecar.journal import ArchiveRecord
from sidecar.journal.codec import decode, encode

NOW = 1_800_000_000.0
MINUTE = 60.0
HOUR = 3600.0


class Desk:
    """One session, its entries, and what the journal would keep beside them."""

    def __init__(self, *, now: float = NOW, laws: bool = True, defaults: Defaults | None = None, **opened: Any) -> None:
        self.now = now
        self.defaults = defaults or Defaults()
        self.laws = laws
        self.entries: list[AnyEntry] = []
        self.contents: dict[int, str] = {}
        self.archive: dict[str, ArchiveRecord] = {}
        self.held: Session | None = None
        self.last: Decision
        if opened.pop("open_it", True):
            self.do(OpenSession(**opened))

    @property
    def session(self) -> Session:
        """The session as it is now."""
        assert self.held is not None
        return self.held

    def do(self, command: Command, **circumstances: Any) -> Any:
        """Decide a command and return its reply; an error leaves everything as it was."""
        before = state_of(self.held) if self.laws else None
        version = 0 if self.held is None else self.held.version
        try:
            decision = decide(self.held, command, id="s", now=self.now, defaults=self.defaults, **circumstances)
        except BudgetError:
            if self.held is not None and self.held.version != version:
                self.held = replay("s", self.entries)
            if self.laws:
                assert state_of(self.held) == before, "an error changed something"
            raise
        self.last, self.held = decision, decision.session
        self.contents |= decision.contents
        for entry in decision.entries:
            self._archive(entry)
        self.entries += decision.entries
        if self.laws:
            self.check()
        return decision.reply

    def wait(self, seconds: float) -> None:
        """Let the server's time go by."""
        self.now += seconds

    def put(self, id: str, kind: str = "context", tokens: int = 100, **more: Any) -> Any:
        """Put an item; fields of the command beside those of the item are `time` alone."""
        time = more.pop("time", None)
        return self.do(PutItem(item=ItemSpec(id=id, kind=kind, tokens=tokens, **more), time=time))  # type: ignore[arg-type]

    def ask(self, component: str = "working_memory", tokens: int | None = None, **more: Any) -> Any:
        """Request an allocation."""
        return self.do(RequestAllocation(component=component, tokens=tokens, **more))  # type: ignore[arg-type]

    def ask_item(self, id: str, kind: str = "context", tokens: int = 100, *, item: Any = None, **more: Any) -> Any:
        """Request an item."""
        return self.do(RequestAllocation(item=ItemSpec(id=id, kind=kind, tokens=tokens, **(item or {})), **more))  # type: ignore[arg-type]

    def sync(self, *items: tuple[Any, ...] | WindowItem, **more: Any) -> Any:
        """Sync a window of (id, tokens) or (id, tokens, kind)."""
        window = [
            each
            if isinstance(each, WindowItem)
            else WindowItem(id=each[0], tokens=each[1], kind=each[2] if len(each) > 2 else None)
            for each in items
        ]
        return self.do(SyncWindow(items=window, **more))

    def used(self, component: str = "working_memory") -> int:
        """Tokens used of a component."""
        return self.session.components[component].used  # type: ignore[index]

    def made(self, kind: type) -> list[Any]:
        """The entries of a kind that the last command made."""
        return [entry for entry in self.last.entries if isinstance(entry, kind)]

    def all(self, kind: type) -> list[Any]:
        """All entries of a kind."""
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def restart(self) -> None:
        """Forget what is in memory and rebuild it from the journal's bytes."""
        self.held = replay("s", decode(encode(self.entries)))

    def check(self) -> None:
        """Hold the session against its entries and itself."""
        session = self.session
        if len(self.entries) <= 400:
            rebuilt = replay("s", decode(encode(self.entries)))
            assert state_of(rebuilt) == state_of(session), "a restart rebuilds something else"
        hold_together(session)
        levels, unattributed, pending = explain(self.entries)
        assert {name: held.used for name, held in session.components.items()} == levels
        assert session.unattributed == unattributed
        assert session.pending == pending

    def _archive(self, entry: AnyEntry) -> None:
        gone: Iterable[Action | ItemRemoved] = ()
        if isinstance(entry, CleanedUp):
            gone = entry.actions
        elif isinstance(entry, ItemRemoved):
            gone = (entry,)
        for each in gone:
            self.archive[each.item] = ArchiveRecord(
                id=each.item,
                kind=each.kind,
                component=each.component,
                step=each.step if isinstance(each, Action) else None,
                reason="a reason",
                tokens_before=each.original_tokens,
                tokens_after=each.tokens_after if isinstance(each, Action) else 0,
                archived_at=entry.time,
                content=None if each.content is None else self.contents[each.content],
            )


def hold_together(session: Session) -> None:
    """The sums that a session keeps are those of what it holds, and none is negative."""
    directives = session.directives.values()
    groups: dict[str, set[str]] = {}
    ids: Counter[str] = Counter()
    for name in COMPONENTS:
        held = session.components[name]
        assert held.item_tokens == sum(item.tokens for item in held.items.values())
        waiting = [each for each in directives if each.component == name]
        assert held.pending == sum(each.tokens_before - each.tokens_after for each in waiting)
        assert min(held.used, held.available, held.pending, held.allocated, held.exhaustions) >= 0
        assert_known(held)
        for id, item in held.items.items():
            ids[id] += 1
            assert (item.id, item.component) == (id, name)
            assert 0 <= item.doc_tokens <= item.tokens
            if item.group is not None:
                groups.setdefault(item.group, set()).add(id)
    assert not ids or max(ids.values()) == 1, "an item is held twice"
    assert {name: set(members) for name, members in session.groups.items()} == groups
    assert session.used == sum(held.used for held in session.components.values()) + session.unattributed
    assert sum(held.allocated for held in session.components.values()) == session.total
    assert list(session.directives) == sorted(session.directives)
    assert session.unattributed >= 0
    waiting_by_item: dict[str, list[int]] = {}
    for each in directives:
        waiting_by_item.setdefault(each.item, []).append(each.number)
    assert session.directed == waiting_by_item
    assert max(session.directives, default=0) <= session.issued


def assert_known(held: Held) -> None:
    """What spares a cleanup a look at all items is true: no other kinds, and none older that a step by age concerns."""
    assert held.known.kinds is None or held.known.kinds >= {item.kind for item in held.items.values()}
    for step, oldest in held.known.oldest.items():
        age = AGES[step]
        size = 0 if age.larger_than is None else getattr(held.rules.cleanup, age.larger_than)
        for item in held.items.values():
            if item.pinned or item.tokens <= size or (age.larger_than and item.original_tokens is not None):
                continue
            if not age.kinds or item.kind in age.kinds:
                assert getattr(item, age.since) >= oldest, (step, item)


def explain(entries: Iterable[AnyEntry]) -> tuple[dict[str, int], int, int]:  # noqa: C901, PLR0912, PLR0915
    """Reckon every level from the entries alone: used by component, unattributed, pending. Knows nothing of `evolve`.

    On the way each action and removal must name the size that the item had, whatever had happened to it.
    """
    items: dict[str, tuple[str, int]] = {}
    unheld: Counter[str] = Counter()
    waiting: dict[int, tuple[Action, int]] = {}
    granted: dict[str, str] = {}
    unattributed = 0
    for entry in entries:
        match entry:
            case Opened():
                items, waiting, unattributed = {}, {}, 0
                unheld.clear()
            case Allocated() if entry.item is None:
                unheld[entry.component] += entry.granted
                granted[entry.request_id or ""] = entry.component
            case Released() | LeaseLapsed():
                unheld[entry.component] -= entry.tokens
            case ItemPut():
                items[entry.item.id] = (entry.item.component, entry.item.tokens)
                if entry.claims is not None:
                    unheld[granted[entry.claims]] -= entry.claimed
            case ItemResized():
                assert items[entry.item] == (entry.component, entry.tokens_before)
                items[entry.item] = (entry.component, entry.tokens)
            case ItemRemoved():
                assert items.pop(entry.item) == (entry.component, entry.tokens)
                waiting = {number: each for number, each in waiting.items() if each[0].item != entry.item}
            case CleanedUp():
                assert entry.tokens_freed == sum(each.tokens_before - each.tokens_after for each in entry.actions)
                for action in entry.actions:
                    assert items.pop(action.item) == (action.component, action.tokens_before), "wrong former size"
                    assert action.tokens_after < action.tokens_before <= action.original_tokens or action.number
                    if action.tokens_after:
                        items[action.item] = (action.component, action.tokens_after)
                    if action.number:
                        waiting[action.number] = (action, action.tokens_before)
            case DirectivesConfirmed():
                for number in entry.numbers:
                    del waiting[number]
            case DirectivesUndone():
                for number in sorted(entry.numbers, reverse=True):
                    action, size = waiting.pop(number)
                    if entry.why == "superseded":
                        continue
                    if action.item in items or not action.tokens_after:
                        items[action.item] = (action.component, size)
                    else:
                        later = next(key for key, each in waiting.items() if each[0].item == action.item)
                        waiting[later] = (waiting[later][0], size)
            case UsageReported():
                unheld.update({name: level - unheld[name] for name, level in entry.unheld.items()})
                unattributed = entry.unattributed_tokens
            case WindowSynced():
                unattributed = 0
            case _:
                pass
        if any(tokens < 0 for tokens in unheld.values()):
            inside: Counter[str] = Counter()
            for component, tokens in items.values():
                inside[component] += tokens
            for name in COMPONENTS:
                unheld[name] = max(unheld[name], -inside[name])
    levels: dict[str, int] = {
        str(name): sum(t for c, t in items.values() if c == name) + unheld[name] for name in COMPONENTS
    }
    return levels, unattributed, sum(size - action.tokens_after for action, size in waiting.values())
