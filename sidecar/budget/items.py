"""Items: the pieces of context a session holds, and where each kind belongs."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from sidecar.budget.policy import Component, Kind

__all__ = ["COMPONENT_OF", "KINDS", "Item", "Kind"]

KINDS: tuple[Kind, ...] = get_args(Kind)

# SPEC section 4, last paragraph: the component an item goes to when it does not say.
COMPONENT_OF: Mapping[Kind, Component] = MappingProxyType(
    {
        "prompt": "system_context",
        "tool_definition": "system_context",
        "config": "system_context",
        "context": "working_memory",
        "tool_result": "working_memory",
        "debug": "working_memory",
        "task": "working_memory",
        "file": "working_memory",
        "skill": "knowledge_base",
        "doc": "knowledge_base",
        "memory": "knowledge_base",
        "agent": "agent_context",
        "plan": "agent_context",
        "execution": "agent_context",
        "interaction": "interaction_buffer",
    }
)


@dataclass(slots=True)
class Item:
    """One piece of context as the ledger holds it. Times are seconds since the epoch, sizes tokens.

    Owned by its session, which alone changes it. `original_tokens` is the size before the first compression (None:
    never compressed since it was put), `content` the version of the entry whose content the journal keeps.
    """

    id: str
    kind: Kind
    component: Component
    tokens: int
    created_at: float
    last_accessed_at: float
    completed: bool = False
    pinned: bool = False
    full: bool = False
    doc_tokens: int = 0
    group: str | None = None
    path: str | None = None
    fingerprint: str | None = None
    original_tokens: int | None = None
    content: int | None = None

    def copy(self) -> "Item":
        """Another one of the same. Each put makes one: written out, it takes a sixth of `dataclasses.replace`."""
        return Item(
            self.id,
            self.kind,
            self.component,
            self.tokens,
            self.created_at,
            self.last_accessed_at,
            self.completed,
            self.pinned,
            self.full,
            self.doc_tokens,
            self.group,
            self.path,
            self.fingerprint,
            self.original_tokens,
            self.content,
        )
