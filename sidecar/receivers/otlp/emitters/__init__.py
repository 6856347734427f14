"""From a record to what it says of a window. A module a family of emitters; names and meanings are in `mapping`.

A family is a function that takes a record and gives an observation, or None where the record says nothing of a window.
"""

from collections.abc import Callable, Mapping

from sidecar.receivers.otlp.emitters import claude_code, codex, gemini_cli, genai
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


def observe(record: Record) -> AnyObservation | None:
    """What the record says of a window, or None."""
    named = _NAMED.get(record.name.partition(".")[0]) or _SCOPED.get(record.scope)
    return named(record) if named is not None else genai.observe(record)
