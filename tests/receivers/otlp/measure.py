"""Measures what OTLP in gets right on recorded sessions, and prints the tables of sidecar/receivers/otlp/README.md.

python -m tests.receivers.otlp.measure [FOLDER OF RECORDINGS]
"""

import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

from sidecar.budget.entries import Compacted
from sidecar.budget.policy import COMPONENTS
from sidecar.journal.memory import MemoryJournal
from sidecar.lab.recordings import Recording, read
from sidecar.ledger import Ledger, Limits
from sidecar.receivers.otlp.reader import Reader
from sidecar.receivers.otlp.wire import decode
from tests.receivers.otlp.telling import ClaudeCode, Codex, GenAI, Told, tell

BUNDLED = Path(__file__).parents[3] / "sidecar" / "lab" / "sessions"
SHAPES = {
    "GenAI spans, content": lambda session: GenAI(session, content=True),
    "GenAI spans, no content": lambda session: GenAI(session, content=False),
    "Claude Code events": ClaudeCode,
    "Codex events": lambda _: Codex(),
}


class Figures:
    """What was found for one shape."""

    def __init__(self) -> None:
        self.calls = self.right = 0
        self.errors: dict[str, list[float]] = defaultdict(list)
        self.unattributed: list[float] = []
        self.recorded = self.found = self.false = 0

    def call(self, told: Told, session) -> None:
        """Hold a session after a call against the recording."""
        self.calls += 1
        self.right += session.used == told.level
        counted = sum(told.components.values())
        for name in COMPONENTS:
            expected = told.components[name] / counted * told.level if counted else 0
            self.errors[name].append(abs(session.components[name].used - expected) / told.level)
        self.unattributed.append(session.unattributed / told.level)


class Compactions:
    """A sink that counts each session's compactions."""

    def __init__(self) -> None:
        self.of: dict[str, int] = defaultdict(int)

    def publish(self, record) -> None:
        self.of[record.session.id] += sum(isinstance(stored.entry, Compacted) for stored in record.entries)

    def retire(self, session) -> None:
        """Nothing to do."""


async def measure(recordings: list[Recording], make_shape) -> Figures:
    """Tell all recordings in one shape."""
    figures = Figures()
    counted = Compactions()
    ledger = Ledger(MemoryJournal(), sinks=[counted], limits=Limits(turn_seconds=1.0))
    await ledger.start()
    reader = Reader(ledger, auto_open=True, clock=time.time)
    for recording in recordings:
        compactions: dict[str, int] = defaultdict(int)
        seen: dict[str, int] = defaultdict(int)
        for told in tell(recording, make_shape(recording.session)):
            body = json.dumps(told.payload).encode()
            observations = [reader.note(record) for record in decode(told.signal, body, "application/json")]
            await reader.take([each for each in observations if each is not None])
            figures.call(told, (await ledger.view(told.session)).session)
            new = counted.of[told.session] > seen[told.session]
            seen[told.session] = counted.of[told.session]
            was = told.compactions > compactions[told.session]
            compactions[told.session] = told.compactions
            figures.recorded += was
            figures.found += was and new
            figures.false += new and not was
    await ledger.stop()
    return figures


def percentile(values: list[float], part: float) -> float:
    """The value below which that part of them lies."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def main() -> None:
    """Measure and print."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED
    recordings = read([folder])
    found = {name: asyncio.run(measure(recordings, make)) for name, make in SHAPES.items()}
    print("| shape | model calls | level right | compactions found | false alarms |\n|---|---|---|---|---|")
    for name, each in found.items():
        print(f"| {name} | {each.calls:,} | {each.right:,} | {each.found} of {each.recorded} | {each.false} |")
    print(f"\n| shape | {' | '.join(COMPONENTS)} | unattributed |\n|---|{'---|' * (len(COMPONENTS) + 1)}")
    for name, each in found.items():
        cells = [each.errors[component] for component in COMPONENTS] + [each.unattributed]
        shown = [f"{statistics.median(cell):.1%}, {percentile(cell, 0.9):.1%}" for cell in cells]
        print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
