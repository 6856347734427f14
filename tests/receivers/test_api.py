"""The calls of SPEC section 4, one by one, against a real sidecar."""

import json
from urllib.parse import quote

import pytest

from sidecar.budget.policy import COMPONENTS
from sidecar.receivers.operations import OPERATIONS

SESSION = "/v1/sessions/s1"

REPORT = {
    "session", "agent", "parent", "mode", "model", "state", "timestamp", "components", "overall", "forecast", "shares",
    "provider_ratio", "source",
}  # fmt: skip


def item(name, tokens=100, kind="file", **extra):
    return {"id": name, "kind": kind, "tokens": tokens, **extra}


async def put(call, *items, session="s1", **extra):
    events = [{"type": "put_item", "session": session, "item": each, **extra} for each in items]
    batch = await call("POST", "/v1/events", events)
    assert batch.body["rejected"] == 0, batch.body
    return batch


async def archived(call, *names, content="the text"):
    """Put completed tasks and clean them up into the archive."""
    await put(call, *(item(name, 500, "task", completed=True, content=f"{content} of {name}") for name in names))
    answer = await call("POST", f"{SESSION}/cleanups", {"component": "working_memory"})
    assert answer.body["steps"] == [{"step": "archive_tasks", "items": len(names), "tokens_freed": 500 * len(names)}]
    return answer


# A session's life


async def test_opening_answers_201_and_a_report_and_200_when_it_is_the_same_again(call):
    body = {"agent": "tester", "total_tokens": 100_000, "reserve_tokens": 20_000, "model": "m"}
    first = await call("PUT", SESSION, body)
    again = await call("PUT", SESSION, body)
    assert (first.status, again.status) == (201, 200)
    assert first.headers["Content-Type"] == "application/json"
    assert set(first.body) == REPORT
    assert first.body["overall"]["total_tokens"] == 80_000
    assert (await call("PUT", SESSION, {**body, "model": "other"})).status == 409


async def test_a_session_may_be_opened_without_a_body(call):
    answer = await call("PUT", SESSION)
    assert (answer.status, answer.body["agent"], answer.body["mode"]) == (201, "unknown", "managed")


async def test_the_report_is_read_and_headed(call, session):
    report = await call("GET", session)
    head = await call("HEAD", session)
    assert set(report.body) == REPORT
    assert (head.status, head.body) == (200, None)
    assert head.headers["Content-Length"] == report.headers["Content-Length"]


async def test_a_change_answers_the_report(call, session):
    answer = await call("PATCH", session, {"total_tokens": 400_000, "mode": "observed", "model": "m2"})
    assert answer.status == 200
    assert set(answer.body) == REPORT
    assert (answer.body["overall"]["total_tokens"], answer.body["mode"], answer.body["model"]) == (
        400_000,
        "observed",
        "m2",
    )


async def test_closing_answers_the_final_report_as_often_as_it_is_asked(call, session):
    first = await call("DELETE", session)
    again = await call("DELETE", session)
    assert (first.status, first.body["state"]) == (200, "closed")
    assert again.body == first.body == (await call("GET", session)).body


async def test_a_closed_session_opened_again_is_a_new_window_of_the_same_session(call, session):
    await call("DELETE", session)
    answer = await call("PUT", session, {"agent": "tester"})
    assert (answer.status, answer.body["overall"]["used_tokens"]) == (201, 0)


async def test_sessions_are_listed_with_what_a_list_needs(call, session):
    answer = await call("GET", "/v1/sessions")
    assert answer.body == {
        "sessions": [
            {
                "session": "s1",
                "agent": "tester",
                "mode": "managed",
                "state": "active",
                "model": None,
                "total_tokens": 200_000,
                "used_tokens": 3_000,
                "utilization_ratio": 0.015,
                "status": "low",
            }
        ],
        "next": None,
    }


@pytest.mark.parametrize("name", ["a/b", "{a}", "ü é 漢", "a%2Fb", "..", "a+b", "sub:1", "?x=1", "#", "%"])
async def test_a_session_may_have_any_name_percent_encoded(call, name):
    from yarl import URL

    url = URL(f"{call.base}/v1/sessions/{quote(name, safe='')}", encoded=True)
    async with call.http.put(url) as opened:
        assert opened.status == 201
    async with call.http.get(url) as answer:
        assert (await answer.json())["session"] == name
    batch = await put(call, item("a"), session=name)
    assert batch.body["accepted"] == 1
    assert [one["session"] for one in (await call("GET", "/v1/sessions")).body["sessions"]] == [name]


# Tokens


async def test_an_allocation_answers_what_was_granted(call, session):
    answer = await call("POST", f"{session}/allocations", {"component": "knowledge_base", "tokens": 1_000})
    assert answer.status == 200
    assert answer.body == {
        "component": "knowledge_base",
        "requested": 1_000,
        "granted": 1_000,
        "outcome": "full",
        "available_tokens": 39_000,
        "cleanup": None,
        "directives": [],
    }


async def test_a_refused_allocation_is_an_answer_and_no_error(call, session):
    body = {"component": "knowledge_base", "tokens": 50_000}
    partial = await call("POST", f"{session}/allocations", body)
    denied = await call("POST", f"{session}/allocations", {**body, "all_or_nothing": True})
    assert (partial.status, partial.body["granted"], partial.body["outcome"]) == (200, 40_000, "partial")
    assert (denied.status, denied.body["granted"], denied.body["outcome"]) == (200, 0, "denied")


async def test_a_repeated_request_id_answers_the_same_and_another_body_conflicts(call, session):
    body = {"component": "knowledge_base", "tokens": 1_000, "request_id": "r1"}
    first = await call("POST", f"{session}/allocations", body)
    again = await call("POST", f"{session}/allocations", body)
    other = await call("POST", f"{session}/allocations", {**body, "tokens": 2_000})
    assert first.body == again.body
    assert other.status == 409
    assert (await call("GET", session)).body["components"]["knowledge_base"]["used_tokens"] == 1_000


async def test_tokens_and_items_are_given_back(call, session):
    await call("POST", f"{session}/allocations", {"component": "knowledge_base", "tokens": 1_000})
    tokens = await call("POST", f"{session}/releases", {"component": "knowledge_base", "tokens": 400})
    whole = await call("POST", f"{session}/releases", {"item": "main.py"})
    assert (tokens.body["released_tokens"], tokens.body["available_tokens"]) == (400, 39_400)
    assert (whole.body["released_tokens"], whole.body["item"]) == (3_000, "main.py")


async def test_a_cleanup_answers_its_steps_and_directives(call, session):
    answer = await archived(call, "t1", "t2")
    assert answer.body["component"] == "working_memory"
    assert answer.body["trigger"] == "manual"
    assert answer.body["tokens_freed"] == 1_000
    assert answer.body["actions_taken"] == ["archive_tasks"]
    assert answer.body["duration_ms"] >= 0
    assert [(each["number"], each["action"], each["item"]) for each in answer.body["directives"]] == [
        (1, "archive", "t1"),
        (2, "archive", "t2"),
    ]


async def test_a_prediction_answers_all_five_components(call, session):
    task = {"id": "t", "files": ["a", "b", "c"], "agents": ["x"], "estimated_minutes": 10}
    answer = await call("POST", f"{session}/predictions", {"tasks": [task]})
    assert answer.status == 200
    assert set(answer.body) == {
        "tasks", "prior", "predicted", "available", "shortfall", "suggested_shares", "cleanups", "directives",
    }  # fmt: skip
    assert (answer.body["tasks"][0]["score"], answer.body["tasks"][0]["complexity"]) == (70, "moderate")
    assert list(answer.body["available"]) == list(COMPONENTS)


async def test_an_adjustment_answers_before_after_and_reasons_and_a_dry_run_changes_nothing(call, session):
    history = {"working_memory": {"exhaustion_count": 5, "avg_utilization": 0.95}}
    tried = await call("POST", f"{session}/adjustments", {"history": history, "dry_run": True})
    assert tried.body["before"] == (await call("GET", session)).body["shares"]
    done = await call("POST", f"{session}/adjustments", {"history": history})
    assert tried.body["after"] == done.body["after"] == (await call("GET", session)).body["shares"]
    assert done.body["reasons"]["working_memory"]
    assert (await call("POST", f"{session}/adjustments")).status == 200


async def test_a_window_sync_answers_report_and_directives(call, session):
    answer = await call("PUT", f"{session}/window", {"items": [item("m1", 50, "interaction")]})
    assert answer.status == 200
    assert set(answer.body) == {"report", "directives"}
    assert answer.body["report"]["overall"]["used_tokens"] == 50
    assert [each["id"] for each in (await call("GET", f"{session}/items")).body["items"]] == ["m1"]


async def test_directives_are_listed_until_they_are_acknowledged(call, session):
    await archived(call, "t1", "t2")
    waiting = await call("GET", f"{session}/directives")
    assert [each["number"] for each in waiting.body["directives"]] == [1, 2]
    answer = await call(
        "POST",
        f"{session}/directives/acknowledgements",
        {"through": 2, "failed": [{"number": 2, "reason": "in use"}]},
    )
    assert (answer.body["confirmed"], answer.body["failed"], answer.body["directives"]) == (1, 1, [])
    assert (await call("GET", f"{session}/directives")).body == {"directives": [], "next": None}


# What is held, archived and written


async def test_an_item_is_shown_as_the_ledger_holds_it(call, session):
    answer = await call("GET", f"{session}/items")
    (shown,) = answer.body["items"]
    assert shown.pop("created_at") == shown.pop("last_accessed_at")
    assert shown == {
        "id": "main.py",
        "kind": "file",
        "component": "working_memory",
        "tokens": 3_000,
        "completed": False,
        "pinned": False,
        "full": False,
        "doc_tokens": 0,
        "group": None,
        "path": "src/main.py",
        "fingerprint": None,
    }


async def test_items_can_be_asked_for_by_component(call, session):
    await put(call, item("d", kind="doc"))
    answer = await call("GET", f"{session}/items?component=knowledge_base")
    assert [each["id"] for each in answer.body["items"]] == ["d"]


async def test_the_archive_is_listed_searched_read_restored_and_erased(call, session):
    await archived(call, "t1", "t2")
    everything = await call("GET", f"{session}/archive")
    assert [each["id"] for each in everything.body["items"]] == ["t1", "t2"]
    assert set(everything.body["items"][0]) == {
        "id", "kind", "component", "step", "reason", "tokens_before", "tokens_after", "archived_at",
    }  # fmt: skip
    found = await call("GET", f"{session}/archive?q=text%20of%20t2")
    assert [each["id"] for each in found.body["items"]] == ["t2"]
    assert (await call("GET", f"{session}/archive?component=agent_context")).body["items"] == []
    one = await call("GET", f"{session}/archive/t1")
    assert (one.body["content"], one.body["tokens_before"], one.body["tokens_after"]) == ("the text of t1", 500, 0)
    back = await call("POST", f"{session}/archive/t1/restore")
    assert (back.body["outcome"], back.body["granted"], back.body["item"]["content"]) == ("full", 500, "the text of t1")
    erased = await call("DELETE", f"{session}/archive", {"item": "t2"})
    assert (erased.status, erased.body["item"]) == (200, "t2")
    assert (await call("GET", f"{session}/archive/t2")).status == 404
    assert (await call("DELETE", f"{session}/archive")).status == 200
    assert (await call("GET", f"{session}/archive")).body == {"items": [], "next": None}


async def test_an_item_whose_name_has_a_slash_is_read_by_its_encoded_name(call, session):
    from yarl import URL

    await archived(call, "src/t 1")
    url = URL(f"{call.base}{session}/archive/src%2Ft%201", encoded=True)
    async with call.http.get(url) as answer:
        assert (await answer.json())["id"] == "src/t 1"


async def test_the_ledger_shows_every_entry_with_its_version_and_times_to_be_read(call, session):
    answer = await call("GET", f"{session}/ledger")
    entries = answer.body["entries"]
    assert [(entry["version"], entry["type"]) for entry in entries] == [(1, "opened"), (2, "item_put")]
    assert all(entry["time"].endswith("Z") for entry in entries)
    assert entries[1]["item"]["created_at"] == entries[1]["time"]
    assert (await call("GET", f"{session}/ledger?after=1")).body["entries"] == entries[1:]
    assert (await call("GET", f"{session}/ledger?after=2")).body == {"entries": [], "next": None}


@pytest.mark.parametrize(
    ("path", "plural", "cursor"),
    [
        ("/v1/sessions", "sessions", "session"),
        (f"{SESSION}/items", "items", "id"),
        (f"{SESSION}/archive", "items", "id"),
        (f"{SESSION}/ledger", "entries", "version"),
        (f"{SESSION}/directives", "directives", "number"),
    ],
)
async def test_pages_put_together_are_the_whole_each_once_and_in_order(call, session, path, plural, cursor):
    await archived(call, *(f"t{number}" for number in range(7)))
    await put(call, *(item(f"i{number}") for number in range(6)))
    for number in range(6):
        await call("PUT", f"/v1/sessions/p{number}")
    whole = (await call("GET", f"{path}?limit=1000")).body
    assert whole["next"] is None
    assert len(whole[plural]) > 5
    pages, after = [], None
    while True:
        page = (await call("GET", f"{path}?limit=3" + (f"&after={after}" if after is not None else ""))).body
        pages += page[plural]
        after = page["next"]
        if after is None:
            break
        assert len(page[plural]) == 3
        assert after == page[plural][-1][cursor]
    assert pages == whole[plural]
    assert [each[cursor] for each in pages] == sorted(each[cursor] for each in pages)


# The protocol


async def test_options_tells_the_methods_of_a_path(call):
    answer = await call("OPTIONS", SESSION)
    assert (answer.status, answer.headers["Allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")


async def test_every_answer_that_has_a_body_is_json_whatever_is_accepted(call, session):
    answer = await call("GET", session, Accept="text/html")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_taken_under_its_names(call, session, media):
    body = json.dumps({"component": "working_memory", "tokens": 1}).encode()
    assert (await call("POST", f"{session}/allocations", body, Content_Type=media)).status == 200


async def test_a_body_must_say_what_it_is(call, session):
    body = b'{"component":"working_memory","tokens":1}'
    url = f"{call.base}{session}/allocations"
    async with call.http.post(url, data=body, skip_auto_headers=["Content-Type"]) as answer:
        assert answer.status == 415


async def test_the_time_of_a_command_is_the_hosts(call, session):
    await put(call, item("old"), time="2025-01-31T08:00:00+01:00", session="other")
    shown = (await call("GET", "/v1/sessions/other/items")).body["items"][0]
    assert shown["created_at"] == "2025-01-31T07:00:00.000Z"


async def test_a_command_repeated_with_its_id_changes_nothing_and_is_answered(call, session):
    body = {"component": "working_memory", "tokens": 10, "id": "c1"}
    used, duplicate = [], []
    for _ in range(2):
        answer = await call("POST", f"{session}/allocations", body)
        assert answer.status == 200
        duplicate.append(answer.body.get("duplicate", False))
        used.append((await call("GET", session)).body["overall"]["used_tokens"])
    assert (used, duplicate) == ([3_010, 3_010], [False, True])
    for _ in range(2):
        assert set((await call("PATCH", session, {"model": "m", "id": "c2"})).body) == REPORT


async def test_every_call_of_the_table_is_routed(running):
    routed = {
        (route.method, route.resource.canonical)
        for route in running._api.app.router.routes()
        if route.resource is not None
    }
    assert {(each.method, each.path) for each in OPERATIONS} <= routed
    assert ("GET", "/openapi.json") in routed
