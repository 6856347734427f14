"""A disk that is full, read-only or damaged: writes answer 503, reads and readiness go on, and it heals by itself."""

import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.crash.account import until_answered
from tests.crash.process import Process

SESSION = "/v1/sessions/s"
TEXT = "x" * 60_000


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own; its mount options can be changed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "token-budget-test", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"MISSING TOOL: mount, as root: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


async def put(http: aiohttp.ClientSession, sidecar: Process, id: str, content: str = TEXT) -> aiohttp.ClientResponse:
    item = {"id": id, "kind": "doc", "tokens": 10, "content": content}
    event = {"type": "put_item", "session": "s", "id": f"e-{id}", "item": item}
    async with http.post(f"{sidecar.api}/v1/events", json=[event]) as answer:
        await answer.read()
        return answer


async def read(http: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with http.get(url) as answer:
        json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, await answer.json(content_type=None) if json else await answer.text()


async def journal_up(http: aiohttp.ClientSession, sidecar: Process) -> str:
    _, text = await read(http, f"{sidecar.telemetry}/metrics")
    (line,) = (line for line in text.splitlines() if line.startswith("token_budget_journal_up "))
    return str(line.split()[1])


async def ready(http: aiohttp.ClientSession, sidecar: Process) -> bool:
    return [(await read(http, f"{sidecar.telemetry}/{probe}"))[0] for probe in ("readyz", "healthz")] == [200, 200]


async def test_a_full_disk_refuses_writes_and_nothing_else_until_there_is_room(http, sidecar_of, disk):
    sidecar = await sidecar_of("--journal", f"sqlite:///{disk}/journal.db")
    async with http.put(sidecar.api + SESSION) as answer:
        assert answer.status == 201
    held = []
    for n in range(100):
        answer = await put(http, sidecar, f"i{n}")
        if answer.status != 200:
            break
        held.append(f"i{n}")
    assert (answer.status, held != []) == (503, True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert await journal_up(http, sidecar) == "0"
    assert await ready(http, sidecar)
    status, page = await read(http, f"{sidecar.api}{SESSION}/items?limit=1000")
    assert (status, {item["id"] for item in page["items"]}) == (200, set(held))
    status, ledger = await read(http, f"{sidecar.api}{SESSION}/ledger?limit=1000")
    assert (status, len(ledger["entries"])) == (200, 1 + len(held)), "nothing is half written"

    remount(disk, "size=64m")
    await until_answered(lambda: put(http, sidecar, "after"))
    assert await journal_up(http, sidecar) == "1"
    _, page = await read(http, f"{sidecar.api}{SESSION}/items?limit=1000")
    assert {item["id"] for item in page["items"]} == {*held, "after"}
    await sidecar.kill()
    await sidecar.start()
    _, page = await read(http, f"{sidecar.api}{SESSION}/items?limit=1000")
    assert {item["id"] for item in page["items"]} == {*held, "after"}


async def test_a_read_only_disk_is_waited_for(http, sidecar_of, disk):
    remount(disk, "ro")
    sidecar = await sidecar_of("--journal", f"sqlite:///{disk}/journal.db")
    async with http.put(sidecar.api + SESSION) as answer:
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        assert "Read-only file system" in (await answer.json())["detail"] or "not been opened" in await answer.text()
    assert await journal_up(http, sidecar) == "0"
    assert await ready(http, sidecar)
    remount(disk, "rw")
    await until_answered(lambda: http.put(sidecar.api + SESSION))
    assert await journal_up(http, sidecar) == "1"


def damaged(path: Path) -> bytes:
    """Overwrite what is behind the first page; what was there."""
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(len(whole) - 4096))
    return whole


async def test_a_damaged_journal_is_not_believed_and_not_overwritten_and_a_mended_one_is_taken(
    http, sidecar_of, tmp_path
):
    path = tmp_path / "journal.db"
    sidecar = await sidecar_of("--journal", f"sqlite:///{path}")
    async with http.put(sidecar.api + SESSION) as answer:
        assert answer.status == 201
    for n in range(20):
        assert (await put(http, sidecar, f"i{n}")).status == 200
    assert await sidecar.terminate() == 0

    whole = damaged(path)
    broken = path.read_bytes()
    await sidecar.start()
    assert (await put(http, sidecar, "new")).status == 503
    assert await journal_up(http, sidecar) == "0"
    assert await ready(http, sidecar)
    assert path.read_bytes()[4096:] == broken[4096:]

    path.write_bytes(whole)
    await until_answered(lambda: put(http, sidecar, "new"))
    _, page = await read(http, f"{sidecar.api}{SESSION}/items?limit=1000")
    assert len(page["items"]) == 21


async def test_a_journal_damaged_while_it_runs_leaves_what_is_in_memory_readable(http, sidecar_of, tmp_path):
    path = tmp_path / "journal.db"
    sidecar = await sidecar_of("--journal", f"sqlite:///{path}")
    async with http.put(sidecar.api + SESSION) as answer:
        assert answer.status == 201
    for n in range(40):
        assert (await put(http, sidecar, f"i{n}")).status == 200
    assert await sidecar.terminate() == 0  # the log is in the file
    await sidecar.start()
    damaged(path)
    status, report = await read(http, sidecar.api + SESSION)
    assert (status, report["components"]["knowledge_base"]["used_tokens"]) == (200, 400)
    assert (await put(http, sidecar, "new")).status == 503
    assert await ready(http, sidecar)
    assert await journal_up(http, sidecar) == "0"


async def test_one_session_whose_rows_are_damaged_keeps_no_other_from_being_served(http, sidecar_of, tmp_path):
    """After a kill, and after each start until somebody takes it out."""
    path = tmp_path / "journal.db"
    sidecar = await sidecar_of("--journal", f"sqlite:///{path}")
    for n in range(3):
        assert (await put(http, sidecar, f"i{n}")).status == 200
    async with http.put(f"{sidecar.api}/v1/sessions/good") as answer:
        assert answer.status == 201
    await sidecar.kill()
    with sqlite3.connect(path) as file:
        cut = file.execute("UPDATE frames SET entries = substr(entries, 1, 20) WHERE session = 's' AND first = 3")
        assert cut.rowcount == 1
    file.close()

    for start in (1, 2):
        await sidecar.start()
        assert await ready(http, sidecar)
        assert await journal_up(http, sidecar) == "1"
        status, problem = await read(http, sidecar.api + SESSION)
        assert (status, problem["type"]) == (500, "urn:token-budget:problem:damaged")
        assert "session 's' at version 3" in problem["detail"]
        events = [
            {"type": "put_item", "session": id, "item": {"id": "x", "kind": "doc", "tokens": 1}} for id in ("s", "good")
        ]
        async with http.post(f"{sidecar.api}/v1/events", json=events) as answer:
            told = await answer.json()
        assert (answer.status, told["accepted"], [error["index"] for error in told["errors"]]) == (200, 1, [0])
        _, page = await read(http, f"{sidecar.api}/v1/sessions")
        assert [each["session"] for each in page["sessions"]] == ["good"]
        _, metrics = await read(http, f"{sidecar.telemetry}/metrics")
        assert 'token_budget_dropped_total{what="session",reason="damaged"} 1\n' in metrics
        log = (tmp_path / "sidecar-0.log").read_text()
        assert log.count("session 's' is left out until it can be read") == start
        await sidecar.kill()

    with sqlite3.connect(path) as file:
        for table in ("frames", "snapshots", "contents", "archive"):
            file.execute(f"DELETE FROM {table} WHERE session = 's'")  # noqa: S608 - as journal/README.md says
    file.close()
    await sidecar.start()
    assert (await put(http, sidecar, "anew")).status == 200
