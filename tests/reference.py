"""Writes the tables of the reference from the code that they describe: `make reference`, held by test_reference.py.

A table stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` of the document next to what it documents.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from sidecar.__main__ import COMMANDS
from sidecar.budget.commands import EVENTS, Command
from sidecar.config.load import SETTINGS, shown
from sidecar.exporters.catalog import markdown
from sidecar.receivers.operations import OPERATIONS
from sidecar.receivers.problems import DAMAGED, MALFORMED, Kind, documented

CHECKOUT = Path(__file__).resolve().parents[1]
OF_EVERY_COMMAND = {each.name for each in fields(Command)}
# Where more is told of a command.
MORE = {
    "serve": "[settings](../config/README.md)",
    "check-config": "[settings](../config/README.md)",
    "backtest": "[backtest](backtest/README.md)",
    "audit": "[audit](audit/README.md)",
    "inject": "[chart](../../helm/token-budget-sidecar/README.md)",
    "openapi": "[API](../receivers/README.md)",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table. A bar within a cell is escaped, as GitHub wants it in code, too."""
    told = [list(head), *(list(row) for row in rows)]
    told.insert(1, ["---"] * len(told[0]))
    lines = (" | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row) for row in told)
    return "".join(f"| {line} |\n".replace("| --- |", "|---|").replace(" --- |", "---|") for line in lines)


def settings() -> str:
    """Every setting: name, form, default, meaning."""
    rows = (
        (f"`{name}`", f"`{each.metadata['written']}`", f"`{_default(name, each)}`", _sentence(each.metadata["meaning"]))
        for name, each in SETTINGS.items()
    )
    return table(("setting", "form", "default", "meaning"), rows)


def _default(name: str, setting: Field[Any]) -> str:
    return shown(name, setting.default)


def calls() -> str:
    """Every call of the API; `...` is `/v1/sessions/{session}`."""
    rows = (
        (f"`{each.method} {each.path.replace('/v1/sessions/{session}/', '.../')}`", f"`{each.scope}`", each.summary)
        for each in OPERATIONS
    )
    return table(("call", "scope", "does"), rows)


def events() -> str:
    """Every type of event with its own fields, the optional ones in brackets."""
    return table(("type", "fields"), ((f"`{name}`", ", ".join(_fields(cls))) for name, cls in EVENTS.items()))


def _fields(cls: type[Command]) -> Iterable[str]:
    for each in fields(cls):
        if each.name not in OF_EVERY_COMMAND:
            needed = each.default is MISSING and each.default_factory is MISSING
            yield f"`{each.name}`" if needed else f"[`{each.name}`]"


def errors() -> str:
    """Every kind of error, by status."""
    kinds = {MALFORMED.name: MALFORMED, DAMAGED.name: DAMAGED, **{kind.name: kind for kind in documented().values()}}
    ordered: list[Kind] = sorted(kinds.values(), key=lambda kind: kind.status)
    return table(("status", "name", "means"), ((str(each.status), f"`{each.name}`", each.title) for each in ordered))


def commands() -> str:
    """Every command of the program."""
    return table(
        ("command", "does", "more"),
        ((f"`{name}`", does, MORE.get(name, f"`{name} --help`")) for name, does in COMMANDS.items()),
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "sidecar/config/README.md": {"settings": settings},
    "sidecar/receivers/README.md": {"calls": calls, "events": events, "errors": errors},
    "sidecar/exporters/README.md": {"metrics": markdown},
    "sidecar/lab/README.md": {"commands": commands},
}


def written(path: str) -> str:
    """A document with its tables as they should be.

    Raises:
        LookupError: it has no place for one of them.
    """
    text = (CHECKOUT / path).read_text("utf-8")
    for name, make in TABLES[path].items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        found = text.count(begin)
        if found != 1:
            raise LookupError(f"{path} has {found} places for the table {name}")
        before, _, rest = text.partition(begin)
        text = before + begin + make() + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    for path in TABLES:
        (CHECKOUT / path).write_text(written(path), "utf-8")
