"""Commands as JSON, in any order and of any size, mostly right: a pool of few names makes them meet each other."""

from typing import Any

from hypothesis import strategies as st

from sidecar.budget.items import KINDS
from sidecar.budget.policy import COMPONENTS, MODES

SESSIONS = ("s1", "s2", "\u00e9t\u00e9 / 100%")
WRONG: tuple[Any, ...] = (None, True, -1, 0.5, "", "x", "\u0000", [], {}, 10**13, 1e300, [[]], {"": 0})

wrong = st.sampled_from(WRONG)
names = st.sampled_from("abcdefgh") | st.text(min_size=1, max_size=12)
tokens = st.sampled_from([0, 1, 199, 2_500, 10_001, 21_000, 61_000, 10**12]) | st.integers(0, 250_000)
components = st.sampled_from(COMPONENTS)
kinds = st.sampled_from(KINDS)
# Around the present: in a session that uses its host's clock, which never goes back.
times = st.integers(-20_000, 240).map(lambda offset: ("ago", offset))
counts = st.integers(0, 8)


@st.composite
def some(draw: st.DrawFn, /, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """Objects with these fields; now and then one field is wrong."""
    body = draw(st.fixed_dictionaries(required, optional=optional))
    if draw(st.integers(0, 9)) == 9:
        field = draw(st.sampled_from([*required, *optional, "unknown"]))
        return {**body, field: draw(wrong)}
    return body


_ITEM: dict[str, Any] = {
    "component": components, "created_at": times, "last_accessed_at": times, "completed": st.booleans(),
    "pinned": st.booleans(), "group": st.sampled_from("gh"), "fingerprint": st.sampled_from(["ff", "0" * 16, "1" * 16]),
    "full": st.booleans(), "doc_tokens": tokens, "claims": names, "content": st.text(max_size=40),
}  # fmt: skip
items = some({"id": names, "kind": kinds, "tokens": tokens}, **_ITEM)
window = st.lists(some({"id": names, "tokens": tokens}, kind=kinds, **_ITEM), max_size=8)
levels = st.dictionaries(components, tokens, max_size=5)
tasks = st.lists(
    some({"id": names}, files=st.lists(names, max_size=4), agents=st.lists(names, max_size=4)), min_size=1, max_size=3
)
_ANY: dict[str, Any] = {"time": times, "id": names}

# The body of each event, by its type.
BODIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "open_session": some({}, agent=names, mode=st.sampled_from(MODES), total_tokens=tokens, reserve_tokens=tokens),
    "request_allocation": some(
        {"component": components, "tokens": tokens}, request_id=names, min_tokens=tokens,
        all_or_nothing=st.booleans(), lease_seconds=st.integers(0, 4_000), **_ANY,
    ),
    "release_tokens": some({"component": components, "tokens": tokens}, **_ANY) | some({"item": names}, **_ANY),
    "put_item": some({"item": items}, **_ANY),
    "touch_item": some({"item": names}, **_ANY),
    "complete_item": some({"item": names}, **_ANY),
    "remove_item": some({"item": names}, **_ANY),
    "sync_window": some({"items": window}, through=counts, **_ANY),
    "report_usage": some({}, components=levels, total=tokens, **_ANY),
    "acknowledge": some(
        {"through": counts}, sizes=st.dictionaries(names, tokens, max_size=2),
        failed=st.lists(some({"number": counts}, reason=names), max_size=2), **_ANY,
    ),
    "plan_tasks": some({"tasks": tasks}, preempt=st.booleans(), adjust=st.booleans(), **_ANY),
    "complete_task": some({"task": names}, actual=levels, **_ANY),
    "clean_up": some({"component": components}, **_ANY),
    "adjust_shares": some({}, dry_run=st.booleans(), **_ANY),
    "restore_item": some({"item": names}, request_id=names, **_ANY),
    "close_session": some({}, **_ANY),
}  # fmt: skip


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of any type to one of the sessions; facts and requests more often than the others."""
    type_ = draw(st.sampled_from([*BODIES, "put_item", "put_item", "request_allocation"]))
    return {"type": type_, "session": draw(st.sampled_from(SESSIONS)), **draw(BODIES[type_])}


batches = st.lists(events(), min_size=1, max_size=12)


def dated(value: Any, now: float) -> Any:
    """The value with its times set: they are told relative to the present."""
    if isinstance(value, tuple):
        return now + value[1]
    if isinstance(value, dict):
        return {key: dated(each, now) for key, each in value.items()}
    return [dated(each, now) for each in value] if isinstance(value, list) else value
