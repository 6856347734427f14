"""The lines of the guide run as they stand."""

import asyncio
import json
import re
import tomllib

import pytest

pytest.importorskip("langchain", reason="MISSING TOOL: langchain (pip install -e '.[emitters]')")

from langchain_core.language_models import FakeListChatModel
from pydantic_ai.models.test import TestModel


def blocks(checkout, language="python"):
    block = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return block.findall((checkout / "sidecar" / "client" / "README.md").read_text())


@pytest.fixture
def run(checkout, neighbour, monkeypatch):
    """Run the block that has a text, with a model and no tools, against a real sidecar."""
    monkeypatch.setenv("TOKEN_BUDGET_URL", neighbour.url)

    def execute(having, model=None):
        [block] = [block for block in blocks(checkout) if having in block]
        names = {"model": model, "tools": []}
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - the point
        return names

    return execute


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_lines_for_langchain_run(run, asks):
    class Model(FakeListChatModel):
        def bind_tools(self, tools, **kwargs):  # type: ignore[explicit-override]
            return self

    names = run("create_agent", Model(responses=["Hello."]))
    config = {"configurable": {"thread_id": "t1"}}
    assert names["agent"].invoke({"messages": [("user", "Hi")]}, config)["messages"][-1].content == "Hello."
    assert asks("t1")["components"]["interaction_buffer"]["used_tokens"] > 0


async def test_the_lines_for_pydantic_ai_run(run, asks):
    names = run("pydantic_ai", TestModel(call_tools=[]))
    result = await names["agent"].run("Hi", conversation_id="c1")
    assert result.output
    assert asks("c1")["agent"] == "coder"


def test_the_lines_for_the_openai_agents_sdk_run(run, asks):
    pytest.importorskip("agents", reason="MISSING TOOL: openai-agents (pip install -e '.[emitters]')")
    from agents import set_tracing_disabled
    from agents.testing import ScriptedModel, assistant_message

    set_tracing_disabled(disabled=True)
    with asyncio.Runner() as runner:  # the SDK's own loop would stay open
        asyncio.set_event_loop(runner.get_loop())
        names = run("from agents", ScriptedModel([[assistant_message("Hi.")]]))
    asyncio.set_event_loop(None)
    assert names["result"].final_output == "Hi."
    assert asks("conversation-1")["components"]["interaction_buffer"]["used_tokens"] > 0


@pytest.mark.filterwarnings("ignore")  # LiteLLM's and pydantic's notices
def test_the_lines_for_litellm_run(run, asks, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm", reason="MISSING TOOL: litellm (pip install -e '.[emitters]')")
    litellm.logging_callback_manager._reset_all_callbacks()
    run("import litellm")
    messages = [{"role": "user", "content": "Hi"}]
    asyncio.run(
        litellm.acompletion(
            model="openai/m", messages=messages, mock_response="Hello.", litellm_session_id="conversation-1"
        )
    )
    litellm.logging_callback_manager._reset_all_callbacks()
    assert asks("conversation-1")["components"]["interaction_buffer"]["used_tokens"] > 0


def test_the_recipes_for_other_agents_lead_to_the_sidecars_otlp_port(checkout):
    """Codex CLI takes the whole path of its logs; Gemini CLI the place, and HTTP for its protocol."""
    [codex], [gemini] = blocks(checkout, "toml"), blocks(checkout, "json")
    exporter = tomllib.loads(codex)["otel"]["exporter"]["otlp-http"]
    telemetry = json.loads(gemini)["telemetry"]
    assert exporter == {"endpoint": "http://127.0.0.1:4318/v1/logs", "protocol": "binary"}
    assert telemetry["otlpEndpoint"] == "http://127.0.0.1:4318"
    assert (telemetry["enabled"], telemetry["otlpProtocol"]) == (True, "http")


def test_the_lines_for_any_other_agent_run(run, asks):
    run("from sidecar.client import Client")
    assert asks("s1")["overall"]["used_tokens"] == 2040
