"""The process: how soon it is ready, what it takes when nothing happens, and the memory of sessions and items."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.load import call
from tests.benchmarks.server import Server, bare, sidecar

NAME = "the process"


def measure(effort: float) -> Iterator[Figure]:
    """Start, idle, memory."""
    with tempfile.TemporaryDirectory() as folder:
        starts = iter(range(1_000))
        _start(Path(folder) / "compiled")  # as after an installation
        ratio, ours, _ = pairs(lambda: _start(Path(folder) / str(next(starts))), _imports, max(3, int(6 * effort)))
        yield Figure(name="start to ready", value=statistics.median(ours), unit="s", at_most=1)
        yield Figure(name="start, of importing aiohttp and pydantic", value=ratio, at_most=2)
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder)) as ours_, bare() as theirs:
        time.sleep(2)
        before, begun = ours_.worked(), perf_counter()
        time.sleep(max(5, 30 * effort))
        idle = (ours_.worked() - before) / (perf_counter() - begun)
        yield Figure(name="idle, of a core", value=idle * 100, unit="%", at_most=0.2)
        yield Figure(name="idle, resident", value=ours_.memory() / (1 << 20), unit="MiB")
        yield Figure(name="idle, of the bare handler's", value=ours_.memory() / theirs.memory(), at_most=1.4)
    yield from _memory(effort)


def _memory(effort: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder), "--max-batch-events", "100000") as server:
        _events(server, 5_000, lambda n: [_put("warm", n)])  # fills what is bounded: feed, caches, buffers
        before, items = server.memory(), 200_000
        _events(server, items, lambda n: [_put(f"many-{n % 40}", n)])
        yield Figure(name="an item", value=(server.memory() - before) / items, unit="bytes", at_most=600)
        before, sessions = server.memory(), 10_000
        _events(server, sessions, lambda n: [{"type": "open_session", "session": f"open-{n}"}])
        yield Figure(name="an open session", value=(server.memory() - before) / sessions, unit="bytes")
        count = max(5_000, int(50_000 * effort))
        _events(server, count, _life)
        before = server.memory()
        _events(server, count, _life)
        grown = (server.memory() - before) / (1 << 20)
        yield Figure(name=f"growth over {count:,} sessions opened and closed", value=grown, unit="MiB", at_most=5)


def _put(session: str, number: int) -> dict[str, object]:
    item = {"id": f"item-{number:06}", "kind": "interaction", "tokens": 0}
    return {"type": "put_item", "session": session, "item": item}


LIVES = iter(range(10**9))


def _life(_: int) -> list[dict[str, object]]:
    session = f"life-{next(LIVES)}"
    return [
        {"type": "open_session", "session": session},
        _put(session, 1),
        {"type": "close_session", "session": session},
    ]


def _events(server: Server, count: int, make: Callable[[int], list[dict[str, object]]]) -> None:
    for start in range(0, count, 300):
        events = [event for number in range(start, min(count, start + 300)) for event in make(number)]
        answer = json.loads(call(server, "POST", "/v1/events", events))
        assert not answer["rejected"], answer["errors"][:3]


def _start(folder: Path) -> float:
    folder.mkdir()
    begun = perf_counter()
    with sidecar(folder) as server:
        assert server.urls["api"]
        return perf_counter() - begun


def _imports() -> float:
    begun = perf_counter()
    subprocess.run([sys.executable, "-c", "import aiohttp.web, pydantic"], check=True)
    return perf_counter() - begun
