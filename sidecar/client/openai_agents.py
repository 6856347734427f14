"""OpenAI Agents SDK: runs whose prompt stays within its budget.

    budget = TokenBudget(agent="coder", total_tokens=200_000)
    coder = Agent("coder", tools=[*tools, *budget.tools])
    result = await Runner.run(coder, "Fix the bug.", **budget.run("conversation-1"))

The run's items and its `Session` keep everything; only what the model is shown is cleaned up, at each call. A tool that
is an agent itself has a window, and a session, of its own. Where the provider keeps the conversation
(`conversation_id`, `previous_response_id`) nobody here sees it, and nothing can be cleaned up. Needs the extra
`openai-agents`.
"""

import inspect
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict

from typing_extensions import override

from sidecar.client import recall
from sidecar.client.driving import adrive
from sidecar.client.extras import Extra
from sidecar.client.pieces import Piece, digest
from sidecar.client.responses_items import pieces, rendered
from sidecar.client.threads import Thread, Threads

with Extra("openai-agents"):
    from agents import Agent, AgentOutputSchema, AgentOutputSchemaBase, FunctionTool, Handoff, RunConfig, RunHooks, Tool
    from agents.items import ModelResponse, TResponseInputItem
    from agents.run import CallModelData, ModelInputData
    from agents.run_context import AgentHookContext, RunContextWrapper
    from agents.tool_context import ToolContext


class RunArguments(TypedDict):
    """What `Runner.run` and its kind are given."""

    run_config: RunConfig
    hooks: RunHooks[Any]


class TokenBudget:
    """Managed token budgets for agents of the OpenAI Agents SDK.

    Args:
        url: Where the sidecar listens; else `TOKEN_BUDGET_URL`, else its default.
        more: `agent`, `model`, `total_tokens` and all else that `Threads` takes.

    Attributes:
        tools: For the model: to search what was archived, and to restore it.
    """

    def __init__(self, url: str | None = None, **more: Any) -> None:
        self.threads = Threads(url, **more)
        self._fallback = uuid.uuid4().hex
        self.tools: list[Tool] = [_search(), _restore()]

    def run(
        self, session: str | None = None, *, run_config: RunConfig | None = None, hooks: RunHooks[Any] | None = None
    ) -> RunArguments:
        """Arguments of a run that belongs to this session; what they shall have beside, they keep."""
        config = run_config or RunConfig()
        conversation = Conversation(self.threads, session or self._fallback, config.call_model_input_filter)
        return {
            "run_config": replace(config, call_model_input_filter=conversation),
            "hooks": _Hooks(conversation, hooks),
        }


class Conversation:
    """The filter of one run: called with the whole input before each model call."""

    def __init__(self, threads: Threads, id: str, before: Callable[[CallModelData[Any]], Any] | None = None) -> None:
        self.threads = threads
        self.id = id
        self.before = before
        self.thread = threads[id]
        self.agents: list[Agent[Any]] = []  # those that take turns in it
        self.shown: dict[str, Thread] = {}  # by the name of the agent that was shown it last
        self.input: list[TResponseInputItem] = []

    async def __call__(self, data: CallModelData[Any]) -> ModelInputData:
        """The input that fits."""
        given = data.model_data
        if self.before is not None:
            result = self.before(data)
            given = await result if inspect.isawaitable(result) else result
        thread = self.shown[data.agent.name] = self._thread_of(data.agent, given)
        thread.fixed = fixed = _fixed(data.agent, given.instructions)
        plan = await adrive(
            thread.awaited, thread.window.turn(thread.awaited, [*fixed, *pieces(given.input, _agents(data.agent))])
        )
        if thread is self.thread:
            self.input = list(given.input)
        return ModelInputData(input=rendered(given.input, plan.shown[len(fixed) :]), instructions=given.instructions)

    def _thread_of(self, agent: Agent[Any], given: ModelInputData) -> Thread:
        """The window that an agent's call shows: this one, or one for each task of an agent that is called as a tool.

        Such a run inherits this filter, but not the hooks that tell which agents take turns here.
        """
        if not self.agents or any(agent is each for each in self.agents):
            return self.thread
        task = digest("", *(piece.id for piece in pieces(given.input[:1])))[1:9]
        return self.threads.open(f"{self.id}.{agent.name}.{task}", parent=self.id, agent=agent.name)

    async def said(self, response: ModelResponse) -> None:
        """Take in what the model answered, and what was billed for it."""
        self.input += response.to_input_items()
        billed = response.usage.input_tokens
        if billed:
            await adrive(self.thread.awaited, self.thread.window.billed(self.thread.awaited, billed))

    async def ended(self, agent: Agent[Any]) -> None:
        """Show the window as the run leaves it."""
        now = [*self.thread.fixed, *pieces(self.input, _agents(agent))]
        await adrive(self.thread.awaited, self.thread.window.turn(self.thread.awaited, now))


class _Hooks(RunHooks[Any]):
    """What a filter is not told: who takes turns, and what was answered. Then what other hooks do."""

    def __init__(self, conversation: Conversation, then: RunHooks[Any] | None) -> None:
        self.conversation = conversation
        self.then: RunHooks[Any] = then or RunHooks()
        for name in ("on_llm_start", "on_handoff", "on_tool_start", "on_tool_end"):
            setattr(self, name, getattr(self.then, name))

    @override
    async def on_agent_start(self, context: AgentHookContext[Any], agent: Agent[Any]) -> None:
        self.conversation.agents.append(agent)
        await self.then.on_agent_start(context, agent)

    @override
    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        await self.conversation.said(response)
        await self.then.on_llm_end(context, agent, response)

    @override
    async def on_agent_end(self, context: AgentHookContext[Any], agent: Agent[Any], output: Any) -> None:
        await self.conversation.ended(agent)
        await self.then.on_agent_end(context, agent, output)


# --- what the prompt holds beside items -----------------------------------------------------------------------------


def _fixed(agent: Agent[Any], instructions: str | None) -> list[Piece]:
    """Instructions, tool definitions (those of MCP servers where the SDK has them at hand), and the output's form."""
    found = [Piece(id="instructions", kind="prompt", text=instructions, pinned=True)] if instructions else []
    for tool in agent.tools:
        schema = (
            [tool.description, tool.params_json_schema] if isinstance(tool, FunctionTool) else [type(tool).__name__]
        )
        if getattr(tool, "is_enabled", True) is not False:
            found.append(_defined(tool.name, *schema))
    for server in agent.mcp_servers:
        listed = getattr(server, "cached_tools", None) or ()
        found += [_defined(tool.name, tool.description, tool.input_schema) for tool in listed]
    for other in agent.handoffs:
        if isinstance(other, Handoff):
            found.append(_defined(other.tool_name, other.tool_description, other.input_json_schema))
        else:
            found.append(_defined(Handoff.default_tool_name(other), Handoff.default_tool_description(other)))
    if agent.output_type is not None and agent.output_type is not str:
        form = agent.output_type
        if not isinstance(form, AgentOutputSchemaBase):
            form = AgentOutputSchema(form)
        text = json.dumps(form.json_schema(), default=str) if not form.is_plain_text() else ""
        found.append(Piece(id="output", kind="config", text=text, pinned=True))
    return list({piece.id: piece for piece in found}.values())


def _defined(name: str, *parts: Any) -> Piece:
    text = json.dumps([name, *parts], default=str)
    return Piece(id=f"tool:{name}", kind="tool_definition", text=text, pinned=True)


def _agents(agent: Agent[Any]) -> frozenset[str]:
    return frozenset(tool.name for tool in agent.tools if getattr(tool, "_is_agent_tool", False))


# --- recall ---------------------------------------------------------------------------------------------------------


def _search() -> FunctionTool:
    async def search(context: ToolContext[Any], arguments: str) -> str:
        thread = _thread(context)
        if thread is None:
            return recall.NOWHERE
        return await adrive(thread.awaited, recall.search(thread.awaited, recall.argument(arguments, "query")))

    return _tool(recall.TOOLS[0], search)


def _restore() -> FunctionTool:
    async def restore(context: ToolContext[Any], arguments: str) -> str:
        thread = _thread(context)
        if thread is None:
            return recall.NOWHERE
        item = recall.argument(arguments, "item")
        return await adrive(thread.awaited, recall.restore(thread.awaited, item, thread.window))

    return _tool(recall.TOOLS[1], restore)


def _thread(context: ToolContext[Any]) -> Thread | None:
    """The window that a tool's caller has."""
    conversation = context.run_config.call_model_input_filter if context.run_config else None
    if not isinstance(conversation, Conversation):
        return None
    return conversation.shown.get(context.agent.name if context.agent else "", conversation.thread)


def _tool(definition: dict[str, Any], does: Callable[[ToolContext[Any], str], Any]) -> FunctionTool:
    return FunctionTool(
        name=definition["name"],
        description=definition["description"],
        params_json_schema=definition["parameters"],
        on_invoke_tool=does,
        strict_json_schema=False,
    )
