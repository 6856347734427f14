"""Batches of five hundred events, durable, against a handler that parses and validates them alone."""

import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.load import Load, post
from tests.benchmarks.server import Server, bare, sidecar

NAME = "batches of 500 events"
BATCH = 500


def measure(effort: float) -> Iterator[Figure]:
    """Events a second in alternating pairs, and by processor time."""
    seconds, rounds = max(2, round(3 * effort)), max(3, int(6 * effort))
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder)) as ours, bare() as theirs:
        loads: dict[int, list[Load]] = {ours.pid: [], theirs.pid: []}

        def once(server: Server) -> float:
            load = post(server, "/v1/events", batch(), seconds=seconds, connections=4)
            loads[server.pid].append(load)
            return load.rate * BATCH

        once(ours), once(theirs)  # warm
        for kept in loads.values():
            kept.clear()
        ratio, mine, others = pairs(lambda: once(ours), lambda: once(theirs), rounds)
    work = {pid: statistics.median(load.work for load in kept) / BATCH for pid, kept in loads.items()}
    yield Figure(name="sidecar", value=statistics.median(mine), unit="events/s", at_least=100_000)
    yield Figure(name="parsing and validating alone", value=statistics.median(others), unit="events/s")
    yield Figure(name="ratio of events/s", value=ratio, at_least=0.22)
    yield Figure(name="sidecar, processor time", value=work[ours.pid] * 1e6, unit="us/event")
    yield Figure(name="ratio of processor time", value=work[theirs.pid] / work[ours.pid], at_least=0.22)


def batch() -> bytes:
    """What hosts send most: items put, used and released, in four sessions."""
    events: list[dict[str, object]] = []
    for number in range(BATCH):
        event: dict[str, object] = {"session": f"batch-{number % 4}"}
        match number % 5:
            case 0 | 1 | 2:
                item = {"id": f"item-{number}", "kind": "tool_result", "tokens": 10 + number % 7}
                events.append(event | {"type": "put_item", "item": item})
            case 3:
                events.append(event | {"type": "touch_item", "item": f"item-{number - 1 - (number - 1) % 5}"})
            case _:
                events.append(event | {"type": "report_usage", "total": 20_000 + number})
    # An item is touched in the session that it was put to.
    for number, event in enumerate(events):
        if event["type"] == "touch_item":
            event["session"] = f"batch-{(number - 1 - (number - 1) % 5) % 4}"
    return json.dumps(events).encode()
