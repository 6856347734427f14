"""The agent's side: what a host agent imports. Needs the standard library only, and none of the server.

    from sidecar.client import Client
    session = Client().session("s1", agent="coder", model="claude-opus-4-6")
    session.allocate("working_memory", 12_000)

`AsyncClient` is the same, awaited. Adapters for agent frameworks are modules of their own: `sidecar.client.langchain`,
`sidecar.client.pydantic_ai`, each with an extra of its name.
"""

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
