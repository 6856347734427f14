"""Elastic budgets (SPEC 3.10): who may borrow how much, and that lenders always get their own back."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.budget.commands import CompleteTask, PlanTasks, RemoveItem, RequestAllocation, TaskSpec
from sidecar.budget.entries import Allocated, CleanedUp
from sidecar.budget.policy import COMPONENTS, ElasticPolicy
from sidecar.budget.presets import STANDARD
from sidecar.budget.report import report
from tests.budget.desk import MINUTE, Desk
from tests.budget.variants import variant

ELASTIC = variant(elastic=ElasticPolicy(on=True))
# The same, but files are evicted only to give back what was borrowed.
PATIENT = variant(
    elastic=ElasticPolicy(on=True),
    components={name: replace(row, above_target=()) for name, row in STANDARD.components.items()},
    cleanup={"evict_above": 10.0},
)


@pytest.fixture
def desk() -> Desk:
    return Desk(preset=ELASTIC)


@pytest.fixture
def borrower() -> Desk:
    """Twelve files of 12,000 tokens: 84,000 of them borrowed, of the 90,000 that others hold beyond their floors."""
    desk = Desk(preset=PATIENT)
    for number in range(12):
        desk.wait(1)
        desk.ask_item(f"file-{number}", "file", 12_000)
    assert borrowed(desk) == {"working_memory": 84_000}
    return desk


def borrowed(desk: Desk) -> dict[str, int]:
    return {name: held.borrowed for name, held in desk.session.components.items() if held.borrowed}


def test_a_component_that_is_short_borrows_what_the_others_do_not_use(desk):
    reply = desk.ask("agent_context", 50_000)
    assert (reply["granted"], reply["outcome"]) == (50_000, "borrowed")
    assert borrowed(desk) == {"agent_context": 20_000}


def test_what_was_borrowed_is_in_the_report(desk):
    desk.ask("agent_context", 50_000)
    told = report(desk.session)["components"]
    assert told["agent_context"]["borrowed_tokens"] == 20_000
    assert told["agent_context"]["allocated_tokens"] == 30_000
    assert sum(each["allocated_tokens"] for each in told.values()) == 200_000


def test_without_elastic_budgets_nothing_is_borrowed():
    desk = Desk()
    assert desk.ask("agent_context", 50_000)["outcome"] == "partial"
    assert not borrowed(desk)


def test_a_component_is_cleaned_up_before_it_borrows(desk):
    desk.put("done", "plan", 20_000, completed=True)
    reply = desk.ask("agent_context", 40_000)
    assert reply["cleanup"]["tokens_freed"] == 20_000
    assert reply["outcome"] == "borrowed"
    assert borrowed(desk) == {"agent_context": 10_000}


def test_what_fits_after_the_cleanup_is_not_borrowed(desk):
    desk.put("done", "plan", 20_000, completed=True)
    assert desk.ask("agent_context", 25_000)["outcome"] == "after_cleanup"
    assert not borrowed(desk)


def test_an_item_is_borrowed_for_whole_or_denied(desk):
    assert desk.ask_item("plan", "plan", 60_000)["outcome"] == "borrowed"
    assert desk.ask_item("more", "plan", 190_000)["outcome"] == "denied"


def test_lenders_keep_a_floor_of_the_window(desk):
    """Of 60,000, 40,000 and 50,000 each lender keeps 10,000, a twentieth of the window; the fixed one lends nothing."""
    reply = desk.ask("agent_context", 170_000)
    assert (reply["granted"], reply["outcome"]) == (150_000, "partial")
    assert borrowed(desk) == {"agent_context": 120_000}


def test_borrowing_ends_at_the_upper_bound_of_the_overall_target(desk):
    desk.put("prompt", "prompt", 60_000)  # a fact, over its own budget: 40,000 of the others' are gone
    reply = desk.ask("agent_context", 170_000)
    assert reply["granted"] == 30_000 + 120_000 - 40_000 == 170_000 - 60_000
    assert desk.session.used == 170_000


def test_lenders_keep_what_planned_tasks_will_need(desk):
    """A complex task needs 60,000 of working memory and 20,000 of the knowledge base; these 70,000 are not lent."""
    desk.do(PlanTasks(tasks=[TaskSpec(id="t", files=["f"] * 20)]))
    assert desk.ask("agent_context", 170_000)["granted"] == 30_000 + 20_000 + 40_000


def test_what_a_task_has_taken_in_is_no_longer_reserved_for_it(desk):
    desk.do(PlanTasks(tasks=[TaskSpec(id="t", files=["f"] * 20)]))
    desk.put("file", "file", 15_000)
    assert desk.session.components["working_memory"].needs == 45_000
    desk.do(CompleteTask(task="t"))
    assert desk.session.components["working_memory"].needs == 0


def test_a_task_planned_twice_is_reserved_for_once(desk):
    for _ in range(2):
        desk.do(PlanTasks(tasks=[TaskSpec(id="t", files=["f"] * 20)]))
    assert desk.session.components["working_memory"].needs == 60_000


def test_the_borrower_is_cleaned_up_when_a_lender_needs_its_own_back(borrower):
    reply = borrower.ask("interaction_buffer", 45_000)
    assert (reply["granted"], reply["outcome"]) == (45_000, "after_cleanup")
    [cleaned] = borrower.made(CleanedUp)
    assert (cleaned.component, cleaned.trigger) == ("working_memory", "allocation")
    assert reply["cleanup"]["component"] == "working_memory"
    assert borrower.session.used <= 170_000


def test_the_borrower_gives_back_no_more_than_is_missing(borrower):
    """The interaction buffer lends 40,000 of the 90,000; without them 34,000 are missing: three files."""
    borrower.ask("interaction_buffer", 50_000)
    assert borrower.used() == 108_000
    assert not borrower.session.components["interaction_buffer"].exhaustions


def test_a_lender_that_takes_what_nobody_borrowed_disturbs_nobody(borrower):
    assert borrower.ask("interaction_buffer", 16_000)["outcome"] == "full"
    assert borrower.used() == 144_000


def test_a_lender_gets_its_own_back_by_a_fact_as_well(borrower):
    borrower.put("talk", "interaction", 45_000)
    [cleaned] = borrower.made(CleanedUp)
    assert (cleaned.component, cleaned.trigger, cleaned.tokens_freed) == ("working_memory", "allocation", 36_000)


def test_a_loan_that_cannot_be_given_back_is_not_called_back_by_every_command(desk):
    desk.ask_item("pinned", "file", 140_000, item={"pinned": True})
    for number in range(4):
        desk.put(f"talk-{number}", "interaction", 12_000)
    runs = 0
    for number in range(20):
        desk.put(f"word-{number}", "interaction", 10)
        runs += len(desk.last.runs)
    assert runs <= 1


def test_requests_never_take_the_whole_window_over_its_limit(desk):
    desk.ask_item("pinned", "file", 140_000, item={"pinned": True})
    assert desk.ask("interaction_buffer", 50_000)["granted"] == 50_000
    reply = desk.ask("knowledge_base", 40_000)
    assert (reply["granted"], reply["outcome"]) == (10_000, "partial")
    assert desk.session.used == 200_000


def test_what_is_lent_is_given_back_when_it_is_released(desk):
    desk.ask_item("plan", "plan", 60_000)
    desk.do(RemoveItem(item="plan"))
    assert not borrowed(desk)


def test_while_loans_cover_it_a_borrower_is_not_cleaned_up_again(borrower):
    assert [entry.outcome for entry in borrower.all(Allocated)] == ["full"] * 5 + ["borrowed"] * 7
    assert borrower.session.components["working_memory"].exhaustions == 7
    before = len(borrower.last.runs)
    borrower.ask_item("more", "file", 1_000)
    assert (before, len(borrower.last.runs)) == (0, 0)


def test_a_restart_knows_all_loans(desk):
    desk.ask("agent_context", 50_000)
    before = borrowed(desk)
    desk.restart()
    assert borrowed(desk) == before


def test_an_observed_session_may_borrow_too():
    desk = Desk(preset=ELASTIC, mode="observed")
    assert desk.ask("agent_context", 50_000)["outcome"] == "borrowed"


lenders = st.sampled_from([name for name in COMPONENTS if name not in ("system_context", "working_memory")])


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(500, 30_000), min_size=1, max_size=14),
    lender=lenders,
    part=st.floats(0.05, 1.0),
)
def test_a_lender_always_gets_what_is_its_own_from_a_borrower_that_can_be_cleaned_up(sizes, lender, part):
    """Files can all be evicted: so whatever was lent of them, a request within the lender's own budget is granted."""
    desk = Desk(preset=ELASTIC, laws=False)
    for number, size in enumerate(sizes):
        desk.wait(MINUTE)
        desk.ask_item(f"file-{number}", "file", size)
    desk.wait(MINUTE)
    held = desk.session.components[lender]
    asked = max(1, int(part * held.available))
    reply = desk.ask(lender, asked)
    assert reply["granted"] == asked
    assert reply["outcome"] in {"full", "after_cleanup"}
    assert desk.session.used <= desk.session.total


def test_what_could_not_fit_whatever_is_freed_is_refused_without_a_look_at_the_items(monkeypatch):
    """SPEC 3.2: a decision takes the same time with ten items and with ten thousand."""
    desk = Desk(preset="coding-agent")
    for number in range(20):
        desk.put(f"file-{number}", "file", 100)
    looked: list[str] = []
    monkeypatch.setattr(type(desk.session), "reclaimable", lambda _, name: looked.append(name))
    reply = desk.ask("knowledge_base", 190_000, all_or_nothing=True)
    assert (reply["outcome"], looked) == ("denied", [])


def test_the_time_of_cleanups_that_were_only_planned_is_no_time_of_the_decision():
    ticks = iter(range(10_000))
    desk = Desk(preset="coding-agent")
    for number in range(20):
        desk.put(f"file-{number}", "file", 8_000, pinned=True)
    desk.put("plan", "plan", 10_000, pinned=True)
    desk.put("words", "interaction", 10_000, pinned=True)
    desk.do(RequestAllocation(component="working_memory", tokens=20_000), stopwatch=lambda: float(next(ticks)))
    assert [run.component for run in desk.last.runs] == ["working_memory"]
    assert desk.last.cleaning > sum(run.duration for run in desk.last.runs)
