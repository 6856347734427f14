"""Clocks that jump, run backwards, or are years off: nothing acknowledged is lost, and no session ends by it."""

import pytest

from tests.crash.account import pages
from tests.crash.process import ROOT, Process

YEAR = 365 * 86_400.0
SESSION = "/v1/sessions/s"


@pytest.fixture
def clock(tmp_path):
    """How many seconds the server's clock is off, as a file."""
    path = tmp_path / "off"
    path.write_text("0")
    return path


@pytest.fixture
async def skewed(tmp_path, clock):
    """A sidecar that goes by that clock."""
    journal = f"sqlite:///{tmp_path}/journal.db"
    process = Process(
        "--journal", journal, log=tmp_path / "log", program=(str(ROOT / "tests/crash/skewed.py"), str(clock))
    )
    await process.start()
    yield process
    await process.stop()


def put(id, **more):
    item = {"id": id, "kind": "doc", "tokens": 10, "content": id}
    return {"type": "put_item", "session": "s", "id": f"e-{id}", "item": item, **more}


async def send(http, sidecar, *events):
    async with http.post(f"{sidecar.api}/v1/events", json=list(events)) as answer:
        assert answer.status == 200
        return await answer.json()


async def shown(http, sidecar):
    """The ids held, and the entries' times."""
    items = await pages(http, f"{sidecar.api}{SESSION}/items", "items")
    entries = await pages(http, f"{sidecar.api}{SESSION}/ledger", "entries")
    assert [entry["version"] for entry in entries] == list(range(1, len(entries) + 1))
    return [item["id"] for item in items], [entry["time"] for entry in entries]


async def test_a_server_clock_that_jumps_forward_and_back_loses_nothing_and_ends_no_session(http, skewed, clock):
    """To ten years ahead, to five years back, with a restart in each: what was acknowledged is there, in order."""
    held = []
    for number, off in enumerate((0, 10 * YEAR, -5 * YEAR, 0)):
        clock.write_text(str(off))
        for part in ("a", "b"):
            id = f"{part}{number}"
            assert (await send(http, skewed, put(id)))["accepted"] == 1
            held.append(id)
            ids, times = await shown(http, skewed)
            assert (sorted(ids), times) == (sorted(held), sorted(times)), "session time never runs backwards"
            if part == "a" and off:
                await skewed.kill()
                await skewed.start()
        async with http.get(skewed.api + SESSION) as answer:
            assert (await answer.json())["state"] == "active"


async def test_a_host_whose_clock_is_years_behind_has_its_own_time_and_one_years_ahead_is_told_so(http, skewed):
    told = await send(
        http,
        skewed,
        put("old", time="2001-01-01T00:00:00Z"),
        put("ahead", time="2101-01-01T00:00:00Z"),
        put("later", time="2001-01-01T00:30:00Z"),
        put("earlier", time="2001-01-01T00:10:00Z"),
    )
    assert (told["accepted"], told["rejected"]) == (3, 1)
    assert told["errors"][0]["index"] == 1
    assert "ahead of the server's clock" in told["errors"][0]["detail"]
    for _ in range(2):
        ids, times = await shown(http, skewed)
        assert sorted(ids) == ["earlier", "later", "old"]
        assert times == sorted(times)
        assert times[-1] == times[-2], "an earlier time counts as the last one"
        await skewed.kill()
        await skewed.start()


async def test_events_that_come_twice_and_in_any_order_count_once_each(http, skewed, chance):
    events = [put(f"i{n}", time=1_000_000_000.0 + n) for n in range(60)]
    doubled = events + chance.sample(events, 40)
    chance.shuffle(doubled)
    accepted = duplicates = 0
    for start in range(0, len(doubled), 7):
        told = await send(http, skewed, *doubled[start : start + 7])
        accepted, duplicates = accepted + told["accepted"], duplicates + told["duplicates"]
        if start == 49:
            await skewed.kill()
            await skewed.start()
    assert (accepted, duplicates) == (60, 40)
    ids, times = await shown(http, skewed)
    assert sorted(ids) == sorted(event["item"]["id"] for event in events)
    assert times == sorted(times)
