"""How a table is laid out, whoever shows it: columns with headings, rows of cells, and what to say around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Align: TypeAlias = Literal["left", "right", "bar"]


@dataclass(frozen=True, slots=True)
class Stack:
    """A bar of parts: the ratio of each component to the whole."""

    ratios: Mapping[str, float]


Cell: TypeAlias = str | Stack


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cells stand on a terminal that is too narrow for all of them.

    Columns that `gives` are left out, the highest number first. Names are cut to `least` characters: at their
    beginning, for paths and sessions differ at their end; `prose` is cut at its end.
    """

    heading: str
    align: Align = "right"
    gives: int = 0
    least: int = 16
    prose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table under a title; `note` says how to read it, `more` how many rows were left out."""

    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: int = 0
    empty: str = ""
    facts: Sequence[str] = field(default_factory=tuple)
