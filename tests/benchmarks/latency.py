"""Latency of an allocation at an open-loop quarter of what the bare handler can take: when it should be sent counts."""

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.load import CONNECTIONS, SESSIONS, allocate, open_sessions
from tests.benchmarks.server import Server, bare, sidecar

NAME = "latency of an allocation"


def measure(effort: float) -> Iterator[Figure]:
    """Both in turn at the same rate; the median of the rounds, of each quantile."""
    rounds, seconds, runs = max(3, int(6 * effort)), max(2.0, 4 * effort), itertools.count()
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder)) as ours, bare() as theirs:
        open_sessions(ours)
        rate = max(allocate(theirs, f"max{number}", seconds=2).rate for number in range(2)) / 4
        found: dict[tuple[int, float], list[float]] = {}
        for number in range(rounds):
            for server in (ours, theirs) if number % 2 else (theirs, ours):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    taken = runner.run(_paced(server, rate, seconds, f"paced{next(runs)}"))
                for part in (0.5, 0.99):
                    found.setdefault((server.pid, part), []).append(quantile(taken, part))
        mine, others = (
            {part: quantile(found[pid, part], 0.5) for part in (0.5, 0.99)} for pid in (ours.pid, theirs.pid)
        )
    yield Figure(name="rate", value=rate, unit="requests/s")
    yield Figure(name="sidecar: p50", value=mine[0.5] * 1e3, unit="ms")
    yield Figure(name="bare handler: p50", value=others[0.5] * 1e3, unit="ms")
    yield Figure(name="ratio at p50", value=mine[0.5] / others[0.5], at_most=2)
    yield Figure(name="sidecar: p99", value=mine[0.99] * 1e3, unit="ms", at_most=4)
    yield Figure(name="bare handler: p99", value=others[0.99] * 1e3, unit="ms")


async def _paced(server: Server, rate: float, seconds: float, run: str) -> list[float]:
    """Send at fixed times, each request on the next connection; seconds from when it was due to its answer."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    begin = loop.time() + 0.05
    count = int(rate * seconds)

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number in range(first, count, CONNECTIONS):
            due = begin + number / rate
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            writer.write(_request(number, run))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(loop.time() - due)
        writer.close()

    await asyncio.gather(*(client(first) for first in range(CONNECTIONS)))
    return taken[len(taken) // 10 :]


def _request(number: int, run: str) -> bytes:
    body = f'{{"component": "working_memory", "tokens": 1, "request_id": "{run}-{number}"}}'
    head = f"POST /v1/sessions/bench-{number % SESSIONS}/allocations HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
