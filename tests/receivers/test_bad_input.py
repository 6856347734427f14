"""Bad input: each a clear problem with the right status, and nothing changed (issue: the main job, "Bad input")."""

import gzip
import io
import json

import pytest

OPEN = "PUT /v1/sessions/s1"
NEW = "PUT /v1/sessions/s2"
CHANGE = "PATCH /v1/sessions/s1"
ALLOCATE = "POST /v1/sessions/s1/allocations"
RELEASE = "POST /v1/sessions/s1/releases"
CLEAN = "POST /v1/sessions/s1/cleanups"
PREDICT = "POST /v1/sessions/s1/predictions"
ADJUST = "POST /v1/sessions/s1/adjustments"
WINDOW = "PUT /v1/sessions/s1/window"
ACKNOWLEDGE = "POST /v1/sessions/s1/directives/acknowledgements"

MEMORY = {"component": "working_memory"}
DEEP = b'{"item":' * 5_000 + b"1" + b"}" * 5_000

# What is called, with which body, and the path and the words of the problem.
INVALID = [
    # the shape of an allocation
    (ALLOCATE, {"component": "heap", "tokens": 1}, "component", "must be system_context, working_memory"),
    (ALLOCATE, {**MEMORY, "tokens": 0}, "tokens", "must be 1 or more"),
    (ALLOCATE, {**MEMORY, "tokens": -5}, "tokens", "must be 1 or more"),
    (ALLOCATE, {**MEMORY, "tokens": 1.5}, "tokens", "must be a whole number"),
    (ALLOCATE, {**MEMORY, "tokens": 1e3}, "tokens", "must be a whole number"),
    (ALLOCATE, {**MEMORY, "tokens": "12"}, "tokens", "must be a whole number"),
    (ALLOCATE, {**MEMORY, "tokens": True}, "tokens", "must be a whole number"),
    (ALLOCATE, {**MEMORY, "tokens": [1]}, "tokens", "must be a whole number"),
    (ALLOCATE, {**MEMORY, "tokens": 10**13}, "tokens", "must be 1,000,000,000,000 or less"),
    (ALLOCATE, {**MEMORY, "tokens": 10**300}, "tokens", "must be 1,000,000,000,000 or less"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "min_tokens": -1}, "min_tokens", "must be 0 or more"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "tokns": 1}, "tokns", "is not a field that is known here"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "type": "request_allocation"}, "type", "is not a field that is known here"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "all_or_nothing": "yes"}, "all_or_nothing", "must be true or false"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "lease_seconds": -1}, "lease_seconds", "must be 0 or more"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "request_id": ""}, "request_id", "must not be empty"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "request_id": "x" * 257}, "request_id", "must have at most 256 characters"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "request_id": "a\0b"}, "request_id", "must not contain control characters"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "request_id": "a\x1b[31m"}, "request_id", "not contain control characters"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "request_id": "a\n"}, "request_id", "must not contain control characters"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": "2026-01-31T08:00:00"}, "time", "must be RFC 3339 with an offset"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": "yesterday"}, "time", "must be RFC 3339 with an offset"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": "2026-02-31T08:00:00Z"}, "time", "no time that exists"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": []}, "time", "must be RFC 3339 with an offset"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": True}, "time", "must be RFC 3339 with an offset"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": -1}, "time", "between the years 1970 and 9999"),
    (ALLOCATE, {**MEMORY, "tokens": 1, "time": "2999-01-01T00:00:00Z"}, "time", "5 minutes ahead"),
    (ALLOCATE, {"tokens": 1}, "component", "component"),
    (ALLOCATE, MEMORY, "tokens", "tokens"),
    (ALLOCATE, {"item": {"kind": "file", "tokens": 1}}, "item.id", "is required"),
    (ALLOCATE, {"item": {"id": "a", "kind": "movie", "tokens": 1}}, "item.kind", "must be prompt, tool_definition"),
    (ALLOCATE, {"item": {"id": "a", "kind": "file", "tokens": -1}}, "item.tokens", "must be 0 or more"),
    (ALLOCATE, {"item": {"id": "a", "kind": "file", "tokens": 1, "x": 1}}, "item.x", "is not a field"),
    (ALLOCATE, {"item": "a"}, "item", "must be an object"),
    (ALLOCATE, [], "", "the body must be an object"),
    (ALLOCATE, "text", "", "the body must be an object"),
    (ALLOCATE, 3, "", "the body must be an object"),
    (ALLOCATE, b"null", "", "the body must be an object"),
    # NaN and its relatives, which JSON does not have but many writers write
    (ALLOCATE, b'{"component":"working_memory","tokens":NaN}', "tokens", "must be a whole number"),
    (ALLOCATE, b'{"component":"working_memory","tokens":1,"time":NaN}', "time", "must be RFC 3339"),
    (ALLOCATE, b'{"component":"working_memory","tokens":1,"time":Infinity}', "time", "must be RFC 3339"),
    (ALLOCATE, b'{"component":"working_memory","tokens":1,"lease_seconds":1e999}', "lease_seconds", "finite"),
    (ADJUST, b'{"history":{"working_memory":{"exhaustion_count":1,"avg_utilization":-Infinity}}}',
     "history.working_memory.avg_utilization", "finite"),
    # the other bodies
    (RELEASE, {**MEMORY, "tokens": 0}, "tokens", "must be 1 or more"),
    (CLEAN, {}, "component", "is required"),
    (CLEAN, {"component": "stack"}, "component", "must be system_context"),
    (PREDICT, {"tasks": []}, "tasks", "must have 1 or more"),
    (PREDICT, {"tasks": [{"id": "t", "estimated_minutes": -1}]}, "tasks[0].estimated_minutes", "must be 0 or more"),
    (PREDICT, {"tasks": [{"id": "t", "files": "a.py"}]}, "tasks[0].files", "must be an array"),
    (PREDICT, {"tasks": [{"id": "t", "files": ["a", 1]}]}, "tasks[0].files[1]", "must be text"),
    (ADJUST, {"history": {"heap": {"exhaustion_count": 1, "avg_utilization": 0.5}}}, "history.heap", "must be system"),
    (ADJUST, {"history": []}, "history", "must be an object"),
    (WINDOW, {"items": {}}, "items", "must be an array"),
    (WINDOW, {"items": [{"id": "a"}]}, "items[0].tokens", "is required"),
    (WINDOW, {"items": [{"id": "a", "tokens": 1, "kind": "file"}, {"id": "a", "tokens": 1}]}, "items[1].id", "twice"),
    (WINDOW, {"items": [{"id": "new", "tokens": 1}]}, "items[0].kind", "is required"),
    (WINDOW, {"items": [], "through": 99}, "through", "must be a directive that was sent"),
    (WINDOW, {}, "items", "is required"),
    (ACKNOWLEDGE, {}, "through", "is required"),
    (ACKNOWLEDGE, {"through": 99}, "through", "must be a directive that was sent"),
    (ACKNOWLEDGE, {"through": 0, "sizes": {"str": -1}}, "sizes.str", "0 or more"),
    (ACKNOWLEDGE, {"through": 0, "failed": [{"number": 0}]}, "failed[0].number", "must be 1 or more"),
    (NEW, {"shares": {"working_memory": 2}}, "shares.working_memory", "must be 1 or less"),
    (NEW, {"shares": {"heap": 0.5}}, "shares.heap", "must be system_context"),
    (NEW, {"preset": "magic"}, "preset", "must be one of standard"),
    (NEW, {"mode": "silent"}, "mode", "must be managed or observed"),
    (NEW, {"total_tokens": 0}, "total_tokens", "must be 1 or more"),
    (NEW, {"total_tokens": 100, "reserve_tokens": 100}, "reserve_tokens", "must be less than"),
    (NEW, {"agent": ""}, "agent", "must not be empty"),
    (NEW, {"agent": 7}, "agent", "must be text"),
    (CHANGE, {"agent": "other"}, "agent", "is not a field that is known here"),
    (CHANGE, {"total_tokens": "many"}, "total_tokens", "must be a whole number"),
]  # fmt: skip

MALFORMED = [
    (b"", "EOF"),
    (b"{", "EOF"),
    (b"{'component': 1}", "key must be a string"),
    (b'{"component":"working_memory","tokens":1} x', "trailing characters"),
    (b'{"component":"working_memory","tokens":' + b"9" * 5_000 + b"}", "number out of range"),
    (b'{"request_id":"\\ud800"}', "is not valid JSON"),
    (b'{"request_id":"\xff"}', "invalid unicode"),
    (b'\xef\xbb\xbf{"component":"working_memory","tokens":1}', "expected value"),
    (DEEP, "recursion limit"),
    (b'{"a":' + b"[" * 50_000, "recursion limit"),
]


def asked(request):
    method, path = request.split()
    return method, path


def is_problem(answer, status):
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == status
    assert answer.body["type"].startswith("urn:token-budget:problem:")
    assert answer.body["title"]
    assert answer.body["detail"]
    return answer.body


@pytest.mark.parametrize(("request_", "body", "path", "words"), INVALID)
async def test_a_field_that_breaks_a_rule_is_named_with_the_rule_and_nothing_changes(
    call, session, request_, body, path, words
):
    before = await call.state()
    problem = is_problem(await call(*asked(request_), body), 400)
    assert words in problem["detail"]
    if path:
        told = {error["path"]: error["detail"] for error in problem["errors"]}
        assert words in told[path]
    assert await call.state() == before


@pytest.mark.parametrize(("body", "words"), MALFORMED)
async def test_a_body_that_is_no_json_is_told_why_and_nothing_changes(call, session, body, words):
    before = await call.state()
    problem = is_problem(await call(*asked(ALLOCATE), body), 400)
    assert problem["type"] == "urn:token-budget:problem:malformed"
    assert words in problem["detail"]
    assert await call.state() == before


async def test_every_broken_rule_of_a_body_is_told_at_once(call, session):
    body = {"component": "heap", "tokens": 0.5, "item": {"id": "", "tokens": -1}, "colour": "red"}
    problem = is_problem(await call(*asked(ALLOCATE), body), 400)
    assert {error["path"] for error in problem["errors"]} == {
        "component", "tokens", "item.id", "item.kind", "item.tokens", "colour",
    }  # fmt: skip
    assert all(error["detail"].startswith(error["path"] + " ") for error in problem["errors"])


@pytest.mark.parametrize(
    "body",
    [
        {"items": [1] * 20_000},
        {"items": [], **{f"x{number}": 1 for number in range(2_000)}},
        {"items": [{"id": "a", "tokens": 1, **{f"x{number}": 1 for number in range(2_000)}}]},
    ],
    ids=["elements", "fields", "fields of an element"],
)
async def test_a_body_with_thousands_of_errors_is_answered_in_a_few_lines(call, session, body):
    before = await call.state()
    problem = is_problem(await call(*asked(WINDOW), body), 400)
    assert len(json.dumps(problem)) < 1_000
    assert await call.state() == before


@pytest.mark.parametrize(
    ("request_", "body", "status", "words"),
    [
        ("GET /v1/sessions/nobody", None, 404, "'nobody'"),
        ("PATCH /v1/sessions/nobody", {"model": "m"}, 404, "'nobody'"),
        ("DELETE /v1/sessions/nobody", None, 404, "'nobody'"),
        ("POST /v1/sessions/nobody/allocations", {**MEMORY, "tokens": 1}, 404, "'nobody'"),
        ("PUT /v1/sessions/nobody/window", {"items": []}, 404, "'nobody'"),
        ("POST /v1/sessions/nobody/cleanups", MEMORY, 404, "'nobody'"),
        ("GET /v1/sessions/nobody/items", None, 404, "'nobody'"),
        ("GET /v1/sessions/nobody/ledger", None, 404, "'nobody'"),
        ("GET /v1/sessions/nobody/archive", None, 404, "'nobody'"),
        ("GET /v1/sessions/nobody/directives", None, 404, "'nobody'"),
        ("GET /v1/sessions/s1/archive/nothing", None, 404, "'nothing'"),
        ("POST /v1/sessions/s1/archive/nothing/restore", None, 404, "'nothing'"),
        (RELEASE, {"item": "nothing"}, 404, "'nothing'"),
        ("DELETE /v1/sessions/s1/archive", {"item": "nothing"}, 404, "'nothing'"),
        (OPEN, {"agent": "another"}, 409, "another agent: close it first"),
        (OPEN, {"agent": "tester", "total_tokens": 1_000}, 409, "another total_tokens: change it with PATCH"),
        (RELEASE, {**MEMORY, "tokens": 1}, 409, "outside its items"),
        ("GET /v1/session", None, 404, "/openapi.json"),
        ("GET /v1/sessions/", None, 404, "/openapi.json"),
        ("POST /v1/sessions/s1", {}, 405, "PATCH"),
        ("GET /v1/sessions/s1/allocations", None, 405, "POST"),
        ("PUT /v1/events", [], 405, "POST"),
    ],
)
async def test_what_does_not_exist_or_contradicts_is_told_and_nothing_changes(
    call, session, request_, body, status, words
):
    before = await call.state()
    problem = is_problem(await call(*asked(request_), body), status)
    assert words in problem["detail"]
    assert await call.state() == before


async def test_a_method_that_a_path_does_not_know_is_answered_with_those_it_does(call, session):
    answer = await call("POST", session)
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, PATCH, PUT"


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (ALLOCATE, {**MEMORY, "tokens": 1}),
        (RELEASE, {"item": "main.py"}),
        (CLEAN, MEMORY),
        (PREDICT, {"tasks": [{"id": "t"}]}),
        (ADJUST, {}),
        (WINDOW, {"items": []}),
        (ACKNOWLEDGE, {"through": 0}),
        (CHANGE, {"model": "m"}),
        ("DELETE /v1/sessions/s1/archive", None),
    ],
)
async def test_a_write_to_a_closed_session_conflicts_and_changes_nothing(call, session, request_, body):
    assert (await call("DELETE", session)).status == 200
    before = await call.state()
    problem = is_problem(await call(*asked(request_), body), 409)
    assert "closed" in problem["detail"]
    assert await call.state() == before


@pytest.mark.parametrize(
    ("query", "path", "words"),
    [
        ("sessions?limit=0", "limit", "from 1 to 1,000"),
        ("sessions?limit=1001", "limit", "from 1 to 1,000"),
        ("sessions?limit=ten", "limit", "whole number"),
        ("sessions?limit=%2B5", "limit", "whole number"),
        ("sessions?limit=" + "9" * 4_000, "limit", "whole number"),
        ("sessions?limit=%D9%A3", "limit", "whole number"),
        ("sessions?limit=1&limit=2", "limit", "once"),
        ("sessions?limt=1", "limt", "is not a query parameter"),
        ("sessions/s1?verbose=1", "verbose", "is not a query parameter"),
        ("sessions/s1/items?component=heap", "component", "one of system_context"),
        ("sessions/s1/archive?component=", "component", "one of system_context"),
        ("sessions/s1/ledger?after=-1", "after", "whole number"),
        ("sessions/s1/directives?after=x", "after", "whole number"),
    ],
)
async def test_a_query_parameter_that_breaks_a_rule_is_named(call, session, query, path, words):
    problem = is_problem(await call("GET", f"/v1/{query}"), 400)
    assert problem["errors"][0]["path"] == path
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (ADJUST + "?dry_run=true", {}),
        (WINDOW + "?through=1", {"items": []}),
        ("DELETE /v1/sessions/s1?archive=true", None),
        ("POST /v1/events?session=s1", [{"type": "close_session", "session": "s1"}]),
    ],
)
async def test_a_write_with_a_query_is_refused_because_what_it_says_would_do_nothing(call, session, request_, body):
    before = await call.state()
    problem = is_problem(await call(*asked(request_), body), 400)
    assert "is not a query parameter of this call" in problem["detail"]
    assert await call.state() == before


async def test_nothing_is_after_the_last_version_that_can_be_asked_for(call, session):
    answer = await call("GET", f"{session}/ledger?after={2**63 - 1}")
    assert (answer.status, answer.body) == (200, {"entries": [], "next": None})


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        ("a%00b", "control characters"),
        ("a%0Ab", "control characters"),
        ("a%C2%85b", "control characters"),
        ("%FF", "UTF-8"),
        ("%ED%A0%80", "UTF-8"),
        ("x" * 257, "at most 256 characters"),
    ],
)
@pytest.mark.parametrize("pattern", ["/v1/sessions/{}", "/v1/sessions/s1/archive/{}"])
async def test_a_name_in_the_path_that_is_no_name_is_refused(call, session, pattern, segment, words):
    from yarl import URL

    base = URL(call.base + pattern.format(segment), encoded=True)
    async with call.http.get(base) as answer:
        assert answer.status == 400
        problem = await answer.json(content_type=None)
    assert words in problem["detail"]
    assert problem["errors"][0]["path"] in ("session", "item")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"])
async def test_a_body_in_another_form_is_told_what_to_send(call, session, media):
    before = await call.state()
    answer = await call(*asked(ALLOCATE), b'{"component":"working_memory","tokens":1}', Content_Type=media)
    problem = is_problem(answer, 415)
    assert "`Content-Type: application/json`" in problem["detail"]
    assert answer.headers["Accept"] == "application/json"
    assert await call.state() == before


async def test_an_encoding_that_is_not_known_is_told_what_to_send(call, session):
    answer = await call(*asked(ALLOCATE), b"x", Content_Encoding="br")
    is_problem(answer, 415)
    assert answer.headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no gzip", "is not gzip"),
        (gzip.compress(b"{}")[:-4], "ends too early"),
        (gzip.compress(b"{}") + b"rest", "is not gzip"),
        (gzip.compress(b"") * 100, "members"),
    ],
    ids=["no gzip", "cut", "with a tail", "many members"],  # gzip has the time in it, and a name may not change
)
async def test_broken_gzip_is_told_and_changes_nothing(call, session, body, words):
    before = await call.state()
    problem = is_problem(await call(*asked(ALLOCATE), body, Content_Encoding="gzip"), 400)
    assert words in problem["detail"]
    assert await call.state() == before


@pytest.mark.parametrize(
    "sent",
    [
        {"body": b'{"request_id":"' + b"x" * 100_000 + b'"}'},
        {"body": io.BytesIO(b" " * (64 << 20))},
        {"body": gzip.compress(b" " * (64 << 20)), "Content_Encoding": "gzip"},
        {"body": gzip.compress(b" " * 60_000) * 2, "Content_Encoding": "gzip"},
    ],
    ids=["a little", "64 MiB", "a bomb", "a bomb of members"],
)
async def test_a_body_over_the_bound_is_refused_packed_or_not(call, session, sent):
    problem = is_problem(await call(*asked(ALLOCATE), **sent), 413)
    assert "max_body_bytes" in problem["detail"]
    assert (await call("GET", session)).status == 200


async def test_a_body_over_the_bound_is_refused_when_its_length_is_not_said(call, session):
    async def chunks():
        for _ in range(100):
            yield b" " * 1_000

    async with call.http.post(
        f"{call.base}{session}/allocations", data=chunks(), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 413
