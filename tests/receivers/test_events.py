"""Batches of events: a bad event never blocks the good ones, and order holds per session."""

import gzip
import json
import tracemalloc
from typing import Any

import pytest

from sidecar.budget.commands import EVENTS
from sidecar.receivers.bodies import TooLarge, Undecodable
from sidecar.receivers.events import split_array, split_lines

NDJSON = "application/x-ndjson"


def put(session, item, tokens=100, **extra):
    return {
        "type": "put_item",
        "session": session,
        "item": {"id": item, "kind": "file", "tokens": tokens},
        **extra,
    }


def ask(session, tokens, component="working_memory", **extra):
    return {"type": "request_allocation", "session": session, "component": component, "tokens": tokens, **extra}


def lines(*events):
    return b"".join((event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n" for event in events)


async def test_a_batch_is_counted_and_answers_requests_and_cleanups_by_their_index(call):
    batch = await call(
        "POST",
        "/v1/events",
        [
            {"type": "open_session", "session": "s1", "agent": "tester"},
            put("s1", "a"),
            ask("s1", 500),
            {"type": "clean_up", "session": "s1", "component": "working_memory"},
            {"type": "touch_item", "session": "s1", "item": "a"},
            {"type": "close_session", "session": "s1"},
        ],
    )
    assert batch.status == 200
    results = batch.body.pop("results")
    assert batch.body == {"accepted": 6, "duplicates": 0, "rejected": 0, "errors": []}
    assert [result["index"] for result in results] == [2, 3]
    assert (results[0]["granted"], results[0]["outcome"]) == (500, "full")
    assert (results[1]["trigger"], results[1]["tokens_freed"]) == ("manual", 0)
    assert (await call("GET", "/v1/sessions/s1")).body["state"] == "closed"


async def test_a_bad_event_in_the_middle_is_an_error_of_its_index_and_the_others_stand(call):
    batch = await call(
        "POST",
        "/v1/events",
        [
            put("s1", "a"),
            put("s1", "b", tokens=-1),
            {"type": "touch_item", "session": "s1", "item": "nothing"},
            "text",
            {"type": "dance", "session": "s1"},
            {"session": "s1"},
            put("", "c"),
            put("s1", "d"),
        ],
    )
    assert batch.status == 200
    assert (batch.body["accepted"], batch.body["rejected"]) == (2, 6)
    told = {error["index"]: error for error in batch.body["errors"]}
    assert list(told) == [1, 2, 3, 4, 5, 6]
    assert told[1]["detail"] == "item.tokens must be 0 or more"
    assert "'nothing'" in told[2]["detail"]
    assert told[3]["detail"] == "the event must be an object"
    assert told[4]["detail"].startswith("type must be one of open_session, ")
    assert told[5]["detail"] == "type is required"
    assert told[6]["detail"] == "session must not be empty"
    assert [told[index]["status"] for index in told] == [400, 404, 400, 400, 400, 400]
    items = (await call("GET", "/v1/sessions/s1/items")).body["items"]
    assert [item["id"] for item in items] == ["a", "d"]


async def test_a_batch_whose_events_are_all_bad_is_answered_with_their_errors(call):
    batch = await call("POST", "/v1/events", [{}, {"type": "put_item"}])
    assert batch.status == 200
    assert (batch.body["accepted"], batch.body["rejected"]) == (0, 2)


@pytest.mark.parametrize("body", [b"[]", b" [ ] "])
async def test_an_empty_batch_is_fine(call, body):
    batch = await call("POST", "/v1/events", body)
    assert batch.body == {"accepted": 0, "duplicates": 0, "rejected": 0, "errors": [], "results": []}


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"[{}", b"[{}] x", b"[{},]", b"\xff", b"[" * 50_000])
async def test_an_array_that_cannot_be_parsed_is_refused_as_a_whole(call, body):
    answer = await call("POST", "/v1/events", body)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await call("GET", "/v1/sessions")).body["sessions"] == []


async def test_what_is_no_json_but_commonly_written_rejects_its_own_event_only(call):
    good = json.dumps(put("s1", "a")).encode()
    nan = b'{"type":"put_item","session":"s1","item":{"id":"b","kind":"file","tokens":NaN}}'
    half = b'{"type":"put_item","session":"s1","item":{"id":"c","kind":"file","tokens":1,"content":"\\ud83d"}}'
    batch = await call("POST", "/v1/events", b"[%b, %b ,%b,%b]" % (nan, good, half, good))
    assert (batch.body["accepted"], [error["index"] for error in batch.body["errors"]]) == (2, [0, 2])


async def test_ndjson_has_an_event_a_line_and_a_bad_line_is_an_error_of_its_index(call):
    body = lines(put("s1", "a"), b'{"type":', b"", ask("s1", 5), b"[]") + json.dumps(put("s1", "z")).encode()
    batch = await call("POST", "/v1/events", body, Content_Type=NDJSON)
    assert batch.status == 200
    assert batch.body["accepted"] == 3
    assert [error["index"] for error in batch.body["errors"]] == [1, 3]
    assert "is not valid JSON" in batch.body["errors"][0]["detail"]
    assert [result["index"] for result in batch.body["results"]] == [2]


async def test_two_halves_of_an_event_on_two_lines_are_two_errors(call):
    whole = json.dumps(put("s1", "a"))
    body = lines(whole[:30].encode(), whole[30:].encode())
    batch = await call("POST", "/v1/events", body, Content_Type=NDJSON)
    assert (batch.body["accepted"], batch.body["rejected"]) == (0, 2)


def test_millions_of_blank_lines_are_passed_over_without_being_made():
    """A few packed kilobytes of them once held the event loop for more than a second."""
    body = b" \r\n" + b"\n" * 4_000_000 + b'  {"a":1} \r\n\n{}'
    tracemalloc.start()
    try:
        assert [line.strip() for line in split_lines(body, 2)] == [b'{"a":1}', b"{}"]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(TooLarge):
        split_lines(body, 1)


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", NDJSON])
async def test_a_batch_may_be_packed(call, media):
    event = put("s1", "a")
    body = lines(event) if media == NDJSON else json.dumps([event]).encode()
    batch = await call("POST", "/v1/events", gzip.compress(body), Content_Type=media, Content_Encoding="gzip")
    assert batch.body["accepted"] == 1


async def test_other_media_are_told_both_that_are_read(call):
    answer = await call("POST", "/v1/events", b"[]", Content_Type="text/csv")
    assert answer.status == 415
    assert answer.headers["Accept"] == "application/json, application/x-ndjson"


@pytest.mark.parametrize("media", ["application/json", NDJSON])
async def test_a_batch_of_more_events_than_allowed_is_refused_as_a_whole(call, media):
    events = [put("s1", f"i{number}") for number in range(601)]
    body = lines(*events) if media == NDJSON else json.dumps(events).encode()
    answer = await call("POST", "/v1/events", gzip.compress(body), Content_Type=media, Content_Encoding="gzip")
    assert answer.status == 413
    assert "600" in answer.body["detail"]
    assert (await call("GET", "/v1/sessions")).body["sessions"] == []


async def test_events_of_a_session_are_decided_in_their_order_over_all_chunks(call):
    sizes = list(range(1, 600))
    events = [
        {"type": "put_item", "session": f"s{n % 3}", "item": {"id": "x", "kind": "file", "tokens": n}} for n in sizes
    ]
    batch = await call("POST", "/v1/events", events)
    assert batch.body["accepted"] == len(events)
    for session in range(3):
        entries = (await call("GET", f"/v1/sessions/s{session}/ledger?limit=1000")).body["entries"]
        put_sizes = [entry["item"]["tokens"] for entry in entries if entry["type"] == "item_put"]
        assert put_sizes == [n for n in sizes if n % 3 == session]


async def test_an_event_with_an_id_counts_once_in_one_batch_and_over_batches(call):
    event = put("s1", "a", tokens=100, id="e1")
    first = await call("POST", "/v1/events", [event, event])
    again = await call("POST", "/v1/events", [event])
    assert (first.body["accepted"], first.body["duplicates"]) == (1, 1)
    assert (again.body["accepted"], again.body["duplicates"]) == (0, 1)
    assert (await call("GET", "/v1/sessions/s1")).body["overall"]["used_tokens"] == 100


async def test_an_event_opens_its_session_but_closing_one_that_never_was_does_not(call):
    batch = await call("POST", "/v1/events", [put("s1", "a"), {"type": "close_session", "session": "s2"}])
    assert (batch.body["accepted"], batch.body["errors"][0]["status"]) == (1, 404)
    assert [one["session"] for one in (await call("GET", "/v1/sessions")).body["sessions"]] == ["s1"]


async def test_a_refusal_is_a_result_and_no_error(call):
    batch = await call("POST", "/v1/events", [ask("s1", 10**6, all_or_nothing=True)])
    assert (batch.body["accepted"], batch.body["rejected"]) == (1, 0)
    assert (batch.body["results"][0]["outcome"], batch.body["results"][0]["granted"]) == ("denied", 0)


async def test_every_command_that_may_come_as_an_event_does(call):
    """SPEC section 4 lists them; each is sent once, in an order in which all of them work."""
    item = {"id": "t", "kind": "task", "tokens": 20_000, "content": "do it"}
    events: list[dict[str, Any]] = [
        {"type": "open_session", "agent": "tester"},
        {"type": "request_allocation", "component": "working_memory", "tokens": 10},
        {"type": "release_tokens", "component": "working_memory", "tokens": 5},
        {"type": "put_item", "item": item},
        {"type": "touch_item", "item": "t"},
        {"type": "complete_item", "item": "t"},
        {"type": "clean_up", "component": "working_memory"},
        {"type": "acknowledge", "through": 1},
        {"type": "restore_item", "item": "t"},
        {"type": "remove_item", "item": "t"},
        {"type": "sync_window", "items": [{"id": "m", "kind": "interaction", "tokens": 5}]},
        {"type": "report_usage", "total": 100},
        {"type": "plan_tasks", "tasks": [{"id": "p", "files": ["a.py"]}]},
        {"type": "complete_task", "task": "p"},
        {"type": "adjust_shares"},
        {"type": "close_session"},
    ]
    assert {event["type"] for event in events} == set(EVENTS)
    batch = await call("POST", "/v1/events", [{"session": "s1", **event} for event in events])
    assert batch.body["errors"] == []
    assert batch.body["accepted"] == len(events)


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b"[]", []),
        (b' [ 1 ,\n{"a":[1,"]"]} ] ', [b"1", b'{"a":[1,"]"]}']),
        (b"[NaN]", [b"NaN"]),
        (b' [ NaN , {"a" : "\\ud800"} ]\r\n', [b"NaN", b'{"a" : "\\ud800"}']),
    ],
)
def test_an_array_is_split_into_its_elements_as_they_are_written(body, elements):
    assert [bytes(element) for element in split_array(body, 10)] == elements


@pytest.mark.parametrize("body", [b"[1", b"[1 2]", b"[,1]", b"[NaN", b"[NaN,]", b"[NaN] x", b"NaN", b"[NaN, tru]"])
def test_what_is_no_array_is_not_split(body):
    with pytest.raises(Undecodable):
        split_array(body, 10)


@pytest.mark.parametrize("body", [b"[1,2,3]", b"[NaN,2,3,["])
def test_no_more_elements_are_split_than_allowed(body):
    with pytest.raises(TooLarge):
        split_array(body, 2)
