"""Items: the pieces of context a session holds, and where each kind belongs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


DERIVED: Mapping[str, bool] = MappingProxyType({"derived": True})  # a field that entries leave out


@dataclass(slots=True)
class Item:
    """One piece of context as the ledger holds it. Times are seconds since the epoch, sizes tokens.

    Owned by its session, which alone changes it. `original_tokens` is the size before the first compression (None:
    never compressed since it was put), `content` the version of the entry whose content the journal keeps.

    What follows from the order of entries is not written into them: at how many model calls of the session the item
    was created and last used, and its `place` in the prompt, counted from 1 in the order in which items came.
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
    created_call: int = field(default=0, compare=False, metadata=DERIVED)
    used_call: int = field(default=0, compare=False, metadata=DERIVED)
    place: int = field(default=0, compare=False, metadata=DERIVED)

    def copy(self) -> "Item":
        """Another one of the same, but for what is derived.

        Each put makes one: written out, it takes a sixth of `dataclasses.replace`.
        """
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
