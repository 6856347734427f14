"""The same machine's Pushgateway taking pushes, and LiteLLM's proxy completing mocks, beside the sidecar allocating."""

import contextlib
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import sleep

from tests.benchmarks.figures import Figure, pairs
from tests.benchmarks.load import CONNECTIONS, Load, allocate, open_sessions, post
from tests.benchmarks.server import ROOT, Server, sidecar

NAME = "peers"
PROGRAM = "prometheus-pushgateway"
PUSH = b"# TYPE tokens_used gauge\ntokens_used 12000\n"
# LiteLLM's proxy needs an environment of its own: `make peers` builds it.
PROXY = ROOT / ".venv-peers" / "bin" / "litellm"
PROXY_CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, api_key: none, mock_response: "It is done."}
litellm_settings:
  callbacks: [prometheus]
"""
COMPLETION = b'{"model": "mock", "messages": [{"role": "user", "content": "Do it."}]}'


def measure(effort: float) -> Iterator[Figure]:
    """Requests a second, in alternating pairs."""
    seconds, rounds = max(1, round(3 * effort)), max(3, int(6 * effort))
    push = partial(post, path="/metrics/job/bench", body=PUSH, seconds=seconds, connections=CONNECTIONS)
    complete = partial(post, path="/v1/chat/completions", body=COMPLETION, seconds=seconds, connections=CONNECTIONS)
    if shutil.which(PROGRAM) is None:
        print(f"  {PROGRAM} is not installed: nothing to compare with")
    else:
        yield from _beside("Pushgateway, pushes", _pushgateway, push, aim=2, seconds=seconds, rounds=rounds)
    if not PROXY.exists():
        print("  LiteLLM is not installed: `make peers` does that")
    else:
        yield from _beside("LiteLLM, completions", _litellm, complete, aim=50, seconds=seconds, rounds=rounds)


def _beside(
    name: str,
    peer: Callable[[], contextlib.AbstractContextManager[Server]],
    ask: Callable[[Server], Load],
    *,
    aim: float,
    seconds: int,
    rounds: int,
) -> Iterator[Figure]:
    runs = itertools.count()
    with tempfile.TemporaryDirectory() as folder, sidecar(Path(folder)) as ours, peer() as theirs:
        open_sessions(ours)
        ask(theirs)  # warm
        work: dict[int, list[float]] = {ours.pid: [], theirs.pid: []}

        def once(server: Server) -> float:
            load = allocate(ours, f"peer{next(runs)}", seconds=seconds) if server is ours else ask(theirs)
            work[server.pid].append(load.work)
            return load.rate

        ratio, mine, others = pairs(lambda: once(ours), lambda: once(theirs), rounds)
    ours_work, theirs_work = (statistics.median(kept) for kept in work.values())
    yield Figure(name="sidecar, allocations", value=statistics.median(mine), unit="requests/s")
    yield Figure(name=name, value=statistics.median(others), unit="requests/s")
    yield Figure(name="ratio of requests/s", value=ratio, at_least=aim)
    yield Figure(name=f"{name}: processor time of theirs to ours", value=theirs_work / ours_work)


@contextlib.contextmanager
def _litellm() -> Iterator[Server]:
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        config = Path(folder, "config.yaml")
        config.write_text(PROXY_CONFIG)
        # It asks the network for prices as it starts, unless told to use those it came with.
        told = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "*"}
        told["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = (
            "true"  # on loopback, for as long as it is measured
        )
        command: list[str | Path] = [PROXY, "--config", config, "--host", "127.0.0.1", "--port", str(port)]
        with Path(folder, "said").open("wb") as said:
            process = subprocess.Popen(command, env=os.environ | told, stdout=said, stderr=said, cwd=folder)
            try:
                yield _ready(
                    Server(process.pid, {"api": f"http://127.0.0.1:{port}"}), "/health/liveliness", seconds=180
                )
            finally:
                process.terminate()
                process.wait(20)


def _ready(server: Server, path: str, *, seconds: int) -> Server:
    for _ in range(seconds * 10):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(server.urls["api"] + path, timeout=5).close()
            return server
        sleep(0.1)
    raise TimeoutError(f"nothing answers at {path}")


@contextlib.contextmanager
def _pushgateway() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([PROGRAM, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        yield _ready(Server(process.pid, {"api": f"http://127.0.0.1:{port}"}), "/-/ready", seconds=10)
    finally:
        process.terminate()
        process.wait(10)
