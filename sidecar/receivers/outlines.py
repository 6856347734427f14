"""The outline of a shape: which fields there are, and what is an object, an array or neither.

pydantic reports each broken rule of a body with all that belongs to it, which for millions of fields that do not exist
takes hundreds of megabytes and a second. So a large body is first held against its outline, which ends at the first
thing that is wrong. It is made from the same classes as the shape.
"""

import re
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from annotated_types import MaxLen

LARGE = 64 << 10  # bytes of a body, from which on it is worth a look

_SCALAR = str | int | float | bool | None
_PLACE = re.compile(r"(?P<what>.*?) - at `(?:key` in `)?\$\.?(?P<path>.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_LENGTH = re.compile(r"Expected `(?:array|object)` of length <= (\d+)")
_KIND = re.compile(r"Expected `(object|array)")


class Unlike(Exception):
    """A body that is not like its outline: the path of the first thing that is wrong, and the rule that it breaks."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path} {rule}")
        self.path = path
        self.rule = rule


def outline(type_: Any) -> Callable[[bytes], None]:
    """What looks at a body of that type. It raises `Unlike`, or `ValueError` where the body is no JSON."""
    decode = msgspec.json.Decoder(_outlined(type_)).decode

    def look(body: bytes) -> None:
        try:
            decode(body)
        except msgspec.ValidationError as error:
            raise _unlike(str(error)) from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None

    return look


@cache
def _structure(type_: Any, tag: str | None) -> type:
    """The outline of a dataclass."""
    hints = get_type_hints(type_, include_extras=True)
    parts: list[Any] = []
    for each in fields(type_):
        if each.name != "type":
            required = each.default is MISSING and each.default_factory is MISSING
            kind = _outlined(hints[each.name])
            parts.append((each.name, kind) if required else (each.name, kind | None, None))
    tagged: dict[str, Any] = {"tag_field": "type", "tag": tag} if tag is not None else {}
    return msgspec.defstruct(type_.__name__, parts, forbid_unknown_fields=True, kw_only=True, gc=False, **tagged)


def _outlined(type_: Any) -> Any:
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        inner = _outlined(arguments[0])
        longest = next((each.max_length for each in arguments[1:] if isinstance(each, MaxLen)), None)
        if longest is not None and get_origin(inner) in (list, dict):
            return Annotated[inner, msgspec.Meta(max_length=longest)]
        return inner
    if origin in (Union, types.UnionType):
        classes: list[type[Any]] = [each for each in arguments if isinstance(each, type) and is_dataclass(each)]
        if len(classes) > 1:
            tagged = tuple(_structure(each, _tag(each)) for each in classes)  # type: ignore[arg-type]  # mypy: a class hashes
            return Union[tagged]  # noqa: UP007 - of a tuple
        parts = [_outlined(each) for each in arguments if each is not type(None)]
        return parts[0] | None if len(parts) == 1 else _SCALAR
    if isinstance(type_, type) and is_dataclass(type_):
        return _structure(type_, None)
    if origin is list:
        return list[_outlined(arguments[0])]  # type: ignore[misc]
    if origin is dict:
        key = arguments[0] if get_origin(arguments[0]) is Literal else str
        return dict[key, _outlined(arguments[1])]  # type: ignore[valid-type, misc]
    return _SCALAR


def _tag(type_: Any) -> str:
    (tag,) = get_args(get_type_hints(type_)["type"])
    return str(tag)


def _unlike(said: str) -> Unlike:
    """What msgspec says as a path and a rule."""
    place = _PLACE.fullmatch(said)
    what, path = (place["what"], place["path"]) if place else (said, "")
    if unknown := _UNKNOWN.fullmatch(what):
        return Unlike(f"{path}.{unknown[1]}" if path else unknown[1], "is not a field that is known here")
    if missing := _MISSING.fullmatch(what):
        return Unlike(f"{path}.{missing[1]}" if path else missing[1], "is required")
    if length := _LENGTH.match(what):
        return Unlike(path, f"must have at most {int(length[1]):,}")
    if kind := _KIND.match(what):
        return Unlike(path, "must be an object" if kind[1] == "object" else "must be an array")
    if what.startswith("Expected"):
        return Unlike(path, "must be a single value")
    return Unlike(path, "has a name that is not known here")
