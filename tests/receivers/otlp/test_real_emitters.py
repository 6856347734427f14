"""Real agents with their real instrumentations, against a stand-in for the model: nothing but the endpoint is set.

They need the extra `emitters` (pip install -e '.[emitters]').
"""

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

PROGRAM = Path(__file__).parent / "emitting.py"
OTHERS = ("OTEL_", "LANGSMITH_", "LANGCHAIN_")  # what else may be set here
PACKAGES = ("pydantic_ai", "langchain_openai", "opentelemetry.instrumentation.genai")


@pytest.fixture(autouse=True)
def packages():
    """Skip loudly where the emitters are not installed."""
    for name in PACKAGES:
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            pytest.skip(f"MISSING TOOL: {name} is not installed (pip install -e '.[emitters]')")


@pytest.fixture
async def model():
    """A stand-in for a model: first it calls the tool, if it is given one; then it answers. 1,200 and 1,300 tokens."""

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        answered = any(message["role"] == "tool" for message in body["messages"])
        message: dict[str, object] = {"role": "assistant", "content": "It is sunny in Oslo."}
        if body.get("tools") and not answered:
            function = {"name": "wx", "arguments": '{"city": "Oslo"}'}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            }
        tokens = 1300 if answered else 1200
        usage = {
            "prompt_tokens": tokens,
            "completion_tokens": 34,
            "total_tokens": tokens + 34,
            "prompt_tokens_details": {"cached_tokens": 1024},
            "completion_tokens_details": {"reasoning_tokens": 16},
        }
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_790_000_000,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": reason, "message": message}],
                "usage": usage,
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    async with TestServer(app) as server:
        yield server


@pytest.fixture
def emit(otlp, model):
    """Run one of the programs to its end."""

    async def run(name: str) -> None:
        environment = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("OTEL_", "LANGSMITH_", "LANGCHAIN_"))
            },
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.app.urls["otlp"][0],
            "OTEL_SERVICE_NAME": "a-service",
            "OPENAI_BASE_URL": str(model.make_url("/v1")),
            "OPENAI_API_KEY": "none",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), name, env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, error = await process.communicate()
        assert process.returncode == 0, error.decode()

    return run


async def test_a_pydantic_ai_agent_with_its_test_model(otlp, emit):
    await emit("pydantic_ai_test_model")
    assert await otlp.sessions() == ["conv-42"]
    report = await otlp.report("conv-42")
    assert (report["agent"], report["model"], report["mode"]) == ("weather_agent", "test", "observed")
    assert report["overall"]["used_tokens"] == 56  # it counts words: the same two calls are in payloads/
    assert await otlp.calls("conv-42") == 2


@pytest.mark.parametrize(
    ("name", "session", "agent", "calls", "level"),
    [
        ("pydantic_ai_openai", "conv-43", "weather_agent", 2, 1300),
        ("langchain_agent", "thr-9", "weather_agent", 2, 1300),
        ("openai_client", None, "a-service", 1, 1200),  # it names no conversation: its trace is one
    ],
)
async def test_an_agent_of_openai_s_api(otlp, emit, name, session, agent, calls, level):
    await emit(name)
    (found,) = await otlp.sessions()
    assert found == session or (session is None and len(found) == 32)
    report = await otlp.report(found)
    assert (report["agent"], report["model"]) == (agent, "gpt-4o")
    overall = report["overall"]
    assert (overall["used_tokens"], overall["total_tokens"]) == (level, 128_000)
    assert await otlp.calls(found) == calls
