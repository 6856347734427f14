"""Items of a prompt in OpenAI's Responses format: to pieces, and back as a plan shows them.

A response may be several items: reasoning, texts, calls. They are one group, and with them the outputs of their calls,
since the provider takes neither a call without its output nor one without the reasoning that led to it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from sidecar.client.pieces import ATTACHED, FRAME, Piece, Shown, as_shown, digest, path_of, user_message
from sidecar.client.replies import Kind

Item: TypeAlias = Mapping[str, Any]

ASKED = ("user", "system", "developer")
PLAIN_OUTPUTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")  # a text may stand here
MADE_UP = "__fake_id__"  # what the SDK calls whatever a provider gave no id
HANDOFF = "transfer_to_"


@dataclass(slots=True)
class _Call:
    group: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(slots=True)
class _Reading:
    """What was read so far: whose outputs may come, and how often each id was seen."""

    agents: frozenset[str]
    calls: dict[str, _Call] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def distinct(self, piece: Piece) -> Piece:
        self.seen[piece.id] = times = self.seen.get(piece.id, 0) + 1
        return piece if times == 1 else replace(piece, id=f"{piece.id}#{times}")


def pieces(items: Sequence[Item], agents: frozenset[str] = frozenset()) -> list[Piece]:
    """A piece for each item. `agents`: names of the tools that are agents themselves."""
    reading = _Reading(agents)
    found: list[Piece] = []
    response: list[Item] = []
    for item in items:
        if _is_said(item):
            response.append(item)
            continue
        found += _response(response, reading)
        response = []
        found.append(reading.distinct(_output(item, reading) if item.get("call_id") else _asked(item)))
    return [*found, *_response(response, reading)]


def rendered(items: Sequence[Any], shown: Sequence[Shown]) -> list[Any]:
    """The items as a plan shows them."""
    return as_shown(items, shown, with_text=_with_text, noted=user_message)


def _is_said(item: Item) -> bool:
    """Whether the model said it."""
    kind = str(item.get("type", "message"))
    if kind == "message":
        return item.get("role") not in ASKED
    return not kind.endswith(("_output", "_approval_response"))


def _response(items: Sequence[Item], reading: _Reading) -> Iterator[Piece]:
    """The pieces of what the model said at once; a group unless it only wrote to the user."""
    together = any(item.get("type", "message") != "message" for item in items)
    group: str | None = None
    for item in items:
        piece = reading.distinct(_said(item, talk=not together))
        if together:
            group = group or piece.id
            piece = replace(piece, group=group)
            if item.get("call_id"):
                reading.calls[item["call_id"]] = _Call(group, str(item.get("name", "")), _arguments(item))
        yield piece


def _said(item: Item, *, talk: bool) -> Piece:
    kind: Kind = "interaction" if talk else "context"
    given = item.get("id") if item.get("id") != MADE_UP else None
    if item.get("type", "message") == "message":
        return _message(item, given or digest("said", _text(item.get("content"))), kind)
    if item.get("call_id"):
        text = f"{item.get('name', item['type'])} {item.get('arguments') or item.get('input') or _json(item)}"
        return Piece(id=f"call:{item['call_id']}", kind=kind, text=text, extra_tokens=FRAME)
    text = _text([*(item.get("summary") or ()), *(item.get("content") or ())]) or _json(item)
    return Piece(id=given or digest(str(item["type"]), text), kind=kind, text=text, extra_tokens=FRAME)


def _asked(item: Item) -> Piece:
    if item.get("type", "message") != "message":
        text = _json(item)
        return Piece(id=digest(str(item["type"]), text), kind="context", text=text, extra_tokens=FRAME)
    id = item.get("id") or digest(str(item.get("role")), _text(item.get("content")))
    if item.get("role") == "user":
        return _message(item, id, "interaction")
    return replace(_message(item, id, "prompt"), pinned=True)


def _message(item: Item, id: str, kind: Kind) -> Piece:
    content = item.get("content")
    attached = 0 if isinstance(content, str) else sum(_is_attached(part) for part in content or ())
    return Piece(
        id=id, kind=kind, text=_text(content), cuttable=_is_one_text(content), extra_tokens=FRAME + ATTACHED * attached
    )


def _output(item: Item, reading: _Reading) -> Piece:
    call = reading.calls.get(item["call_id"])
    output = item.get("output")
    attached = 0 if isinstance(output, str | None | Mapping) else sum(_is_attached(part) for part in output)
    path = path_of(call.arguments) if call else None
    kind: Kind = "file" if path else "tool_result"
    if call and (call.name in reading.agents or call.name.startswith(HANDOFF)):
        kind, path = "agent", None
    plain = item["type"] in PLAIN_OUTPUTS and call is not None
    return Piece(
        id=f"output:{item['call_id']}",
        kind=kind,
        text=_text(output) if isinstance(output, str | list) else _json(item),
        group=call.group if call else None,
        answers=plain,
        path=path,
        cuttable=plain and isinstance(output, str),
        extra_tokens=FRAME + ATTACHED * attached,
    )


def _arguments(item: Item) -> Mapping[str, Any]:
    try:
        arguments = json.loads(item.get("arguments") or "{}")
    except ValueError:  # the model wrote something else
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _with_text(item: Any, text: str) -> Any:
    """The item with another text."""
    if "output" in item:
        return {**item, "output": text}
    content = item.get("content")
    return {**item, "content": text if isinstance(content, str) else [{**content[0], "text": text}]}


def _is_one_text(content: Any) -> bool:
    return isinstance(content, str) or (isinstance(content, list) and len(content) == 1 and "text" in content[0])


def _is_attached(part: Any) -> bool:
    return isinstance(part, Mapping) and str(part.get("type")).endswith(("_image", "_file", "_audio"))


def _text(content: Any) -> str:
    """The text that counts: of images and files not their data."""
    if isinstance(content, str):
        return content
    parts = (part for part in content or () if not _is_attached(part))
    return "\n".join(
        part if isinstance(part, str) else str(part.get("text") or part.get("refusal") or _json(part)) for part in parts
    )


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
