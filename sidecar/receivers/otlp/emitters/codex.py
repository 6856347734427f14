"""Codex CLI's events (its telemetry documentation). Counts come as text; cached input is inside the input."""

from sidecar.receivers.otlp.content import ASCII_PER_TOKEN, size
from sidecar.receivers.otlp.emitters.genai import where
from sidecar.receivers.otlp.mapping import EMITTERS, count, tool_component, whole_input
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call, Start
from sidecar.receivers.otlp.wire import Record

NAME = "codex"
_CALLS = ("codex.sse_event", "codex.websocket_event")  # two transports of the same stream


def observe(record: Record) -> AnyObservation | None:
    """What an event of Codex CLI says."""
    attributes = record.attributes
    place = where(record, NAME) | {"agent": EMITTERS[NAME].agent}
    model = str(attributes["model"]) if attributes.get("model") else None
    match record.name:
        case name if name in _CALLS and attributes.get("event.kind") == "response.completed":
            response = attributes.get("response.id") or attributes.get("response_id")
            return Call(
                **place,
                start=record.start - (count(attributes.get("duration_ms")) or 0) / 1000,
                response=str(response) if response else None,
                model=model,
                input=whole_input(EMITTERS[NAME], count(attributes.get("input_token_count")), None, None),
                output=count(attributes.get("output_token_count")),
                reasoning=count(attributes.get("reasoning_token_count")) or 0,
            )
        case "codex.conversation_starts":
            return Start(**place, model=model, total_tokens=count(attributes.get("context_window")) or None)
        case "codex.tool_result":
            tool, call, output = attributes.get("tool_name"), attributes.get("call_id"), attributes.get("output")
            length = count(attributes.get("output_length"))
            known = size(output) if isinstance(output, str) else None if length is None else length / ASCII_PER_TOKEN
            return Arrival(
                **place,
                component=tool_component(str(tool) if tool else None),
                tokens=known,
                call=str(call) if call else None,
            )
        case "codex.user_prompt":
            length = count(attributes.get("prompt_length"))
            known = None if length is None else length / ASCII_PER_TOKEN
            return Arrival(**place, component="interaction_buffer", tokens=known)
        case _:
            return None
