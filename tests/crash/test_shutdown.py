"""SIGTERM: stop accepting, finish, flush, exit 0 in under 5 s (SPEC 4), whoever is still connected."""

import asyncio
import random
import time
from urllib.parse import urlsplit

from tests.crash.account import Account, Client, open_sessions, settle


async def test_sigterm_under_load_ends_with_0_in_under_5_seconds_and_loses_nothing(http, sidecar_of, tmp_path):
    sidecar = await sidecar_of("--journal", f"sqlite:///{tmp_path}/journal.db")
    await open_sessions(http, sidecar)
    account, stopping = Account(random.Random(1)), asyncio.Event()
    running = [asyncio.create_task(Client(f"c{n}", account, http, [sidecar]).run(stopping)) for n in range(6)]
    # One client that says nothing, and one that never ends its body.
    address = urlsplit(sidecar.api)
    idle = await asyncio.open_connection(address.hostname, address.port)
    hanging = await asyncio.open_connection(address.hostname, address.port)
    hanging[1].write(
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n["
    )
    await asyncio.sleep(0.5)
    begun = time.monotonic()
    assert await sidecar.terminate() == 0
    assert time.monotonic() - begun < 5
    await sidecar.start()
    stopping.set()
    await asyncio.gather(*running)
    await settle(http, sidecar, account)
    for _, writer in (idle, hanging):
        writer.close()
