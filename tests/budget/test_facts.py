"""Facts, status and exhaustions (SPEC 2, 3.2, 3.3): what the host says of its window stands."""

import pytest

from sidecar.budget.commands import ChangeSession, CompleteItem, RemoveItem, ReportUsage, TouchItem
from sidecar.budget.entries import CleanedUp, Exhausted, ItemRemoved, UsageReported
from sidecar.budget.errors import Invalid, NotFound
from tests.budget.desk import HOUR, MINUTE, NOW, Desk


@pytest.fixture
def desk():
    return Desk()


def test_a_fact_stands_whatever_the_budget(desk):
    """A fact is recorded whatever it says: utilization may exceed 1."""
    desk.put("f", tokens=90_000)
    held = desk.session.components["working_memory"]
    assert (held.used, held.utilization, held.available, held.status) == (90_000, 1.5, 0, "critical")


def test_going_over_the_budget_is_an_exhaustion_and_runs_the_cleanup(desk):
    """Where a fact takes a component from within its budget to over it, that is an exhaustion and runs the cleanup."""
    desk.put("done", "task", 30_000, completed=True)
    desk.put("f", tokens=30_001)
    assert [(entry.by, entry.tokens) for entry in desk.made(Exhausted)] == [("fact", 1)]
    assert [(entry.trigger, entry.tokens_freed) for entry in desk.made(CleanedUp)] == [("allocation", 30_000)]


def test_a_budget_used_to_the_last_token_is_not_exhausted(desk):
    """Exactly the budget is within it."""
    desk.put("f", tokens=60_000)
    assert not desk.all(Exhausted)


def test_staying_over_is_no_further_exhaustion(desk):
    """Only crossing counts: facts that come while it is over are none; after it fell within, the next one is."""
    for number in range(3):
        desk.put(f"f{number}", tokens=40_000)
    assert len(desk.all(Exhausted)) == 1
    desk.do(RemoveItem(item="f0"))
    desk.do(RemoveItem(item="f1"))
    desk.put("f3", tokens=30_000)
    assert len(desk.all(Exhausted)) == 2


def test_one_sync_exhausts_a_component_at_most_once(desk):
    """At most one exhaustion per component and command, but one for each component."""
    desk.sync(("a", 40_000, "context"), ("b", 40_000, "context"), ("c", 30_000, "prompt"))
    assert sorted(entry.component for entry in desk.made(Exhausted)) == ["system_context", "working_memory"]


def test_items_of_the_command_are_not_touched_by_its_cleanup(desk):
    """Items of the current command are never touched by the cleanups it causes; those of others are."""
    desk.put("before", "task", 20_000, completed=True)
    desk.put("now", "task", 50_000, completed=True)
    assert desk.session.find("now") is not None
    assert desk.session.find("before") is None


def test_while_over_budget_cleanup_runs_again_only_after_growth(desk):
    """3.5: above a bound cleanup runs again when usage has grown by another 0.05 of the budget (3,000 of 60,000)."""
    desk.put("f", tokens=70_000)
    desk.put("t", "task", 0)
    desk.do(CompleteItem(item="t"))
    desk.put("t", "task", 500, completed=True)
    desk.put("g", tokens=2_499)
    assert not desk.all(CleanedUp)
    desk.put("h", tokens=1)
    assert [(entry.trigger, entry.tokens_freed) for entry in desk.made(CleanedUp)] == [("allocation", 500)]
    assert len(desk.all(Exhausted)) == 1


def test_while_over_budget_an_item_that_ages_runs_it_again_whatever_the_command(desk):
    """3.5: or when an item crossed a threshold of age; the action of the target does not take the time of the whole."""
    desk.put("big", "plan", 20_000)
    desk.put("other", "plan", 15_000)
    desk.put("small", "plan", 10)
    desk.wait(HOUR)
    desk.do(TouchItem(item="small"))
    assert not desk.all(CleanedUp), "an hour is not over an hour"
    desk.wait(1)
    desk.do(TouchItem(item="small"))
    cleaned = desk.made(CleanedUp)[0]
    assert [(each.step, each.item, each.tokens_after) for each in cleaned.actions] == [
        ("compress_idle", "big", 8_000),
        ("compress_idle", "other", 6_000),
    ]


def test_crossing_the_target_runs_the_action_before_anything_is_exhausted(desk):
    """3.5: crossing the target upwards runs the action of 3.1 (trigger `target`): above 0.75, only `unload_skills`."""
    desk.put("s", "skill", 1_000)
    desk.put("d", "doc", 10_000, full=True)
    desk.wait(3 * HOUR + 1)
    desk.put("m", "memory", 19_000)
    assert not desk.all(CleanedUp), "0.75 is inside the target"
    desk.put("n", "memory", 1)
    cleaned = desk.made(CleanedUp)[0]
    assert (cleaned.component, cleaned.trigger) == ("knowledge_base", "target")
    assert [each.item for each in cleaned.actions] == ["s"]
    assert not desk.all(Exhausted)


def test_a_target_that_stays_crossed_is_not_cleaned_again_before_it_grows(desk):
    """3.5: marks are facts of the ledger, so a restart changes nothing about them."""
    desk.put("f", tokens=49_000)
    desk.put("t", "task", 0)
    desk.restart()
    desk.put("t", "task", 100, completed=True)
    desk.put("g", tokens=2_899)
    assert not desk.all(CleanedUp)
    desk.restart()
    desk.put("h", tokens=1)
    assert [entry.trigger for entry in desk.made(CleanedUp)] == ["target"]


def test_the_fixed_component_is_never_cleaned(desk):
    """3.1: system_context above its target: nothing is done, though over its budget it is exhausted."""
    desk.put("p", "prompt", 25_000)
    assert [entry.component for entry in desk.made(Exhausted)] == ["system_context"]
    assert desk.last.runs == ()


@pytest.mark.parametrize(
    ("tokens", "status"),
    [
        (29_999, "low"),
        (30_000, "moderate"),
        (44_999, "moderate"),
        (45_000, "high"),
        (53_999, "high"),
        (54_000, "critical"),
    ],
)
def test_status_begins_exactly_at_its_bound(desk, tokens, status):
    """3.3: at or above 0.90 critical, 0.75 high, 0.50 moderate, else low."""
    desk.put("f", tokens=tokens)
    assert desk.session.components["working_memory"].status == status


def test_the_window_has_a_status_of_its_own(desk):
    """3.3: per component and for the whole window; unattributed tokens count for the window alone."""
    desk.do(ReportUsage(total=180_000))
    assert (desk.session.status, desk.session.utilization) == ("critical", 0.9)
    assert {held.status for held in desk.session.components.values()} == {"low"}


def test_nothing_of_nothing_is_utilization_0():
    """3.3: 0 of 0 is utilization 0."""
    desk = Desk(
        shares={
            "system_context": 0.0,
            "working_memory": 0.5,
            "knowledge_base": 0.0,
            "agent_context": 0.25,
            "interaction_buffer": 0.25,
        }
    )
    held = desk.session.components["knowledge_base"]
    assert (held.allocated, held.utilization, held.status) == (0, 0.0, "low")
    desk.put("m", "memory", 1)
    assert held.status == "critical"
    assert [entry.component for entry in desk.all(Exhausted)] == ["knowledge_base"]


def test_the_reserve_is_taken_off_before_the_split():
    """3.1: `reserve_tokens` (room for output) is taken off before the split."""
    desk = Desk(total_tokens=220_000, reserve_tokens=20_000)
    assert desk.session.total == 200_000
    assert [held.allocated for held in desk.session.components.values()] == [20_000, 60_000, 40_000, 30_000, 50_000]


def test_a_put_again_replaces_the_item_and_its_size(desk):
    """An item put again is changed, not added; in another component it moves."""
    desk.put("f", "file", 500, path="a")
    desk.put("f", "file", 700)
    assert (desk.used(), desk.session.find("f").path) == (700, None)
    desk.put("f", "doc", 300)
    assert (desk.used(), desk.used("knowledge_base")) == (0, 300)


def test_touch_and_complete_change_time_and_state_only(desk):
    """A touch is an access at the command's time; a completed item stays until it is cleaned up."""
    desk.put("t", "task", 10)
    desk.wait(MINUTE)
    desk.do(TouchItem(item="t"))
    desk.do(CompleteItem(item="t"))
    item = desk.session.find("t")
    assert (item.last_accessed_at, item.created_at, item.completed, item.tokens) == (NOW + MINUTE, NOW, True, 10)


@pytest.mark.parametrize("command", [TouchItem, CompleteItem, RemoveItem])
def test_an_unknown_item_is_not_found(desk, command):
    """Section 4: unknown item 404, with the field that names it."""
    with pytest.raises(NotFound) as error:
        desk.do(command(item="nobody"))
    assert error.value.path == "item"


def test_what_the_host_removes_is_archived_with_its_first_size(desk):
    """3.5: nothing is removed without being archived: the entry carries what the archive record needs."""
    desk.put("f", tokens=500, content="text")
    desk.do(RemoveItem(item="f"))
    (entry,) = desk.made(ItemRemoved)
    assert (entry.tokens, entry.original_tokens, desk.contents[entry.content]) == (500, 500, "text")


def test_a_report_of_components_leaves_the_rest_unheld(desk):
    """3.9: what exceeds a component's items is held by none of them; components that are not named stay."""
    desk.put("f", tokens=500)
    desk.put("d", "doc", 50)
    desk.do(ReportUsage(components={"working_memory": 800}))
    assert (desk.used(), desk.used("knowledge_base")) == (800, 50)
    desk.do(RemoveItem(item="f"))
    assert desk.used() == 300


def test_a_report_below_the_items_is_the_level_all_the_same(desk):
    """3.9: `report_usage` sets totals, also below what the items add up to; never below zero."""
    desk.put("f", tokens=500)
    desk.put("g", tokens=300)
    desk.do(ReportUsage(components={"working_memory": 350}))
    assert desk.used() == 350
    desk.do(RemoveItem(item="f"))
    assert desk.used() == 0
    desk.put("h", tokens=40)
    assert desk.used() == 40


def test_a_total_beyond_the_components_is_unattributed(desk):
    """3.9: what exceeds the components is unattributed; a total below them leaves none in a managed session."""
    desk.put("f", tokens=500)
    desk.do(ReportUsage(total=1_200))
    assert (desk.session.unattributed, desk.session.used) == (700, 1_200)
    desk.do(ReportUsage(components={"working_memory": 900}, total=1_000))
    assert (desk.used(), desk.session.unattributed) == (900, 100)
    desk.do(ReportUsage(total=400))
    assert (desk.used(), desk.session.unattributed) == (900, 0)


def test_a_billed_total_tells_the_ratio_of_the_providers_tokens(desk):
    """3.9: `report_usage` with `total` tells how many provider tokens one counted token is."""
    desk.put("f", tokens=1_000)
    desk.do(ReportUsage(total=1_250))
    assert desk.session.provider_ratio == 1.25


def test_a_report_states_something_and_its_source(desk):
    """A report without a level is an error; the source is shown."""
    with pytest.raises(Invalid):
        desk.do(ReportUsage())
    desk.do(ReportUsage(total=5, source="estimated"))
    assert desk.session.source == "estimated"
    assert len(desk.all(UsageReported)) == 1


def test_a_smaller_window_crosses_targets_and_is_no_exhaustion(desk):
    """3.2, 3.9: a change of size is neither a request nor a new item; targets are checked after it."""
    desk.put("t", "task", 20_000, completed=True)
    desk.put("f", tokens=20_000)
    desk.do(ChangeSession(total_tokens=100_000))
    assert not desk.all(Exhausted)
    assert [(entry.trigger, entry.tokens_freed) for entry in desk.made(CleanedUp)] == [("target", 20_000)]
