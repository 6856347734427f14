"""Sessions as bytes: what snapshots hold.

The whole state goes in, field by field, and comes back equal to what the fold of the entries gives (a property test).
A snapshot is only a short cut: it is believed if its *stamp* is ours, that is, if the same release wrote it with the
same fields; any other is ignored and the entries are folded. Where the first entries have been forgotten (retention),
there is nothing to fold, and the snapshot is read whatever its stamp: fields that it does not know have their defaults.

To write a thousand answered requests takes two milliseconds, in which nobody else would be answered. They are entries,
which nobody changes, so they can be written in pieces while the session goes on.
"""

from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeAlias, cast, get_args, get_type_hints

import msgspec

import sidecar
from sidecar.budget.held import Held
from sidecar.budget.presets import PRESETS
from sidecar.budget.session import SAMPLES, Session
from sidecar.journal import JournalError, Snapshot

Raw: TypeAlias = dict[str, Any]

# Not kept: what the preset's name stands for, and caches.
_LEFT_OUT = {"policy", "rules", "measured", "known"}


_PIECE = 128  # requests that are written in one go


def freeze(session: Session, *, written_at: float) -> Snapshot:
    """The session as it is now; `written_at` is when its version was written."""
    pieces = freeze_in_pieces(session, written_at=written_at)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return cast("Snapshot", end.value)


def freeze_in_pieces(session: Session, *, written_at: float) -> Generator[None, None, Snapshot]:
    """The same, of the session as it is when this begins: between two pieces it may change."""
    id, version, requests = session.id, session.version, iter(list(session.requests.items()))
    raw = {name: getattr(session, name) for name in _names(Session) if name != "requests"}
    raw["components"] = {
        name: {part: getattr(held, part) for part in _names(Held)} for name, held in session.components.items()
    }
    state = _encode(raw)
    written = []
    while piece := dict(islice(requests, _PIECE)):
        yield
        written.append(_encode(piece)[1:-1])
    state = b'%b,"requests":{%b}}' % (state[:-1], b",".join(written))
    return Snapshot(session=id, version=version, written_at=written_at, stamp=stamp(), state=state)


def thaw(snapshot: Snapshot) -> Session:
    """The session again. Raises `JournalError` if the bytes are no session."""
    try:
        raw: Raw = msgspec.json.decode(snapshot.state)
        policy = PRESETS[raw["opened"]["preset"]]
        held = raw.pop("components")
        session = Session(policy=policy, **_loaded(Session, raw))
        session.components = {
            name: Held(policy=policy.components[name], rules=policy, **_loaded(Held, held[name])) for name in held
        }
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as error:
        raise JournalError(f"the snapshot of session {snapshot.session!r} cannot be read: {error}") from error
    if (session.id, session.version) != (snapshot.session, snapshot.version):
        raise JournalError(
            f"the snapshot of session {snapshot.session!r} is that of another one, or of another version"
        )
    return session


def ours(snapshot: Snapshot | None) -> bool:
    """Whether there is a snapshot that gives what the fold gives."""
    return snapshot is not None and snapshot.stamp == stamp()


@cache
def stamp() -> str:
    """Names the release, and every field of everything that a snapshot holds."""
    described: list[str] = []
    waiting: list[Any] = [Session]
    seen: set[Any] = set()
    while waiting:
        hint = waiting.pop()
        if hint in seen:
            continue
        seen.add(hint)
        waiting.extend(get_args(hint))
        if _has_fields(hint) and hint.__name__ not in ("Policy", "ComponentPolicy"):
            hints = get_type_hints(hint)
            names = hint.__struct_fields__ if issubclass(hint, msgspec.Struct) else [each.name for each in fields(hint)]
            described.append(f"{hint.__name__}({', '.join(f'{name}: {hints[name]}' for name in names)})")
            waiting.extend(hints[name] for name in names)
    digest = blake2b("\n".join(sorted(described)).encode(), digest_size=8).hexdigest()
    return f"{sidecar.__version__} {digest}"


def _has_fields(hint: Any) -> bool:
    return isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, msgspec.Struct))


@cache
def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls) if field.name not in _LEFT_OUT)


@cache
def _shape(cls: type) -> Any:
    """The class' own fields, each with its type, as msgspec reads them: those with a default may be missing."""
    hints = get_type_hints(cls)
    parts: list[tuple[str, Any, Any] | tuple[str, Any]] = []
    for each in fields(cls):
        if each.name in _LEFT_OUT or each.name == "components":
            continue
        hint = list[tuple[float, int, int]] if each.name == "samples" else hints[each.name]
        optional = each.default is not MISSING or each.default_factory is not MISSING
        parts.append((each.name, hint | msgspec.UnsetType, msgspec.UNSET) if optional else (each.name, hint))
    return msgspec.defstruct(f"_{cls.__name__}", parts)


def _loaded(cls: type, raw: Raw) -> Raw:
    """The arguments that make a `cls` again."""
    read = msgspec.convert(raw, _shape(cls), str_keys=True)  # JSON has no other keys: the numbers of directives too
    values = {name: value for name in read.__struct_fields__ if (value := getattr(read, name)) is not msgspec.UNSET}
    if "samples" in values:
        values["samples"] = deque(values["samples"], maxlen=SAMPLES)
    return values


def _encode(value: Raw) -> bytes:
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: object) -> object:
    if isinstance(value, deque):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"no session holds a {type(value).__name__}")
