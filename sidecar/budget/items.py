"""Items: the pieces of context a session holds, and where each kind belongs."""

from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

import msgspec
from typing_extensions import override

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


DERIVED = frozenset({"created_call", "used_call", "place"})  # fields that entries leave out: the fold finds them again


class Item(msgspec.Struct, gc=False):
    """One piece of context as the ledger holds it. Times are seconds since the epoch, sizes tokens.

    Owned by its session, which alone changes it. `original_tokens` is the size before the first compression (None:
    never compressed since it was put), `content` the version of the entry whose content the journal keeps.

    What follows from the order of entries is not written into them: at how many model calls of the session the item
    was created and last used, and its `place` in the prompt, counted from 1 in the order in which items came.

    It is no dataclass, because these take three times as long to make, nor does the garbage collector look at it.
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
    created_call: int = 0
    used_call: int = 0
    place: int = 0

    if TYPE_CHECKING:

        def __copy__(self) -> "Item":
            """Another one of the same."""

    @override
    def __eq__(self, other: object) -> bool:
        """Whether both say the same, but for what is derived."""
        return type(other) is Item and _said(self) == _said(other)

    __hash__ = None  # type: ignore[assignment]


_said = attrgetter(*[name for name in Item.__struct_fields__ if name not in DERIVED])
