"""Allocations over HTTP, durable, with metrics on, against a bare handler (issue: the main job; fast and small)."""

import itertools
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.load import Load, allocate, open_sessions
from tests.benchmarks.server import Server, bare, sidecar

NAME = "allocation over HTTP"


def measure(effort: float) -> Iterator[Figure]:
    """Requests a second in alternating pairs; the same by processor time, which neighbours disturb less."""
    runs = itertools.count()
    seconds, rounds = max(1, round(3 * effort)), max(3, int(6 * effort))
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder)) as ours, bare() as theirs:
        open_sessions(ours)
        loads: dict[int, list[Load]] = {ours.pid: [], theirs.pid: []}

        def once(server: Server) -> float:
            load = allocate(server, f"run{next(runs)}", seconds=seconds)
            loads[server.pid].append(load)
            return load.rate

        once(ours), once(theirs)  # warm
        for kept in loads.values():
            kept.clear()
        ratio, mine, others = pairs(lambda: once(ours), lambda: once(theirs), rounds)
    work = {pid: statistics.median(load.work for load in kept) for pid, kept in loads.items()}
    how = f"wrk, 16 connections, 4 sessions, {rounds} pairs of {seconds} s"
    yield Figure(name="sidecar", value=statistics.median(mine), unit="requests/s", of=how)
    yield Figure(name="bare handler", value=statistics.median(others), unit="requests/s", of=how)
    yield Figure(name="ratio of requests/s", value=ratio, at_least=0.75, of="median of the pairs")
    yield Figure(name="sidecar, processor time", value=work[ours.pid] * 1e6, unit="us/request")
    yield Figure(name="bare handler, processor time", value=work[theirs.pid] * 1e6, unit="us/request")
    yield Figure(name="ratio of processor time", value=work[theirs.pid] / work[ours.pid], at_least=0.75)
