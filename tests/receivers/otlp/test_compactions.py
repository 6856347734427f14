"""A fall of the level is a compaction: reported where the emitter says so, inferred where it does not, never both."""

import pytest

from sidecar.app import make_app


async def compactions(otlp, session="cc"):
    """What was recorded: tokens before and after, and who says so."""
    entries = await otlp.entries(session, "compacted")
    return [(each["tokens_before"], each["tokens_after"], each["source"]) for each in entries]


@pytest.fixture
def claude(story):
    """Make an event of Claude Code in session `cc`."""
    return lambda name, **named: story.log(f"claude_code.{name}", session__id="cc", **named)


@pytest.fixture
def request_of(claude):
    """A request of Claude Code with so much input."""
    return lambda tokens: claude("api_request", input_tokens=tokens, output_tokens=0, model="claude-opus-5")


async def test_a_fall_that_nobody_reported_is_inferred(otlp, story):
    await otlp.spans(story.chat(100_000), story.chat(30_000))
    assert await compactions(otlp, "c1") == [(100_000, 30_000, "inferred")]


async def test_a_small_fall_is_the_noise_of_providers_that_drop_reasoning(otlp, story):
    await otlp.spans(story.chat(100_000), story.chat(92_000))
    assert await compactions(otlp, "c1") == []


async def test_a_reported_compaction_is_one_and_sets_the_level(otlp, claude, request_of):
    told = {"pre_tokens": 157_000, "post_tokens": 53_000, "trigger": "auto", "success": "true"}
    await otlp.logs(request_of(156_000), claude("compaction", **told))
    assert await otlp.level("cc") == 53_000
    await otlp.logs(request_of(41_000))
    assert await otlp.level("cc") == 41_000
    assert await compactions(otlp) == [(157_000, 53_000, "reported")]
    assert await otlp.calls("cc") == 2


async def test_the_next_fall_after_a_reported_compaction_is_a_compaction_again(otlp, claude, request_of):
    told = {"pre_tokens": 157_000, "post_tokens": 53_000}
    await otlp.logs(request_of(156_000), claude("compaction", **told), request_of(54_000), request_of(20_000))
    assert [source for *_, source in await compactions(otlp)] == ["reported", "inferred"]


async def test_a_compaction_reported_without_what_it_left_is_told_with_the_next_call(otlp, claude, request_of):
    await otlp.logs(request_of(156_000), claude("compaction", pre_tokens=157_000))
    assert await compactions(otlp) == []
    await otlp.logs(request_of(53_000))
    assert await compactions(otlp) == [(157_000, 53_000, "reported")]
    await otlp.logs(request_of(30_000))
    assert (await compactions(otlp))[1:] == [(53_000, 30_000, "inferred")]


async def test_a_compaction_that_failed_is_none(otlp, claude, request_of):
    await otlp.logs(request_of(156_000), claude("compaction", pre_tokens=157_000, success="false"), request_of(157_000))
    assert await compactions(otlp) == []


async def test_a_compaction_that_two_signals_tell_is_one(otlp, claude, request_of):
    event = {"pre_tokens": 157_000, "post_tokens": 53_000}
    await otlp.logs(request_of(156_000), claude("compaction", **event))
    await otlp.logs(claude("compaction", **event))
    assert len(await compactions(otlp)) == 1


async def test_after_a_compaction_the_system_context_is_what_it_was_and_the_rest_a_summary(otlp, claude, request_of):
    await otlp.logs(request_of(20_000))
    result = claude("tool_result", tool_name="Read", tool_use_id="t1", tool_result_size_bytes=400_000)
    await otlp.logs(result, request_of(120_000))
    await otlp.logs(claude("compaction", pre_tokens=120_000, post_tokens=25_000))
    assert await otlp.components("cc") == {"system_context": 20_000, "working_memory": 5_000}


async def test_gemini_cli_reports_compression_and_masking(otlp, story):
    def call(tokens):
        return story.log("gemini_cli.api_response", session__id="cc", input_token_count=tokens, output_token_count=0)

    told = {"session__id": "cc", "tokens_before": 90_000, "tokens_after": 30_000}
    await otlp.logs(call(90_000), story.log("gemini_cli.chat_compression", **told))
    assert await otlp.level("cc") == 30_000
    # Masking tells of the tool output that it looked at: only the difference is the window's.
    masked = story.log(
        "gemini_cli.tool_output_masking", at=900.0, session__id="cc", tokens_before=20_000, tokens_after=2_000
    )
    await otlp.logs(story.log("gemini_cli.api_response", at=800.0, session__id="cc", input_token_count=60_000), masked)
    assert await otlp.level("cc") == 42_000
    assert await compactions(otlp) == [(90_000, 30_000, "reported"), (60_000, 42_000, "reported")]


async def test_a_call_that_says_it_was_compacted_reports_it(otlp, story):
    await otlp.spans(story.chat(100_000), story.chat(95_000, gen_ai__conversation__compacted=True))
    assert await compactions(otlp, "c1") == [(100_000, 95_000, "reported")]


async def test_a_reported_compaction_outlives_a_restart(settings, telemetry_to, claude, request_of, tmp_path):
    journal = f"sqlite:///{tmp_path}/journal.db"
    async with make_app(settings(journal=journal)) as app:
        told = {"pre_tokens": 157_000, "post_tokens": 53_000}
        await telemetry_to(app).logs(request_of(156_000), claude("compaction", **told))
    async with make_app(settings(journal=journal)) as app:
        otlp = telemetry_to(app)
        await otlp.logs(request_of(41_000))
        assert await compactions(otlp) == [(157_000, 53_000, "reported")]


async def test_the_host_may_report_a_compaction_through_the_events_api(otlp):
    events = [
        {"type": "open_session", "session": "cc", "mode": "observed"},
        {"type": "report_usage", "session": "cc", "total": 90_000},
        {"type": "report_usage", "session": "cc", "compaction": {"tokens_before": 90_000, "tokens_after": 20_000}},
        {"type": "report_usage", "session": "cc", "total": 21_000},
    ]
    async with otlp.http.post(f"{otlp.app.urls['api'][0]}/v1/events", json=events) as answer:
        assert (await answer.json())["accepted"] == 4
    assert await compactions(otlp) == [(90_000, 20_000, "reported")]


async def test_a_report_that_comes_after_the_fall_was_inferred_is_not_a_second_compaction(otlp, claude, request_of):
    before, event = request_of(156_000), claude("compaction", pre_tokens=157_000, post_tokens=53_000)
    await otlp.logs(before, request_of(54_000))
    await otlp.logs(event)
    assert await compactions(otlp) == [(156_000, 54_000, "inferred")]
