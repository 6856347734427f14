"""The agent's side: what a host agent imports. Needs the standard library only, and none of the server.

    from sidecar.client import Client
    session = Client().session("s1", agent="coder", model="claude-opus-4-6")
    session.allocate("working_memory", 12_000)

`AsyncClient` is the same, awaited. Adapters for agent frameworks are modules of their own: `sidecar.client.langchain`,
`.pydantic_ai`, `.openai_agents`, `.litellm`, each with an extra of its name; `.claude_code` is for its hooks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.client.asynchronous import AsyncClient, AsyncSession
    from sidecar.client.blocking import Client, Session
    from sidecar.client.errors import Away, BadAnswer, ClientError, Refused

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "Away",
    "BadAnswer",
    "Client",
    "ClientError",
    "Refused",
    "Session",
]

_AT = {
    "AsyncClient": "asynchronous",
    "AsyncSession": "asynchronous",
    "Client": "blocking",
    "Session": "blocking",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: a hook that runs at each step cannot wait for asyncio."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_AT.get(name, 'errors')}"), name)
