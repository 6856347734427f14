"""Reading JSON that may hold anything: each answers what it was asked for, or nothing."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

LARGEST = 1_000_000_000_000
NOTHING: Mapping[str, Any] = {}


def obj(value: Any) -> Mapping[str, Any]:
    """The object that this is, or an empty one."""
    return value if isinstance(value, dict) else NOTHING


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of an array."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def text(value: Any) -> str:
    """The text that this is, or an empty one."""
    return value if isinstance(value, str) else ""


def name(value: Any) -> str | None:
    """A name without control characters, short enough to show, or None.

    Lone surrogates and direction overrides could break a terminal or deceive its reader.
    """
    if not isinstance(value, str):
        return None
    shown = "".join(each for each in value[:1_000] if each.isprintable()).strip()
    return shown or None


def folder(value: Any) -> str | None:
    """The path of a folder, with slashes between its parts and none at its end."""
    shown = name(value)
    return shown.replace("\\", "/").rstrip("/") if shown else None


def tokens(value: Any) -> int:
    """A number of tokens: whole and not negative, else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return min(max(int(value), 0), LARGEST)


def time(value: Any) -> float | None:
    """Epoch seconds of an RFC 3339 time or of a number (milliseconds, where only that is a date of this age)."""
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            return None
        try:
            epoch = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        except (OverflowError, ValueError):
            return None
        return epoch if epoch > 0 else None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return value / 1000 if value > LARGEST / 10 else float(value)
    return None


def compact(value: Any) -> str:
    """A value as a model is shown it: a text as it is, anything else as short JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def content(value: Any) -> tuple[str, int]:
    """The texts of a message's content and how many images it has: a text, or blocks of any of the tools' shapes."""
    if isinstance(value, str):
        return value, 0
    texts, images = [], 0
    for block in objects(value):
        kind = text(block.get("type"))
        if "image" in kind:
            images += 1
        elif "text" in block:
            texts.append(text(block["text"]))
        elif "content" in block and kind != "thinking":
            inner, more = content(block["content"])
            texts.append(inner)
            images += more
    return "\n".join(texts), images
