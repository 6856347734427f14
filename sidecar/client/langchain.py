"""LangChain and LangGraph: a middleware that keeps each thread's prompt within its budget.

    agent = create_agent(model, tools, middleware=[TokenBudget(agent="coder", total_tokens=200_000)])

The state keeps every message; only what the model is shown is cleaned up, at each call. The thread's id names the
session. Needs the extra `langchain`.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from typing_extensions import override

from sidecar.client import recall
from sidecar.client.driving import adrive, drive
from sidecar.client.extras import Extra
from sidecar.client.pieces import ATTACHED, FRAME, Piece, Shown, as_shown, path_of
from sidecar.client.threads import Thread, Threads

with Extra("langchain"):
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import StructuredTool
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from langgraph.config import get_config
    from langgraph.runtime import Runtime


class TokenBudget(AgentMiddleware[AgentState[Any], Any, Any]):
    """Managed token budgets for an agent of LangChain.

    Args:
        url: Where the sidecar listens; else `TOKEN_BUDGET_URL`, else its default.
        session: The session's id, where a thread's id shall not name it.
        recall_tools: Whether the model is given the tools that search and restore what was archived.
        more: `agent`, `model`, `total_tokens` and all else that `Threads` takes.
    """

    def __init__(
        self, url: str | None = None, *, session: str | None = None, recall_tools: bool = True, **more: Any
    ) -> None:
        super().__init__()
        self.threads = Threads(url, **more)
        self._session = session
        self._fallback = uuid.uuid4().hex
        self._tools: dict[int, tuple[Any, Piece]] = {}
        self.tools = self._recall() if recall_tools else []

    def thread(self, config: RunnableConfig | None = None) -> Thread:
        """The thread that runs now."""
        id = self._session or (config or _config()).get("configurable", {}).get("thread_id") or self._fallback
        return self.threads[str(id)]

    # --- around a model call ------------------------------------------------------------------------------------------

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        thread = self.thread()
        thread.fixed = fixed = self._fixed(request)
        pieces = _pieces(request.messages)
        plan = drive(thread.session, thread.window.turn(thread.session, [*fixed, *pieces]))
        response = handler(request.override(messages=_rendered(request.messages, plan.shown[len(fixed) :])))
        billed = _billed(response)
        if billed:
            drive(thread.session, thread.window.billed(thread.session, billed))
        return response

    @override
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        thread = self.thread()
        thread.fixed = fixed = self._fixed(request)
        pieces = _pieces(request.messages)
        plan = await adrive(thread.awaited, thread.window.turn(thread.awaited, [*fixed, *pieces]))
        response = await handler(request.override(messages=_rendered(request.messages, plan.shown[len(fixed) :])))
        billed = _billed(response)
        if billed:
            await adrive(thread.awaited, thread.window.billed(thread.awaited, billed))
        return response

    @override
    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        thread = self.thread()
        drive(thread.session, thread.window.turn(thread.session, [*thread.fixed, *_pieces(state["messages"])]))

    @override
    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        thread = self.thread()
        await adrive(thread.awaited, thread.window.turn(thread.awaited, [*thread.fixed, *_pieces(state["messages"])]))

    # --- what the prompt holds beside messages ------------------------------------------------------------------------

    def _fixed(self, request: ModelRequest[Any]) -> list[Piece]:
        pieces = [self._tool(tool) for tool in request.tools]
        if request.system_message is not None:
            pieces.insert(0, Piece(id="system", kind="prompt", text=_text(request.system_message), pinned=True))
        return list({piece.id: piece for piece in pieces}.values())

    def _tool(self, tool: Any) -> Piece:
        known = self._tools.get(id(tool))
        if known is None or known[0] is not tool:
            schema = tool if isinstance(tool, dict) else convert_to_openai_tool(tool)
            name = tool.get("name", "tool") if isinstance(tool, dict) else tool.name
            piece = Piece(id=f"tool:{name}", kind="tool_definition", text=json.dumps(schema), pinned=True)
            known = self._tools[id(tool)] = (tool, piece)
        return known[1]

    # --- recall -------------------------------------------------------------------------------------------------------

    def _recall(self) -> list[StructuredTool]:
        def search(query: str = "", *, config: RunnableConfig) -> str:
            thread = self.thread(config)
            return drive(thread.session, recall.search(thread.session, query))

        async def asearch(query: str = "", *, config: RunnableConfig) -> str:
            thread = self.thread(config)
            return await adrive(thread.awaited, recall.search(thread.awaited, query))

        def restore(item: str, *, config: RunnableConfig) -> str:
            thread = self.thread(config)
            return drive(thread.session, recall.restore(thread.session, item, thread.window))

        async def arestore(item: str, *, config: RunnableConfig) -> str:
            thread = self.thread(config)
            return await adrive(thread.awaited, recall.restore(thread.awaited, item, thread.window))

        ways: list[tuple[dict[str, Any], Callable[..., str], Callable[..., Awaitable[str]]]] = [
            (recall.TOOLS[0], search, asearch),
            (recall.TOOLS[1], restore, arestore),
        ]
        return [
            StructuredTool.from_function(
                func=at_once, coroutine=awaited, name=tool["name"], description=tool["description"]
            )
            for tool, at_once, awaited in ways
        ]


def _config() -> RunnableConfig:
    try:
        return get_config()
    except RuntimeError:  # outside of a graph
        return {}


def _billed(response: ModelResponse[Any]) -> int:
    usages = (each.usage_metadata for each in response.result if isinstance(each, AIMessage))
    return next((usage["input_tokens"] for usage in usages if usage), 0)


def _pieces(messages: Sequence[BaseMessage]) -> list[Piece]:
    """A piece for each message. A tool result belongs to the last message that called for it."""
    callers: dict[str, tuple[str, dict[str, Any]]] = {}
    seen: dict[str, int] = {}
    pieces = []
    for position, message in enumerate(messages):
        id = message.id or f"message-{position}"
        seen[id] = seen.get(id, 0) + 1
        if seen[id] > 1:
            id = f"{id}#{seen[id]}"
        if isinstance(message, AIMessage) and message.tool_calls:
            callers.update({call["id"]: (id, call["args"]) for call in message.tool_calls if call["id"]})
            said = _text(message) + json.dumps([[call["name"], call["args"]] for call in message.tool_calls])
            pieces.append(Piece(id=id, kind="context", text=said, group=id, extra_tokens=FRAME))
        elif isinstance(message, ToolMessage) and message.tool_call_id in callers:
            caller, args = callers[message.tool_call_id]
            path = path_of(args)
            pieces.append(
                _piece(message, id, kind="file" if path else "tool_result", group=caller, answers=True, path=path)
            )
        elif isinstance(message, SystemMessage):
            pieces.append(_piece(message, id, kind="prompt", pinned=True))
        else:
            pieces.append(_piece(message, id, kind="interaction"))
    return pieces


def _piece(message: BaseMessage, id: str, **more: Any) -> Piece:
    images = 0 if isinstance(message.content, str) else sum(_is_image(block) for block in message.content)
    return Piece(
        id=id,
        text=_text(message),
        cuttable=isinstance(message.content, str),
        extra_tokens=FRAME + ATTACHED * images,
        **more,
    )


def _is_image(block: Any) -> bool:
    return isinstance(block, dict) and "image" in str(block.get("type"))


def _text(message: BaseMessage) -> str:
    """The text that counts: of images not their data."""
    if isinstance(message.content, str):
        return message.content
    blocks = (block for block in message.content if not _is_image(block))
    return "\n".join(
        block if isinstance(block, str) else str(block.get("text") or json.dumps(block, default=str))
        for block in blocks
    )


def _rendered(messages: Sequence[AnyMessage], shown: Sequence[Shown]) -> list[AnyMessage]:
    """The messages as the plan shows them."""
    return as_shown(messages, shown, with_text=_with_text, noted=lambda note: HumanMessage(content=note))


def _with_text(message: AnyMessage, text: str) -> AnyMessage:
    return message.model_copy(update={"content": text})
