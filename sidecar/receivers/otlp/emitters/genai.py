"""The GenAI conventions, new and old, and what speaks nearly the same: OpenInference, OpenLLMetry (Traceloop).

Spans of model calls, of tools and of retrievals, and the event `gen_ai.client.inference.operation.details`, which says
of a call what its span says. Which attribute means what is the table in `mapping`.
"""

from typing import Any

from sidecar.receivers.otlp import mapping
from sidecar.receivers.otlp.content import measure_input, measure_reply, size
from sidecar.receivers.otlp.mapping import EMITTERS, Meaning, first, text, tokens, tool_component
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call
from sidecar.receivers.otlp.wire import Record

CALL_EVENT = "gen_ai.client.inference.operation.details"


def observe(record: Record) -> AnyObservation | None:
    """A model call, or something that a tool or a retrieval brought in."""
    if record.signal == "logs" and record.name != CALL_EVENT:
        return None
    operation = operation_of(record)
    if operation in mapping.CALLS:
        return _call(record)
    if operation in mapping.TOOLS:
        name = text(record.attributes, Meaning.TOOL_NAME)
        return _arrival(record, tool_component(name))
    if operation in mapping.RETRIEVALS:
        return _arrival(record, "knowledge_base")
    return None


def operation_of(record: Record) -> str | None:
    """What a GenAI span does: its operation, else what its kind amounts to, else guessed from its usage."""
    attributes = record.attributes
    told = text(attributes, Meaning.OPERATION)
    if told is not None:
        return told
    kind = text(attributes, Meaning.KIND)
    if kind is not None:
        return mapping.KINDS.get(kind.lower())
    if record.name == CALL_EVENT:
        return "chat"
    # An embedding has no output; an agent's span that sums up its calls has no answer of its own.
    called = tokens(attributes, Meaning.OUTPUT) is not None and text(attributes, Meaning.MODEL) is not None
    agent = any(name.startswith("gen_ai.agent.") for name in attributes)
    return "chat" if called and (not agent or text(attributes, Meaning.RESPONSE) is not None) else None


def agent_run(record: Record) -> str | None:
    """The agent that a span is the run of. OpenLLMetry calls each link of a chain an agent, and so tells nothing."""
    attributes = record.attributes
    if attributes.get("gen_ai.operation.name") != "invoke_agent" or "traceloop.span.kind" in attributes:
        return None
    return text(attributes, Meaning.AGENT)


def where(record: Record, emitter: str) -> dict[str, Any]:
    """What every observation says of where it belongs."""
    attributes = record.attributes
    service, process = record.resource.get("service.name"), record.resource.get("service.instance.id")
    return {
        "emitter": emitter,
        "signal": record.signal,
        "at": record.end or record.start,
        "trace": record.trace,
        "span": record.span,
        "session": text(attributes, Meaning.SESSION),
        "agent": text(attributes, Meaning.AGENT),
        # What the SDK calls a program that was not given a name is no name.
        "service": service if isinstance(service, str) and not service.startswith("unknown_service") else None,
        "process": process if isinstance(process, str) else None,
    }


def _call(record: Record) -> Call:
    attributes = record.attributes
    family = "openinference" if "openinference.span.kind" in attributes else "genai"
    finish = first(attributes, Meaning.FINISH)
    reasons = finish if isinstance(finish, list) else [finish]
    return Call(
        **where(record, family),
        start=record.start,
        response=text(attributes, Meaning.RESPONSE),
        model=text(attributes, Meaning.MODEL),
        input=mapping.whole_input(
            EMITTERS[family],
            tokens(attributes, Meaning.INPUT),
            tokens(attributes, Meaning.CACHE_READ),
            tokens(attributes, Meaning.CACHE_WRITE),
        ),
        output=tokens(attributes, Meaning.OUTPUT),
        reasoning=tokens(attributes, Meaning.REASONING) or 0,
        content=measure_input(attributes),
        reply=measure_reply(attributes),
        tools_called=any(isinstance(reason, str) and reason.startswith("tool") for reason in reasons),
        failed=record.failed or "error.type" in attributes,
        compacted=first(attributes, Meaning.COMPACTED) is True,
    )


def _arrival(record: Record, component: Any) -> Arrival:
    result = first(record.attributes, Meaning.TOOL_RESULT)
    return Arrival(
        **where(record, "genai"),
        component=component,
        tokens=size(result) if result is not None else None,
        call=text(record.attributes, Meaning.TOOL_CALL),
    )
