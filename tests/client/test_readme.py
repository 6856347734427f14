"""The lines of the guide run as they stand."""

import re

import pytest

pytest.importorskip("langchain", reason="MISSING TOOL: langchain (pip install -e '.[emitters]')")

from langchain_core.language_models import FakeListChatModel
from pydantic_ai.models.test import TestModel

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(checkout):
    return BLOCK.findall((checkout / "sidecar" / "client" / "README.md").read_text())


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


def test_the_lines_for_any_other_agent_run(run, asks):
    run("from sidecar.client import Client")
    assert asks("s1")["overall"]["used_tokens"] == 2040
