"""The archive through the API, end to end: bounded, brought back through an allocation, erased, counted (SPEC 3.5)."""

import pytest

from sidecar.app import make_app

S = "/v1/sessions/s"


@pytest.fixture(params=["memory", "sqlite"])
async def client(request, settings, client_of, tmp_path):
    journal = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/journal.db"
    async with (
        make_app(settings(journal=journal, max_content_bytes=1_000, metrics_detail=True)) as app,
        client_of(app) as call,
    ):
        call.telemetry = app.urls["telemetry"][0]
        assert (await call("PUT", S, {"agent": "tester", "total_tokens": 100_000})).status == 201
        yield call


async def hold(call, id, tokens, **more):
    event = {"type": "put_item", "session": "s", "item": {"id": id, "kind": "file", "tokens": tokens, **more}}
    assert (await call("POST", "/v1/events", [event])).body["accepted"] == 1


async def drop(call, *ids):
    events = [{"type": "remove_item", "session": "s", "item": id} for id in ids]
    assert (await call("POST", "/v1/events", events)).body["accepted"] == len(ids)


async def counted(call, line):
    async with call.http.get(f"{call.telemetry}/metrics") as answer:
        found = [each for each in (await answer.text()).splitlines() if each.startswith(line)]
    return sum(float(each.split()[-1]) for each in found)


async def test_an_item_comes_back_only_if_there_is_room_and_stays_archived_if_not(client):
    await hold(client, "big", 20_000, content="all of it")
    await drop(client, "big")
    assert (await client("POST", f"{S}/allocations", {"component": "working_memory", "tokens": 25_000})).status == 200
    denied = await client("POST", f"{S}/archive/big/restore")
    assert (denied.status, denied.body["outcome"], denied.body["granted"]) == (200, "denied", 0)
    assert (await client("GET", f"{S}/archive/big")).body["content"] == "all of it"
    assert (await client("POST", f"{S}/releases", {"component": "working_memory", "tokens": 25_000})).status == 200
    granted = await client("POST", f"{S}/archive/big/restore", {"request_id": "again"})
    assert (granted.body["outcome"], granted.body["granted"], granted.body["item"]["content"]) == (
        "full", 20_000, "all of it",
    )  # fmt: skip
    assert (await client("POST", f"{S}/archive/big/restore", {"request_id": "again"})).body["granted"] == 20_000
    assert [each["id"] for each in (await client("GET", f"{S}/items")).body["items"]] == ["big"]
    name = 'token_budget_readmitted_tokens_total{agent="tester",component="working_memory"}'
    assert await counted(client, name) == 20_000


async def test_content_above_the_bound_is_not_kept_and_counted(client):
    await hold(client, "long", 10, content="x" * 1_001)
    await hold(client, "short", 10, content="x" * 1_000)
    await drop(client, "long", "short")
    assert (await client("GET", f"{S}/archive/long")).body["content"] is None
    assert (await client("GET", f"{S}/archive/short")).body["content"] == "x" * 1_000
    assert await counted(client, 'token_budget_dropped_total{what="content",reason="size"}') == 1


async def test_a_search_is_paged_and_every_page_is_bounded(client):
    for n in range(25):
        await hold(client, f"i{n:02}", 10, content=f"needle {n}" if n % 2 else "hay")
    await drop(client, *(f"i{n:02}" for n in range(25)))
    found, after = [], ""
    while True:
        page = (await client("GET", f"{S}/archive?q=NEEDLE&limit=5{after}")).body
        assert len(page["items"]) <= 5
        found += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == [f"i{n:02}" for n in range(1, 25, 2)]
    assert (await client("GET", f"{S}/archive?limit=1001")).status == 400


async def test_what_is_erased_is_found_nowhere(client):
    await hold(client, "secret", 10, content="a secret")
    await drop(client, "secret")
    assert (await client("DELETE", f"{S}/archive", {"item": "secret"})).status == 200
    for path in ("archive", "archive?q=secret", "items"):
        assert (await client("GET", f"{S}/{path}")).body["items"] == []
    assert "a secret" not in str(await client.state())
    assert (await client("POST", f"{S}/archive/secret/restore")).status == 404
