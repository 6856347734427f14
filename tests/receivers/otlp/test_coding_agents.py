"""Coding agents' own events and spans, in the shape that their documentation gives."""

import pytest

from sidecar.budget.presets import PRESETS


@pytest.fixture
def claude(story):
    """Make an event of Claude Code in session `cc`."""
    return lambda name, **named: story.log(f"claude_code.{name}", session__id="cc", **named)


def request(claude, fresh, read, write, **named):
    """A request as Claude Code counts it: uncached input, cache reads, cache writes."""
    counts = {"input_tokens": fresh, "cache_read_tokens": read, "cache_creation_tokens": write}
    return claude("api_request", **{"model": "claude-opus-5", "output_tokens": 34, **counts, **named})


async def test_claude_code_counts_input_without_what_the_cache_had(otlp, claude):
    await otlp.logs(request(claude, 100, 800, 300))
    report = await otlp.report("cc")
    assert report["overall"]["used_tokens"] == 1200
    assert (report["agent"], report["model"], report["mode"]) == ("claude-code", "claude-opus-5", "observed")


async def test_a_known_coding_agent_is_observed_by_the_policy_of_coding_agents(otlp, claude):
    """Its system context gets what it takes, and the others share the rest in that policy's proportion."""
    await otlp.logs(request(claude, 3, 0, 20_000))
    report = await otlp.report("cc")
    assert report["shares"] == PRESETS["coding-agent"].shares
    assert report["components"]["system_context"]["allocated_tokens"] == 20_003


async def test_claude_code_s_first_prompt_is_its_system_context_but_for_what_the_user_said(otlp, claude):
    await otlp.logs(claude("user_prompt", prompt_length=400), request(claude, 3, 0, 20_000))
    components = await otlp.components("cc")
    assert 90 <= components["interaction_buffer"] <= 130
    assert components["system_context"] == 20_003 - components["interaction_buffer"]


async def test_claude_code_s_growth_is_what_happened_between_its_calls(otlp, claude):
    await otlp.logs(request(claude, 3, 0, 20_000, output_tokens=100))
    await otlp.logs(
        claude("assistant_response", response_length=80),
        claude("tool_result", tool_name="Read", tool_use_id="t1", tool_result_size_bytes=8_000),
        claude("tool_result", tool_name="Agent", tool_use_id="t2", tool_result_size_bytes=4_000),
        request(claude, 3, 20_003, 3_400),
    )
    report = await otlp.report("cc")
    found = {name: each["used_tokens"] for name, each in report["components"].items()}
    assert report["source"] == "inferred"
    assert found["system_context"] == 20_003
    assert 2_000 <= found["working_memory"] <= 2_400
    assert 1_000 <= found["agent_context"] <= 1_300
    assert sum(found.values()) + report["overall"]["unattributed_tokens"] == 23_406


async def test_claude_code_s_skill_is_knowledge_of_a_size_that_nobody_told(otlp, claude):
    await otlp.logs(request(claude, 3, 0, 20_000, output_tokens=0))
    await otlp.logs(claude("skill_activated", skill__name="pdf"), request(claude, 3, 20_003, 3_000, output_tokens=0))
    assert (await otlp.components("cc"))["knowledge_base"] == 3_003


@pytest.mark.parametrize("source", ["compact", "generate_session_title", "prompt_suggestion"])
async def test_claude_code_s_helpers_show_no_window(otlp, claude, source):
    await otlp.logs(request(claude, 3, 0, 20_000, query_source="repl_main_thread"))
    await otlp.logs(request(claude, 900, 0, 0, query_source=source))
    assert await otlp.sessions() == ["cc"]
    assert await otlp.level("cc") == 20_003


@pytest.mark.parametrize(
    ("named", "session"),
    [
        ({"query_source": "Explore"}, "cc.Explore"),
        ({"query_source": "agent:builtin:code-reviewer"}, "cc.code-reviewer"),
        ({"query_source": "subagent", "agent.name": "Plan"}, "cc.Plan"),
        ({"agent_id": "a5f0", "query_source": "Explore"}, "cc.a5f0"),
    ],
)
async def test_claude_code_s_sub_agents_have_windows_of_their_own(otlp, claude, named, session):
    await otlp.logs(request(claude, 3, 0, 20_000))
    await otlp.logs(request(claude, 3, 0, 5_000, **named))
    assert await otlp.sessions() == ["cc", session]
    assert (await otlp.level("cc"), await otlp.level(session)) == (20_003, 5_003)
    assert (await otlp.report(session))["parent"] == "cc"


async def test_a_sub_agent_that_completed_is_closed_and_may_begin_anew(otlp, claude):
    await otlp.logs(request(claude, 3, 0, 20_000), request(claude, 3, 0, 5_000, query_source="Explore"))
    await otlp.logs(claude("subagent_completed", agent_type="Explore", total_tokens=5_000))
    assert (await otlp.report("cc.Explore"))["state"] == "closed"
    await otlp.logs(request(claude, 3, 0, 4_000, query_source="Explore"))
    report = await otlp.report("cc.Explore")
    assert (report["state"], report["overall"]["used_tokens"]) == ("active", 4_003)


async def test_claude_code_s_spans_say_what_its_events_say_and_count_once(otlp, claude, story):
    named = {"session__id": "cc", "request_id": "req_1", "model": "claude-opus-5", "output_tokens": 34}
    counts = {"input_tokens": 2, "cache_read_tokens": 84_562, "cache_creation_tokens": 7_096}
    span = story.span(name="claude_code.llm_request", start=1.0, end=3.0, success=True, **named, **counts)
    await otlp.spans(span)
    assert await otlp.level("cc") == 91_660
    event = story.log("claude_code.api_request", at=3.0, duration_ms=2000, **named, **counts)
    await otlp.logs(event)
    assert await otlp.calls("cc") == 1


async def test_claude_code_s_tool_span_tells_the_result_s_tokens(otlp, story):
    named = {"session__id": "cc", "model": "claude-opus-5", "cache_read_tokens": 0, "cache_creation_tokens": 0}
    call = {"name": "claude_code.llm_request", "output_tokens": 0, **named}
    tool = {"session__id": "cc", "tool_name": "Grep", "tool_use_id": "t1", "result_tokens": 1000}
    await otlp.spans(story.span(**call, input_tokens=20_000), story.span(name="claude_code.tool", **tool))
    await otlp.spans(story.span(**call, input_tokens=21_100))
    assert (await otlp.components("cc"))["working_memory"] == 1_100


async def test_codex_counts_are_text_and_its_window_is_told(otlp, story):
    named = {"conversation__id": "cx", "model": "gpt-5-codex"}
    done = {"event__kind": "response.completed", "input_token_count": "1200", "cached_token_count": "1024"}
    await otlp.logs(
        story.log("codex.conversation_starts", **named, context_window="272000"),
        story.log("codex.sse_event", **named, event__kind="response.created"),
        story.log("codex.sse_event", **named, **done, output_token_count="34", reasoning_token_count="16"),
    )
    report = await otlp.report("cx")
    assert (report["overall"]["used_tokens"], report["overall"]["total_tokens"]) == (1200, 272_000)
    assert (report["agent"], report["model"]) == ("codex", "gpt-5-codex")
    assert await otlp.calls("cx") == 1
    result = {"tool_name": "exec_command", "call_id": "c1", "output": "line\n" * 100}
    await otlp.logs(story.log("codex.tool_result", **named, **result))
    assert await otlp.level("cx") == 1218


async def test_codex_tells_the_window_s_size_after_the_first_call_too(otlp, story):
    named = {"conversation__id": "cx", "event__kind": "response.completed", "output_token_count": "1"}
    await otlp.logs(story.log("codex.sse_event", **named, input_token_count="1200"))
    await otlp.logs(story.log("codex.conversation_starts", conversation__id="cx", context_window=272_000))
    assert (await otlp.report("cx"))["overall"]["total_tokens"] == 272_000


async def test_gemini_cli_s_response_has_the_cached_input_inside(otlp, story):
    named = {"session__id": "gm", "model": "gemini-2.5-pro", "input_token_count": 1200, "output_token_count": 18}
    details = {"cached_content_token_count": 1024, "thoughts_token_count": 16, "tool_token_count": 0}
    await otlp.logs(story.log("gemini_cli.api_response", **named, **details))
    report = await otlp.report("gm")
    assert (report["overall"]["used_tokens"], report["overall"]["total_tokens"]) == (1200, 1_048_576)
    assert report["agent"] == "gemini-cli"
    await otlp.logs(story.log("gemini_cli.tool_call", session__id="gm", function_name="read_file", content_length=400))
    assert await otlp.level("gm") == 1218


async def test_gemini_cli_tells_each_call_twice_and_it_counts_once(otlp, story):
    named = {"session__id": "gm", "model": "gemini-2.5-pro", "input_token_count": 1200, "output_token_count": 18}
    event = story.log(
        "gen_ai.client.inference.operation.details",
        at=1.0,
        session__id="gm",
        gen_ai__operation__name="generate_content",
        gen_ai__usage__input_tokens=1200,
        gen_ai__usage__output_tokens=18,
    )
    await otlp.logs(story.log("gemini_cli.api_response", at=1.0, **named), event)
    assert await otlp.calls("gm") == 1


async def test_a_sub_agent_that_begins_anew_in_the_same_payload_has_an_empty_window(otlp, claude):
    explore = {"query_source": "Explore"}
    await otlp.logs(
        request(claude, 3, 0, 20_000),
        request(claude, 3, 0, 50_000, **explore),
        claude("subagent_completed", agent_type="Explore"),
        request(claude, 3, 0, 4_000, **explore),
    )
    assert await otlp.level("cc.Explore") == 4_003
    assert await otlp.components("cc.Explore") == {"system_context": 4_003}
    assert await otlp.entries("cc.Explore", "compacted") == []
