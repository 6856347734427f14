"""LiteLLM: a callback that keeps the prompt of each session within its budget, in the SDK, its Router, and its proxy.

    litellm.callbacks = [TokenBudget(agent="coder", total_tokens=200_000)]
    await litellm.acompletion(model=..., messages=messages, tools=tools, litellm_session_id="conversation-1")

The caller's messages stay whole; what is sent is cleaned up. LiteLLM lets a callback rewrite awaited chat completions
alone, and only what is given by keyword. For `completion` and the endpoints of other formats it is told afterwards what
was billed, so they are only watched; a blocking caller asks `fit` for the messages to send. A call that names no
session is left alone: nothing tells whose window it shows. Needs the extra `litellm`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from sidecar.client import recall
from sidecar.client.chat_messages import definitions, pieces, rendered
from sidecar.client.driving import adrive, drive
from sidecar.client.extras import Extra
from sidecar.client.pieces import Piece, Plan
from sidecar.client.threads import Thread, Threads

with Extra("litellm"):
    from litellm.integrations.custom_logger import CustomLogger

ENDLESS = 1 << 60  # tokens: a window that is only watched is never relieved here


@dataclass(frozen=True, slots=True)
class _Prompt:
    fixed: Sequence[Piece]
    messages: Sequence[Any]

    @property
    def pieces(self) -> list[Piece]:
        return [*self.fixed, *pieces(self.messages)]

    def fitting(self, plan: Plan) -> list[Any]:
        return rendered(self.messages, plan.shown[len(self.fixed) :])


class TokenBudget(CustomLogger):
    """Managed token budgets for whatever calls its model by LiteLLM.

    Args:
        url: Where the sidecar listens; else `TOKEN_BUDGET_URL`, else its default.
        session: The session of calls that name none. Only for a process with one conversation.
        rewrite: False only watches: the sessions are observed ones, and messages go as they are.
        more: `agent`, `model`, `total_tokens` and all else that `Threads` takes.

    Attributes:
        tools: Definitions of the tools by which a model looks for what was archived; `recall` does what they ask for.
    """

    def __init__(
        self, url: str | None = None, *, session: str | None = None, rewrite: bool = True, **more: Any
    ) -> None:
        super().__init__()
        self.threads = Threads(url, **more if rewrite else {**more, "mode": "observed"})
        self.tools: list[dict[str, Any]] = [{"type": "function", "function": definition} for definition in recall.TOOLS]
        self._session = session
        self._rewrite = rewrite

    def fit(self, messages: Sequence[Any], *, tools: Sequence[Any] = (), session: str | None = None) -> list[Any]:
        """The messages to send instead of these, for a blocking call."""
        thread = self._thread(session)
        if thread is None:
            return list(messages)
        prompt = _Prompt(definitions(tools), messages)
        return prompt.fitting(drive(thread.session, thread.window.turn(thread.session, prompt.pieces)))

    async def afit(
        self, messages: Sequence[Any], *, tools: Sequence[Any] = (), session: str | None = None
    ) -> list[Any]:
        """As `fit`, awaited."""
        thread = self._thread(session)
        if thread is None:
            return list(messages)
        prompt = _Prompt(definitions(tools), messages)
        return prompt.fitting(await adrive(thread.awaited, thread.window.turn(thread.awaited, prompt.pieces)))

    async def recall(self, name: str, arguments: str, *, session: str | None = None) -> str:
        """The text that answers a model's call of one of `tools`."""
        thread = self._thread(session)
        if thread is None:
            return recall.NOWHERE
        if name == recall.SEARCH:
            return await adrive(thread.awaited, recall.search(thread.awaited, recall.argument(arguments, "query")))
        item = recall.argument(arguments, "item")
        return await adrive(thread.awaited, recall.restore(thread.awaited, item, thread.window))

    # --- what LiteLLM calls -------------------------------------------------------------------------------------------

    @override
    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """Before each awaited call, once its deployment is chosen; a retry goes through it again."""
        session = _session(kwargs)
        if getattr(call_type, "value", call_type) != "acompletion" or not isinstance(kwargs.get("messages"), list):
            return None
        if self._thread(session) is None:
            return None
        messages = await self.afit(kwargs["messages"], tools=kwargs.get("tools") or (), session=session)
        return {**kwargs, "messages": messages} if self._rewrite else None

    @override
    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        thread, billed = self._thread(_session(kwargs.get("litellm_params") or {})), _billed(response_obj)
        if thread is not None and billed:
            await adrive(thread.awaited, thread.window.billed(thread.awaited, billed))

    @override
    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        thread, billed = self._thread(_session(kwargs.get("litellm_params") or {})), _billed(response_obj)
        if thread is not None and billed:
            drive(thread.session, thread.window.billed(thread.session, billed))

    def _thread(self, session: str | None) -> Thread | None:
        id = session or self._session
        if id is None:
            return None
        thread = self.threads[id]
        if not self._rewrite:
            thread.window.total_tokens = ENDLESS
        return thread


def _session(named: Mapping[str, Any]) -> str | None:
    """The session that a call names: `litellm_session_id`, or `session_id` in its metadata."""
    metadata = named.get("metadata") or named.get("litellm_metadata") or {}
    id = named.get("litellm_session_id") or metadata.get("session_id")
    return str(id) if id else None


def _billed(response: Any) -> int:
    usage = getattr(response, "usage", None)
    billed = getattr(usage, "prompt_tokens", None) or getattr(usage, "input_tokens", None)
    return int(billed or 0)
