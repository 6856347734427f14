"""Messages of a prompt in the format of chat completions: to pieces, and back as a plan shows them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sidecar.client.pieces import ATTACHED, FRAME, Piece, Shown, as_shown, digest, path_of, user_message
from sidecar.client.replies import Kind

Message: TypeAlias = Mapping[str, Any]


def pieces(messages: Sequence[Any]) -> list[Piece]:
    """A piece for each message. A tool's answer belongs to the last message that called for it."""
    callers: dict[str, tuple[str, Mapping[str, Any]]] = {}
    seen: dict[str, int] = {}
    found = []
    for message in map(_plain, messages):
        piece = _piece(message, callers)
        seen[piece.id] = times = seen.get(piece.id, 0) + 1
        if times > 1:
            id = f"{piece.id}#{times}"
            piece = replace(piece, id=id, group=id if piece.group == piece.id else piece.group)
        callers.update({call["id"]: (piece.id, _arguments(call)) for call in _calls(message) if call.get("id")})
        found.append(piece)
    return found


def definitions(tools: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """A piece for each tool that the model is offered."""
    found = {}
    for number, tool in enumerate(tools):
        name = tool.get("function", tool).get("name") or f"{tool.get('type', 'tool')}-{number}"
        found[name] = Piece(id=f"tool:{name}", kind="tool_definition", text=_json(tool), pinned=True)
    return list(found.values())


def rendered(messages: Sequence[Any], shown: Sequence[Shown]) -> list[Any]:
    """The messages as a plan shows them."""
    return as_shown(messages, shown, with_text=_with_text, noted=user_message)


def _plain(message: Any) -> Message:
    """A message as JSON has it, which some keep as they were given it: an object."""
    plain: Message = message if isinstance(message, Mapping) else message.model_dump(exclude_none=True)
    return plain


def _piece(message: Message, callers: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Piece:
    role, content = message.get("role"), message.get("content")
    text = _text(content)
    attached = 0 if isinstance(content, str) else sum(_is_attached(part) for part in content or ())
    extra = FRAME + ATTACHED * attached
    calls = _calls(message)
    if calls:
        said = "\n".join([text, *(f"{call['function']['name']} {call['function']['arguments']}" for call in calls)])
        id = f"call:{calls[0].get('id') or digest('', said)}"
        return Piece(id=id, kind="context", text=said, group=id, extra_tokens=extra)
    answered = str(message.get("tool_call_id"))
    if role == "tool" and answered in callers:
        caller, arguments = callers[answered]
        path = path_of(arguments)
        return Piece(
            id=f"output:{answered}",
            kind="file" if path else "tool_result",
            text=text,
            group=caller,
            answers=True,
            path=path,
            cuttable=_is_one_text(content),
            extra_tokens=extra,
        )
    if role in ("system", "developer"):
        return Piece(id=digest(role, text), kind="prompt", text=text, pinned=True, extra_tokens=extra)
    kind: Kind = "tool_result" if role == "tool" else "interaction"
    return Piece(id=digest(str(role), text), kind=kind, text=text, cuttable=_is_one_text(content), extra_tokens=extra)


def _calls(message: Message) -> Sequence[Mapping[str, Any]]:
    return [call for call in message.get("tool_calls") or () if call.get("function")]


def _arguments(call: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        arguments = json.loads(call["function"]["arguments"] or "{}")
    except (ValueError, KeyError, TypeError):  # the model wrote something else
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _with_text(message: Any, text: str) -> Any:
    """The message with another text."""
    message = _plain(message)
    content = message.get("content")
    parted = isinstance(content, list) and _is_one_text(content)
    return {**message, "content": [{**content[0], "text": text}] if parted else text}


def _is_one_text(content: Any) -> bool:
    return isinstance(content, str) or (isinstance(content, list) and len(content) == 1 and "text" in content[0])


def _is_attached(part: Any) -> bool:
    return isinstance(part, Mapping) and str(part.get("type")) in ("image_url", "input_audio", "file", "video_url")


def _text(content: Any) -> str:
    """The text that counts: of images and files not their data."""
    if isinstance(content, str):
        return content
    parts = (part for part in content or () if not _is_attached(part))
    return "\n".join(part if isinstance(part, str) else str(part.get("text") or _json(part)) for part in parts)


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
