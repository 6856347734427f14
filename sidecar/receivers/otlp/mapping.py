"""The one table from emitters to meaning: which attribute says what, and what an emitter's counts include.

Names are tried in order, so the current convention comes first and what it replaced after it. Emitters whose records
have names of their own are modules in `emitters`; what they read is here as well.

Sources: OpenTelemetry GenAI semantic conventions (and their deprecated names), OpenInference semantic conventions,
OpenLLMetry's attributes, the monitoring pages of Claude Code, Codex CLI and Gemini CLI.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from sidecar.budget.policy import Component
from sidecar.receivers.otlp.naming import LONGEST_TOLD, bounded

Names: TypeAlias = tuple[str, ...]

MOST_TOKENS = 1_000_000_000_000  # more is no count of tokens
_LONGEST_TOOL = 64  # characters of a name that are looked at


class Meaning(StrEnum):
    """What an attribute says."""  # of text, whose hash is C: they are keys of all that is read

    SESSION = "the conversation, which is one context window"
    AGENT = "the agent's name"
    OPERATION = "what the span does"
    OPENINFERENCE = "what the span is, in OpenInference"
    REQUEST = "what a request to a model is for, in OpenLLMetry"
    LINK = "what a link of a chain is, in OpenLLMetry"
    MODEL = "the model"
    RESPONSE = "the provider's id of the answer"
    INPUT = "input tokens"
    OUTPUT = "output tokens"
    CACHE_READ = "input tokens read from the provider's cache"
    CACHE_WRITE = "input tokens written to the provider's cache"
    REASONING = "output tokens that are reasoning"
    SYSTEM = "system instructions"
    TOOLS = "tool definitions"
    MESSAGES = "the input's messages"
    REPLY = "the output's messages"
    FINISH = "why the model stopped"
    TOOL_NAME = "the name of a tool"
    TOOL_CALL = "the id of a tool call"
    TOOL_RESULT = "what a tool returned"
    COMPACTED = "the conversation was compacted before this call"
    ERROR = "what went wrong"
    EVENT = "the name of an event, where that is an attribute"
    FLAT = "content, or tools, in attributes with numbers in their names"


NAMES: Mapping[Meaning, Names] = {
    Meaning.SESSION: (
        "gen_ai.conversation.id",
        # LangChain's checkpoint thread is the conversation; a session may have several.
        "traceloop.association.properties.thread_id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.conversation_id",
        "session.id",
        "conversation.id",
        "langfuse.session.id",
    ),
    Meaning.AGENT: ("gen_ai.agent.name", "agent.name", "agent_name"),
    Meaning.OPERATION: ("gen_ai.operation.name",),
    Meaning.OPENINFERENCE: ("openinference.span.kind",),
    Meaning.REQUEST: ("llm.request.type",),
    Meaning.LINK: ("traceloop.span.kind",),
    Meaning.MODEL: (
        "gen_ai.request.model",
        "gen_ai.response.model",
        "llm.model_name",
        "llm.request.model",
        "model",
    ),
    Meaning.RESPONSE: ("gen_ai.response.id", "llm.response.id"),
    Meaning.INPUT: (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
    ),
    Meaning.OUTPUT: (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    Meaning.CACHE_READ: (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    Meaning.CACHE_WRITE: (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    Meaning.REASONING: (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    Meaning.SYSTEM: ("gen_ai.system_instructions",),
    Meaning.TOOLS: ("gen_ai.tool.definitions",),
    Meaning.MESSAGES: ("gen_ai.input.messages", "gen_ai.prompt"),
    Meaning.REPLY: ("gen_ai.output.messages", "gen_ai.completion"),
    Meaning.FINISH: ("gen_ai.response.finish_reasons",),
    Meaning.TOOL_NAME: ("gen_ai.tool.name", "tool.name", "tool_name"),
    Meaning.TOOL_CALL: ("gen_ai.tool.call.id", "tool_use_id", "tool_call.id"),
    Meaning.TOOL_RESULT: ("gen_ai.tool.call.result", "tool_response", "traceloop.entity.output", "output.value"),
    Meaning.COMPACTED: ("gen_ai.conversation.compacted",),
    Meaning.ERROR: ("error.type",),
    Meaning.EVENT: ("event.name",),
}
FLAT = Meaning.FLAT
# What such names begin with: messages of the input, of the output, tools.
FLAT_INPUT = ("llm.input_messages", "gen_ai.prompt")
FLAT_REPLY = ("llm.output_messages", "gen_ai.completion")
FLAT_TOOLS = ("llm.tools", "llm.request.functions")

Told: TypeAlias = dict[Meaning, Any]  # what attributes say, each under the first of its names that is there
Place: TypeAlias = tuple[Meaning, int]  # a meaning, and the place of a name among the names of it
_PLACES: Mapping[str, Place] = {
    name: (meaning, rank) for meaning, names in NAMES.items() for rank, name in enumerate(names)
}
_FLAT_STARTS = tuple(f"{start}." for start in (*FLAT_INPUT, *FLAT_REPLY, *FLAT_TOOLS))


def place_of(name: str) -> Place | None:
    """What an attribute of this name says; None where that is nothing to us."""
    return _PLACES.get(name) or ((FLAT, 0) if name.startswith(_FLAT_STARTS) else None)


# Operations of GenAI spans. Only a call to a model shows a window: an agent's or a workflow's span repeats what its
# calls said, or sums it up, and an embedding fills no window.
CALLS = frozenset({"chat", "text_completion", "generate_content", "completion", "responses", "message"})
TOOLS = frozenset({"execute_tool"})
AGENTS = frozenset({"invoke_agent", "create_agent", "invoke_workflow"})
RETRIEVALS = frozenset({"retrieval", "search_memory"})
# Kinds that say the same where a span has no operation (OpenInference upper case, OpenLLMetry lower).
KINDS: Mapping[str, str] = {
    "llm": "chat",
    "chat": "chat",
    "completion": "text_completion",
    "tool": "execute_tool",
    "agent": "invoke_agent",
    "chain": "invoke_workflow",
    "workflow": "invoke_workflow",
    "task": "execute_task",
    "embedding": "embeddings",
    "retriever": "retrieval",
}

CACHED_INSIDE: Literal["inside"] = "inside"  # input tokens are all of the input, the cached ones among them
CACHED_APART: Literal["apart"] = "apart"  # input tokens are the uncached rest: the level is the sum of the three


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitter:
    """What an emitter's counts include, and what is known of the windows it shows.

    `cached`: where the cached input is counted. `coding`: its first prompt is its own hidden system prompt and tools,
    so that what nobody said is system context. `agent`: its name where the telemetry has none.
    """

    cached: Literal["inside", "apart"] = CACHED_INSIDE
    coding: bool = False
    agent: str | None = None


EMITTERS: Mapping[str, Emitter] = {
    "genai": Emitter(),
    "openinference": Emitter(),
    "claude_code": Emitter(cached=CACHED_APART, coding=True, agent="claude-code"),
    "codex": Emitter(coding=True, agent="codex"),
    "gemini_cli": Emitter(coding=True, agent="gemini-cli"),
}

# Tools whose calls and results are not working memory, by lower-case name without separators.
_TOOLS_OF: Mapping[Component, frozenset[str]] = {
    "agent_context": frozenset(
        {
            "agent", "task", "taskoutput", "subagent", "spawnagent", "closeagent", "wait", "waitagent", "sendinput",
            "dispatchagent", "delegate", "todowrite", "todoread", "writetodos", "updateplan", "exitplanmode",
            "enterplanmode", "taskcreate", "taskupdate", "tasklist", "taskget", "codebaseinvestigator",
        }
    ),
    "knowledge_base": frozenset(
        {
            "skill", "activateskill", "webfetch", "websearch", "googlewebsearch", "savememory", "memory", "readmemory",
            "searchmemory", "retrieve", "retrieval", "retriever", "searchdocs", "filesearch", "knowledge",
        }
    ),
}  # fmt: skip
_PREFIXES: Mapping[str, Component] = {
    "transferto": "agent_context",
    "delegateto": "agent_context",
    "handoffto": "agent_context",
    "mcpcontext7": "knowledge_base",
}


def tool_component(name: Any) -> Component:
    """The component that a tool's call and result belong to. `name` is what stands for one, and may be no text."""
    return _component(name[:_LONGEST_TOOL]) if isinstance(name, str) else "working_memory"


@lru_cache(maxsize=256)  # an agent has the same tools all day
def _component(name: str) -> Component:
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    for component, names in _TOOLS_OF.items():
        if plain in names:
            return component
    for prefix, component in _PREFIXES.items():
        if plain.startswith(prefix):
            return component
    return "working_memory"


def text(told: Told, meaning: Meaning) -> str | None:
    """What was told, where it is text or a number that stands for it."""
    value = told.get(meaning)
    if value is None:
        return None
    if value.__class__ is str:
        return value if len(value) <= LONGEST_TOLD else bounded(value)
    return bounded(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None


def tokens(told: Told, meaning: Meaning) -> int | None:
    """What was told, where it is a count."""
    return count(told.get(meaning))


def count(value: Any) -> int | None:
    """A count of tokens; also as text, as some emitters send it. None where it is none."""
    if value is None:
        return None
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= len(str(MOST_TOKENS)) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


def whole_input(emitter: Emitter, told: int | None, read: int | None, write: int | None) -> int | None:
    """All of a call's input, each token once.

    A part cannot be more than its whole: where the cached tokens exceed the input that was told, it was the uncached
    rest, whatever the emitter usually means.
    """
    if told is None:
        return None
    cached = (read or 0) + (write or 0)
    if emitter.cached == CACHED_APART or cached > told:
        return told + cached
    return told
