"""pydantic-ai: a capability that keeps each conversation's prompt within its budget.

    agent = Agent(model, capabilities=[TokenBudget(agent="coder", total_tokens=200_000)])

The history keeps every message; only what the model is shown is cleaned up, before each request. The conversation's id
names the session. Needs the extra `pydantic-ai`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from sidecar.client import recall
from sidecar.client.driving import adrive
from sidecar.client.extras import Extra
from sidecar.client.pieces import ATTACHED, FRAME, Piece, Shown, digest, path_of
from sidecar.client.threads import Thread, Threads

with Extra("pydantic-ai"):
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelRequestPart,
        ModelResponse,
        RetryPromptPart,
        SystemPromptPart,
        TextPart,
        ThinkingPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestContext
    from pydantic_ai.run import AgentRunResult
    from pydantic_ai.tools import RunContext
    from pydantic_ai.toolsets import FunctionToolset


class TokenBudget(AbstractCapability[Any]):
    """Managed token budgets for an agent of pydantic-ai.

    Args:
        url: Where the sidecar listens; else `TOKEN_BUDGET_URL`, else its default.
        session: The session's id, where a conversation's id shall not name it.
        recall_tools: Whether the model is given the tools that search and restore what was archived.
        more: `agent`, `model`, `total_tokens` and all else that `Threads` takes.
    """

    def __init__(
        self, url: str | None = None, *, session: str | None = None, recall_tools: bool = True, **more: Any
    ) -> None:
        self.threads = Threads(url, **more)
        self._session = session
        self._recall_tools = recall_tools

    def thread(self, ctx: RunContext[Any]) -> Thread:
        """The conversation that a run belongs to."""
        return self.threads[self._session or ctx.conversation_id or "conversation"]

    @override
    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        thread = self.thread(ctx)
        thread.fixed = fixed = _fixed(request_context)
        pieces = _pieces(request_context.messages)
        plan = await adrive(thread.awaited, thread.window.turn(thread.awaited, [*fixed, *pieces]))
        # A new list: changes of the one that is there would be written into the history.
        request_context.messages = _rendered(request_context.messages, plan.shown[len(fixed) :])
        return request_context

    @override
    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        billed = response.usage.input_tokens
        if billed and response.provider_name is not None:  # the models of tests make their usage up
            thread = self.thread(ctx)
            await adrive(thread.awaited, thread.window.billed(thread.awaited, billed))
        return response

    @override
    async def after_run(self, ctx: RunContext[Any], *, result: AgentRunResult[Any]) -> AgentRunResult[Any]:
        thread = self.thread(ctx)
        pieces = _pieces(result.all_messages())
        await adrive(thread.awaited, thread.window.turn(thread.awaited, [*thread.fixed, *pieces]))
        return result

    @override
    def get_toolset(self) -> FunctionToolset[Any] | None:
        if not self._recall_tools:
            return None

        async def search(ctx: RunContext[Any], query: str = "") -> str:
            thread = self.thread(ctx)
            return await adrive(thread.awaited, recall.search(thread.awaited, query))

        async def restore(ctx: RunContext[Any], item: str) -> str:
            thread = self.thread(ctx)
            return await adrive(thread.awaited, recall.restore(thread.awaited, item, thread.window))

        tools: FunctionToolset[Any] = FunctionToolset()
        looks, brings = recall.TOOLS
        tools.add_function(search, takes_ctx=True, name=looks["name"], description=looks["description"])
        tools.add_function(restore, takes_ctx=True, name=brings["name"], description=brings["description"])
        return tools


def _fixed(request: ModelRequestContext) -> list[Piece]:
    """Instructions and tool definitions."""
    parameters = request.model_request_parameters
    told = "\n\n".join(part.content for part in parameters.instruction_parts or ())
    pieces = [Piece(id="instructions", kind="prompt", text=told, pinned=True)] if told else []
    for tool in (*parameters.function_tools, *parameters.output_tools):
        text = json.dumps([tool.name, tool.description, tool.parameters_json_schema], default=str)
        pieces.append(Piece(id=f"tool:{tool.name}", kind="tool_definition", text=text, pinned=True))
    return pieces


# --- from messages to pieces: one for each part of a request, and one for a response --------------------------------


def _pieces(messages: Sequence[ModelMessage]) -> list[Piece]:
    callers: dict[str, tuple[str, dict[str, Any]]] = {}
    seen: dict[str, int] = {}
    pieces: list[Piece] = []
    for message in messages:
        made = [_response(message, callers)] if isinstance(message, ModelResponse) else _request(message, callers)
        for piece in made:
            seen[piece.id] = seen.get(piece.id, 0) + 1
            pieces.append(piece if seen[piece.id] == 1 else replace(piece, id=f"{piece.id}#{seen[piece.id]}"))
    return pieces


def _response(message: ModelResponse, callers: dict[str, tuple[str, dict[str, Any]]]) -> Piece:
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    said = [part.content for part in message.parts if isinstance(part, TextPart | ThinkingPart)]
    said += [f"{call.tool_name} {call.args_as_json_str()}" for call in calls]
    text = "\n".join(said)
    other = sum(not isinstance(part, TextPart | ThinkingPart | ToolCallPart) for part in message.parts)
    extra = FRAME + ATTACHED * other
    if not calls:
        id = digest("said", message.timestamp, text)
        plain = all(isinstance(part, TextPart) for part in message.parts)
        return Piece(id=id, kind="interaction", text=text, cuttable=plain, extra_tokens=extra)
    id = f"call:{calls[0].tool_call_id}"
    callers.update({call.tool_call_id: (id, _args(call)) for call in calls})
    return Piece(id=id, kind="context", text=text, group=id, extra_tokens=extra)


def _args(call: ToolCallPart) -> dict[str, Any]:
    try:
        return call.args_as_dict()
    except (ValueError, AssertionError):  # the model wrote something else
        return {}


def _request(message: ModelRequest, callers: dict[str, tuple[str, dict[str, Any]]]) -> Iterator[Piece]:
    for part in message.parts:
        match part:
            case ToolReturnPart() | RetryPromptPart() if part.tool_call_id in callers:
                caller, args = callers[part.tool_call_id]
                path = path_of(args)
                plain = isinstance(part, ToolReturnPart) and isinstance(part.content, str)
                yield Piece(
                    id=f"return:{part.tool_call_id}",
                    kind="file" if path else "tool_result",
                    text=part.model_response_str() if isinstance(part, ToolReturnPart) else part.model_response(),
                    group=caller,
                    answers=True,
                    path=path,
                    cuttable=plain,
                    extra_tokens=FRAME,
                )
            case SystemPromptPart():
                id = digest("system", part.timestamp, part.content)
                yield Piece(id=id, kind="prompt", text=part.content, pinned=True, extra_tokens=FRAME)
            case UserPromptPart():
                contents = [part.content] if isinstance(part.content, str) else list(part.content)
                text = "\n".join(each for each in contents if isinstance(each, str))
                attached = sum(not isinstance(each, str) for each in contents)
                yield Piece(
                    id=digest("asked", part.timestamp, text),
                    kind="interaction",
                    text=text,
                    cuttable=isinstance(part.content, str),
                    extra_tokens=FRAME + ATTACHED * attached,
                )
            case _:
                text = str(getattr(part, "content", "") or part)
                id = digest(part.part_kind, getattr(part, "timestamp", None), text)
                yield Piece(id=id, kind="context", text=text, pinned=True, extra_tokens=FRAME)


# --- and back -------------------------------------------------------------------------------------------------------


def _rendered(messages: Sequence[ModelMessage], shown: Sequence[Shown]) -> list[ModelMessage]:
    """The messages as the plan shows them; a request that has no part left is none."""
    rendered: list[ModelMessage] = []
    rest = iter(shown)
    for message in messages:
        if isinstance(message, ModelResponse):
            each = next(rest)
            if each.note is not None:
                rendered.append(ModelRequest([UserPromptPart(each.note)]))
            if each.stub is None:
                rendered.append(message if each.text is None else replace(message, parts=[TextPart(each.text)]))
            continue
        parts: list[ModelRequestPart] = []
        for part in message.parts:
            each = next(rest)
            if each.note is not None:
                parts.append(UserPromptPart(each.note))
            if each.stub is None:
                parts.append(part if each.text is None else _with_content(part, each.text))
            elif each.in_place:
                parts.append(_with_content(part, each.stub))
        if parts:
            unchanged = [id(part) for part in parts] == [id(part) for part in message.parts]
            rendered.append(message if unchanged else replace(message, parts=parts))
    return rendered


def _with_content(part: ModelRequestPart, text: str) -> ModelRequestPart:
    """The part with another text."""
    match part:
        case ToolReturnPart():  # a plain one: those of a kind hold no text
            return ToolReturnPart(part.tool_name, text, part.tool_call_id, timestamp=part.timestamp)
        case UserPromptPart():
            return replace(part, content=text)
        case RetryPromptPart():
            return replace(part, content=text)
        case _:
            return part
