"""Captured content, measured and forgotten: how much of each component a call's messages hold.

Reads the GenAI conventions' messages (lists, or the JSON text of them), OpenAI's own shape of messages, which older
emitters pass on, and the flat attributes of OpenInference and OpenLLMetry. Only sizes leave this module.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sidecar.budget.policy import Component
from sidecar.receivers.otlp.mapping import (
    FLAT,
    FLAT_INPUT,
    FLAT_REPLY,
    FLAT_TOOLS,
    Meaning,
    Told,
    tool_component,
)
from sidecar.receivers.otlp.observations import Measured, Sizes

# What text is to a tokenizer, roughly: of o200k_base's tokens the average one holds so many ASCII characters of code
# and prose; other scripts take more. The error that is left is a factor per model, which the calibration learns.
ASCII_PER_TOKEN = 4.0
OTHER_PER_TOKEN = 1.6
PER_MESSAGE = 4.0  # role and separators
_DIGITS = 9  # of the number of a message among flat attributes
OPAQUE = 1_000.0  # an image, an audio clip, a file by reference: nobody can tell from here

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def estimate(text: str) -> float:
    """Tokens in a text, without a tokenizer."""
    if text.isascii():
        return len(text) / ASCII_PER_TOKEN
    ascii_only = len(text.encode("ascii", "ignore"))
    return ascii_only / ASCII_PER_TOKEN + (len(text) - ascii_only) / OTHER_PER_TOKEN


def size(value: Any) -> float:
    """Tokens of any value as it would stand in a prompt: text as it is, the rest as JSON."""
    if value is None:
        return 0.0
    if isinstance(value, str):
        return estimate(value)
    try:
        return estimate(_encode(value).decode())
    except (TypeError, ValueError, RecursionError):
        return 0.0


def structured(value: Any) -> Any:
    """A value that may have been sent as the JSON text of itself."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return _decode(value.encode())
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return value
    return value


def measure_input(told: Told, attributes: Mapping[str, Any]) -> Sizes | None:
    """The size of a call's whole input by component; None where its content was not captured.

    `attributes`: all of them, which are looked at where flat ones are among them.
    """
    flat = FLAT in told
    messages = structured(told.get(Meaning.MESSAGES))
    if messages is None and flat:
        messages = _flat_messages(attributes, FLAT_INPUT)
    if not messages:
        return None  # instructions or tools alone are no input
    measured = Measured()
    measured.add("system_context", sum(size(_text(part)) for part in _list(structured(told.get(Meaning.SYSTEM)))))
    measured.add("system_context", size(structured(told.get(Meaning.TOOLS))))
    if flat:
        measured.add("system_context", sum(size(each) for each in _flat_tools(attributes)))
    _measure(messages, measured)
    return measured.sizes


def measure_reply(told: Told, attributes: Mapping[str, Any]) -> Sizes | None:
    """The size of a call's output by component; None where its content was not captured."""
    messages = structured(told.get(Meaning.REPLY))
    if messages is None and FLAT in told:
        messages = _flat_messages(attributes, FLAT_REPLY)
    if not messages:
        return None
    measured = Measured()
    _measure(messages, measured, role="assistant")
    return measured.sizes


def _measure(messages: Any, measured: Measured, *, role: str = "user") -> None:
    if isinstance(messages, str):
        measured.add(_said_by(role), estimate(messages))
        return
    tools: dict[str, str] = {}  # by the id of the call, for results that do not name their tool
    for message in _list(messages):
        if not isinstance(message, Mapping):
            measured.add(_said_by(role), size(message))
            continue
        speaker = str(message.get("role") or role)
        measured.add(_said_by(speaker), PER_MESSAGE)
        parts = message.get("parts")
        for part in _list(message.get("content") if parts is None else structured(parts)):
            _measure_part(part, speaker, message, tools, measured)
        for call in _list(message.get("tool_calls")):
            _measure_openai_call(call, tools, measured)


def _measure_part(
    part: Any, speaker: str, message: Mapping[str, Any], tools: dict[str, str], measured: Measured
) -> None:
    if not isinstance(part, Mapping):
        name = message.get("name") or tools.get(str(message.get("tool_call_id")))
        measured.add(tool_component(name) if speaker == "tool" else _said_by(speaker), size(part))
        return
    kind = str(part.get("type") or "text")
    match kind:
        case "text" | "input_text" | "output_text":
            component = tool_component(message.get("name")) if speaker == "tool" else _said_by(speaker)
            measured.add(component, size(_text(part)))
        case "tool_call" | "tool_use" | "function_call" | "server_tool_call":
            name = str(part.get("name") or "")
            tools[str(part.get("id") or part.get("call_id"))] = name
            arguments = part.get("arguments", part.get("input"))
            measured.add(tool_component(name), estimate(name) + size(arguments) + PER_MESSAGE)
        case "tool_call_response" | "tool_result" | "function_call_output" | "server_tool_call_response":
            id = str(part.get("id") or part.get("tool_use_id") or part.get("call_id"))
            name = str(part.get("name") or tools.get(id) or message.get("name") or "")
            measured.add(tool_component(name), size(_first_of(part, "response", "result", "content", "output")))
        case "reasoning" | "thinking" | "compaction":
            measured.add("working_memory", size(_first_of(part, "content", "text", "thinking", "summary")))
        case "file" | "document":
            measured.add("knowledge_base", _opaque(part))
        case "uri" | "blob" | "image" | "image_url" | "input_image" | "audio":
            measured.add("working_memory" if speaker == "tool" else _said_by(speaker), _opaque(part))
        case _:
            measured.add("working_memory" if speaker == "tool" else _said_by(speaker), size(_text(part) or part))


def _measure_openai_call(call: Any, tools: dict[str, str], measured: Measured) -> None:
    """A tool call beside the content, as OpenAI's API has it; OpenInference wraps it once more."""
    if not isinstance(call, Mapping):
        return
    call = call.get("tool_call", call)
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if isinstance(function, Mapping):
        name = str(function.get("name") or "")
        tools[str(call.get("id"))] = name
        measured.add(tool_component(name), estimate(name) + size(function.get("arguments")) + PER_MESSAGE)


def _said_by(role: str) -> Component:
    if role in ("system", "developer"):
        return "system_context"
    return "working_memory" if role in ("tool", "function") else "interaction_buffer"


def _opaque(part: Mapping[str, Any]) -> float:
    text = _text(part)
    return size(text) if text is not None and part.get("type") == "document" else OPAQUE


def _text(part: Any) -> Any:
    return _first_of(part, "content", "text") if isinstance(part, Mapping) else part


def _first_of(part: Mapping[str, Any], *names: str) -> Any:
    return next((part[name] for name in names if part.get(name) is not None), None)


def _list(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


# --- flat attributes: `llm.input_messages.0.message.content`, `gen_ai.prompt.0.content` -----------------------------


def _flat_messages(attributes: Mapping[str, Any], prefixes: Iterable[str]) -> list[Any]:
    for prefix in prefixes:
        tree = _tree(attributes, prefix)
        if tree:
            return [_message(each) for each in _ordered(tree)]
    return []


def _flat_tools(attributes: Mapping[str, Any]) -> Iterable[Any]:
    return [each for prefix in FLAT_TOOLS for each in _ordered(_tree(attributes, prefix))]


def _tree(attributes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """`prefix.0.a.b` = v as {"0": {"a": {"b": v}}}."""
    tree: dict[str, Any] = {}
    start = f"{prefix}."
    for key, value in attributes.items():
        if not key.startswith(start):
            continue
        node = tree
        *path, last = key[len(start) :].split(".")
        for step in path:
            below = node.setdefault(step, {})
            if not isinstance(below, dict):
                break
            node = below
        else:
            node.setdefault(last, value)
    return tree


def _ordered(tree: Mapping[str, Any]) -> list[Any]:
    """The parts of a tree by their numbers; what is no number, or longer than any list, is none of them."""
    numbers = (key for key in tree if key.isascii() and key.isdigit() and len(key) <= _DIGITS)
    return [tree[key] for key in sorted(numbers, key=int)]


def _message(node: Any) -> Any:
    """One message of a flat tree, in OpenAI's shape."""
    if not isinstance(node, Mapping):
        return node
    inner = node.get("message", node)
    if not isinstance(inner, Mapping):
        return inner
    message = dict(inner)
    for plural in ("tool_calls", "contents"):
        if isinstance(message.get(plural), Mapping):
            message[plural] = _ordered(message[plural])
    if "contents" in message and "content" not in message:
        message["content"] = [
            part.get("message_content", part) if isinstance(part, Mapping) else part
            for part in _list(message["contents"])
        ]
    if "tool_call_id" in message and not message.get("role"):
        message["role"] = "tool"
    return message
