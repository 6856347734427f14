"""The one table from error to status, and what each answer tells its sender."""

import logging

import pytest
from typing_extensions import override

from sidecar.app import make_app
from sidecar.budget.errors import Conflict, Invalid, NotFound
from sidecar.journal import Damaged, JournalError
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Overloaded
from sidecar.receivers.bodies import TooLarge, Undecodable, UnsupportedMedia
from sidecar.receivers.problems import explain
from sidecar.receivers.shapes import Broken, Malformed, NotJson

ASK = {"component": "working_memory", "tokens": 10}


@pytest.mark.parametrize(
    ("error", "status", "name", "headers"),
    [
        (Malformed(Broken("tokens", "is required")), 400, "invalid", {}),
        (NotJson(Broken("", "is not valid JSON: EOF")), 400, "malformed", {}),
        (Undecodable("the body is not gzip"), 400, "malformed", {}),
        (Invalid("shares must sum to 1", path="shares"), 400, "invalid", {}),
        (NotFound("session 's' does not exist"), 404, "not_found", {}),
        (Conflict("session 's' is closed"), 409, "conflict", {}),
        (TooLarge("the body is larger"), 413, "too_large", {}),
        (UnsupportedMedia("the body is x", accept=("a/b", "c/d")), 415, "media_type", {"Accept": "a/b, c/d"}),
        (UnsupportedMedia("the body is x", encoding="gzip"), 415, "media_type", {"Accept-Encoding": "gzip"}),
        (Overloaded("9 commands wait", retry_after=0.2), 429, "overloaded", {"Retry-After": "1"}),
        (Overloaded("9 sessions are open", retry_after=61.5), 429, "overloaded", {"Retry-After": "62"}),
        (JournalError("disk full"), 503, "unavailable", {"Retry-After": "2"}),
        (Damaged("session 's' at version 3: a frame cannot be read"), 500, "damaged", {}),
    ],
)
def test_an_error_is_a_problem_with_its_status(error, status, name, headers):
    problem = explain(error)
    assert problem.body["status"] == problem.response().status == status
    assert problem.body["type"] == f"urn:token-budget:problem:{name}"
    assert problem.body["detail"] == str(error)
    assert dict(problem.headers) == headers
    assert problem.response().content_type == "application/problem+json"


def test_the_fields_that_are_to_blame_are_listed():
    malformed = explain(Malformed(Broken("item.tokens", "must be 0 or more"), Broken("", "is odd", "the event")))
    assert malformed.body["errors"] == [
        {"path": "item.tokens", "detail": "item.tokens must be 0 or more"},
        {"path": "", "detail": "the event is odd"},
    ]
    assert explain(Invalid("shares must sum to 1", path="shares")).body["errors"] == [
        {"path": "shares", "detail": "shares must sum to 1"}
    ]
    assert "errors" not in explain(NotFound("nobody")).body


def test_a_fault_of_ours_is_logged_and_its_inside_not_told(caplog):
    with caplog.at_level(logging.ERROR):
        problem = explain(ZeroDivisionError("secret inside"))
    assert problem.body["status"] == 500
    assert "secret" not in str(problem.body)
    assert "secret inside" in caplog.text


class FailingJournal(MemoryJournal):
    """A memory journal that can be told to fail."""

    works = True

    @override
    async def append(self, frames):
        if not self.works:
            raise JournalError("disk full")
        return await super().append(frames)

    @override
    async def check(self):
        if not self.works:
            raise JournalError("disk full")


@pytest.fixture
async def broken(client_of, settings):
    """A client of a sidecar whose journal has stopped working after one session was opened."""
    journal = FailingJournal()
    async with make_app(settings(), journal=journal) as app, client_of(app) as call:
        assert (await call("PUT", "/v1/sessions/s1")).status == 201
        journal.works = False
        yield call, journal


async def test_while_the_journal_is_down_writes_are_503_and_reads_go_on(broken):
    call, _ = broken
    for _ in range(2):  # the first finds it out, the second is refused before it is decided
        answer = await call("POST", "/v1/sessions/s1/allocations", ASK)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "disk full" in answer.body["detail"]
    report = await call("GET", "/v1/sessions/s1")
    assert (report.status, report.body["overall"]["used_tokens"]) == (200, 0)


async def test_a_batch_that_the_journal_could_take_nothing_of_is_503_as_a_whole(broken):
    call, _ = broken
    event = {"type": "request_allocation", "session": "s1", **ASK}
    answer = await call("POST", "/v1/events", [event, {"type": "dance"}])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_a_batch_of_bad_events_alone_is_answered_also_without_a_journal(broken):
    call, _ = broken
    answer = await call("POST", "/v1/events", [{"type": "dance"}])
    assert (answer.status, answer.body["rejected"]) == (200, 1)


async def test_too_many_sessions_are_429_with_the_time_to_wait(client_of, settings):
    async with make_app(settings(max_sessions=1)) as app, client_of(app) as call:
        assert (await call("PUT", "/v1/sessions/s1")).status == 201
        answer = await call("PUT", "/v1/sessions/s2")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
        batch = [
            {"type": "put_item", "session": name, "item": {"id": "a", "kind": "file", "tokens": 1}} for name in "ab"
        ]
        assert (await call("POST", "/v1/events", batch)).status == 429
        known = {"type": "put_item", "session": "s1", "item": {"id": "a", "kind": "file", "tokens": 1}}
        mixed = await call("POST", "/v1/events", [known, *batch])
        assert (mixed.status, mixed.body["accepted"]) == (200, 1)
        assert [error["status"] for error in mixed.body["errors"]] == [429, 429]


async def test_what_is_refused_is_counted_by_receiver_and_reason(call, running, session):
    await call("POST", f"{session}/allocations", b"{")
    await call("POST", f"{session}/allocations", {})
    await call("POST", "/v1/sessions/nobody/allocations", ASK)
    await call("PUT", session, {"agent": "other"})
    await call("POST", f"{session}/allocations", b"x", Content_Type="text/plain")
    await call("POST", f"{session}/allocations", b" " * 70_000)
    await call("GET", "/v1/sessions/nobody")
    await call("POST", "/v1/events", [{}, {}, {"type": "touch_item", "session": "s1", "item": "x"}])
    await call("POST", "/v1/events", b"{")
    text = (await running.exporter.render(""))[0].decode()
    counted = {
        line.rsplit(" ", 1)[0].partition("{")[2]: line.rsplit(" ", 1)[1]
        for line in text.splitlines()
        if line.startswith("token_budget_events_rejected_total{") and not line.endswith(" 0")
    }
    assert counted == {
        'receiver="api",reason="malformed"}': "1",
        'receiver="api",reason="invalid"}': "1",
        'receiver="api",reason="not_found"}': "1",
        'receiver="api",reason="conflict"}': "1",
        'receiver="api",reason="media_type"}': "1",
        'receiver="api",reason="too_large"}': "1",
        'receiver="events",reason="invalid"}': "2",
        'receiver="events",reason="not_found"}': "1",
        'receiver="events",reason="malformed"}': "1",
    }
