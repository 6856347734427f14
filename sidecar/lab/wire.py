"""Commands as JSON: their fields, with what is left at its default left out (SPEC section 4)."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from sidecar.budget.commands import Command

PLAIN = frozenset({str, int, float, bool, type(None)})


def event(command: Command) -> dict[str, Any]:
    """Encode a command as an event, without the `session` that it goes to."""
    return {"type": command.type, **body(command)}


def body(command: Command) -> dict[str, Any]:
    """Encode a command as the body of a call of its own."""
    encoded: dict[str, Any] = _encode(command)
    return encoded


def _encode(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_encode(part) for part in value]
    if isinstance(value, dict) or not is_dataclass(value):
        return value
    names, defaults, get = _shape(value.__class__)
    # A window sync has an item for each message in the prompt, so this line is where a replay spends its time.
    return {
        name: part if part.__class__ in PLAIN else _encode(part)
        for name, default, part in zip(names, defaults, get(value), strict=True)
        if part is not default and part != default
    }


@cache
def _shape(cls: Any) -> tuple[tuple[str, ...], tuple[Any, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(field.name for field in fields(cls))
    return names, tuple(_default(field) for field in fields(cls)), attrgetter(*names)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
