"""Which spans are model calls, and that each counts once: the window's level is the last call's whole input."""

import pytest

from sidecar.app import make_app
from sidecar.journal import JournalError
from sidecar.ledger import Ledger


@pytest.mark.parametrize(
    "operation", ["invoke_agent", "invoke_workflow", "create_agent", "embeddings", "execute_tool", "execute_task"]
)
async def test_only_model_calls_count_whatever_usage_other_spans_carry(otlp, story, operation):
    await otlp.spans(story.chat(5000, gen_ai__operation__name=operation))
    assert await otlp.sessions() == []


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content"])
async def test_every_operation_that_calls_a_model_counts(otlp, story, operation):
    await otlp.spans(story.chat(5000, gen_ai__operation__name=operation))
    assert await otlp.level("c1") == 5000


async def test_a_level_is_the_last_call_s_and_never_a_sum(otlp, story):
    await otlp.spans(story.chat(1000), story.chat(3000), story.chat(2950))
    assert await otlp.level("c1") == 2950
    assert await otlp.calls("c1") == 3


@pytest.mark.parametrize(
    ("named", "level"),
    [
        ({"gen_ai__usage__input_tokens": 1200, "gen_ai__usage__cache_read__input_tokens": 1024}, 1200),
        ({"gen_ai__usage__prompt_tokens": 1200, "gen_ai__usage__completion_tokens": 34}, 1200),
        ({"llm__usage__prompt_tokens": 900, "llm__usage__completion_tokens": 3}, 900),
        # A part cannot be more than the whole: this input was what the cache did not have.
        (
            {
                "gen_ai__usage__input_tokens": 100,
                "gen_ai__usage__cache_read__input_tokens": 800,
                "gen_ai__usage__cache_creation__input_tokens": 300,
            },
            1200,
        ),
    ],
)
async def test_cached_tokens_are_in_the_level_once(otlp, story, named, level):
    await otlp.spans(story.span(gen_ai__operation__name="chat", session__id="c1", gen_ai__request__model="m", **named))
    assert await otlp.level("c1") == level


async def test_openinference_names_are_read_through_the_same_table(otlp, story):
    span = story.span(
        name="ChatCompletion",
        openinference__span__kind="LLM",
        session__id="oi",
        llm__model_name="gpt-4o",
        llm__token_count__prompt=1200,
        llm__token_count__prompt_details__cache_read=1024,
        llm__token_count__completion=34,
    )
    chain = story.span(openinference__span__kind="CHAIN", session__id="oi", llm__token_count__prompt=9999)
    await otlp.spans(span, chain)
    report = await otlp.report("oi")
    assert (report["overall"]["used_tokens"], report["overall"]["total_tokens"]) == (1200, 128_000)


async def test_a_call_seen_from_outside_and_inside_counts_once(otlp, story):
    """Without an answer's id: one span around the other, with a span of the HTTP client between."""
    inner = story.chat(1000, parent="00000000000000bb", start=1.1, end=1.8)
    between = story.span(id="00000000000000bb", parent="00000000000000aa", start=1.05, end=1.9)
    outer = story.chat(1000, id="00000000000000aa", start=1.0, end=2.0)
    await otlp.spans(inner, between, outer)
    assert await otlp.calls("c1") == 1


async def test_an_outer_span_that_arrives_first_counts_once_too(otlp, story):
    await otlp.spans(story.chat(1000, id="00000000000000aa", start=1.0, end=2.0))
    await otlp.spans(story.chat(1000, parent="00000000000000aa", start=1.1, end=1.8))
    assert await otlp.calls("c1") == 1


async def test_a_span_around_several_calls_is_none_of_them(otlp, story):
    """As with frameworks whose span of a whole answer has the usage of all of its steps."""
    first, second = (story.chat(tokens, parent="00000000000000aa") for tokens in (1000, 1500))
    await otlp.spans(first, second, story.chat(2500, id="00000000000000aa", start=0.5, end=9.0))
    assert (await otlp.level("c1"), await otlp.calls("c1")) == (1500, 2)


async def test_two_observers_of_one_answer_count_once(otlp, story):
    one = story.chat(1000, gen_ai__response__id="resp-1", trace=1, start=1.0, end=2.0)
    other = story.chat(1000, gen_ai__response__id="resp-1", trace=2, start=1.01, end=1.99)
    await otlp.spans(one)
    await otlp.spans(other)
    assert await otlp.calls("c1") == 1


async def test_a_stand_in_that_answers_every_call_under_one_id_is_told_apart_by_time(otlp, story):
    await otlp.spans(*(story.chat(1000, gen_ai__response__id="chatcmpl-1") for _ in range(3)))
    assert await otlp.calls("c1") == 3


async def test_span_and_event_of_one_call_count_once(otlp, story):
    span = story.chat(1000, start=1.0, end=2.0, gen_ai__response__id="resp-1")
    event = story.log(
        "gen_ai.client.inference.operation.details",
        at=2.0,
        trace=story.trace(),
        span=span["spanId"],
        gen_ai__operation__name="chat",
        gen_ai__conversation__id="c1",
        gen_ai__usage__input_tokens=1000,
        gen_ai__response__id="resp-1",
    )
    await otlp.spans(span)
    await otlp.logs(event)
    assert await otlp.calls("c1") == 1


async def test_an_event_alone_is_as_good_as_a_span(otlp, story):
    await otlp.logs(
        story.log(
            "gen_ai.client.inference.operation.details", gen_ai__conversation__id="c1", gen_ai__usage__input_tokens=77
        )
    )
    assert await otlp.level("c1") == 77


async def test_one_signal_speaks_for_a_window(otlp, story):
    """A second signal that cannot be matched call by call is not heard as long as the first one speaks."""
    await otlp.spans(story.chat(1000), story.chat(1100))
    await otlp.logs(
        story.log(
            "gen_ai.client.inference.operation.details", gen_ai__conversation__id="c1", gen_ai__usage__input_tokens=400
        )
    )
    assert (await otlp.level("c1"), await otlp.calls("c1")) == (1100, 2)


async def test_a_call_that_arrives_late_changes_no_level(otlp, story):
    late, last = story.chat(500), story.chat(900)
    await otlp.spans(last)
    await otlp.spans(late)
    assert await otlp.level("c1") == 900


async def test_the_order_within_a_payload_does_not_matter(otlp, story):
    calls = [story.chat(tokens) for tokens in (100, 200, 300)]
    await otlp.spans(*reversed(calls))
    assert (await otlp.level("c1"), await otlp.calls("c1")) == (300, 3)


async def test_output_is_in_the_level_once_it_is_known_to_stay_and_without_its_reasoning(otlp, story):
    await otlp.spans(story.chat(1000, output=34, gen_ai__usage__reasoning__output_tokens=16))
    assert await otlp.level("c1") == 1000
    tool = story.span(gen_ai__operation__name="execute_tool", gen_ai__tool__name="wx", gen_ai__conversation__id="c1")
    await otlp.spans(tool)
    assert await otlp.level("c1") == 1018
    assert await otlp.components("c1") == {"working_memory": 18}
    await otlp.spans(story.chat(1060))
    assert await otlp.level("c1") == 1060
    assert await otlp.calls("c1") == 2


async def test_that_output_stays_is_not_told_where_the_next_call_shows_it_at_once(otlp, story):
    """Two calls with a tool between them in one payload are two levels; a lower one hides nothing."""
    tool = {"gen_ai__operation__name": "execute_tool", "gen_ai__conversation__id": "c1"}
    first, between, second = story.chat(1000, output=50), story.span(**tool), story.chat(1050)
    await otlp.spans(first, between, second)
    assert [each["total"] for each in await otlp.entries("c1", "usage_reported")] == [1000, 1050]
    await otlp.spans(story.span(**tool), story.chat(1059))
    assert [each.get("total") for each in await otlp.entries("c1", "usage_reported")][2:] == [None, 1059]


async def test_a_call_that_failed_says_nothing_even_with_content(otlp, story):
    messages = '[{"role":"user","parts":[{"type":"text","content":"' + "word " * 500 + '"}]}]'
    await otlp.spans(story.chat(None, error=True, error__type="429", gen_ai__input__messages=messages))
    assert await otlp.sessions() == []


async def test_usage_that_is_told_later_replaces_an_estimate(otlp, story):
    messages = '[{"role":"user","parts":[{"type":"text","content":"' + "word " * 500 + '"}]}]'
    named = {"start": 1.0, "end": 2.0, "gen_ai__response__id": "resp-1"}
    await otlp.spans(story.chat(None, trace=1, gen_ai__input__messages=messages, **named))
    assert (await otlp.report("c1"))["source"] == "estimated"
    await otlp.spans(story.chat(777, trace=2, **named))
    assert await otlp.level("c1") == 777


async def test_a_call_counts_once_across_a_restart(settings, telemetry_to, story, tmp_path):
    journal = f"sqlite:///{tmp_path}/journal.db"
    spans = [story.chat(1000, gen_ai__response__id="resp-1"), story.chat(1500)]
    async with make_app(settings(journal=journal)) as app:
        await telemetry_to(app).spans(*spans)
        before = await telemetry_to(app).entries("c1")
    async with make_app(settings(journal=journal)) as app:
        otlp = telemetry_to(app)
        await otlp.spans(*spans)
        assert await otlp.entries("c1") == before
        await otlp.spans(story.chat(1600))
        assert (await otlp.level("c1"), await otlp.calls("c1")) == (1600, 3)


@pytest.mark.parametrize("count", [-5, 10**30, "many", True, [3]])
async def test_a_count_that_is_none_counts_as_not_told(otlp, story, count):
    named = {"gen_ai__usage__input_tokens": count}
    await otlp.spans(story.chat(None) | {"attributes": story.chat(None, **named)["attributes"]})
    assert await otlp.sessions() == []


async def test_the_signal_that_knows_what_is_in_a_call_speaks_from_then_on(otlp, story):
    """As where an instrumentation captures content in events only, beside its spans."""
    messages = '[{"role":"user","parts":[{"type":"text","content":"' + "word " * 500 + '"}]}]'

    def told(tokens, at):
        named = {"gen_ai__response__id": f"resp-{at}"}
        span = story.chat(tokens, start=at - 1.0, end=at, **named)
        event = story.log(
            "gen_ai.client.inference.operation.details",
            at=at,
            gen_ai__conversation__id="c1",
            gen_ai__usage__input_tokens=tokens,
            gen_ai__input__messages=messages,
            **named,
        )
        return span, event

    for at in (10.0, 20.0, 30.0):
        span, event = told(700, at)
        await otlp.spans(span)
        await otlp.logs(event)
    assert await otlp.calls("c1") == 3
    assert await otlp.components("c1") == {"interaction_buffer": 700}


async def test_a_payload_that_the_ledger_did_not_take_is_whole_when_it_is_sent_again(otlp, story, monkeypatch):
    async def refuse(self, asks):
        raise JournalError("down")

    call = {"session__id": "cc", "output_tokens": 30}
    payload = [
        story.log("claude_code.api_request", **call, input_tokens=90_000),
        story.log("claude_code.compaction", session__id="cc", pre_tokens=90_000, post_tokens=20_000),
        story.log("claude_code.api_request", **call, input_tokens=21_000),
        story.log("claude_code.tool_result", session__id="cc", tool_name="Read", tool_use_id="t1"),
    ]
    scope = {"scopeLogs": [{"logRecords": payload}]}
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "handle_all", refuse)
        assert (await otlp.post("logs", {"resourceLogs": [scope]})).status == 503
    await otlp.logs(*payload)
    assert (await otlp.level("cc"), await otlp.calls("cc")) == (21_030, 2)
    assert [each["source"] for each in await otlp.entries("cc", "compacted")] == ["reported"]
