"""The same machine's Prometheus Pushgateway taking pushes, beside the sidecar taking allocations."""

import contextlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.load import CONNECTIONS, allocate, open_sessions, post
from tests.benchmarks.server import Server, sidecar

NAME = "peers"
PROGRAM = "prometheus-pushgateway"
PUSH = b"# TYPE tokens_used gauge\ntokens_used 12000\n"


def measure(effort: float) -> Iterator[Figure]:
    """Requests a second, in alternating pairs."""
    if shutil.which(PROGRAM) is None:
        print(f"  {PROGRAM} is not installed: nothing to compare with")
        return
    seconds, rounds = max(1, round(3 * effort)), max(3, int(6 * effort))
    runs = iter(range(1_000))
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder)) as ours, _pushgateway() as theirs:
        open_sessions(ours)
        ratio, mine, others = pairs(
            lambda: allocate(ours, f"peer{next(runs)}", seconds=seconds).rate,
            lambda: post(theirs, "/metrics/job/bench", PUSH, seconds=seconds, connections=CONNECTIONS).rate,
            rounds,
        )
    yield Figure(name="sidecar, allocations", value=statistics.median(mine), unit="requests/s")
    yield Figure(name="Pushgateway, pushes", value=statistics.median(others), unit="requests/s")
    yield Figure(name="ratio of requests/s", value=ratio, at_least=2)


@contextlib.contextmanager
def _pushgateway() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([PROGRAM, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        server = Server(process.pid, {"api": f"http://127.0.0.1:{port}"})
        for _ in range(100):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{server.urls['api']}/-/ready", timeout=1).close()
                break
            sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(10)
