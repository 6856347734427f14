"""Entries as bytes: a frame is a JSON array of objects `{"type": ..., fields that differ from their default}`.

Defaults are left out, which keeps frames small and lets old ones gain new fields. Decoding checks every field against
the entry's annotations, so a damaged frame is an error where it is read and never a strange session later. Entries
whose shape has changed since they were written pass through `upcast` first: old journals load forever.

Encoding runs once per entry on the way to every answer, so the functions that pick an entry's fields are generated from
their classes, one for each (about 1 us an entry; looking the fields up each time took three times as long).
The actions of a cleanup, which are many, msgspec writes by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast, get_args

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from sidecar.budget.entries import DERIVED, AnyEntry
from sidecar.budget.items import Item
from sidecar.journal import Damaged

Raw: TypeAlias = dict[str, Any]

ENTRIES: Mapping[str, type[AnyEntry]] = {cls.type: cls for cls in get_args(AnyEntry)}

# Old shapes by the type they were written with: each function makes the next younger shape of it.
UPCASTS: Mapping[str, Callable[[Raw], Raw]] = {}


def encode(entries: Sequence[AnyEntry]) -> bytes:
    """The bytes of a frame."""
    return _ENCODER.encode([_DUMPS[type(entry)](entry) for entry in entries])


def decode(data: bytes) -> list[AnyEntry]:
    """The entries of a frame. Raises `Damaged` if these are no entries of this or an older version."""
    try:
        entries = [_load(raw) for raw in _DECODER.decode(data)]
    except msgspec.MsgspecError as error:
        raise Damaged(f"a frame cannot be read: {error}") from error
    if not entries:
        raise Damaged("a frame holds no entry")
    return entries


def upcast(raw: Raw) -> Raw:
    """An entry as the present version writes it, from one that any earlier version wrote."""
    while (step := UPCASTS.get(str(raw.get("type")))) is not None:
        raw = step(raw)
    return raw


def _load(raw: Raw) -> AnyEntry:
    raw = upcast(raw)
    cls = ENTRIES.get(str(raw.get("type")))
    if cls is None:
        raise Damaged(f"a frame holds an entry of type {raw.get('type')!r}, which this version does not know")
    return msgspec.convert(raw, cls)


def _dump_function(cls: type[msgspec.Struct], tag: str | None = None) -> Callable[[Any], Raw]:
    """Generate what makes a `cls` a JSON object: required fields, and others that differ from their default."""
    always, sometimes = [] if tag is None else [f"'type': {tag!r}"], []
    for field in fields(cls):
        if field.name in DERIVED:
            continue  # the fold finds it again
        value = f"x.{field.name}"
        if field.type is Item:
            value = f"dump_item({value})"
        if field.required:
            always.append(f"{field.name!r}: {value}")
            continue
        sometimes.append(f"    if {_differs(field, value)}: raw[{field.name!r}] = {value}")
    source = "\n".join(["def dump(x):", f"    raw = {{{', '.join(always)}}}", *sometimes, "    return raw"])
    scope: dict[str, Any] = {"dump_item": _DUMPS.get(Item)}
    exec(source, scope)  # noqa: S102 - the source is made here, of the classes' own field names
    return cast("Callable[[Any], Raw]", scope["dump"])


def _differs(field: FieldInfo, value: str) -> str:
    """The condition, as source, under which `value` is not the field's default."""
    if field.default is None:
        return f"{value} is not None"
    if field.default is True:
        return f"not {value}"
    if field.default is NODEFAULT or not field.default:  # an empty mapping, False, 0
        return value
    return f"{value} != {field.default!r}"


def _plain(value: object) -> object:
    """A read-only mapping as a dictionary."""
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"no entry holds a {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
_DECODER = msgspec.json.Decoder(list[Raw])
_DUMPS: dict[type, Callable[[Any], Raw]] = {}
_DUMPS[Item] = _dump_function(Item)
_DUMPS.update({cls: _dump_function(cls, type_) for type_, cls in ENTRIES.items()})
