"""Claude Code's events and spans (its monitoring documentation; version 2.1).

Input is counted without what the cache had, so a call's level is the sum of the three. `query_source` tells which part
of the program called: the main conversation, a sub-agent (a window of its own), or a helper whose calls show no window.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.receivers.otlp.content import ASCII_PER_TOKEN
from sidecar.receivers.otlp.emitters.genai import where
from sidecar.receivers.otlp.mapping import EMITTERS, count, tool_component, whole_input
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call, Compaction, End
from sidecar.receivers.otlp.wire import Record

NAME = "claude_code"
_MAIN = ("repl_main_thread", "sdk", "main", "print", "interaction")
_SUB_AGENT = ("agent", "subagent")


def observe(record: Record) -> AnyObservation | None:
    """What an event or a span of Claude Code says."""
    attributes = record.attributes
    source = str(attributes.get("query_source") or "")
    part = _part(attributes, source)
    place = where(record, NAME) | {"agent": _agent(attributes, part), "part": part}
    match record.name.rpartition(".")[2]:
        case "api_request" | "llm_request":
            return _call(record, place, side=part is None and not _is_main(source))
        case "tool_result":
            return _arrival(place, attributes, tokens=_bytes(attributes.get("tool_result_size_bytes")))
        case "tool" if record.signal == "traces":
            told = count(attributes.get("result_tokens"))
            return _arrival(place, attributes, tokens=None if told is None else float(told))
        case "user_prompt":
            return Arrival(**place, component="interaction_buffer", tokens=_characters(attributes.get("prompt_length")))
        case "assistant_response" if _is_main(source) or part is not None:
            length = _characters(attributes.get("response_length"))
            return Arrival(**place, component="interaction_buffer", tokens=length, written=True)
        case "skill_activated":
            return Arrival(**place, component="knowledge_base")
        case "compaction" if str(attributes.get("success", "true")).lower() != "false":
            return Compaction(
                **place,
                tokens_before=count(attributes.get("pre_tokens")),
                tokens_after=count(attributes.get("post_tokens")),
            )
        case "subagent_completed":
            kind = attributes.get("agent_id") or attributes.get("agent_type")
            return End(**place | {"part": str(kind)}) if kind else None
        case _:
            return None


def _is_main(source: str) -> bool:
    return not source or source.startswith(_MAIN)


def _part(attributes: Mapping[str, Any], source: str) -> str | None:
    """A sub-agent's own name or id; None for the main conversation, and for helpers."""
    told = attributes.get("agent_id") or attributes.get("agent.name")
    if told:
        return str(told)
    if _is_main(source) or source == "compact":
        return None
    first, _, rest = source.partition(":")
    if first in _SUB_AGENT:
        return rest.rpartition(":")[2] or first
    # Helpers are called like functions (generate_session_title); sub-agents bear names (Explore, code-reviewer).
    return None if "_" in source else source


def _agent(attributes: Mapping[str, Any], part: str | None) -> str | None:
    """The agent's name: a sub-agent's own, where it has one; an id is no name."""
    if part is None or attributes.get("agent_id") == part:
        return str(attributes.get("agent.name") or EMITTERS[NAME].agent)
    return part


def _call(record: Record, place: dict[str, Any], *, side: bool) -> Call:
    attributes = record.attributes
    response = attributes.get("request_id") or attributes.get("gen_ai.response.id")
    seconds = (count(attributes.get("duration_ms")) or 0) / 1000
    return Call(
        **place,
        start=record.start if record.signal == "traces" else record.end - seconds,
        response=str(response) if response else None,
        model=str(attributes["model"]) if attributes.get("model") else None,
        input=whole_input(
            EMITTERS[NAME],
            count(attributes.get("input_tokens")),
            count(attributes.get("cache_read_tokens")),
            count(attributes.get("cache_creation_tokens")),
        ),
        output=count(attributes.get("output_tokens")),
        tools_called=attributes.get("stop_reason") == "tool_use",
        failed=record.failed or str(attributes.get("success", "true")).lower() == "false",
        side=side,
    )


def _arrival(place: dict[str, Any], attributes: Mapping[str, Any], *, tokens: float | None) -> Arrival:
    name, call = attributes.get("tool_name"), attributes.get("tool_use_id")
    return Arrival(
        **place,
        component=tool_component(str(name) if name else None),
        tokens=tokens,
        call=str(call) if call else None,
    )


def _characters(value: Any) -> float | None:
    told = count(value)
    return None if told is None else told / ASCII_PER_TOKEN


_bytes = _characters  # what tools return is nearly all ASCII
