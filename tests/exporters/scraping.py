"""A ledger with the exporter as its sink, and a scrape read by the official parsers."""

from dataclasses import dataclass, field
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from sidecar.budget.commands import Command, OpenSession
from sidecar.exporters.prometheus import Exporter
from sidecar.ledger import Ledger, Origin

NOW = 1_800_000_000.0


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Scrape:
    """What a scrape showed: samples by name and labels, types by family, and the text itself."""

    text: str
    types: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series; None if it is not there. The agent is `unknown` where it has that label."""
        found = self.samples.get((name, tuple(sorted(labels.items()))))
        if found is None:
            found = self.samples.get((name, tuple(sorted({"agent": "unknown", **labels}.items()))))
        return found

    def series(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """All series of that name."""
        return {labels: value for (each, labels), value in self.samples.items() if each == name}


def read(text: str, *, openmetrics: bool = False) -> Scrape:
    """Read a scrape with the official client's parser."""
    scrape = Scrape(text)
    for family in (read_openmetrics if openmetrics else read_text)(text):
        scrape.types[family.name] = family.type
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in scrape.samples, f"{key} is there twice"
            scrape.samples[key] = sample.value
    return scrape


@dataclass
class House:
    """A ledger on a journal in memory, its exporter, and two clocks to set: the server's and the monotonic one."""

    exporter: Exporter
    ledger: Ledger
    clock: Clock
    monotonic: Clock

    async def do(self, command: Command, session: str = "s", receiver: str = "api") -> Any:
        """Carry out a command; the answer's body."""
        return (await self.ledger.handle(session, command, origin=Origin(receiver=receiver), auto_open=True)).body

    async def open(self, session: str = "s", **fields: Any) -> None:
        """Open a session."""
        await self.do(OpenSession(**fields), session)

    async def scrape(self) -> Scrape:
        """Scrape in the text format."""
        text, _ = await self.exporter.render()
        return read(text.decode())
