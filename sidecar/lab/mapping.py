"""What a recorded step is to a budget: the one table from a step to component, kind and treatment of an item.

Everything that replays, judges or explains recorded sessions reads this table, so that all of them see the same window.
It follows SPEC section 5 (composition): system text and tool definitions are system context; what users and the model
say to each other is conversation; tool calls, their results, reasoning and compaction summaries are working memory;
documents, skills and memories are knowledge; plans and sub-agents are agent context.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from sidecar.budget.commands import ItemSpec
from sidecar.budget.items import COMPONENT_OF, Kind
from sidecar.budget.policy import Component

if TYPE_CHECKING:
    from sidecar.lab.recordings import Step


class Finish(Enum):
    """When an item is finished, as far as figures without text can tell."""

    NEVER = "never"
    SUPERSEDED = "superseded"  # by the next call of the same tool: the plan was written anew
    REPORTED = "reported"  # once its report has been in the prompt of one model call: the caller has read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A row of the table.

    `declinable`: a host can still keep it out of its window, so it asks first (unless it has no tokens); all else is a
    fact. `calls` and `answers`: it opens a tool call, or is the result of one; the two share a group. `whole`: it is
    the full text of a document. `documentation`: all of it is a skill's documentation. `summary`: it replaced what the
    window held, except for what is `lasting`.
    """

    kind: Kind
    declinable: bool = False
    calls: bool = False
    answers: bool = False
    whole: bool = False
    documentation: bool = False
    summary: bool = False
    lasting: bool = False
    finish: Finish = Finish.NEVER

    @property
    def component(self) -> Component:
        """Where the item belongs: its kind says it (SPEC section 4)."""
        return COMPONENT_OF[self.kind]


ANY = None
# (recorded kind, role, tool name) -> row. The most particular row that fits counts: name before role.
_TABLE: Mapping[tuple[str, str | None, str | None], Placement] = {
    # -- system_context: sent with every call, never cleaned up -------------------------------------------------------
    # The prompt of the system and the developer.
    ("system_prompt", ANY, ANY): Placement(kind="prompt", lasting=True),
    # The provider's own prompt and tool definitions, known only by their size together.
    ("system_hidden", ANY, ANY): Placement(kind="prompt", lasting=True),
    # What the model is told about its tools, also where it has to look them up.
    ("tool_definitions", ANY, ANY): Placement(kind="tool_definition", lasting=True),
    # AGENTS.md, CLAUDE.md and their like: how this project wants its agent to behave.
    ("project_instructions", ANY, ANY): Placement(kind="config", lasting=True),
    # What the harness slips in: mode, environment, reminders, what hooks add.
    ("system_reminder", ANY, ANY): Placement(kind="config"),
    # -- working_memory -----------------------------------------------------------------------------------------------
    # What the harness' hooks printed: output about the run, not about the task.
    ("system_reminder", ANY, "hook_success"): Placement(kind="debug"),
    # Reasoning that stays in the window; 0 tokens where the provider hides it.
    ("thinking", ANY, ANY): Placement(kind="context"),
    # The model's own writing is in the window as soon as it is written: a fact, like its messages.
    ("tool_call", ANY, ANY): Placement(kind="context", calls=True),
    # What tools bring is large, and the host has it in hand before the window has: it can ask.
    ("tool_result", ANY, ANY): Placement(kind="tool_result", declinable=True, answers=True),
    # Each read puts a copy of its own into a real window; the older copy stays, and grows old.
    ("file_read", ANY, ANY): Placement(kind="file", declinable=True, answers=True),
    # The summary that replaced the conversation so far.
    ("compaction", ANY, ANY): Placement(kind="context", summary=True),
    # -- knowledge_base -----------------------------------------------------------------------------------------------
    # Instructions of a subfolder, loaded when the agent went there: remembered, not configured.
    ("system_reminder", ANY, "nested_memory"): Placement(kind="memory"),
    # The list of skills, given by the harness: nobody asked for it, so nobody can decline it.
    ("skill", ANY, ANY): Placement(kind="skill"),
    # A skill that the agent loaded: its text is documentation.
    ("skill", "tool", ANY): Placement(kind="skill", declinable=True, answers=True, documentation=True),
    # A document that was given with the task, and one that was read or fetched.
    ("doc", ANY, ANY): Placement(kind="doc", whole=True),
    ("doc", "tool", ANY): Placement(kind="doc", declinable=True, answers=True, whole=True),
    # -- agent_context ------------------------------------------------------------------------------------------------
    # A plan or a list of todos, written by a tool call and answered with a word.
    ("plan", ANY, ANY): Placement(kind="plan", calls=True, finish=Finish.SUPERSEDED),
    ("plan", "tool", ANY): Placement(kind="plan", answers=True, finish=Finish.SUPERSEDED),
    # Each of these adds a task of its own to the plan, so none replaces the one before.
    ("plan", "assistant", "TaskCreate"): Placement(kind="plan", calls=True),
    ("plan", "tool", "TaskCreate"): Placement(kind="plan", answers=True),
    # The brief of a sub-agent, and what it reported. Its own work fills a window, and a session, of its own.
    ("subagent_call", ANY, ANY): Placement(kind="agent", calls=True, finish=Finish.REPORTED),
    ("subagent_report", ANY, ANY): Placement(kind="execution", answers=True, finish=Finish.REPORTED),
    # -- interaction_buffer -------------------------------------------------------------------------------------------
    # What was said, by either side.
    ("user_message", ANY, ANY): Placement(kind="interaction"),
    ("assistant_message", ANY, ANY): Placement(kind="interaction"),
}
MAPPING = MappingProxyType(_TABLE)
STEP_KINDS: tuple[str, ...] = tuple(dict.fromkeys(kind for kind, _, _ in _TABLE))


def place(kind: str, role: str, name: str | None) -> Placement:
    """Find the row for a recorded step by its kind, role and tool name. `kind` must be one of STEP_KINDS."""
    for key in ((kind, role, name), (kind, ANY, name), (kind, role, ANY)):
        if (placement := MAPPING.get(key)) is not None:
            return placement
    return MAPPING[kind, ANY, ANY]


def item_of(step: "Step", *, time: float, group: str | None) -> ItemSpec:
    """Describe a recorded step as an item that comes into the window at `time` (epoch seconds)."""
    placement = step.placement
    return ItemSpec(
        id=item_id(step),
        kind=placement.kind,
        tokens=step.tokens,
        created_at=time,
        last_accessed_at=time,
        group=group,
        path=step.path,
        fingerprint=step.fingerprint,
        full=placement.whole,
        doc_tokens=step.tokens if placement.documentation else 0,
    )


def item_id(step: "Step") -> str:
    """Name the item of a step: unique in its recording, and readable in a stub."""
    return f"{step.kind}-{step.number}"
