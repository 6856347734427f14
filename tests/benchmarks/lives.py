"""Memory over many sessions, each opened, used and closed: does it stay? A process of its own, without HTTP."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sidecar.__main__ import collect_rarely
from sidecar.app import make_app
from sidecar.budget.commands import CloseSession, ItemSpec, OpenSession, PutItem
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.ledger import Ask, Origin
from tests.benchmarks.figures import Figure
from tests.benchmarks.server import PAGE, ROOT

NAME = "memory over many sessions"
LOOKS = 10  # at the memory, in equal distances
ORIGIN = Origin(receiver="api")


def measure(effort: float) -> Iterator[Figure]:
    """What the process has grown by in the second half of the sessions: then all that is bounded is full."""
    sessions = max(20_000, int(200_000 * effort))
    command = [sys.executable, "-m", "tests.benchmarks.lives", str(sessions)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    looks = json.loads(said)
    half = looks[LOOKS // 2 - 1 :]
    grown = (half[-1] - half[0]) / (sessions / 2)
    yield Figure(name="opened, used and closed", value=sessions, unit="sessions")
    yield Figure(name="resident after a tenth of them", value=looks[0] / (1 << 20), unit="MiB")
    yield Figure(name="resident after half of them", value=half[0] / (1 << 20), unit="MiB")
    yield Figure(name="resident after all of them", value=half[-1] / (1 << 20), unit="MiB")
    yield Figure(name="growth in the second half, a session", value=grown, unit="bytes", at_most=5)


async def live(sessions: int) -> Sequence[int]:
    """Let so many sessions live, and tell the resident memory ten times."""
    looks = []
    with tempfile.TemporaryDirectory() as folder:
        there = HostPort("127.0.0.1", 0)
        config = Config(journal=f"sqlite:///{folder}/journal.db", listen=(there,), telemetry=there, otlp=None)
        async with make_app(config) as app:
            collect_rarely()
            each = max(1, sessions // LOOKS)
            for number in range(0, each * LOOKS, 50):
                lives = [ask for one in range(number, number + 50) for ask in _life(f"life-{one}")]
                for answer in await app.ledger.handle_all(lives):
                    if isinstance(answer, Exception):
                        raise answer
                if number // each < (number + 50) // each:
                    looks.append(resident())
                    print(number + 50, looks[-1], file=sys.stderr, flush=True)
    return looks


def resident() -> int:
    """This process's memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _life(session: str) -> Iterator[Ask]:
    yield Ask(session, OpenSession(agent="bench"), ORIGIN)
    yield Ask(session, PutItem(item=ItemSpec(id="a", kind="file", tokens=100)), ORIGIN)
    yield Ask(session, CloseSession(), ORIGIN)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(live(int(sys.argv[1])))))
