"""Everything hostile, for minutes and with other chances each time: what `make fuzz` runs. Prints what was tried.

    .venv/bin/python -m tests.hostile.fuzz --minutes 8 [--seed N]

Ends at the first thing that breaks, and says how to meet it again.
"""

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.hostile.mutating import mutated, recorded
from tests.hostile.schema import run
from tests.hostile.telemetry import resident, telemetry
from tests.hostile.test_commands import Calls

ROOT = Path(__file__).resolve().parents[2]


async def payloads(seconds: float, seed: int) -> str:
    """Mutated telemetry over HTTP."""
    until, answers = time.monotonic() + seconds, Counter[int]()
    async with telemetry() as sidecar:
        before = 0
        for count, payload in enumerate(mutated(recorded(), seed)):
            if count == 1_000:
                before = resident()
            async with asyncio.timeout(10):
                status = await sidecar.post(payload)
            answers[status] += 1
            if status not in (200, 400):
                await asyncio.to_thread(Path("payload.found").write_bytes, payload.body)
                sys.exit(
                    f"payload {count} of seed {seed} ({payload.signal}, {payload.media}): {status}; see payload.found"
                )
            if time.monotonic() > until:
                break
        await sidecar.holds()
        grown = (resident() - before) >> 20
    return f"{answers.total():,} payloads, {answers[200]:,} taken; {grown} MiB more than after the first thousand"


async def document(seconds: float, seed: int) -> str:
    """Schemathesis, all its phases."""
    with tempfile.TemporaryDirectory() as folder:
        async with telemetry() as sidecar:
            flags = ("--seed", str(seed), "-n", "100", "--max-time", str(int(seconds)))
            outcome = await run(Path(folder), sidecar.app.urls["api"][0], *flags)
            if outcome.code:
                sys.exit(outcome.said)
            await sidecar.holds()
    return f"{outcome.cases:,} calls by Schemathesis"


def commands(seconds: float) -> str:
    """Commands in any order, with restarts in between."""
    until, runs = time.monotonic() + seconds, 0
    chosen = settings(
        max_examples=4, stateful_step_count=40, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    while time.monotonic() < until:
        run_state_machine_as_test(Calls, settings=chosen)
        runs += 1
    return f"{runs * 4 * 40:,} steps of commands at most, {Calls.asked:,} calls"


def guided(seconds: float) -> str:
    """Atheris, where it is installed."""
    if find_spec("atheris") is None:
        return "atheris is not installed: no payloads guided by what they reach"
    with tempfile.TemporaryDirectory() as folder:
        command = (
            sys.executable, "-m", "tests.hostile.guided", f"-max_total_time={int(seconds)}", "-max_len=20000",
            "-timeout=10", "-rss_limit_mb=1000", "-print_final_stats=1", f"{folder}/corpus",
        )  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    if done.returncode:
        sys.exit(done.stderr[-4_000:])
    told = dict(re.findall(r"stat::(\w+): +(\d+)", done.stderr))
    return f"{int(told['number_of_executed_units']):,} payloads by atheris, at most {told['peak_rss_mb']} MiB"


def main() -> None:
    """Run all four, each for a quarter of the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    told = parser.parse_args()
    quarter = told.minutes * 15
    print(f"seed {told.seed}", flush=True)
    print(asyncio.run(payloads(quarter, told.seed)), flush=True)
    print(asyncio.run(document(quarter, told.seed)), flush=True)
    print(commands(quarter), flush=True)
    print(guided(quarter), flush=True)


if __name__ == "__main__":
    main()
