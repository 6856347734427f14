"""Recorded sessions told as the telemetry that their agent would have sent, in several shapes.

A recording has figures only, so where content is captured its text is made up, of the recorded size: as many characters
a token as the kind of text has in o200k_base, roughly (code and JSON take more tokens than prose).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sidecar.budget.items import COMPONENT_OF
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.lab.recordings import MAIN, Recording, Step
from sidecar.lab.script import model_calls
from sidecar.receivers.otlp.wire import Signal

START = 1_790_000_000
CHARACTERS = {  # per token
    "system_hidden": 4.3, "system_prompt": 4.4, "tool_definitions": 3.9, "project_instructions": 4.3,
    "user_message": 4.4, "assistant_message": 4.3, "thinking": 4.5, "tool_call": 3.2, "plan": 3.8,
    "tool_result": 3.2, "file_read": 3.4, "doc": 4.2, "skill": 4.3, "subagent_call": 4.3, "subagent_report": 4.3,
}  # fmt: skip


@dataclass
class Told:
    """A payload that ends with a model call: which session it is of, and what is true of its window then.

    `components` are the recording's own counts, `compactions` how many the window has had before the call.
    """

    signal: Signal
    payload: dict[str, Any]
    session: str
    level: int
    components: dict[Component, int]
    compactions: int


@dataclass
class Window:
    """One window while it is told."""

    session: str
    calls: dict[int, int | None]
    outputs: dict[int, list[Step]]
    held: list[Step] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    compactions: int = 0
    tools: list[Step] = field(default_factory=list)


def characters(step: Step) -> int:
    """How long the step's text is."""
    return round(step.tokens * CHARACTERS.get(step.kind, 4.0))


def attribute(key: str, value: Any) -> dict[str, Any]:
    """An attribute as OTLP/JSON has it."""
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, list):
        return {"key": key, "value": {"arrayValue": {"values": [{"stringValue": each} for each in value]}}}
    return {"key": key, "value": {"stringValue": value}}


def attributes(**named: Any) -> list[dict[str, Any]]:
    """Attributes; `__` stands for a dot, None is left out."""
    return [attribute(key.replace("__", "."), value) for key, value in named.items() if value is not None]


def nano(at: float) -> str:
    """A time as OTLP/JSON has it."""
    return str(round((START + at) * 1e9))


def log(name: str, at: float, **named: Any) -> dict[str, Any]:
    """An event."""
    return {
        "timeUnixNano": nano(at),
        "body": {"stringValue": name},
        "attributes": attributes(event__name=name, **named),
    }


def logs(records: list[dict[str, Any]], *, service: str) -> dict[str, Any]:
    """A payload of log records."""
    resource = {"attributes": attributes(service__name=service)}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {"name": "t"}, "logRecords": records}]}]}


def spans(records: list[dict[str, Any]], *, service: str) -> dict[str, Any]:
    """A payload of spans."""
    resource = {"attributes": attributes(service__name=service)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "t"}, "spans": records}]}]}


class Events:
    """An agent that tells by events, each about one window."""

    signal: Signal = "logs"

    def payload(self, records: list[dict[str, Any]], agent: str) -> dict[str, Any]:
        return logs(records, service=agent)


class ClaudeCode(Events):
    """Claude Code's events, without content. A sub-agent is told by its id."""

    def __init__(self, main: str) -> None:
        self.main = main

    def place(self, window):
        part = window.session.removeprefix(self.main).removeprefix(".")
        return {"session__id": self.main, "agent_id": part or None}

    def call(self, window, at, billed, usage, output):
        read = billed * 9 // 10
        told = [
            log(
                "claude_code.api_request",
                at,
                **self.place(window),
                model=usage.model or "claude-opus-4-6",
                input_tokens=3,
                cache_read_tokens=read,
                cache_creation_tokens=billed - read - 3,
                output_tokens=usage.output_tokens or 0,
                request_id=f"req_{window.session}_{at}",
                duration_ms=400,
            )
        ]
        text = sum(characters(step) for step in output if step.kind == "assistant_message")
        if text:
            event = log("claude_code.assistant_response", at, **self.place(window), response_length=text)
            told.append(event)
        return told

    def step(self, window, step):
        place = self.place(window)
        if step.kind == "compaction":
            return [log("claude_code.compaction", step.number, **place, pre_tokens=None, success="true")]
        if step.role == "user":
            return [log("claude_code.user_prompt", step.number, **place, prompt_length=characters(step))]
        if step.role in ("tool", "subagent"):
            return [
                log(
                    "claude_code.tool_result",
                    step.number,
                    **place,
                    tool_name=step.name or "Bash",
                    tool_result_size_bytes=characters(step),
                    tool_use_id=f"toolu_{step.number}",
                )
            ]
        return []


class Codex(Events):
    """Codex CLI's events, without content. Counts are text; it reports no compaction."""

    def call(self, window, at, billed, usage, output):
        told = []
        if not window.held or usage.context_window:
            told.append(
                log(
                    "codex.conversation_starts",
                    at - 0.5,
                    conversation__id=window.session,
                    context_window=usage.context_window or 258_400,
                )
            )
        return [
            *told,
            log(
                "codex.sse_event",
                at,
                event__kind="response.completed",
                conversation__id=window.session,
                model=usage.model or "gpt-5-codex",
                input_token_count=str(billed),
                cached_token_count=str(billed * 9 // 10),
                output_token_count=str(usage.output_tokens or 0),
                reasoning_token_count="0",
            ),
        ]

    def step(self, window, step):
        if step.role == "user":
            length = str(characters(step))
            return [log("codex.user_prompt", step.number, conversation__id=window.session, prompt_length=length)]
        if step.role in ("tool", "subagent"):
            return [
                log(
                    "codex.tool_result",
                    step.number,
                    conversation__id=window.session,
                    tool_name=step.name or "exec_command",
                    call_id=f"call_{step.number}",
                    output="x" * characters(step),
                )
            ]
        return []


class GenAI:
    """Spans of the GenAI conventions, with or without captured content."""

    signal: Signal = "traces"

    def __init__(self, main: str, *, content: bool) -> None:
        self.main = main
        self.content = content
        self.spans = 0
        self.messages_made: dict[Step, str] = {}

    def span(self, window, name, start, end, **named):
        self.spans += 1
        part = window.session.removeprefix(self.main).removeprefix(".")
        return {
            "traceId": f"{abs(hash(self.main)) % 16**32:032x}",
            "spanId": f"{self.spans:016x}",
            "parentSpanId": "ffffffffffffffff",
            "name": name,
            "startTimeUnixNano": nano(start),
            "endTimeUnixNano": nano(end),
            "attributes": attributes(gen_ai__conversation__id=self.main, gen_ai__agent__name=part or "main", **named),
        }

    def payload(self, records, agent):
        return spans(records, service=agent)

    def call(self, window, at, billed, usage, output):
        return [
            self.span(
                window,
                "chat",
                at - 0.4,
                at,
                gen_ai__operation__name="chat",
                gen_ai__request__model=usage.model or "some-model",
                gen_ai__response__id=f"resp_{window.session}_{at}",
                gen_ai__usage__input_tokens=billed,
                gen_ai__usage__cache_read__input_tokens=billed * 9 // 10,
                gen_ai__usage__output_tokens=usage.output_tokens or 0,
                gen_ai__response__finish_reasons=[
                    "tool_calls" if any(step.kind == "tool_call" for step in output) else "stop"
                ],
                gen_ai__system_instructions=self.instructions(window),
                gen_ai__input__messages=self.messages(window),
            )
        ]

    def instructions(self, window):
        if not self.content:
            return None
        held = [step for step in window.held if COMPONENT_OF[step.placement.kind] == "system_context"]
        return json.dumps([{"type": "text", "content": "x" * characters(step)} for step in held])

    def messages(self, window):
        if not self.content:
            return None
        told = [self.message(step) for step in window.held if step.placement.component != "system_context"]
        return f"[{','.join(told)}]"

    def message(self, step):
        """A step's message as JSON; each is in every call that follows, so it is made once."""
        if step not in self.messages_made:
            self.messages_made[step] = json.dumps(message(step))
        return self.messages_made[step]

    def step(self, window, step):
        if step.role not in ("tool", "subagent"):
            return []
        named = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": step.name or "Bash"}
        named["gen_ai__tool__call__id"] = f"call_{step.number}"
        if self.content:
            named["gen_ai__tool__call__result"] = "x" * characters(step)
        return [self.span(window, "execute_tool", step.number - 0.3, step.number, **named)]


def message(step: Step) -> dict[str, Any]:
    """A step as a message of the GenAI conventions."""
    text = "x" * characters(step)
    name = step.name or "Bash"
    match step.kind:
        case "thinking":
            part = {"type": "reasoning", "content": text}
        case "compaction":
            part = {"type": "compaction", "content": text}
        case "tool_call" | "subagent_call":
            part = {"type": "tool_call", "id": f"c{step.number}", "name": name, "arguments": text}
        case "plan" if step.role == "assistant":
            part = {"type": "tool_call", "id": f"c{step.number}", "name": name, "arguments": text}
        case _ if step.role in ("tool", "subagent"):
            part = {"type": "tool_call_response", "id": f"c{step.number}", "name": name, "response": text}
        case _:
            part = {"type": "text", "content": text}
    role = step.role if step.role in ("assistant", "tool") else "tool" if step.role == "subagent" else "user"
    return {"role": role, "parts": [part]}


def tell(recording: Recording, shape: "ClaudeCode | Codex | GenAI") -> Iterator[Told]:
    """The payloads of a recording, each up to a model call that has usage."""
    windows: dict[str, Window] = {}
    for step in recording.steps:
        window = windows.get(step.window)
        if window is None:
            own = [each for each in recording.steps if each.window == step.window]
            window = windows[step.window] = Window(
                recording.session if step.window == MAIN else f"{recording.session}.{step.window}",
                model_calls(own),
                outputs(own),
            )
        billed = window.calls.get(step.number)
        if billed is not None:
            output = window.outputs[step.number]
            call = shape.call(window, step.number, billed, output[-1].usage, output)
            payload = shape.payload([*window.waiting, *call], recording.agent)
            window.waiting = []
            counts = dict.fromkeys(COMPONENTS, 0)
            for held in window.held:
                counts[held.placement.component] += held.tokens
            yield Told(shape.signal, payload, window.session, billed, counts, window.compactions)
        if step.placement.summary:
            window.compactions += 1
            window.held = [each for each in window.held if each.placement.lasting]
        window.waiting += shape.step(window, step)
        window.held.append(step)


def outputs(steps: list[Step]) -> dict[int, list[Step]]:
    """What each call of a window wrote, by the number of its first step; its usage is on the last one."""
    found: dict[int, list[Step]] = {}
    current: list[Step] = []
    for step in steps:
        if step.role == "assistant":
            current.append(step)
            if step.usage is not None and step.usage.context_tokens is not None:
                found[current[0].number], current = current, []
        elif step.role == "user":
            current = []
    return found
