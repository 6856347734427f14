"""A session's life and clock (SPEC 3.9), commands that come twice, and their order at one moment (3.2)."""

import math

import pytest

from sidecar.budget.clock import parse_time
from sidecar.budget.commands import (
    AdjustShares,
    ChangeSession,
    CleanUp,
    CloseSession,
    ExpireSession,
    ItemSpec,
    OpenSession,
    PutItem,
    RequestAllocation,
    TouchItem,
)
from sidecar.budget.decide import Defaults
from sidecar.budget.entries import Closed, LeaseLapsed, Noted, Opened, SharesAdjusted
from sidecar.budget.errors import Conflict, Invalid, NotFound
from sidecar.budget.policy import Component
from sidecar.budget.report import rfc3339
from tests.budget.desk import HOUR, NOW, Desk


@pytest.fixture
def desk():
    return Desk()


# Opened, changed, closed


def test_a_session_opens_with_the_defaults_filled_in():
    """Managed by default, agent `unknown`, the preset's 200,000 tokens."""
    desk = Desk()
    session = desk.session
    assert (session.agent, session.mode, session.total, session.opened.preset) == (
        "unknown",
        "managed",
        200_000,
        "standard",
    )
    assert desk.last.created


def test_an_unknown_session_is_not_found_unless_its_first_event_opens_it():
    """Opened explicitly or by its first event (`auto_open`)."""
    desk = Desk(open_it=False, defaults=Defaults(mode="observed", agent="bot"))
    with pytest.raises(NotFound):
        desk.put("a")
    desk.do(PutItem(item=ItemSpec(id="a", kind="file", tokens=5), id="e"), auto_open=True)
    assert desk.last.created
    assert (desk.session.mode, desk.session.agent, desk.used()) == ("observed", "bot", 5)
    assert desk.do(PutItem(item=ItemSpec(id="a", kind="file", tokens=9), id="e")) == {"directives": []}
    assert desk.used() == 5


def test_closing_what_was_never_open_opens_nothing():
    """An unknown session 404, though events may open sessions."""
    with pytest.raises(NotFound):
        Desk(open_it=False).do(CloseSession(), auto_open=True)


def test_opening_again_the_same_way_changes_nothing(desk):
    """200 if it is the same as it was opened, also after it was changed since."""
    desk.do(ChangeSession(total_tokens=100_000))
    before = len(desk.entries)
    reply = desk.do(OpenSession())
    assert (desk.last.created, len(desk.entries)) == (False, before)
    assert reply["overall"]["total_tokens"] == 100_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent", "x"),
        ("parent", "x"),
        ("mode", "observed"),
        ("model", "x"),
        ("total_tokens", 1_000),
        ("reserve_tokens", 7),
    ],
)
def test_opening_again_in_another_way_is_a_conflict(desk, field, value):
    """409 if different; the field is named."""
    with pytest.raises(Conflict) as error:
        desk.do(OpenSession(**{field: value}))
    assert error.value.path == field


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (OpenSession(preset="nonsense"), "preset"),
        (OpenSession(total_tokens=10, reserve_tokens=10), "reserve_tokens"),
        (OpenSession(shares={"working_memory": 1.0}), "shares"),
    ],
)
def test_a_session_that_cannot_be_is_not_opened(command, path):
    """Errors name the field and the rule."""
    with pytest.raises(Invalid) as error:
        Desk(open_it=False).do(command)
    assert error.value.path == path


def test_a_change_divides_the_window_anew(desk):
    """PATCH changes total, reserve, shares, mode, model; the split stays exact."""
    shares: dict[Component, float] = {
        "system_context": 0.1,
        "working_memory": 0.29,
        "knowledge_base": 0.21,
        "agent_context": 0.15,
        "interaction_buffer": 0.25,
    }
    reply = desk.do(ChangeSession(shares=shares, model="m", mode="observed"))
    assert reply["components"]["working_memory"]["allocated_tokens"] == 58_000
    assert (reply["mode"], reply["model"], reply["shares"]) == ("observed", "m", shares)
    with pytest.raises(Invalid):
        desk.do(ChangeSession(reserve_tokens=200_000))
    before = len(desk.entries)
    desk.do(ChangeSession(model="m"))
    assert len(desk.entries) == before


def test_closing_again_answers_the_same_final_report(desk):
    """Closed by `DELETE` or by its event; closing again answers the same final report."""
    desk.put("a", tokens=500)
    report = desk.do(CloseSession())
    assert report["state"] == "closed"
    assert report["overall"]["used_tokens"] == 500
    desk.wait(HOUR)
    assert desk.do(CloseSession()) == report
    assert len(desk.all(Closed)) == 1


@pytest.mark.parametrize(
    "command",
    [
        TouchItem(item="a"),
        RequestAllocation(component="working_memory", tokens=1),
        CleanUp(component="working_memory"),
        ChangeSession(mode="observed"),
    ],
)
def test_other_writes_to_a_closed_session_are_a_conflict(desk, command):
    """Other writes to it are 409."""
    desk.put("a")
    desk.do(CloseSession())
    with pytest.raises(Conflict):
        desk.do(command)


def test_a_closed_id_opened_again_is_a_new_epoch(desk):
    """A new epoch of the same session: an empty window, and versions, numbers and the clock go on."""
    desk.put("t", "task", 100, completed=True, time=NOW + 50)
    desk.do(CleanUp(component="working_memory"))
    desk.do(CloseSession())
    version = desk.session.version
    desk.do(OpenSession(agent="other"))
    session = desk.session
    assert (session.epoch, session.used, session.agent, session.closed) == (2, 0, "other", False)
    assert (session.version, session.issued, session.clock) == (version + 1, 1, NOW + 50)
    assert (session.pending, session.exhaustions) == (0, 0)
    assert [entry.epoch for entry in desk.all(Opened)] == [1, 2]


def test_a_session_that_expires_says_so(desk):
    """Closed after 24 h without an event."""
    desk.do(ExpireSession())
    assert [entry.by for entry in desk.made(Closed)] == ["idle"]


# Ids that deduplicate


def test_a_command_with_a_known_id_is_a_duplicate(desk):
    """`id` deduplicates: also after a restart, and where the first one changed nothing."""
    desk.put("a")
    touch = TouchItem(item="a", id="e")
    desk.do(touch)
    assert [type(entry) for entry in desk.last.entries] == [Noted]
    desk.restart()
    desk.wait(10)
    desk.do(touch)
    assert desk.last.duplicate
    assert not desk.last.entries


def test_a_late_repetition_of_an_opening_does_not_open_again(desk):
    """An opening that changed nothing is remembered by its id as every command is."""
    desk.do(OpenSession(id="e"))
    desk.do(CloseSession(id="f"))
    desk.do(OpenSession(id="e"))
    assert desk.last.duplicate
    assert desk.session.closed


def test_an_error_is_not_remembered(desk):
    """What was refused as wrong may be sent again with the same id."""
    with pytest.raises(NotFound):
        desk.do(TouchItem(item="a", id="e"))
    desk.put("a")
    desk.wait(1)
    desk.do(TouchItem(item="a", id="e"))
    assert not desk.last.duplicate


# The clock


def test_an_earlier_time_counts_as_the_last(desk):
    """The clock is monotone."""
    desk.put("a", time=NOW + 100)
    desk.put("b", time=NOW - 100)
    assert desk.session.find("b").created_at == NOW + 100
    assert desk.session.clock == NOW + 100


def test_five_minutes_ahead_is_allowed_and_more_is_refused(desk):
    """More than 5 min ahead of the server's is refused."""
    desk.put("a", time=NOW + 300)
    with pytest.raises(Invalid) as error:
        desk.put("b", time=NOW + 300.001)
    assert error.value.path == "time"


def test_without_a_time_it_is_the_servers(desk):
    """Without `time` the server's."""
    desk.wait(77)
    desk.put("a")
    assert desk.session.clock == NOW + 77


def test_without_a_time_a_host_clock_stands(desk):
    """Without `time` the last one in a session that has used the host's: so recordings replay at any speed."""
    desk.put("a", time=NOW - 50_000)
    assert desk.session.clock == NOW
    desk.put("b", time=NOW + 10)
    desk.wait(9_999)
    desk.restart()
    desk.put("c")
    assert desk.session.clock == NOW + 10


def test_a_server_clock_that_falls_back_does_not_move_a_session_back(desk):
    """Monotone, whoever's clock it is."""
    desk.wait(-500)
    desk.put("a")
    assert desk.session.clock == NOW


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15t08:00:00z", NOW),
        ("2027-01-15T10:00:00+02:00", NOW),
        ("2027-01-15 02:30:00.250-05:30", NOW + 0.25),
        (0, 0.0),
        (NOW, NOW),
    ],
)
def test_times_are_rfc_3339_or_epoch_seconds(text, seconds):
    """RFC 3339 with offset, or finite epoch seconds."""
    assert parse_time(text, path="time") == seconds


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-15T08:00:00",
        "2027-01-15",
        "noon",
        "",
        "2027-02-30T08:00:00Z",
        "2027-01-15T25:00:00Z",
        "2027-01-15T08:00:00+02",
        "1800000000",
        "٢٠٢٧-01-15T08:00:00Z",
        math.nan,
        math.inf,
        -math.inf,
        -1.0,
        1e300,
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_anything_else_is_no_time(text):
    """A time without offset, not finite, or outside what RFC 3339 can write is refused with its field named."""
    with pytest.raises(Invalid) as error:
        parse_time(text, path="item.created_at")
    assert error.value.path == "item.created_at"


def test_times_are_written_in_utc_to_the_millisecond():
    """Times are answered as RFC 3339 in UTC, up to the last moment that may be told."""
    assert rfc3339(NOW + 0.25) == "2027-01-15T08:00:00.250Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(math.nextafter(253_402_300_800, 0)).startswith("9999-12-31T23:59:59.999")


# The order at one moment


def test_leases_lapse_before_the_command_and_shares_adjust_after_it():
    """3.2: due leases lapse; the command is decided; targets are checked; a due share adjustment runs."""
    desk = Desk(defaults=Defaults(adjust_interval=HOUR))
    desk.ask(tokens=60_000, request_id="r", lease_seconds=60.0)
    desk.wait(HOUR)
    reply = desk.ask(tokens=60_000)
    assert reply["outcome"] == "full"
    kinds = [type(entry).__name__ for entry in desk.last.entries]
    assert kinds[0] == LeaseLapsed.__name__
    assert kinds[-1] == SharesAdjusted.__name__
    assert kinds.index("Allocated") < kinds.index("BoundExceeded")
    assert desk.made(SharesAdjusted)[0].trigger == "interval"


def test_shares_adjust_once_an_interval_of_session_time():
    """3.4: every `adjust_interval` of session time, default off; the answer tells the shares that came of it."""
    desk = Desk(defaults=Defaults(adjust_interval=HOUR))
    desk.put("a", tokens=10)
    desk.wait(HOUR - 1)
    desk.put("b", tokens=10)
    assert not desk.all(SharesAdjusted)
    desk.wait(1)
    report = desk.sync(("a", 10), ("b", 10))["report"]
    assert report["shares"] == desk.session.shares
    desk.put("c", tokens=10)
    assert len(desk.all(SharesAdjusted)) == 1
    desk.do(AdjustShares())
    desk.wait(HOUR - 1)
    desk.put("d", tokens=10)
    assert [entry.trigger for entry in desk.all(SharesAdjusted)] == ["interval", "request"]


def test_no_interval_is_off(desk):
    """Default off."""
    desk.put("a")
    desk.wait(1_000 * HOUR)
    desk.put("b")
    assert not desk.all(SharesAdjusted)
