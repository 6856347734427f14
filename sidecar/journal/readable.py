"""An entry as people and programs outside read it: the journal's own JSON, with its version, and times in words."""

from typing import Any

import msgspec

from sidecar.budget.report import rfc3339
from sidecar.journal import StoredEntry, codec

# The fields of entries, and of the items in them, that are times.
_TIMES = frozenset({"time", "lease_until", "due", "created_at", "last_accessed_at"})
_decode = msgspec.json.Decoder().decode


def readable(stored: StoredEntry) -> dict[str, Any]:
    """An entry as the journal has it (what is at its default left out), with its version and with times to be read."""
    (entry,) = _decode(codec.encode([stored.entry]))
    return {"version": stored.version, **_with_times(entry)}


def _with_times(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _with_times(value) if isinstance(value, dict) else rfc3339(value) if name in _TIMES else value
        for name, value in entry.items()
    }
