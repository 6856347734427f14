"""Real sidecars that end with their test, and a client session."""

import os
import random

import aiohttp
import pytest

from tests.crash.process import Process
from tests.postgres import postgres, postgres_server  # noqa: F401 - fixtures

pytest.register_assert_rewrite("tests.crash.account")


@pytest.fixture
def kills():
    """How many kills: few by default, more by `make crash`."""
    return int(os.environ.get("CRASH_KILLS") or 8)


@pytest.fixture
def chance(request):
    """Chance, from a seed that is shown when the test fails."""
    seed = int(os.environ.get("CRASH_SEED") or random.randrange(10**6))
    print("CRASH_SEED", seed)
    return random.Random(seed)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        yield http


@pytest.fixture
async def sidecar_of(tmp_path):
    """Make a sidecar with these flags and start it."""
    made: list[Process] = []

    async def make(*flags: str) -> Process:
        process = Process(*flags, log=tmp_path / f"sidecar-{len(made)}.log")
        made.append(process)
        await process.start()
        return process

    yield make
    for process in made:
        await process.stop()
