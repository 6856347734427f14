"""Recorded payloads of real emitters: what each must yield is written by hand, from what was sent.

payloads/README.md says what that was; record.py records more.
"""

from pathlib import Path

import pytest

ANTHROPIC, OPENAI = "claude-opus-5", "gpt-5.5"

# payload: {session: (level, agent, model)}. A payload is named NAME.SIGNAL.NUMBER, `.traces.0` left out. A session that
# is named by its trace is shown by the trace's first digits.
EXPECTED = {
    # One call, seen by the SDK and by the instrumentation around it: 100 + 300 + 800.
    "anthropic-genai": {"5c2399f9": (1200, "misc", ANTHROPIC)},
    "anthropic-sdk-native": {"82ba3635": (1200, "anthropic-native", ANTHROPIC)},
    "double-langchain+openai": {"dbd5ebfa": (1200, "misc", OPENAI)},
    "langchain-genai-agent": {"thr-9": (1200, "weather_agent", OPENAI)},
    "langchain-genai-chain": {"thr-1": (1200, "genai", OPENAI)},
    "langchain-traceloop-chain": {"thr-1": (1200, "traceloop", OPENAI)},
    "langchain-traceloop-fake": {"80a1a8cf": (1200, "traceloop", "unknown")},
    # An agent, a workflow and a tool, but no model call.
    "openai-agents-genai": {},
    "openai-genai-content-429": {},
    "openai-genai-content-chat": dict.fromkeys(("8ae7927c", "98873a0c"), (1200, "genai-content", OPENAI)),
    "openai-genai-content-embeddings": {},
    "openai-genai-content-responses": {"conv_abc": (1200, "genai-content", OPENAI)},
    "openai-genai-content-stream": {"86e7dc19": (1200, "genai-content", OPENAI)},
    "openai-genai-default-429": {},
    "openai-genai-default-chat": dict.fromkeys(("56123d5e", "071a64f8"), (1200, "genai-default", OPENAI)),
    # Without usage and without content nothing is known, and nothing is invented.
    "openai-genai-default-stream-nousage": {},
    "openai-genai-default-stream": {"e4fef13a": (1200, "genai-default", OPENAI)},
    "openai-traceloop-chat": {"462d99f4": (1200, "traceloop", OPENAI), "b3c74af3": (1200, "traceloop", OPENAI)},
    "openai-traceloop-embeddings": {},
    "openai-traceloop-responses": {"89245c96": (1200, "traceloop", OPENAI)},
    "openai-v2-content-429": {},
    "openai-v2-content-chat": {"0476df05": (1200, "v2-content", OPENAI), "32aeee45": (1200, "v2-content", OPENAI)},
    "openai-v2-content-embeddings": {},
    "openai-v2-content-stream": {"101b4f30": (1200, "v2-content", OPENAI)},
    "openai-v2-default-429": {},
    "openai-v2-default-chat": {"2030c35b": (1200, "v2-default", OPENAI), "8bda60aa": (1200, "v2-default", OPENAI)},
    "openai-v2-default-embeddings": {},
    "openai-v2-default-stream-nousage": {},
    "pydantic-ai-openai-mock": {"conv-42": (1200, "weather_agent", OPENAI)},
    **{
        f"pydantic-ai-testmodel-{version}": {"conv-42": (56, "weather_agent", "test")}
        for version in ("v2", "v4", "v5", "v6", "vdefault")
    },
}  # fmt: skip

# Without usage, but with content: "Be terse.", "weather in Oslo?" and little more.
ESTIMATED = {"openai-traceloop-stream-nousage": "60296a48", "openai-v2-content-stream-nousage": "258396c7"}

# Model calls counted, where it is not one a session.
TWO_CALLS = {"langchain-genai-agent", *(name for name in EXPECTED if name.startswith("pydantic-ai"))}


PAYLOADS = Path(__file__).parent / "payloads"


def file(name):
    """The payload's file, without its ending."""
    return name if "." in name else f"{name}.traces.0"


def recordings(names):
    """Each payload in each form that it was recorded in."""
    return [(name, media) for name in names for media in ("pb", "json") if form(name, media).exists()]


def form(name, media):
    return PAYLOADS / f"{file(name)}.otlp.{media}"


def test_what_was_recorded_is_expected_to_yield_something_and_the_other_way_round():
    listed = {*EXPECTED, *ESTIMATED}
    assert [name for name in listed if not recordings([name])] == []
    recorded = {path.name.partition(".otlp.")[0] for path in PAYLOADS.glob("*.traces.*.otlp.*")}
    assert recorded - {file(name) for name in listed} == set()


async def shown(otlp):
    """What is known of every session."""
    found = {}
    for id in await otlp.sessions():
        report = await otlp.report(id)
        name = id[:8] if len(id) == 32 else id
        found[name] = (report["overall"]["used_tokens"], report["agent"], report["model"])
        assert report["mode"] == "observed"
        parts = sum(each["used_tokens"] for each in report["components"].values())
        assert parts + report["overall"]["unattributed_tokens"] == report["overall"]["used_tokens"]
        assert await otlp.calls(id) == (2 if otlp.name in TWO_CALLS else 1)
    return found


@pytest.mark.parametrize(("name", "media"), recordings(EXPECTED))
async def test_a_recorded_payload_yields_the_levels_that_were_billed(otlp, name, media):
    otlp.name = name
    await otlp.recorded(file(name), media)
    assert await shown(otlp) == EXPECTED[name]


@pytest.mark.parametrize(("name", "media"), recordings(ESTIMATED))
async def test_a_call_without_usage_is_estimated_from_its_content_and_says_so(otlp, name, media):
    await otlp.recorded(file(name), media)
    (session,) = await otlp.sessions()
    report = await otlp.report(session)
    assert session.startswith(ESTIMATED[name])
    assert report["source"] == "estimated"
    assert 8 <= report["overall"]["used_tokens"] <= 30


@pytest.mark.parametrize("name", ["anthropic-genai", "openai-genai-default-chat", "openai-v2-default-chat"])
async def test_a_level_without_content_is_exact_and_attributed_to_nothing(otlp, name):
    await otlp.recorded(f"{name}.traces.0")
    for session in await otlp.sessions():
        report = await otlp.report(session)
        assert report["source"] == "exact"
        assert report["overall"]["unattributed_tokens"] == 1200


@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name]])
async def test_a_payload_that_is_sent_again_changes_nothing(otlp, name):
    await otlp.recorded(f"{name}.traces.0")
    before = {id: await otlp.entries(id) for id in await otlp.sessions()}
    await otlp.recorded(f"{name}.traces.0")
    await otlp.recorded(f"{name}.traces.0", "json")
    assert {id: await otlp.entries(id) for id in await otlp.sessions()} == before


async def test_events_that_carry_no_usage_and_metrics_are_taken_and_say_nothing(otlp):
    for name in ("openai-v2-default-429", "openai-v2-default-chat", "openai-v2-default-stream-nousage"):
        await otlp.recorded(f"{name}.logs.0")
    await otlp.recorded("openai-genai-default-chat.metrics.0")
    assert await otlp.sessions() == []
