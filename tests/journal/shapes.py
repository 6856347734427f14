"""Entries of every shape: strategies made from the classes' annotations, and short hand-made ones."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from sidecar.budget.entries import (
    Action,
    AnyEntry,
    ArchiveErased,
    CleanedUp,
    Closed,
    ItemPut,
    ItemRemoved,
    Noted,
    Opened,
)
from sidecar.budget.items import Item
from sidecar.budget.presets import STANDARD
from sidecar.journal import Frame
from sidecar.journal.codec import ENTRIES

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_plain: dict[Any, st.SearchStrategy[Any]] = {
    str: _texts,
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
    Any: st.recursive(
        st.none() | st.booleans() | st.integers(0, 2**53) | _texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2),
        max_leaves=4,
    ),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values that an annotation allows."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _plain:
        return _plain[hint]
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, msgspec.Struct)):
        return st.builds(
            hint, **{name: values_of(each) for name, each in get_type_hints(hint).items() if name != "type"}
        )
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(each) for each in arguments])
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=3)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    raise TypeError(f"no values are known for {hint!r}")


entries = st.one_of([values_of(cls) for cls in ENTRIES.values()])


def frame(first: int, *entries: AnyEntry, session: str = "s", contents: Mapping[int, str] | None = None) -> Frame:
    """A frame at version `first`."""
    return Frame(session=session, first=first, written_at=1_000.0 + first, entries=entries, contents=contents or {})


def opened() -> Opened:
    return Opened(time=1.0, agent="a", mode="managed", preset="standard", total_tokens=200_000, shares=STANDARD.shares)


def closed() -> Closed:
    return Closed(time=8.0)


def noted(count: int = 1) -> Sequence[Noted]:
    return [Noted(time=float(each), event=f"e{each}") for each in range(count)]


def put(item: str, *, tokens: int = 100, content: int | None = None, new: bool = True) -> ItemPut:
    held = Item(
        id=item,
        kind="file",
        component="working_memory",
        tokens=tokens,
        created_at=1.0,
        last_accessed_at=1.0,
        content=content,
    )
    return ItemPut(time=1.0, item=held, new=new)


def removed(
    item: str, *, tokens: int = 100, content: int | None = None, reason: str = "removed by the host"
) -> ItemRemoved:
    return ItemRemoved(
        time=5.0,
        item=item,
        kind="file",
        component="working_memory",
        tokens=tokens,
        original_tokens=tokens,
        reason=reason,
        content=content,
    )


def compressed(item: str, *, before: int, after: int, content: int | None = None) -> CleanedUp:
    action = Action(
        number=1,
        step="compress_inactive",
        action="compress",
        item=item,
        kind="tool_result",
        component="working_memory",
        tokens_before=before,
        tokens_after=after,
        original_tokens=before,
        content=content,
    )
    return CleanedUp(
        time=4.0, component="working_memory", trigger="manual", tokens_freed=before - after, actions=(action,)
    )


def erased(item: str | None = None) -> ArchiveErased:
    return ArchiveErased(time=9.0, item=item)
