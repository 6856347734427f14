"""From a record to what it says of a window. A module a family of emitters; names and meanings are in `mapping`.

A family is a function that takes a record and gives an observation, or None where the record says nothing of a window.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sidecar.receivers.otlp.emitters import claude_code, codex, gemini_cli, genai
from sidecar.receivers.otlp.naming import LONGEST_TOLD, bounded
from sidecar.receivers.otlp.observations import AnyObservation
from sidecar.receivers.otlp.wire import Record

__all__ = ["observe"]

# Records with names of their own, by what those begin with.
_NAMED: Mapping[str, Callable[[Record], AnyObservation | None]] = {
    "claude_code": claude_code.observe,
    "codex": codex.observe,
    "gemini_cli": gemini_cli.observe,
}
# Claude Code's events once had their bare names as `event.name`; the scope tells whose they are.
_SCOPED = {"com.anthropic.claude_code.events": claude_code.observe}
# What an observation has of the emitter's own text. It is remembered, so none of it may be of any length; what is read
# through the table never is.
_TEXTS = ("session", "agent", "part", "service", "process", "response", "model", "call")


def observe(record: Record) -> AnyObservation | None:
    """What the record says of a window, or None."""
    named = _NAMED.get(record.name.partition(".")[0]) or _SCOPED.get(record.scope)
    if named is not None:
        return _bounded(named(record))
    if not record.told and record.signal == "traces":
        return None  # as most spans of a service's traces
    return genai.observe(record)


def _bounded(observation: AnyObservation | None) -> AnyObservation | None:
    if observation is None:
        return None
    told = ((name, getattr(observation, name, None)) for name in _TEXTS)
    long: dict[str, Any] = {name: bounded(text) for name, text in told if text is not None and len(text) > LONGEST_TOLD}
    return replace(observation, **long) if long else observation
