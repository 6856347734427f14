"""A process that stands still, runs out of descriptors, or serves clients that do: nothing acknowledged is lost."""

import asyncio
import os
import random
import resource
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.crash.account import Account, Client, open_sessions, settle

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
async def sidecar(sidecar_of, tmp_path):
    return await sidecar_of("--journal", f"sqlite:///{tmp_path}/journal.db")


@pytest.fixture
async def written(http, sidecar):
    """Clients that write while the test goes on; at its end all is held against their account, after a kill too."""
    await open_sessions(http, sidecar)
    account, stopping = Account(random.Random(6)), asyncio.Event()
    running = [asyncio.create_task(Client(f"c{n}", account, http, [sidecar]).run(stopping)) for n in range(4)]
    yield account
    stopping.set()
    await asyncio.gather(*running)
    await sidecar.kill()
    await sidecar.start()
    await settle(http, sidecar, account)


async def progress(account, writes):
    """Wait until so many more writes were acknowledged; how long that took."""
    begun, before = time.monotonic(), account.writes
    async with asyncio.timeout(60):
        while account.writes < before + writes:  # noqa: ASYNC110 - the clients' work is what is waited for
            await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def connect(sidecar):
    parts = urlsplit(sidecar.api)
    return await asyncio.open_connection(parts.hostname, parts.port)


def head(sidecar, length):
    host, media = urlsplit(sidecar.api).netloc, "Content-Type: application/json"
    return f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\n{media}\r\nContent-Length: {length}\r\n\r\n".encode()


async def test_a_process_that_is_stopped_and_continued_goes_on_where_it_was(sidecar, written):
    for _ in range(3):
        await progress(written, 30)
        os.kill(sidecar.pid, signal.SIGSTOP)
        await asyncio.sleep(0.4)
        os.kill(sidecar.pid, signal.SIGCONT)
    await progress(written, 30)


async def test_a_process_killed_while_it_is_stopped_has_lost_nothing(sidecar, written):
    """As the kernel does where memory runs out, and as a kubelet does with a container that does not answer."""
    await progress(written, 30)
    os.kill(sidecar.pid, signal.SIGSTOP)
    await sidecar.kill()
    await sidecar.start()
    await progress(written, 30)


def worked(sidecar):
    """Processor time so far, in seconds."""
    fields = Path(f"/proc/{sidecar.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def leave_descriptors(sidecar, count):
    """Let it open only so many more: EMFILE beyond. The limits from before."""
    last = max(int(each.name) for each in Path(f"/proc/{sidecar.pid}/fd").iterdir())
    before = resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (last + 1 + count, before[1]))
    return before


async def test_without_descriptors_left_who_is_connected_is_served_and_others_are_when_there_are_some(http, sidecar):
    await open_sessions(http, sidecar)
    before = leave_descriptors(sidecar, 3)
    more = [await connect(sidecar) for _ in range(20)]  # the kernel takes them; the sidecar cannot
    begun = worked(sidecar)
    await asyncio.sleep(0.5)
    assert worked(sidecar) - begun < 0.25, "it does not spin on what it cannot accept"
    for number in range(20):
        body = {"component": "working_memory", "tokens": 1, "request_id": f"r{number}"}
        async with http.post(f"{sidecar.api}/v1/sessions/s0/allocations", json=body) as answer:
            assert answer.status == 200
    resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, before)
    for _, writer in more:
        writer.close()
    reader, writer = await connect(sidecar)
    writer.write(head(sidecar, 2) + b"[]")
    async with asyncio.timeout(20):
        assert b" 200 " in await reader.readline()
    writer.close()
    await sidecar.kill()
    await sidecar.start()
    async with http.get(f"{sidecar.api}/v1/sessions/s0") as answer:
        assert (await answer.json())["components"]["working_memory"]["used_tokens"] == 20


async def test_clients_that_dawdle_or_say_nothing_keep_nobody_waiting(sidecar, written):
    """A hundred of them: a third says nothing, a third sends a byte now and then, a third stops within its headers."""
    alone = await progress(written, 100)
    slow = [await connect(sidecar) for _ in range(99)]
    for number, (_, writer) in enumerate(slow):
        writer.write((b"", head(sidecar, 9_999) + b"[", b"POST /v1/events HTTP/1.1\r\nHost: loc")[number % 3])

    async def drip():
        while True:
            for _, writer in slow[1::3]:
                writer.write(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    beside = await progress(written, 100)
    dripping.cancel()
    for _, writer in slow:
        writer.transport.abort()
    assert beside < 5 * alone + 2


async def test_clients_that_close_their_half_or_go_away_are_not_told_that_all_is_well_and_fill_no_log(
    sidecar, written, tmp_path
):
    body = b'[{"type": "open_session", "session": "half"}]'
    for number in range(30):
        reader, writer = await connect(sidecar)
        if number % 3:  # gone in the middle of a body, or before a stream begins
            stream = f"GET /v1/stream HTTP/1.1\r\nHost: {urlsplit(sidecar.api).netloc}\r\n\r\n".encode()
            writer.write(stream if number % 3 == 1 else head(sidecar, 99) + b"[")
            await asyncio.sleep(0.01)
            writer.transport.abort()
        else:
            writer.write(head(sidecar, len(body) + 9) + body)
            writer.write_eof()
            async with asyncio.timeout(20):
                assert b" 200 " not in await reader.read()
            writer.close()
    await progress(written, 20)
    log = (tmp_path / "sidecar-0.log").read_text()
    assert "Traceback" not in log, "a client that goes is no fault of ours"
