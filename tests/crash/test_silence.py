"""A PostgreSQL that is there and says nothing: what was acknowledged stays, reads go on, and nobody waits for ever."""

import asyncio
import random
import time

import pytest

from tests.crash.account import Account, Client, open_sessions, settle


@pytest.fixture
def frozen(postgres_server):
    """Let the server stand still, and go on in the end."""
    yield postgres_server
    postgres_server.thaw()


async def test_a_database_that_stands_still_is_waited_for_and_nothing_is_lost_or_doubled(
    http, sidecar_of, postgres, frozen
):
    replicas = [await sidecar_of("--journal", postgres, "--replica", name) for name in ("one", "two")]
    await open_sessions(http, replicas[0])
    account, stopping = Account(random.Random(5)), asyncio.Event()
    running = [asyncio.create_task(Client(f"c{n}", account, http, replicas).run(stopping)) for n in range(4)]
    await asyncio.sleep(0.5)
    frozen.freeze()
    begun = time.monotonic()
    async with http.put(f"{replicas[0].api}/v1/sessions/new") as answer:
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert time.monotonic() - begun < 8
    for probe in ("readyz", "healthz", "metrics"):
        async with http.get(f"{replicas[0].telemetry}/{probe}") as answer:
            assert answer.status == 200
    frozen.thaw()
    await asyncio.sleep(0.3)
    stopping.set()
    await asyncio.gather(*running)
    for replica in replicas:
        await settle(http, replica, account)


async def test_sigterm_ends_with_0_in_under_5_seconds_though_the_database_says_nothing(
    http, sidecar_of, postgres, frozen
):
    sidecar = await sidecar_of("--journal", postgres)
    await open_sessions(http, sidecar)
    frozen.freeze()
    body = {"component": "working_memory", "tokens": 1}
    writing = asyncio.ensure_future(http.post(f"{sidecar.api}/v1/sessions/s0/allocations", json=body))
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    assert await sidecar.terminate() == 0
    assert time.monotonic() - begun < 5
    await asyncio.gather(writing, return_exceptions=True)
