"""The utilization report (SPEC section 4, last but two paragraphs) and the forecast in it (3.8)."""

from typing import get_type_hints

import pytest

from sidecar.budget.commands import ChangeSession, CleanUp, CloseSession, ReportUsage
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.replies import ComponentReport, OverallReport, Report, SessionSummary
from sidecar.budget.report import item_reply, report, summary
from tests.budget.desk import NOW, Desk


@pytest.fixture
def desk():
    return Desk(agent="bot", parent="p", model="m")


def test_a_new_session_is_reported_whole(desk):
    """Every field of the report is there, with all components at their budgets."""
    told = report(desk.session)
    assert set(told) == set(get_type_hints(Report))
    assert (told["session"], told["agent"], told["parent"], told["mode"], told["model"], told["state"]) == (
        "s",
        "bot",
        "p",
        "managed",
        "m",
        "active",
    )
    assert told["timestamp"] == "2027-01-15T08:00:00.000Z"
    assert list(told["components"]) == list(COMPONENTS)
    assert told["components"]["agent_context"] == {
        "allocated_tokens": 30_000,
        "used_tokens": 0,
        "available_tokens": 30_000,
        "pending_tokens": 0,
        "borrowed_tokens": 0,
        "reclaimable_tokens": 0,
        "utilization_ratio": 0.0,
        "status": "low",
        "target": {"low": 0.70, "high": 0.85},
        "exhaustions": 0,
    }
    assert set(told["components"]["agent_context"]) == set(get_type_hints(ComponentReport))
    assert set(told["overall"]) == set(get_type_hints(OverallReport))
    assert told["overall"]["target"] == {"low": 0.75, "high": 0.85}
    assert (told["forecast"], told["provider_ratio"], told["source"]) == ({}, None, "exact")


def test_levels_pending_and_reclaimable_are_told(desk):
    """Used, available, pending and reclaimable of a component, and the sums over the window."""
    desk.put("a", "task", 300, completed=True)
    desk.put("b", "context", 61_000)
    desk.put("c", "task", 50, completed=True)
    told = report(desk.session)
    part = told["components"]["working_memory"]
    assert (part["used_tokens"], part["available_tokens"], part["pending_tokens"], part["reclaimable_tokens"]) == (
        61_050,
        0,
        300,
        50,
    )
    assert (part["status"], part["exhaustions"]) == ("critical", 1)
    assert (told["overall"]["used_tokens"], told["overall"]["pending_tokens"]) == (61_050, 300)
    assert told["overall"]["available_tokens"] == 200_000 - 61_050


def test_reclaimable_is_what_a_manual_cleanup_frees(desk):
    """Reclaimable follows each entry, and a cleanup by hand frees exactly it."""
    desk.put("a", "task", 300, completed=True)
    desk.put("b", "task", 20, completed=True)
    told = report(desk.session)["components"]["working_memory"]["reclaimable_tokens"]
    assert desk.do(CleanUp(component="working_memory"))["tokens_freed"] == told == 320
    assert report(desk.session)["components"]["working_memory"]["reclaimable_tokens"] == 0


def test_the_reserve_is_not_in_the_total(desk):
    """`total_tokens` after reserve."""
    told = desk.do(ChangeSession(reserve_tokens=50_000))
    assert told["overall"]["total_tokens"] == 150_000
    assert sum(part["allocated_tokens"] for part in told["components"].values()) == 150_000


def test_unattributed_tokens_are_in_the_whole_and_in_no_component(desk):
    """`unattributed_tokens` are part of the window's used tokens."""
    desk.do(ReportUsage(total=1_000))
    told = report(desk.session)["overall"]
    assert (told["used_tokens"], told["unattributed_tokens"], told["available_tokens"]) == (1_000, 1_000, 199_000)


def test_the_states_are_told_by_rank(desk):
    """State: active, idle, closed, drifted; closed before all, drifted before idle."""
    assert report(desk.session, idle=True)["state"] == "idle"
    desk.put("t", "task", 10, completed=True)
    desk.do(CleanUp(component="working_memory"))
    for number in range(9):
        desk.put(f"x{number}", tokens=0)
    assert report(desk.session, idle=True)["state"] == "drifted"
    assert desk.do(CloseSession())["state"] == "closed"


def test_the_forecast_goes_on_as_the_window_grew(desk):
    """3.8: from the session's own growth, time to exhaustion in seconds and in model calls."""
    for call in range(5):
        desk.do(ReportUsage(total=10_000 * (call + 1)))
        desk.wait(60)
    told = report(desk.session)["forecast"]
    assert told["eta_seconds"] == pytest.approx(150_000 / 10_000 * 60)
    assert told["eta_calls"] == pytest.approx(15)
    desk.restart()
    assert report(desk.session)["forecast"] == told


def test_a_fall_starts_the_forecast_anew(desk):
    """After a compaction the growth before it says nothing: absent until the window grows again."""
    desk.do(ReportUsage(total=10_000))
    desk.wait(60)
    desk.do(ReportUsage(total=100_000))
    desk.wait(60)
    desk.do(ReportUsage(total=20_000))
    assert report(desk.session)["forecast"] == {}
    desk.wait(60)
    desk.do(ReportUsage(total=26_000))
    assert report(desk.session)["forecast"]["eta_seconds"] == pytest.approx(174_000 / 100)


def test_a_session_in_a_list_is_told_in_short(desk):
    """`GET /v1/sessions` lists these fields."""
    desk.put("a", tokens=100_000)
    told = summary(desk.session)
    assert set(told) == set(get_type_hints(SessionSummary))
    assert (told["total_tokens"], told["used_tokens"], told["utilization_ratio"], told["status"]) == (
        200_000,
        100_000,
        0.5,
        "moderate",
    )


def test_an_item_is_told_as_it_is_held(desk):
    """Items with their times in RFC 3339."""
    desk.put("a", "skill", 100, created_at=NOW - 1.5, doc_tokens=40, group="g", path="p", fingerprint="f")
    item = desk.session.find("a")
    assert item is not None
    assert item_reply(item) == {
        "id": "a",
        "kind": "skill",
        "component": "knowledge_base",
        "tokens": 100,
        "created_at": "2027-01-15T07:59:58.500Z",
        "last_accessed_at": "2027-01-15T08:00:00.000Z",
        "completed": False,
        "pinned": False,
        "full": False,
        "doc_tokens": 40,
        "group": "g",
        "path": "p",
        "fingerprint": "f",
    }
