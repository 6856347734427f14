"""Houses to test in, and a watch on the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.budget.decide import Defaults
from sidecar.exporters.prometheus import Exporter
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Ledger, Limits
from tests.exporters.scraping import Clock, House


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., Any]]:
    """Build houses with settings of their own; all are taken down in the end."""
    houses: list[House] = []

    async def make(journal: MemoryJournal | None = None, limits: Limits | None = None, **settings: Any) -> House:
        clock, monotonic = Clock(), Clock(0.0)
        # The exporter bounds its own work by the same clock, so a clock that stands never lets it give up.
        exporter = Exporter(clock=clock, monotonic=monotonic, **settings)
        ledger = Ledger(
            journal or MemoryJournal(),
            defaults=Defaults(),
            sinks=(exporter,),
            clock=clock,
            limits=limits,
            on_append=exporter.on_append,
        )
        await ledger.start()
        house = House(exporter, ledger, clock, monotonic)
        houses.append(house)
        return house

    yield make
    for house in houses:
        house.exporter.stop()
        await house.ledger.stop()


@pytest.fixture
async def house(build: Callable[..., Any]) -> House:
    """A ledger and its exporter, with every metric shown."""
    made: House = await build(detail=True)
    return made


@pytest.fixture
def loop_holds() -> Any:
    """Watch for how long, in processor time, the event loop is not given back: `.start()`, then `await .stop()`."""
    holds: list[float] = []

    async def watch() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            holds.append(now - last)
            last = now

    def start() -> None:
        watcher.task = asyncio.get_running_loop().create_task(watch())

    async def stop() -> list[float]:
        watcher.task.cancel()
        await asyncio.gather(watcher.task, return_exceptions=True)
        return holds

    watcher = SimpleNamespace(start=start, stop=stop, task=None)
    return watcher
