"""What fills the window: by captured content, by what happened between calls, and never more than was billed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.app import make_app
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.receivers.otlp.attribution import Composition, whole
from sidecar.receivers.otlp.calibration import Calibration
from sidecar.receivers.otlp.content import measure_input
from sidecar.receivers.otlp.mapping import Told, place_of
from sidecar.receivers.otlp.observations import Arrival, Call, Sizes

WORDS = "word " * 80  # 400 characters, about 100 tokens


def told(attributes: dict[str, Any]) -> Told:
    """What attributes say."""
    places = {name: place_of(name) for name in attributes}
    return {place[0]: attributes[name] for name, place in places.items() if place is not None}


def measured(attributes: Any) -> dict[Component, float]:
    """Sizes by component; some there must be."""
    sizes = measure_input(told(attributes), attributes)
    assert sizes is not None
    return dict(sizes)


def user(*parts):
    """A user's message."""
    return {"role": "user", "parts": list(parts)}


TEXT = {"type": "text", "content": WORDS}


def says(role, **part):
    """A message with one part."""
    return {"role": role, "parts": [part]}


def returns(**part):
    """A tool's message."""
    return says("tool", type="tool_call_response", **part)


def calls_tool(name, arguments=WORDS):
    """An assistant's message that calls a tool."""
    return says("assistant", type="tool_call", id="1", name=name, arguments=arguments)


# OpenAI's own shape, which older emitters pass on.
OPENAI_CALL = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "ls", "arguments": WORDS}}]}


@pytest.mark.parametrize(
    ("message", "component"),
    [
        (user(TEXT), "interaction_buffer"),
        (says("assistant", **TEXT), "interaction_buffer"),
        (says("system", **TEXT), "system_context"),
        (says("developer", **TEXT), "system_context"),
        (calls_tool("ls"), "working_memory"),
        (returns(name="ls", response=WORDS), "working_memory"),
        (returns(name="ls", result=WORDS), "working_memory"),
        (returns(name="web_search", response=WORDS), "knowledge_base"),
        (returns(name="Skill", response=WORDS), "knowledge_base"),
        (returns(name="Task", response=WORDS), "agent_context"),
        (calls_tool("TodoWrite", {"a": WORDS}), "agent_context"),
        (calls_tool("transfer_to_x"), "agent_context"),
        (says("assistant", type="reasoning", content=WORDS), "working_memory"),
        (user({"type": "compaction", "content": WORDS}), "working_memory"),
        (user({"type": "file", "file_id": "f1"}), "knowledge_base"),
        (user({"type": "uri", "uri": "https://x/y.png"}), "interaction_buffer"),
        (user({"type": "blob", "content": "aGk="}), "interaction_buffer"),
        (user({"type": "something_new", "content": WORDS}), "interaction_buffer"),
        ({"role": "tool", "tool_call_id": "1", "content": WORDS}, "working_memory"),
        ({"role": "user", "content": [{"type": "text", "text": WORDS}]}, "interaction_buffer"),
        (OPENAI_CALL, "working_memory"),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_a_part_belongs_to_its_component(message, component, as_text):
    messages = json.dumps([message]) if as_text else [message]
    sizes = measured({"gen_ai.input.messages": messages})
    assert max(sizes, key=lambda name: sizes[name]) == component
    assert sizes[component] > 90


def test_a_tool_s_result_is_known_by_its_call():
    calls = {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "web_search", "arguments": {}}]}
    result = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": WORDS}]}
    assert measured({"gen_ai.input.messages": [calls, result]})["knowledge_base"] > 100


def test_instructions_and_tool_definitions_are_system_context():
    attributes = {
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": WORDS}]),
        "gen_ai.tool.definitions": json.dumps([{"name": "ls", "description": WORDS}]),
        "gen_ai.input.messages": json.dumps([user({"type": "text", "content": "hi"})]),
    }
    assert measured(attributes)["system_context"] > 200


@pytest.mark.parametrize(
    "attributes",
    [
        {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": WORDS},
        {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": WORDS},
    ],
)
def test_flat_attributes_are_messages_too(attributes):
    assert measured(attributes)["interaction_buffer"] > 100


@pytest.mark.parametrize(
    "messages", ["[{", "[]", "", None, 7, [None], [[]], '{"role": 3}', [{"parts": "x"}], "[1e999]"]
)
def test_whatever_messages_are_they_are_no_error(messages):
    attributes = {"gen_ai.input.messages": messages, "gen_ai.system_instructions": messages}
    measure_input(told(attributes), attributes)


async def test_parts_are_scaled_to_the_bill_where_they_are_nearly_all_of_it(otlp, story):
    messages = json.dumps([{"role": "system", "parts": [TEXT] * 10}, user(*[TEXT] * 10)])
    await otlp.spans(story.chat(2_500, gen_ai__input__messages=messages))
    report = await otlp.report("c1")
    assert report["overall"]["unattributed_tokens"] == 0
    assert report["source"] == "estimated"
    components = await otlp.components("c1")
    assert set(components) == {"system_context", "interaction_buffer"}
    assert sum(components.values()) == 2_500


async def test_what_was_not_captured_stays_unattributed(otlp, story):
    messages = json.dumps([user(*[TEXT] * 10)])
    await otlp.spans(story.chat(20_000, gen_ai__input__messages=messages))
    overall = (await otlp.report("c1"))["overall"]
    assert overall["used_tokens"] == 20_000
    assert 18_000 <= overall["unattributed_tokens"] <= 19_000


def test_the_ratio_of_a_model_is_learned_from_growth_whatever_is_hidden():
    calibration, composition = Calibration(), Composition()
    for calls in range(1, 8):
        content: Sizes = {"interaction_buffer": 1_000.0 * calls}
        named: Any = {"emitter": "genai", "signal": "traces", "at": calls, "start": calls, "model": "m"}
        call = Call(**named, input=30_000 + 1_300 * calls, content=content)
        composition.call(call, calibration)
    assert calibration.ratio("m") == pytest.approx(1.3)
    assert composition.shown()["interaction_buffer"] == pytest.approx(7 * 1_300, rel=0.01)
    assert calibration.ratio("another") != pytest.approx(1.3)


sizes = st.dictionaries(st.sampled_from(COMPONENTS), st.floats(0, 1e9), max_size=5)
arrivals = st.builds(
    Arrival,
    emitter=st.just("codex"),
    signal=st.just("logs"),
    at=st.just(0.0),
    component=st.sampled_from(COMPONENTS),
    tokens=st.none() | st.floats(0, 1e6),
    written=st.booleans(),
)
calls = st.builds(
    Call,
    emitter=st.just("codex"),
    signal=st.just("logs"),
    at=st.just(0.0),
    start=st.just(0.0),
    model=st.sampled_from(["a", "b", None]),
    input=st.integers(0, 1_000_000),
    output=st.none() | st.integers(0, 100_000),
    reasoning=st.integers(0, 100_000),
    content=st.none() | sizes,
    reply=st.none() | sizes,
    tools_called=st.booleans(),
)


@given(coding=st.booleans(), steps=st.lists(calls | arrivals | st.integers(0, 100_000), max_size=30))
def test_components_never_sum_to_more_than_the_level_and_none_is_negative(coding, steps):
    composition, calibration = Composition(coding=coding), Calibration()
    for step in steps:
        if isinstance(step, Arrival):
            composition.arrive(step)
            continue
        shown = composition.compact(step) if isinstance(step, int) else composition.call(step, calibration)
        assert composition.total == (step if isinstance(step, int) else step.input)
        assert sum(shown.values()) <= composition.total
        assert all(tokens >= 0 for tokens in shown.values())
        assert all(tokens >= 0 for tokens in composition.stayed(calibration).values())


@given(parts=sizes, most=st.integers(0, 10**12))
def test_whole_tokens_are_never_more_than_there_are(parts, most):
    assert sum(whole(parts, most).values()) <= most
    assert sum(whole(parts, 10**12).values()) == round(sum(parts.values()))


async def test_content_is_nowhere_afterwards(settings, telemetry_to, story, tmp_path, caplog):
    secret = "the-secret-words-of-the-user"
    messages = json.dumps([user({"type": "text", "content": secret})])
    async with make_app(settings(journal=f"sqlite:///{tmp_path}/journal.db")) as app:
        otlp = telemetry_to(app)
        named = {"gen_ai__input__messages": messages, "gen_ai__system_instructions": secret}
        tool = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__call__result": secret}
        await otlp.spans(story.chat(1000, **named), story.span(gen_ai__conversation__id="c1", **tool))
        shown = json.dumps([await otlp.report("c1"), await otlp.entries("c1"), await otlp.get("/v1/sessions/c1/items")])
        async with otlp.http.get(f"{app.urls['telemetry'][0]}/metrics") as answer:
            shown += await answer.text()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret not in shown + caplog.text
    assert secret.encode() not in stored
