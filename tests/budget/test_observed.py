"""Observed sessions (SPEC 1, 3.9): telemetry tells, cleanup only advises, and nothing is ever claimed as freed."""

import pytest

from sidecar.budget.commands import CleanUp, ReportUsage
from sidecar.budget.entries import BoundExceeded, CleanedUp, Compacted, Exhausted
from sidecar.budget.report import report
from tests.budget.desk import HOUR, Desk


@pytest.fixture
def desk():
    return Desk(mode="observed")


def test_a_cleanup_answers_what_it_would_do_and_changes_nothing(desk):
    """A cleanup answers what it would do (`advice`: true) and changes nothing."""
    desk.put("t", "task", 100, completed=True)
    before = len(desk.entries)
    reply = desk.do(CleanUp(component="working_memory"))
    assert reply["advice"] is True
    assert (reply["tokens_freed"], reply["actions_taken"], reply["directives"]) == (100, ["archive_tasks"], [])
    assert len(desk.entries) == before
    assert desk.used() == 100


def test_requests_are_decided_without_cleanup(desk):
    """Requests are decided without cleanup; what does not fit is counted all the same."""
    desk.put("t", "task", 59_000, completed=True)
    reply = desk.ask(tokens=2_000)
    assert (reply["outcome"], reply["granted"], reply["cleanup"]) == ("partial", 1_000, None)
    assert len(desk.all(Exhausted)) == 1
    assert desk.session.find("t") is not None


def test_crossings_are_counted_and_nothing_is_cleaned(desk):
    """Over the target and over the budget: an exhaustion by the fact, no cleanup, no mark."""
    desk.put("t", "task", 50_000, completed=True)
    desk.put("f", tokens=10_001)
    desk.put("g", tokens=10_000)
    assert len(desk.all(Exhausted)) == 1
    assert not desk.all(CleanedUp)
    assert not desk.all(BoundExceeded)
    assert desk.last.runs == ()


def test_a_drop_in_the_window_is_recorded_as_a_compaction(desk):
    """A fall of the level is a compaction, inferred where nobody reported it."""
    desk.do(ReportUsage(total=100_000))
    desk.do(ReportUsage(total=40_000))
    (entry,) = desk.made(Compacted)
    assert (entry.tokens_before, entry.tokens_after, entry.source) == (100_000, 40_000, "inferred")


@pytest.mark.parametrize(("level", "compacted"), [(90_001, 0), (90_000, 1), (100_000, 0), (110_000, 0)])
def test_noise_is_no_compaction(desk, level, compacted):
    """A fall by less than a tenth is what providers drop between calls."""
    desk.do(ReportUsage(total=100_000))
    desk.do(ReportUsage(total=level))
    assert len(desk.made(Compacted)) == compacted


def test_a_window_that_is_shown_smaller_was_compacted_too(desk):
    """A drop in the window is recorded whoever tells of it."""
    desk.sync(("a", 900, "file"), ("b", 100, "file"))
    desk.sync(("b", 100))
    assert [(entry.tokens_before, entry.tokens_after) for entry in desk.made(Compacted)] == [(1_000, 100)]


def test_a_managed_window_that_shrinks_is_not_compacted_by_its_host():
    """In a managed session the agent tells what it removes; a fall is no compaction."""
    desk = Desk()
    desk.do(ReportUsage(total=100_000))
    desk.do(ReportUsage(total=10))
    assert not desk.all(Compacted)


def test_reclaimable_is_absent_where_items_are_unknown(desk):
    """Reclaimable is absent where items are unknown, and told where they are known."""
    desk.do(ReportUsage(components={"working_memory": 5_000}))
    assert "reclaimable_tokens" not in report(desk.session)["components"]["working_memory"]
    assert report(desk.session)["components"]["agent_context"]["reclaimable_tokens"] == 0
    desk.put("t", "task", 100, completed=True)
    assert report(desk.session)["components"]["working_memory"]["reclaimable_tokens"] == 100


def test_a_billed_total_below_the_components_brings_them_down_in_proportion(desk):
    """The level is the last call's input: what is attributed never exceeds it."""
    desk.do(ReportUsage(components={"working_memory": 60, "interaction_buffer": 30, "knowledge_base": 10}))
    desk.do(ReportUsage(total=50))
    assert [desk.used(name) for name in ("working_memory", "interaction_buffer", "knowledge_base")] == [30, 15, 5]
    assert (desk.session.used, desk.session.unattributed) == (50, 0)
    desk.do(ReportUsage(total=7))
    assert desk.session.used == 7


def test_age_changes_advice_only(desk):
    """Time goes by, and only what is reclaimable grows."""
    desk.put("d", "debug", 300)
    desk.wait(2 * HOUR + 1)
    desk.put("x", tokens=1)
    assert report(desk.session)["components"]["working_memory"]["reclaimable_tokens"] == 300
    assert desk.used() == 301
