"""`kill -9` at any moment loses nothing that was acknowledged, and doubles nothing (SPEC section 4)."""

import asyncio
import time

import pytest

from tests.crash.account import Account, Client, open_sessions, settle

WRITERS = 6


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_random_kills_lose_and_double_nothing(http, sidecar_of, tmp_path, kills, chance, durability):
    kills = kills if durability == "normal" else min(kills, 4)
    sidecar = await sidecar_of("--journal", f"sqlite:///{tmp_path}/journal.db", "--durability", durability)
    await open_sessions(http, sidecar)
    account, stopping = Account(chance), asyncio.Event()
    clients = [Client(f"c{n}", account, http, [sidecar]) for n in range(WRITERS)]
    begun = time.monotonic()
    running = [asyncio.create_task(client.run(stopping)) for client in clients]
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.02, 0.5))
        await sidecar.kill()
        await sidecar.start()
    stopping.set()
    await asyncio.gather(*running)
    await settle(http, sidecar, account)
    await sidecar.kill()
    await sidecar.start()
    await settle(http, sidecar, account)
    seconds = time.monotonic() - begun
    print(f"{kills} kills, {account.writes} acknowledged writes, {account.repeated} of them repeated, {seconds:.0f} s")
    assert account.repeated > 0
