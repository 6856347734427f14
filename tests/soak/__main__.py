"""Run a real sidecar at half of what it can take, with faults, and hold its ledger against its clients' account.

    make soak MINUTES=20        or: python -m tests.soak --minutes 20 --seed 1

First its capacity is measured. In the first and the last tenth of the run it is killed again and again; in between one
process lives on, so that its memory can be judged, while its disk is full for seconds, it is stopped and goes on,
clients are slow, and the collector behind it is dead, silent or refuses. Leaves with 1 if a promise was broken.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from tests.crash.process import LOOPBACK, Process
from tests.soak.agents import AWAY, Agent, Http, Tally, settle, unanswered
from tests.soak.watch import Memory, floors, loud_lines, slope
from tests.soak.world import BAD, Collector, Disk, dawdle

AGENTS = 8
CAPACITY_SECONDS = 20.0
WARM = 300.0  # seconds until the memory of a process is judged: what is kept for minutes is full by then
FLOOR = 60.0  # seconds of which the least memory is judged
LONG = 600.0  # seconds that a run must have for that
FLAT = 16.0  # MiB an hour: noise of the allocator, against the 256 MiB that a pod may have


class Soak:
    """One run."""

    def __init__(self, folder: Path, seconds: float, seed: int, log: Path | None) -> None:
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.disk = Disk(folder / "disk")
        self.log = log or folder / "sidecar.log"
        self.collector = Collector()
        self.tally = Tally()
        self.faults: Counter[str] = Counter()
        self.memories: list[Memory] = []
        self.pace = 0.0
        self.begun = time.monotonic()

    async def whole(self) -> bool:
        """Run, and leave nothing behind, however it ends."""
        running = asyncio.ensure_future(self.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        try:
            return await running
        finally:
            await self.sidecar.stop()
            await self.collector.close()

    async def run(self) -> bool:
        """Measure, soak, settle, tell; whether every promise was kept."""
        await self.collector.open()
        flags = ("--journal", f"sqlite:///{self.disk.place}/journal.db", "--downstream-queue", "1Mi")
        where = {
            "TOKEN_BUDGET_DOWNSTREAM": self.collector.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
        }
        self.sidecar = Process(*LOOPBACK, *flags, log=self.log, environment=where)
        await self._start()
        stopping = asyncio.Event()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            self.calls = Http(http, self.sidecar, self.tally)
            agents = [Agent(f"a{n}", self.calls, self.chance, lambda: self.pace) for n in range(AGENTS)]
            running = [asyncio.create_task(agent.run(stopping)) for agent in agents]
            running += [
                asyncio.create_task(each(stopping)) for each in (self._watch, self._emit, self._read, self._scrape)
            ]
            capacity = await self._capacity()
            self.pace = 2 * AGENTS / capacity
            self.begun = time.monotonic()
            self.tally.writes = 0
            self.tally.seconds.clear()
            await self._hurt()
            stopping.set()
            await asyncio.gather(*running)
            lasted, writes = time.monotonic() - self.begun, self.tally.writes
            self.tally.begin_fault()
            await self.sidecar.kill()
            await self._start()
            accounts = [account for agent in agents for account in agent.accounts]
            for account in accounts:
                try:
                    await settle(self.calls, account)
                except AssertionError as error:
                    self.tally.wrong.append(f"{account.session}, at the end: {error}")
            code = await self.sidecar.terminate()
        return self._tell(capacity, lasted, writes, len(accounts), code)

    async def _start(self) -> None:
        await self.sidecar.start()
        self.memories.append(Memory(self.sidecar.pid))

    async def _capacity(self) -> float:
        await asyncio.sleep(2)
        before, begun = self.tally.writes, time.monotonic()
        await asyncio.sleep(min(CAPACITY_SECONDS, self.seconds / 6))
        return (self.tally.writes - before) / (time.monotonic() - begun)

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _hurt(self) -> None:
        """Faults until the time is over: kills in the first and the last tenth, the others in between."""
        gentle: list[Callable[[], Awaitable[None]]] = [self._freeze, self._dawdle, self._collector]
        if self.disk.mounted:
            gentle.append(self._fill)
        queue: list[Callable[[], Awaitable[None]]] = []
        while (past := time.monotonic() - self.begun) < self.seconds:
            pause = self.chance.uniform(4, 12) * min(1.0, self.seconds / 600)
            await asyncio.sleep(min(pause, max(0.0, self.seconds - past)))
            if not 0.1 < (time.monotonic() - self.begun) / self.seconds < 0.9:
                await self._kill()
                continue
            if not queue:
                queue = self.chance.sample(gentle, len(gentle))
            await queue.pop()()

    async def _kill(self) -> None:
        self.faults["killed (SIGKILL)"] += 1
        self.tally.begin_fault()
        await self.sidecar.kill()
        await self._start()
        self.tally.end_fault()

    async def _freeze(self) -> None:
        self.faults["stopped and continued"] += 1
        self.tally.begin_fault()
        os.kill(self.sidecar.pid, signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.5, 4))
        os.kill(self.sidecar.pid, signal.SIGCONT)
        self.tally.end_fault()

    async def _fill(self) -> None:
        self.faults["disk full (ENOSPC)"] += 1
        self.tally.begin_fault()
        self.disk.fill()
        await asyncio.sleep(self.chance.uniform(2, 5))
        self.disk.free()
        await asyncio.sleep(3)  # the sidecar tries again after a while
        self.tally.end_fault()

    async def _dawdle(self) -> None:
        self.faults["12 slow and silent clients"] += 1
        with contextlib.suppress(OSError):
            await dawdle(self.sidecar.api, min(40.0, self.seconds / 15))

    async def _collector(self) -> None:
        mood = self.chance.choice(BAD)
        self.faults[f"collector {mood}"] += 1
        self.collector.change(mood)
        await asyncio.sleep(min(15.0, self.seconds / 40))
        self.collector.change("well")

    # --- the others who use it ----------------------------------------------------------------------------------------

    async def _watch(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self.memories[-1].look(time.monotonic() - self.begun)
            await asyncio.sleep(1)

    async def _scrape(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._try("telemetry", "/metrics")
            await asyncio.sleep(5)

    async def _read(self, stopping: asyncio.Event) -> None:
        """Read the stream of entries, as the live page does."""
        while not stopping.is_set():
            with contextlib.suppress(*AWAY, TimeoutError):
                async with self.calls.http.get(f"{self.sidecar.api}/v1/stream") as answer:
                    while not stopping.is_set():
                        await asyncio.wait_for(answer.content.readany(), 5)
            await asyncio.sleep(1)

    async def _emit(self, stopping: asyncio.Event) -> None:
        """Telemetry of an agent that is only observed: a model call twice a second, a conversation of a hundred."""
        number = 0
        while not stopping.is_set():
            number += 1
            await self._try("api", "/v1/traces", call_span(number))
            await asyncio.sleep(0.5)

    async def _try(self, where: str, path: str, body: object = None) -> None:
        """Make a call that is not repeated."""
        begun = time.monotonic()
        try:
            method = "GET" if body is None else "POST"
            async with self.calls.http.request(method, self.sidecar.urls[where] + path, json=body) as answer:
                await answer.read()
                self.tally.note(str(answer.status), well=answer.status < 400, begun=begun)
        except (*AWAY, TimeoutError) as error:
            self.tally.note(unanswered(error), well=False, begun=begun)

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _tell(self, capacity: float, lasted: float, writes: int, sessions: int, code: int) -> bool:
        longest = max(self.memories, key=lambda memory: len(memory.samples))
        long = self.seconds >= LONG
        judged = longest.after(WARM if long else 0.0)
        grows = slope(floors(judged, FLOOR))
        loud = loud_lines(self.log)
        times = sorted(self.tally.seconds)
        told = {
            "capacity": f"{capacity:,.0f} steps/s; run at {AGENTS / self.pace:,.0f}, came to {writes / lasted:,.0f}",
            "lasted": f"{lasted / 60:.1f} minutes, {writes:,} steps, {self.tally.repeated:,} calls of them sent again",
            "latency": f"median {_at(times, 0.5):.1f} ms, 99 % {_at(times, 0.99):.1f} ms (faults included)",
            "faults": ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items())),
            "collector": f"{self.collector.taken:,} requests taken",
            "answers": ", ".join(f"{count:,} x {name}" for name, count in self.tally.answers.most_common()),
            "memory": f"{judged[0][1]:.1f} MiB, {judged[-1][0] - judged[0][0]:.0f} s later {judged[-1][1]:.1f};"
            f" {min(y for _, y in judged):.1f} to {max(y for _, y in judged):.1f}"
            + (f"; slope {slope(judged):+.1f} MiB an hour" if long else ""),
            "least memory": ", ".join(f"{least:.1f}" for _, least in floors(judged, FLOOR))
            + " MiB in each minute; "
            + (
                f"slope {grows:+.1f} MiB an hour" if long else f"too short to judge: that takes {LONG / 60:.0f} minutes"
            ),
            "not asked for": ", ".join(f"{count} x {name}" for name, count in self.tally.unasked.items()) or "nothing",
            "loud in the log": "; ".join(f"{count} x {line}" for line, count in loud.items()) or "nothing",
            "ledger": f"{sessions:,} sessions, {len(self.tally.wrong)} unlike the clients' account; exit code {code}",
        }
        if not self.disk.mounted:
            told["left out"] = "the full disk: mounting one takes root"
        for name, text in told.items():
            print(f"{name:>15}  {text}")
        for line in self.tally.wrong[:20]:
            print(f"  WRONG  {line}")
        return not (self.tally.wrong or self.tally.unasked or loud or code or (long and grows > FLAT))


def _at(ordered: list[float], share: float) -> float:
    """A quantile, in milliseconds."""
    return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def call_span(number: int) -> object:
    """A model call as the GenAI conventions tell it."""
    now = time.time_ns()
    texts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": f"observed-{number // 100}",
        "gen_ai.agent.name": "observed",
        "gen_ai.request.model": "some-model",
    }
    counts = {"gen_ai.usage.input_tokens": 1_000 + number % 100 * 500, "gen_ai.usage.output_tokens": 200}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in texts.items()]
    attributes += [{"key": key, "value": {"intValue": str(value)}} for key, value in counts.items()]
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat some-model",
        "startTimeUnixNano": str(now - 10**9),
        "endTimeUnixNano": str(now),
        "attributes": attributes,
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--log", type=Path, help="keep the sidecar's log there, in a new file")
    said = parser.parse_args()
    print(f"soak of {said.minutes:g} minutes, seed {said.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="token-budget-soak-") as name:
        soak = Soak(Path(name), said.minutes * 60, said.seed, said.log)
        try:
            kept = asyncio.run(soak.whole())
        finally:
            soak.disk.remove()
    print("every promise was kept" if kept else "PROMISES WERE BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
