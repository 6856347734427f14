"""Mutations of recorded payloads: what a broken, an old or a hostile exporter could send instead.

A mutation works on the JSON tree of a payload, where it can put any value in any place, or on the bytes of either
encoding. Everything follows from the seed.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Signal = Literal["traces", "logs", "metrics"]

PAYLOADS = Path(__file__).parents[1] / "receivers" / "otlp" / "payloads"
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def deep(levels: int) -> Any:
    """An attribute's value that is nested so deeply."""
    value: Any = {"stringValue": "bottom"}
    for level in range(levels):
        if level % 2:
            value = {"arrayValue": {"values": [value]}}
        else:
            value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    return value


# Values that have broken readers before: numbers at and beyond every edge, text that is nearly a number, the shapes
# that stand elsewhere, names with everything in them.
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**25, 1e308, -1e308, 5e-324, 0.5,
    "", "0", "-1", "1e400", "NaN", "Infinity", "-Infinity", "nan", "9" * 400, "9" * 5_000, "\u0663", "\u00b2", "0x10",
    "1_000", " 7 ", "true", "[", "{", "[[", "[" * 3_000, '{"a":' * 2_000, '[{"role": 7, "parts": 3}]', '["\\ud800"]',
    '[{"role": "tool", "content": [{"type": "tool_result", "name": []}]}]', '[{"tool_calls": [{"tool_call": 5}]}]',
    '[{"role": "tool", "name": {"a": 1}, "content": "x"}]', '[{"parts": [{"type": ["text"], "content": {"a": [1]}}]}]',
    "\x00", "a\nb", "\x1b[31m", "\u202e", "\U0001f600" * 300, "x" * 10_000, "../../etc/passwd", "a.b.c", "a" * 257,
    [], {}, [[]], [None], {"": None}, {"a": {"b": {}}}, [1, "2", None, {}],
)  # fmt: skip
NAMES = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.operation.name", "gen_ai.conversation.id",
    "gen_ai.agent.name", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.id", "gen_ai.input.messages",
    "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.tool.name",
    "gen_ai.tool.call.id", "gen_ai.tool.call.result", "gen_ai.response.finish_reasons", "gen_ai.prompt.0.content",
    "gen_ai.prompt.\u00b2.content", "gen_ai.completion.0.tool_calls.0.name", "gen_ai.prompt." + "9" * 4_400 + ".role",
    "llm.input_messages.0.message", "llm.input_messages.0.message.contents.0.message_content.text",
    "llm.tools.0.tool.json_schema", "llm.token_count.prompt", "openinference.span.kind", "traceloop.span.kind",
    "session.id", "conversation.id", "event.name", "event.kind", "query_source", "input_tokens", "cache_read_tokens",
    "pre_tokens", "post_tokens", "duration_ms", "tool_name", "tool_result_size_bytes", "context_window", "model",
    "input_token_count", "tokens_before", "tokens_after", "service.name", "service.instance.id", "agent_id",
)  # fmt: skip
EVENTS = (
    "claude_code.api_request", "claude_code.compaction", "claude_code.tool_result", "claude_code.subagent_completed",
    "claude_code.user_prompt", "codex.conversation_starts", "codex.sse_event", "codex.tool_result",
    "gemini_cli.api_response", "gemini_cli.chat_compression", "gemini_cli.tool_output_masking",
    "gen_ai.client.inference.operation.details", "chat gpt", "",
)  # fmt: skip
KINDS = ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue", "kvlistValue")


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as it is sent."""

    signal: Signal
    media: str
    body: bytes


def recorded(folder: Path = PAYLOADS) -> list[Payload]:
    """The recorded payloads, in a fixed order."""
    found = []
    for path in sorted(folder.glob("*.otlp.*")):
        _, signal, *_ = path.name.split(".")
        media = JSON if path.suffix == ".json" else PROTOBUF
        found.append(Payload(signal, media, path.read_bytes()))  # type: ignore[arg-type]
    assert found, f"no payloads in {folder}"
    return found


def mutated(payloads: list[Payload], seed: int) -> Iterator[Payload]:
    """Payloads without end, each a recorded one that was changed in a few places."""
    chance = random.Random(seed)
    while True:
        payload = chance.choice(payloads)
        if payload.media == JSON and chance.random() < 0.85:
            body = change_tree(payload.body, chance)
        else:
            body = change_bytes(payload.body, chance)
        media = payload.media if chance.random() < 0.97 else chance.choice((PROTOBUF, JSON))
        signal = payload.signal if chance.random() < 0.95 else chance.choice(("traces", "logs", "metrics"))
        yield Payload(signal, media, body)


def change_tree(body: bytes, chance: random.Random) -> bytes:
    """Values, names and shapes that do not belong where they are put."""
    tree = json.loads(body)
    try:
        for _ in range(chance.choice((1, 1, 2, 5))):
            tree = _change(tree, chance)
        return json.dumps(tree).encode()
    except RecursionError:  # nested deeper than Python's own writer goes
        return change_bytes(body, chance)


def change_bytes(body: bytes, chance: random.Random) -> bytes:
    """Bits turned, stretches cut, doubled or put elsewhere, lengths made huge."""
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 3, 10))):
        if not changed:
            return b""
        at = chance.randrange(len(changed))
        to = min(len(changed), at + chance.choice((1, 2, 8, 64, 4_096)))
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at:to]
            case 2:
                changed[at:at] = changed[at:to]
            case 3:
                changed[at:at] = chance.choice((b"\xff" * 9 + b"\x01", b"\x00", b"\xff\xff\xff\xff\x0f", b"\x12\x00"))
            case 4:
                changed[at:to] = chance.randbytes(to - at)
            case _:
                del changed[at:]
    return bytes(changed)


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a tree: what holds it, and its key or number there."""
    found: list[tuple[Any, Any]] = []
    rest = [tree]
    while rest:
        node = rest.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            rest.append(node[key])
    return found


def _change(tree: Any, chance: random.Random) -> Any:
    """The tree with one place changed."""
    places = _places(tree)
    if not places:
        return chance.choice(LEAVES)
    holder, key = chance.choice(places)
    match chance.choices(range(9), (1, 4, 1, 1, 1, 1, 12, 12, 4))[0]:
        case 0:
            holder[key] = _copy(chance.choice(LEAVES))
        case 1 if isinstance(holder, dict) and "value" in holder:
            holder["value"] = any_value(chance)
        case 2 if isinstance(holder, dict):
            holder[chance.choice(NAMES)] = holder.pop(key)
        case 3 if isinstance(holder, list):
            holder.extend(_copy([holder[key]] * chance.choice((1, 3, 50))))
        case 4:
            del holder[key]
        case 5:
            other, place = chance.choice(places)
            holder[key] = _copy(other[place])
        case 6 | 7:
            _attribute(tree, chance)
        case _:
            named = [each for each in places if each[1] in ("name", "eventName", "key")]
            if named:
                holder, key = chance.choice(named)
                holder[key] = chance.choice(NAMES if key == "key" else EVENTS)
    return tree


def _attribute(tree: Any, chance: random.Random) -> None:
    """Give some attributes another value, or one more."""
    lists = [holder[key] for holder, key in _places(tree) if key == "attributes" and isinstance(holder[key], list)]
    if lists:
        attributes = chance.choice(lists)
        for _ in range(chance.choice((1, 4))):
            pair = {"key": chance.choice(NAMES), "value": any_value(chance)}
            attributes.insert(chance.randrange(len(attributes) + 1), pair)


def any_value(chance: random.Random) -> Any:
    """An AnyValue of any kind around any value; sometimes one that only looks like one."""
    if chance.random() < 0.03:
        return deep(chance.choice((3, 40, 90)))
    kind = chance.choice(KINDS)
    if chance.random() < 0.04:
        return {kind: _copy(chance.choice(LEAVES))}
    match kind:
        case "boolValue":
            return {kind: chance.choice((True, False))}
        case "intValue" | "doubleValue":
            fitting = (int, str) if kind == "intValue" else (int, float, str)
            return {kind: chance.choice([each for each in LEAVES if type(each) in fitting])}
        case "arrayValue" | "kvlistValue":
            pairs = [{"key": chance.choice(NAMES), "value": any_value(chance)} for _ in range(chance.randrange(3))]
            return {kind: {"values": pairs if kind == "kvlistValue" else [each["value"] for each in pairs]}}
        case _:
            leaf = chance.choice(LEAVES)
            return {kind: leaf if isinstance(leaf, str) else json.dumps(leaf)}
