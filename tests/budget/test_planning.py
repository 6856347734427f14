"""Predictions, cleanup ahead of them, adjustments on request (SPEC 3.4, 3.5, 3.8)."""

import pytest

from sidecar.budget.commands import AdjustShares, CleanUp, CompleteTask, ComponentHistory, PlanTasks, TaskSpec
from sidecar.budget.entries import CleanedUp, SharesAdjusted, TaskCompleted
from sidecar.budget.errors import Invalid, NotFound
from sidecar.budget.policy import Component
from tests.budget.desk import HOUR, Desk


@pytest.fixture
def desk():
    return Desk()


def task(id="t", *, files=0, agents=0, minutes=0.0):
    return TaskSpec(id=id, files=["f"] * files, agents=["a"] * agents, estimated_minutes=minutes)


@pytest.mark.parametrize(
    ("spec", "score", "complexity", "needs"),
    [
        (task(files=4, minutes=4.5), 49, "simple", (10_000, 5_000, 0)),
        (task(files=5), 50, "moderate", (30_000, 15_000, 10_000)),
        (task(files=10, agents=2, minutes=4.5), 149, "moderate", (30_000, 15_000, 10_000)),
        (task(agents=5, minutes=25), 150, "complex", (60_000, 30_000, 20_000)),
    ],
)
def test_the_prior_is_the_table(desk, spec, score, complexity, needs):
    """3.8: score = 10 x files + 20 x agents + 2 x minutes; below 50 simple, below 150 moderate, else complex."""
    reply = desk.do(PlanTasks(tasks=[spec]))
    (one,) = reply["tasks"]
    assert (one["score"], one["complexity"]) == (score, complexity)
    for told in (reply["prior"], reply["predicted"], one["prior"]):
        assert (told["working_memory"], told["agent_context"], told["knowledge_base"]) == needs
        assert (told["system_context"], told["interaction_buffer"]) == (0, 0)


def test_needs_add_up_and_shortfall_is_before_any_cleanup(desk):
    """3.8: needs of several tasks add up; `available` and `shortfall` of all five, before any cleanup."""
    desk.put("done", "task", 30_000, completed=True)
    reply = desk.do(PlanTasks(tasks=[task("a", files=5), task("b")], preempt=True))
    assert reply["predicted"]["working_memory"] == 40_000
    assert reply["available"]["working_memory"] == 30_000
    assert reply["shortfall"] == {
        "system_context": 0,
        "working_memory": 10_000,
        "knowledge_base": 0,
        "agent_context": 0,
        "interaction_buffer": 0,
    }
    (cleanup,) = reply["cleanups"]
    assert (cleanup["component"], cleanup["trigger"], cleanup["tokens_freed"]) == (
        "working_memory",
        "prediction",
        30_000,
    )
    assert [each["item"] for each in reply["directives"]] == ["done"]


def test_without_preempt_nothing_is_cleaned(desk):
    """`preempt` runs the strategy of each component with a shortfall; without it only words change."""
    desk.put("done", "task", 30_000, completed=True)
    assert desk.do(PlanTasks(tasks=[task(files=20)]))["cleanups"] == []
    assert not desk.all(CleanedUp)


def test_adjust_applies_the_suggestion(desk):
    """`adjust` applies the suggestion, which covers the shortfall; without it, it is only suggested."""
    desk.put("f", tokens=40_000)
    reply = desk.do(PlanTasks(tasks=[task(files=5)]))
    assert reply["shortfall"]["working_memory"] == 10_000
    assert desk.session.shares["working_memory"] == 0.30
    reply = desk.do(PlanTasks(tasks=[task(files=5)], adjust=True))
    assert desk.session.shares == reply["suggested_shares"]
    assert desk.session.components["working_memory"].available == 30_000
    assert [entry.trigger for entry in desk.made(SharesAdjusted)] == ["prediction"]
    assert sum(desk.session.shares.values()) == pytest.approx(1)


def test_a_task_planned_twice_in_one_command_is_an_error(desk):
    """Ids name tasks."""
    with pytest.raises(Invalid) as error:
        desk.do(PlanTasks(tasks=[task("a"), task("a")]))
    assert error.value.path == "tasks[1].id"


def test_a_completed_task_is_measured_by_what_came_in_since(desk):
    """3.8: with the session's own measured growth: what came in counts, what went out again does not count back."""
    desk.put("before", tokens=500)
    desk.do(PlanTasks(tasks=[task()]))
    desk.put("a", tokens=700)
    desk.put("a", tokens=900)
    desk.do(CleanUp(component="working_memory"))
    desk.put("d", "doc", 50)
    desk.do(CompleteTask(task="t"))
    (entry,) = desk.made(TaskCompleted)
    assert (entry.actual["working_memory"], entry.actual["knowledge_base"], entry.measured) == (900, 50, True)
    assert entry.predicted["working_memory"] == 10_000
    assert entry.allocated["working_memory"] == 60_000
    with pytest.raises(NotFound):
        desk.do(CompleteTask(task="t"))


def test_a_given_actual_counts_as_told(desk):
    """3.8: or a given `actual`; components that are left out needed nothing."""
    desk.do(PlanTasks(tasks=[task()]))
    desk.restart()
    desk.do(CompleteTask(task="t", actual={"agent_context": 7}))
    (entry,) = desk.made(TaskCompleted)
    assert (entry.actual["agent_context"], entry.actual["working_memory"], entry.measured) == (7, 0, False)


def test_the_worked_example_runs_on_a_given_history(desk):
    """3.4: with a given `history`, from the default shares, to the shares of the first worked example."""
    history: dict[Component, ComponentHistory] = {
        "working_memory": ComponentHistory(exhaustion_count=2, avg_utilization=0.98),
        "knowledge_base": ComponentHistory(exhaustion_count=0, avg_utilization=0.50),
        "agent_context": ComponentHistory(exhaustion_count=5, avg_utilization=0.98),
        "interaction_buffer": ComponentHistory(exhaustion_count=0, avg_utilization=0.45),
    }
    dry = desk.do(AdjustShares(history=history, dry_run=True))
    assert not desk.all(SharesAdjusted)
    assert desk.session.shares["agent_context"] == 0.15
    reply = desk.do(AdjustShares(history=history))
    assert reply["after"] == dry["after"]
    assert desk.session.shares == pytest.approx(
        {
            "system_context": 0.10,
            "working_memory": 0.30,
            "knowledge_base": 0.20,
            "agent_context": 0.20,
            "interaction_buffer": 0.20,
        }
    )
    assert desk.session.components["agent_context"].allocated == 40_000
    (entry,) = desk.made(SharesAdjusted)
    assert entry.reasons["agent_context"]


def test_the_sessions_own_history_is_exhaustions_and_the_average_over_time(desk):
    """3.4: from each component's history since the last adjustment; a component without use is left alone."""
    desk.put("f", tokens=60_000)
    for _ in range(4):
        desk.ask(tokens=1)
    desk.wait(HOUR)
    reply = desk.do(AdjustShares())
    assert reply["after"]["working_memory"] > 0.30
    assert reply["after"]["system_context"] == 0.10
    unused = [reply["after"][name] / reply["before"][name] for name in ("knowledge_base", "agent_context")]
    assert unused[0] == pytest.approx(unused[1]), "those without use are only scaled along"
    assert desk.do(AdjustShares(dry_run=True))["after"] == reply["after"], "history begins anew"


def test_three_exhaustions_are_not_more_than_three(desk):
    """3.4: more than 3 exhaustions."""
    desk.put("f", tokens=60_000)
    for _ in range(3):
        desk.ask(tokens=1)
    desk.wait(HOUR)
    assert desk.do(AdjustShares())["after"] == desk.session.shares == desk.do(AdjustShares())["before"]


def test_the_average_weighs_time(desk):
    """3.4: time-weighted: nine hours at 0.40 and one at 1.00 is 0.46, below 0.50; the component is lowered."""
    desk.put("f", "plan", 12_000)
    desk.wait(9 * HOUR)
    desk.put("f", "plan", 30_000)
    desk.wait(HOUR)
    desk.put("f", "plan", 24_000)
    assert desk.session.components["agent_context"].average(desk.now) == pytest.approx(0.46)
    desk.restart()
    assert desk.do(AdjustShares())["after"]["agent_context"] < 0.15


def test_a_manual_cleanup_always_runs_and_a_noop_makes_no_entry(desk):
    """3.5: a cleanup that frees nothing is counted as `noop` and makes no entry; a manual one always runs."""
    before = len(desk.entries)
    for component in ("system_context", "working_memory"):
        reply = desk.do(CleanUp(component=component))
        assert (reply["tokens_freed"], reply["actions_taken"], reply["steps"]) == (0, [], [])
        assert [run.result for run in desk.last.runs] == ["noop"]
    assert len(desk.entries) == before
