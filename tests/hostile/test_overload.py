"""Too much to do: one who floods is held back, the others do not notice, and afterwards all is as before."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.benchmarks.server import Server, sidecar
from tests.hostile.load import Calls, allocation, caller, puts

TOTAL = 1_000_000_000_000
OTHERS = 20
FLOODERS = 40


@pytest.fixture
def server(tmp_path: Path) -> Any:
    """A real sidecar, as a process of its own."""
    with sidecar(tmp_path, "--max-waiting", "2000") as running:
        yield running


async def opened(server: Server, sessions: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as http:
        for session, agent in sessions.items():
            body = {"agent": agent, "total_tokens": TOTAL}
            async with http.put(f"{server.urls['api']}/v1/sessions/{session}", json=body) as answer:
                assert answer.status == 201


async def test_a_session_that_floods_makes_no_other_session_wait_long_nor_be_refused(server: Server):
    """40 callers send batches of 200 items to one session at once; 20 others each ask for a token now and then."""
    await opened(server, {"noisy": "noisy", **{f"quiet-{number}": "quiet" for number in range(OTHERS)}})
    flood, quiet = Calls(), Calls()
    over = False
    flooding = [
        asyncio.create_task(
            caller(server.urls["api"], "/v1/events", puts("noisy", f"f{number}", 200), flood, lambda: over)
        )
        for number in range(FLOODERS)
    ]
    asking = [
        asyncio.create_task(
            caller(
                server.urls["api"], f"/v1/sessions/quiet-{number}/allocations", allocation("q"), quiet,
                lambda: over or quiet.statuses.total() >= 400, pause=0.02,
            )
        )
        for number in range(OTHERS)
    ]  # fmt: skip
    await asyncio.gather(*asking)
    over = True
    await asyncio.gather(*flooding)
    assert set(quiet.statuses) == {200}, "a quiet session was refused"
    # Against the flood's own times, since how fast the machine is says nothing.
    assert quiet.quantile(0.5) < flood.quantile(0.5) / 3, (quiet.quantile(0.5), flood.quantile(0.5))
    assert sum(flood.statuses.values()) > FLOODERS, "it was no flood"
