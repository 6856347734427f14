"""The GenAI conventions, new and old, and what speaks nearly the same: OpenInference, OpenLLMetry (Traceloop).

Spans of model calls, of tools and of retrievals, and the event `gen_ai.client.inference.operation.details`, which says
of a call what its span says. Which attribute means what is the table in `mapping`.
"""

from typing import Any

from sidecar.budget.policy import Component
from sidecar.receivers.otlp import mapping
from sidecar.receivers.otlp.content import measure_input, measure_reply, size
from sidecar.receivers.otlp.mapping import EMITTERS, Meaning, text, tokens, tool_component
from sidecar.receivers.otlp.naming import bounded
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call
from sidecar.receivers.otlp.wire import Record

CALL_EVENT = "gen_ai.client.inference.operation.details"
_KINDS = (Meaning.OPENINFERENCE, Meaning.REQUEST, Meaning.LINK)


def observe(record: Record) -> AnyObservation | None:
    """A model call, or something that a tool or a retrieval brought in."""
    if record.signal == "logs" and record.name != CALL_EVENT:
        return None
    operation = operation_of(record)
    if operation in mapping.CALLS:
        return _call(record)
    if operation in mapping.TOOLS:
        return _arrival(record, tool_component(text(record.told, Meaning.TOOL_NAME)))
    if operation in mapping.RETRIEVALS:
        return _arrival(record, "knowledge_base")
    return None


def operation_of(record: Record) -> str | None:
    """What a GenAI span does: its operation, else what its kind amounts to, else guessed from its usage."""
    told = record.told
    operation = text(told, Meaning.OPERATION)
    if operation is not None:
        return operation
    for meaning in _KINDS:
        kind = text(told, meaning)
        if kind is not None:
            return mapping.KINDS.get(kind.lower())
    if record.name == CALL_EVENT:
        return "chat"
    # An embedding has no output; an agent's span that sums up its calls has no answer of its own.
    if tokens(told, Meaning.OUTPUT) is None or text(told, Meaning.MODEL) is None:
        return None
    agent = any(name.startswith("gen_ai.agent.") for name in record.attributes)
    return "chat" if not agent or text(told, Meaning.RESPONSE) is not None else None


def agent_run(record: Record) -> str | None:
    """The agent that a span is the run of. OpenLLMetry calls each link of a chain an agent, and so tells nothing."""
    told = record.told
    if told.get(Meaning.OPERATION) != "invoke_agent" or Meaning.LINK in told:
        return None
    return text(told, Meaning.AGENT)


def where(record: Record, emitter: str) -> dict[str, Any]:
    """What every observation says of where it belongs."""
    told = record.told
    service, process = record.resource.get("service.name"), record.resource.get("service.instance.id")
    if not isinstance(service, str) or service.startswith("unknown_service"):
        service = None  # what the SDK calls a program that was not given a name is no name
    return {
        "emitter": emitter,
        "signal": record.signal,
        "at": record.end or record.start,
        "trace": record.trace,
        "span": record.span,
        "session": text(told, Meaning.SESSION),
        "agent": text(told, Meaning.AGENT),
        "service": service and bounded(service),
        "process": bounded(process) if isinstance(process, str) else None,
    }


def _call(record: Record) -> Call:
    told = record.told
    family = "openinference" if Meaning.OPENINFERENCE in told else "genai"
    finish = told.get(Meaning.FINISH)
    reasons = finish if isinstance(finish, list) else [finish]
    return Call(
        **where(record, family),
        start=record.start,
        response=text(told, Meaning.RESPONSE),
        model=text(told, Meaning.MODEL),
        input=mapping.whole_input(
            EMITTERS[family],
            tokens(told, Meaning.INPUT),
            tokens(told, Meaning.CACHE_READ),
            tokens(told, Meaning.CACHE_WRITE),
        ),
        output=tokens(told, Meaning.OUTPUT),
        reasoning=tokens(told, Meaning.REASONING) or 0,
        content=measure_input(told, record.attributes),
        reply=measure_reply(told, record.attributes),
        tools_called=any(isinstance(reason, str) and reason.startswith("tool") for reason in reasons),
        failed=record.failed or Meaning.ERROR in told,
        compacted=told.get(Meaning.COMPACTED) is True,
    )


def _arrival(record: Record, component: Component) -> Arrival:
    result = record.told.get(Meaning.TOOL_RESULT)
    return Arrival(
        **where(record, "genai"),
        component=component,
        tokens=size(result) if result is not None else None,
        call=text(record.told, Meaning.TOOL_CALL),
    )
