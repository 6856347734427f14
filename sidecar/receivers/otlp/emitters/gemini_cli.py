"""Gemini CLI's events (its telemetry documentation). Cached input is inside the input; thoughts beside the output."""

from sidecar.receivers.otlp.content import ASCII_PER_TOKEN
from sidecar.receivers.otlp.emitters.genai import where
from sidecar.receivers.otlp.mapping import EMITTERS, count, tool_component, whole_input
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call, Compaction
from sidecar.receivers.otlp.wire import Record

NAME = "gemini_cli"
_HELPERS = ("utility", "router", "classifier", "summarizer", "loop_detector", "next_speaker")


def observe(record: Record) -> AnyObservation | None:
    """What an event of Gemini CLI says."""
    attributes = record.attributes
    place = where(record, NAME) | {"agent": EMITTERS[NAME].agent}
    match record.name:
        case "gemini_cli.api_response":
            response = attributes.get("response_id")
            thoughts = count(attributes.get("thoughts_token_count")) or 0
            output = count(attributes.get("output_token_count"))
            role = str(attributes.get("role") or "")
            return Call(
                **place,
                start=record.start - (count(attributes.get("duration_ms")) or 0) / 1000,
                response=str(response) if response else None,
                model=str(attributes["model"]) if attributes.get("model") else None,
                input=whole_input(EMITTERS[NAME], count(attributes.get("input_token_count")), None, None),
                output=None if output is None else output + thoughts,
                reasoning=thoughts,
                side=role.startswith(_HELPERS),
            )
        case "gemini_cli.tool_call":
            name, length = attributes.get("function_name"), count(attributes.get("content_length"))
            return Arrival(
                **place,
                component=tool_component(str(name) if name else None),
                tokens=None if length is None else length / ASCII_PER_TOKEN,
            )
        case "gemini_cli.user_prompt":
            length = count(attributes.get("prompt_length"))
            known = None if length is None else length / ASCII_PER_TOKEN
            return Arrival(**place, component="interaction_buffer", tokens=known)
        case "gemini_cli.chat_compression" | "gemini_cli.tool_output_masking":
            return Compaction(
                **place,
                tokens_before=count(attributes.get("tokens_before")),
                tokens_after=count(attributes.get("tokens_after")),
                # Compression tells of the whole window, masking of the tool output that it looked at.
                partial=record.name == "gemini_cli.tool_output_masking",
            )
        case _:
            return None
