"""What was found, kept: each of these once broke something."""

import json
from typing import Any

import pytest

from tests.hostile.mutating import JSON, Payload, deep
from tests.hostile.telemetry import telemetry


def span(**attributes: Any) -> dict[str, Any]:
    """A model call's span with these attributes beside; each is an AnyValue."""
    named = {
        "gen_ai.operation.name": {"stringValue": "chat"},
        "gen_ai.usage.input_tokens": {"intValue": 5},
        **{name.replace("__", "."): value for name, value in attributes.items()},
    }
    pairs = [{"key": key, "value": value} for key, value in named.items()]
    times = {"startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000001000000000"}
    return {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "chat", **times, "attributes": pairs}


def text(value: Any) -> dict[str, str]:
    """An attribute that is the JSON text of a value, or text as it is."""
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


FOUND = {
    "a double that is no number": span(x={"doubleValue": "0x10"}),
    "a number too large for a float": span() | {"endTimeUnixNano": "9" * 400},
    "a number of thousands of digits": span(x={"intValue": "9" * 5_000}),
    "a digit that is no decimal": span(**{"gen_ai.prompt.\u00b2.content": text("x")}),
    "a message of a large number": span(**{"gen_ai.prompt." + "9" * 4_400 + ".content": text("x")}),
    "a message that is text": span(**{"llm.input_messages.0.message": text("x")}),
    "contents that are text": span(**{"llm.input_messages.0.message.contents": text("x")}),
    "a tool's name that is none": span(gen_ai__input__messages=text([{"role": "tool", "name": [1], "content": "x"}])),
    "a tool call that is a number": span(gen_ai__input__messages=text([{"tool_calls": [{"tool_call": 5}]}])),
    "an attribute nested deeply": span(x=deep(90)),
    "messages nested deeply": span(gen_ai__input__messages=text("[" * 5_000)),
}  # fmt: skip


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
async def test_a_value_that_is_none_of_its_kind_is_passed_over_and_the_rest_is_taken(found: dict[str, Any]):
    """Odd attributes make no error of the payload: the call beside them counts."""
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [found, span()]}]}]}
    async with telemetry() as sidecar:
        assert await sidecar.post(Payload("traces", JSON, json.dumps(body).encode())) == 200
        await sidecar.holds()
        assert await sidecar.app.ledger.sessions()


async def test_names_and_ids_of_any_length_are_not_remembered_at_that_length():
    """A megabyte where an id belongs: what is kept of it is short, and two that differ stay two."""
    long = "x" * (1 << 20)
    spans = [span(gen_ai__conversation__id=text(long + end)) | {"traceId": long} for end in "ab"]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    async with telemetry() as sidecar:
        assert await sidecar.post(Payload("traces", JSON, json.dumps(body).encode())) == 200
        await sidecar.holds()
        names = [each["session"] for each in await sidecar.app.ledger.sessions()]
        assert len(names) == 2
        assert max(map(len, names)) <= 256
