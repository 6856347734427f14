"""What is said of a call: one row of the table in operations.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.access.tokens import Scope
from sidecar.budget import commands, replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query parameter: `kind` is its type in JSON Schema."""

    name: str
    meaning: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call. `body` is the command that its body describes (None: it has no body, and changes nothing).

    `creates`: it may answer 201. `events`: it reads a batch, which has its own body. `example` is a body that works.
    `admin`: it needs the scope admin, where tokens are asked for. `of_agent`: it is about an agent, and no session.
    """

    id: str
    method: str
    path: str
    summary: str
    reply: Any
    body: type[commands.Command] | None = None
    optional_body: bool = False
    creates: bool = False
    events: bool = False
    admin: bool = False
    of_agent: bool = False
    query: tuple[Query, ...] = ()
    example: Any = None
    notes: str = ""

    @property
    def scope(self) -> Scope:
        """What a token needs for it."""
        if self.admin:
            return "admin"
        return "write" if self.events or self.body is not None else "read"

    @property
    def answers_directives(self) -> bool:
        """Whether its answer carries directives: a report does not."""
        return self.body is not None and self.reply is not replies.Report
