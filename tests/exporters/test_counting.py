"""Each thing that happens is counted once, under the labels of SPEC section 6."""

import pytest

from sidecar.budget.commands import (
    Acknowledge,
    AdjustShares,
    ChangeSession,
    CleanUp,
    CloseSession,
    CompleteTask,
    ComponentHistory,
    Failure,
    ItemSpec,
    OpenSession,
    PlanTasks,
    PutItem,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    SyncWindow,
    TaskSpec,
    WindowItem,
)
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.presets import PRESETS
from sidecar.ledger import Origin
from tests.exporters.scraping import NOW, House, read

HOUR = 3600.0


def item(id, kind="file", tokens=1_000, **fields):
    return ItemSpec(id=id, kind=kind, tokens=tokens, **fields)


async def test_a_request_that_fits_is_counted_with_its_tokens(house: House):
    await house.do(RequestAllocation(component="working_memory", tokens=50_000))
    await house.do(RequestAllocation(component="working_memory", tokens=20_000))
    await house.do(RequestAllocation(component="working_memory", tokens=20_000))
    scrape = await house.scrape()
    assert {
        o: scrape.value("token_budget_allocations_total", component="working_memory", outcome=o) for o in OUTCOMES
    } == {
        "full": 1,
        "after_cleanup": 0,
        "partial": 1,
        "denied": 1,
    }
    assert scrape.value("token_budget_requested_tokens_total", component="working_memory") == 90_000
    assert scrape.value("token_budget_granted_tokens_total", component="working_memory") == 60_000
    assert scrape.value("token_budget_exhaustions_total", component="working_memory", mode="managed") == 2
    assert scrape.value("token_budget_allocation_duration_seconds_count") == 3
    assert scrape.value("token_budget_allocations_total", component="knowledge_base", outcome="full") == 0


OUTCOMES = ("full", "after_cleanup", "partial", "denied")


async def test_a_repeated_request_is_one_allocation_and_two_events(house: House):
    for _ in range(2):
        await house.do(RequestAllocation(component="working_memory", tokens=10, request_id="r"))
    scrape = await house.scrape()
    assert scrape.value("token_budget_granted_tokens_total", component="working_memory") == 10
    assert scrape.value("token_budget_events_total", receiver="api", type="request_allocation") == 2


async def test_what_a_cleanup_freed_is_counted_by_step_and_trigger(house: House):
    await house.do(PutItem(item=item("debug", "debug", 30_000, created_at=NOW - 3 * HOUR)))
    await house.do(PutItem(item=item("big", "context", 20_000, last_accessed_at=NOW - 2 * HOUR)))
    scrape = await house.scrape()
    freed = {
        step: scrape.value("token_budget_cleanup_freed_tokens_total", component="working_memory", step=step)
        for step in STEPS
    }
    # 50,000 of 60,000 is above the target: the new item itself is left alone.
    assert freed == {"compress_inactive": 0, "remove_debug": 30_000, "archive_tasks": 0, "evict_lru": 0}
    assert cleanups(scrape, trigger="target", result="freed") == 1
    assert cleanups(scrape, trigger="allocation", result="freed") == 0
    assert scrape.value("token_budget_cleanup_duration_seconds_count", component="working_memory") == 1
    await house.do(CleanUp(component="working_memory"))
    await house.do(CleanUp(component="working_memory"))
    scrape = await house.scrape()
    assert cleanups(scrape, trigger="manual", result="freed") == 1
    assert cleanups(scrape, trigger="manual", result="noop") == 1
    assert (
        scrape.value("token_budget_cleanup_freed_tokens_total", component="working_memory", step="compress_inactive")
        == 12_000
    )
    assert scrape.value("token_budget_cleanup_duration_seconds_count", component="working_memory") == 3


STEPS = ("compress_inactive", "remove_debug", "archive_tasks", "evict_lru")


def cleanups(scrape, **labels):
    return scrape.value("token_budget_cleanups_total", component="working_memory", **labels)


async def test_a_component_without_a_strategy_is_never_counted_as_cleaned_up(house: House):
    await house.do(PutItem(item=item("system", "prompt", 30_000)))
    await house.do(CleanUp(component="system_context"))
    scrape = await house.scrape()
    assert scrape.value("token_budget_exhaustions_total", component="system_context", mode="managed") == 1
    for name in ("token_budget_cleanups_total", "token_budget_cleanup_duration_seconds_count"):
        assert not any(("component", "system_context") in labels for labels in scrape.series(name))


async def test_tokens_of_a_group_count_for_the_step_that_removed_it(house: House):
    await house.do(PutItem(item=item("skill", "skill", 10_000, last_accessed_at=NOW - 4 * HOUR, group="g")))
    await house.do(PutItem(item=item("result", "tool_result", 500, last_accessed_at=NOW - 4 * HOUR, group="g")))
    await house.do(CleanUp(component="knowledge_base"))
    scrape = await house.scrape()
    freed = scrape.series("token_budget_cleanup_freed_tokens_total")
    assert (
        scrape.value("token_budget_cleanup_freed_tokens_total", component="knowledge_base", step="unload_skills")
        == 10_500
    )
    assert len(freed) == 13, "a series beside those that are there from the start"


async def test_confirmed_and_failed_directives_are_told_apart(house: House):
    for name in ("a", "b"):
        await house.do(PutItem(item=item(name, "debug", 1_000, created_at=NOW - 3 * HOUR)))
    await house.do(CleanUp(component="working_memory"))
    scrape = await house.scrape()
    assert scrape.value("token_budget_directives_pending") == 2
    assert scrape.value("token_budget_window_pending_tokens") == 2_000
    await house.do(Acknowledge(through=2, failed=[Failure(number=2, reason="no")]))
    scrape = await house.scrape()
    assert (
        scrape.value("token_budget_cleanup_confirmed_tokens_total", component="working_memory", step="remove_debug")
        == 1_000
    )
    assert scrape.value("token_budget_directives_failed_total") == 1
    assert scrape.value("token_budget_directives_pending") == 0
    assert scrape.value("token_budget_window_pending_tokens") == 0


async def test_the_oldest_directive_ages_by_the_clock_of_its_session(house: House):
    await house.do(PutItem(item=item("a", "debug", 1_000, created_at=NOW - 3 * HOUR)))
    await house.do(CleanUp(component="working_memory"))
    assert (await house.scrape()).value("token_budget_directives_oldest_age_seconds") == 0
    await house.do(PutItem(item=item("b"), time=NOW + 40))
    assert (await house.scrape()).value("token_budget_directives_oldest_age_seconds") == 40
    await house.do(Acknowledge(through=1))
    assert (await house.scrape()).value("token_budget_directives_oldest_age_seconds") == 0


async def test_an_item_that_comes_back_from_the_archive_is_readmitted(house: House):
    await house.do(PutItem(item=item("a", "skill", 700)))
    await house.do(RemoveItem(item="a"))
    await house.do(PutItem(item=item("a", "skill", 800)))
    assert (await house.scrape()).value("token_budget_readmitted_tokens_total", component="knowledge_base") == 800


async def test_adjusted_shares_are_counted_by_direction(house: House):
    await house.open()
    crowded, quiet = (
        ComponentHistory(exhaustion_count=5, avg_utilization=0.98),
        ComponentHistory(exhaustion_count=0, avg_utilization=0.45),
    )
    others = ComponentHistory(exhaustion_count=0, avg_utilization=0.6)
    history = dict.fromkeys(COMPONENTS, others) | {"agent_context": crowded, "interaction_buffer": quiet}
    await house.do(AdjustShares(history=history, dry_run=True))
    await house.do(AdjustShares(history=history))
    scrape = await house.scrape()
    moved = {
        dict(labels)["component"] + " " + dict(labels)["direction"]: value
        for labels, value in scrape.series("token_budget_share_adjustments_total").items()
        if value
    }
    assert moved == {"agent_context up": 1, "interaction_buffer down": 1}


async def test_a_completed_task_shows_how_far_its_prediction_lay(house: House):
    await house.open()
    before = (await house.scrape()).series("token_budget_prediction_error_ratio_count")
    assert list(before) == [(("component", "working_memory"), ("predictor", "forecast"))], "any session has forecasts"
    await house.do(PlanTasks(tasks=[TaskSpec(id="t", files=["a"])]))
    begun = (await house.scrape()).series("token_budget_prediction_error_ratio_count")
    assert set(begun.values()) == {0}, "series begin before the first value, so that no rate misses it"
    assert len(begun) == 4
    await house.do(CompleteTask(task="t", actual={"working_memory": 13_000, "agent_context": 5_000}))
    scrape = await house.scrape()
    # 10,000 of 60,000 were predicted and 13,000 needed: 5 points off, no more.
    error = {"component": "working_memory", "predictor": "prior"}
    assert scrape.value("token_budget_prediction_error_ratio_bucket", le="0.05", **error) == 1
    assert scrape.value("token_budget_prediction_error_ratio_sum", **error) == pytest.approx(0.05)
    assert scrape.value("token_budget_prediction_error_ratio_sum", component="agent_context", predictor="prior") == 0


async def test_each_call_and_each_sync_is_one_observation_of_the_window(house: House):
    await house.open()
    await house.do(SyncWindow(items=[WindowItem(id="a", tokens=160_000, kind="file")]))
    await house.do(ReportUsage(total=100_000))
    await house.do(ReportUsage(components={"working_memory": 60_000}))
    scrape = await house.scrape()
    name = "token_budget_window_call_utilization_ratio"
    assert scrape.value(f"{name}_count") == 2
    assert scrape.value(f"{name}_sum") == pytest.approx(1.3)
    assert scrape.value(f"{name}_bucket", le="0.75") == 1
    assert scrape.value(f"{name}_bucket", le="0.9") == 2


async def test_a_calibrated_window_s_calls_are_held_against_the_window_that_was_billed(house: House):
    await house.open(preset="coding-agent")
    await house.do(PutItem(item=item("a", tokens=80_000)))
    await house.do(ReportUsage(total=100_000))
    scrape = await house.scrape()
    assert scrape.value("token_budget_window_total_tokens") == 160_000
    assert scrape.value("token_budget_window_call_utilization_ratio_sum") == 0.5


async def test_what_a_component_borrows_is_shown(house: House):
    await house.open(preset="coding-agent")
    await house.do(PutItem(item=item("a", "interaction", tokens=60_000)))
    own = PRESETS["coding-agent"].components["interaction_buffer"].share * 200_000
    borrowed = (await house.scrape()).value("token_budget_component_borrowed_tokens", component="interaction_buffer")
    assert borrowed == 60_000 - own


async def test_an_observed_window_exhausts_and_compacts_under_its_own_mode(house: House):
    await house.open(mode="observed")
    before = await house.scrape()
    assert before.value("token_budget_exhaustions_total", component="working_memory", mode="observed") == 0
    assert before.value("token_budget_compactions_total", source="reported") == 0
    await house.do(ReportUsage(components={"working_memory": 90_000}, total=150_000))
    await house.do(ReportUsage(components={"working_memory": 20_000}, total=50_000))
    scrape = await house.scrape()
    assert scrape.value("token_budget_exhaustions_total", component="working_memory", mode="observed") == 1
    assert scrape.value("token_budget_compactions_total", source="inferred") == 1
    assert scrape.value("token_budget_compaction_freed_tokens_total", source="inferred") == 100_000
    assert not any(scrape.series("token_budget_cleanup_freed_tokens_total").values()), "nothing is claimed as freed"


async def test_advice_is_no_cleanup(house: House):
    await house.open(mode="observed")
    await house.do(PutItem(item=item("debug", "debug", 30_000, created_at=NOW - 3 * HOUR)))
    await house.do(CleanUp(component="working_memory"))
    scrape = await house.scrape()
    assert not any(scrape.series("token_budget_cleanups_total").values())
    assert scrape.value("token_budget_cleanup_duration_seconds_count", component="working_memory") == 0


async def test_a_session_says_at_its_end_how_often_it_was_exhausted(house: House):
    for _ in range(3):
        await house.do(RequestAllocation(component="agent_context", tokens=40_000))
    await house.open("quiet")
    await house.do(CloseSession())
    await house.do(CloseSession())
    await house.do(CloseSession(), "quiet")
    scrape = await house.scrape()
    assert scrape.value("token_budget_session_exhaustions_bucket", le="0.0") == 1
    assert scrape.value("token_budget_session_exhaustions_bucket", le="2.0") == 1
    assert scrape.value("token_budget_session_exhaustions_count") == 2
    assert scrape.value("token_budget_session_exhaustions_sum") == 3


async def test_commands_count_by_receiver_and_type_and_unknown_ones_as_other(house: House):
    await house.do(OpenSession(), receiver="events")
    await house.do(ChangeSession(model="m"), receiver="api")
    house.exporter.received("carrier pigeon", "message in a bottle", 3)
    house.exporter.rejected("events", "invalid", 2)
    house.exporter.rejected("events", "bad luck")
    scrape = await house.scrape()
    assert scrape.series("token_budget_events_total") == {
        (("receiver", "events"), ("type", "open_session")): 1,
        (("receiver", "api"), ("type", "change_session")): 1,
        (("receiver", "other"), ("type", "other")): 3,
    }
    assert scrape.value("token_budget_events_rejected_total", receiver="events", reason="invalid") == 2
    assert scrape.value("token_budget_events_rejected_total", receiver="events", reason="other") == 1


async def test_what_the_ledger_does_by_itself_came_in_nowhere(house: House):
    await house.open()
    house.clock.now += 2 * 86_400
    await house.ledger.expire()
    scrape = await house.scrape()
    assert scrape.series("token_budget_events_total") == {(("receiver", "api"), ("type", "open_session")): 1}
    assert scrape.value("token_budget_session_exhaustions_count") == 1, "it was closed, though"


async def test_the_journal_is_watched(house: House):
    await house.open()
    scrape = await house.scrape()
    assert scrape.value("token_budget_journal_append_duration_seconds_count") == 1
    assert scrape.value("token_budget_journal_entries_total") == 1
    assert scrape.value("token_budget_journal_up") == 1
    house.exporter.on_append(0.2, 5, False)
    scrape = await house.scrape()
    assert scrape.value("token_budget_journal_append_duration_seconds_bucket", le="0.1") == 1
    assert scrape.value("token_budget_journal_append_duration_seconds_count") == 2
    assert scrape.value("token_budget_journal_entries_total") == 1
    assert scrape.value("token_budget_journal_up") == 0
    house.exporter.journal_up = lambda: True
    assert (await house.scrape()).value("token_budget_journal_up") == 1


async def test_what_is_passed_on_or_dropped_is_counted_within_bounds(house: House):
    assert not (await house.scrape()).series("token_budget_forwarded_total")
    house.exporter.begin_forwarding()
    assert set((await house.scrape()).series("token_budget_forwarded_total").values()) == {0}
    house.exporter.forwarded("traces", "delivered", 4)
    house.exporter.dropped("forward", "queue_full", 2)
    house.exporter.dropped("the ball", "clumsiness")
    scrape = await house.scrape()
    assert scrape.value("token_budget_forwarded_total", signal="traces", result="delivered") == 4
    assert scrape.value("token_budget_dropped_total", what="forward", reason="queue_full") == 2
    assert scrape.value("token_budget_dropped_total", what="other", reason="other") == 1


async def test_exemplars_lead_from_remarkable_values_to_their_trace(house: House):
    house.exporter.exemplar = lambda record: {"trace_id": str(record.origin and record.origin.context), "span_id": "5"}
    command = RequestAllocation(component="working_memory", tokens=70_000)
    await house.ledger.handle("s", command, origin=Origin(receiver="api", context="cafe"), auto_open=True)
    body, _ = await house.exporter.render("application/openmetrics-text")
    text = body.decode()
    read(text, openmetrics=True)
    shown = {
        line.split("{")[0].split(" ")[0] for line in text.splitlines() if ' # {trace_id="cafe",span_id="5"}' in line
    }
    assert shown == {
        "token_budget_exhaustions_total",
        "token_budget_allocation_duration_seconds_bucket",
        "token_budget_cleanup_duration_seconds_bucket",
    }


async def test_counters_begin_at_zero_with_the_process_whatever_the_journal_holds(build):
    first = await build(detail=True)
    await first.do(RequestAllocation(component="working_memory", tokens=70_000))
    await first.ledger.stop()
    second = await build(journal=first.ledger._journal, detail=True)
    second.exporter.adopt(second.ledger.active())
    scrape = await second.scrape()
    counters = [name for name, kind in scrape.types.items() if kind == "counter" and name.startswith("token_budget")]
    assert set(counters) >= {"token_budget_exhaustions", "token_budget_allocations", "token_budget_journal_entries"}
    assert not any(any(scrape.series(f"{name}_total").values()) for name in counters)
    assert scrape.value("token_budget_component_used_tokens", component="working_memory") == 60_000, "gauges do show it"
    assert scrape.value("token_budget_sessions", mode="managed", state="active") == 1
