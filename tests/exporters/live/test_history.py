"""A window's levels over time, folded from its entries."""

import pytest

from sidecar.budget.policy import COMPONENTS
from sidecar.exporters.live.history import MARKS, POINTS
from sidecar.journal.freezing import freeze
from sidecar.journal.memory import MemoryJournal

PATH = "/live/history/s1"


def last(history):
    return {name: (history["used"][name][-1], history["allocated"][name][-1]) for name in COMPONENTS}


async def test_its_last_point_is_how_the_session_stands(client):
    await client.put("s1", *(f"{number}" for number in range(20)), tokens=3000)
    await client("POST", "/v1/sessions/s1/allocations", {"component": "agent_context", "tokens": 50_000})
    await client("PATCH", "/v1/sessions/s1", {"total_tokens": 100_000})
    report = await client("GET", "/v1/sessions/s1")
    history = await client("GET", PATH)
    levels = {name: (part["used_tokens"], part["allocated_tokens"]) for name, part in report["components"].items()}
    assert last(history) == levels
    assert history["total"][-1] == 100_000
    assert history["times"] == sorted(history["times"])
    assert {len(column) for column in (history["times"], history["total"], *history["used"].values())} == {
        len(history["times"])
    }


async def test_it_tells_what_was_cleaned_up_exhausted_and_refused(client):
    await client.put("s1", *(f"{number}" for number in range(7)), tokens=9000)  # over budget: five files are evicted
    answer = await client("POST", "/v1/sessions/s1/allocations", {"component": "agent_context", "tokens": 50_000})
    assert answer["outcome"] == "partial"
    ledger = (await client("GET", "/v1/sessions/s1/ledger?limit=1000"))["entries"]
    history = await client("GET", PATH)
    cleanups = [entry for entry in ledger if entry["type"] == "cleaned_up"]
    assert cleanups
    assert history["sums"]["cleanups"] == len(cleanups)
    assert history["sums"]["freed_tokens"] == sum(entry["tokens_freed"] for entry in cleanups)
    assert history["sums"]["exhaustions"] == sum(entry["type"] == "exhausted" for entry in ledger)
    assert (history["sums"]["requests"], history["sums"]["refused"]) == (1, 1)
    assert history["last_cleanup"]["tokens_freed"] == cleanups[-1]["tokens_freed"]
    assert {mark["type"] for mark in history["marks"]} == {"cleaned_up", "exhausted"}
    assert history["version"] == ledger[-1]["version"]


@pytest.mark.parametrize("items", [2 * POINTS - 1, 5 * POINTS])
async def test_however_long_the_session_it_is_no_longer_than_a_chart_and_ends_now(client, items):
    await client.put("s1", *(f"{number}" for number in range(items)), tokens=7)
    history = await client("GET", PATH)
    assert len(history["times"]) <= 2 * POINTS
    assert last(history)["working_memory"][0] == 7 * items
    assert history["used"]["working_memory"] == sorted(history["used"]["working_memory"])


async def test_its_marks_are_bounded(client):
    await client("PUT", "/v1/sessions/s1", {})
    request = {"type": "request_allocation", "session": "s1", "component": "agent_context", "tokens": 90_000}
    await client("POST", "/v1/events", [request] * (3 * MARKS))
    history = await client("GET", PATH)
    assert history["sums"]["exhaustions"] == 3 * MARKS
    assert len(history["marks"]) == MARKS


async def test_of_a_session_that_does_not_exist_there_is_none(client):
    async with client.http.get("/live/history/none") as answer:
        assert answer.status == 404
        assert "'none' does not exist" in (await answer.json(content_type=None))["detail"]


async def test_where_the_first_entries_are_forgotten_it_begins_at_the_snapshot(build):
    journal = MemoryJournal()
    app, client = await build(journal=journal)
    await client.put("s1", *(f"{number}" for number in range(20)), tokens=100)
    session = (await app.ledger.view("s1")).session
    await journal.keep_snapshots([freeze(session, written_at=session.clock)])
    forgotten = await journal.forget_entries("s1", before=session.clock + 60)  # the newest frame stays
    await client.put("s1", "next", tokens=100)
    assert forgotten + await journal.forget_entries("s1", before=session.clock + 60) == 21
    history = await client("GET", PATH)
    assert history["used"]["working_memory"] == [2100]
    assert history["version"] == 22
    async with client.stream("?session=s1", last="3") as reader:
        assert (await reader.next()).name == "reset"
        assert (await reader.next()).data["item"]["id"] == "next"
