"""Age in model calls, protection of the last ones, what a cleanup costs, and what goes first (SPEC 3.10)."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.budget.commands import ChangeSession, CleanUp, ReportUsage, TouchItem
from sidecar.budget.entries import BoundExceeded, CleanedUp
from sidecar.budget.policy import Policy, WindowPolicy
from sidecar.budget.presets import PRESETS, STANDARD
from tests.budget.cleaning import acted, clean, item
from tests.budget.desk import MINUTE, Desk
from tests.budget.variants import variant

CLEAN = CleanUp(component="working_memory")


def call(desk: Desk, times: int = 1) -> None:
    for _ in range(times):
        desk.do(ReportUsage(total=desk.session.used))


def removed(desk: Desk) -> list[str]:
    return [action.item for entry in desk.made(CleanedUp) for action in entry.actions]


# Calls


def test_a_window_sync_and_its_bill_are_one_model_call():
    desk = Desk()
    for number in range(1, 4):
        desk.sync(("prompt", 100, "prompt"))
        desk.do(ReportUsage(total=130))
        assert desk.session.calls == number


def test_bills_alone_are_model_calls():
    desk = Desk()
    call(desk, 3)
    assert desk.session.calls == 3


@pytest.mark.parametrize(
    ("setting", "kind", "more"),
    [
        ("inactive_after_calls", "context", {"tokens": 20_000}),
        ("debug_after_calls", "debug", {}),
    ],
)
def test_an_item_is_old_after_so_many_model_calls_whatever_the_hour(setting, kind, more):
    desk = Desk(preset=variant(cleanup={setting: 5}))
    desk.put("old", kind, **more)
    call(desk, 4)
    desk.do(CLEAN)
    assert removed(desk) == []
    call(desk)
    desk.do(CLEAN)
    assert removed(desk) == ["old"]


@pytest.mark.parametrize(
    ("setting", "component", "kind"),
    [
        ("unload_after_calls", "knowledge_base", "skill"),
        ("idle_after_calls", "agent_context", "plan"),
        ("summarize_after_calls", "interaction_buffer", "interaction"),
        ("archive_after_calls", "interaction_buffer", "interaction"),
    ],
)
def test_each_threshold_of_age_has_its_twin_in_model_calls(setting, component, kind):
    desk = Desk(preset=variant(cleanup={setting: 5, "full_text_for": 0.0}))
    desk.put("old", kind, 20_000)
    call(desk, 4)
    desk.do(CleanUp(component=component))
    assert removed(desk) == []
    call(desk)
    desk.do(CleanUp(component=component))
    assert removed(desk) == ["old"]


def test_the_hours_count_as_well():
    desk = Desk(preset=variant(cleanup={"debug_after_calls": 500}))
    desk.put("old", "debug")
    desk.wait(121 * MINUTE)
    desk.do(CLEAN)
    assert removed(desk) == ["old"]


def test_an_item_that_is_used_again_is_young_again():
    desk = Desk(preset=variant(cleanup={"inactive_after_calls": 5}))
    desk.put("file", "context", 20_000)
    call(desk, 4)
    desk.do(TouchItem(item="file"))  # in the same second
    call(desk, 4)
    desk.do(CLEAN)
    assert removed(desk) == []


def test_an_exchange_keeps_its_full_text_for_so_many_calls():
    desk = Desk(preset=variant(cleanup={"summarize_after_calls": 2, "full_text_for_calls": 6}))
    desk.put("talk", "interaction", 5_000)
    call(desk, 5)
    desk.do(CleanUp(component="interaction_buffer"))
    assert removed(desk) == []
    call(desk)
    desk.do(CleanUp(component="interaction_buffer"))
    assert removed(desk) == ["talk"]


def test_an_item_past_a_threshold_in_calls_runs_the_cleanup_of_a_component_above_its_target():
    desk = Desk(preset=variant(cleanup={"debug_after_calls": 5, "evict_above": 10.0}))
    desk.put("old", "debug", 50_000)
    assert desk.made(BoundExceeded)
    call(desk, 4)
    assert not desk.made(CleanedUp)
    call(desk)
    assert removed(desk) == ["old"]


# Protection


def test_what_the_last_calls_used_is_never_touched():
    desk = Desk(preset=variant(cleanup={"protect_calls": 3}))
    desk.put("first", "task", 5_000, completed=True)
    call(desk, 2)
    desk.put("second", "task", 5_000, completed=True)
    desk.do(CLEAN)
    assert removed(desk) == []
    call(desk)
    desk.do(CLEAN)
    assert removed(desk) == ["first"]
    call(desk, 2)
    desk.do(CLEAN)
    assert removed(desk) == ["second"]


def test_what_is_protected_protects_its_group():
    desk = Desk(preset=variant(cleanup={"protect_calls": 3}))
    desk.put("call", "task", 50, completed=True, group="g")
    call(desk, 3)
    desk.put("result", "task", 5_000, group="g")
    desk.do(CLEAN)
    assert removed(desk) == []


def test_a_session_that_shows_no_calls_is_cleaned_up_by_the_hour():
    desk = Desk(preset=variant(cleanup={"protect_calls": 3}))
    desk.put("done", "task", 5_000, completed=True)
    desk.do(CLEAN)
    assert removed(desk) == ["done"]


# What goes first


def evicted(*files: tuple[str, int, float], **more: object) -> list[str]:
    """The files evicted, of (id, tokens, minutes since the last use)."""
    items = [item(id, tokens=tokens, idle=minutes * MINUTE) for id, tokens, minutes in files]
    used = sum(each.tokens for each in items)
    run = clean("working_memory", *items, allocated=used, **more)
    return [each[1] for each in acted(run)]


def policy_of(**cleanup: Any) -> Policy:
    return PRESETS[variant(cleanup=cleanup)]


FILES = (("small and old", 100, 50.0), ("large", 9_000, 20.0), ("middling", 1_000, 30.0), ("newest", 9_000, 1.0))


def test_by_size_and_age_few_large_files_go_instead_of_many_small_ones():
    policy = policy_of(eviction="size_adjusted", evict_count=2)
    assert evicted(*FILES, policy=policy) == ["large", "middling"]


def test_by_last_use_the_oldest_goes_whatever_its_size():
    assert evicted(*FILES, policy=policy_of(evict_count=2)) == ["small and old", "middling"]


def test_by_size_and_age_goes_by_model_calls_where_there_are_any():
    items = [item("a", tokens=1_000, idle=500.0), item("b", tokens=900, idle=1.0)]
    items[0].used_call, items[1].used_call = 9, 2
    policy = policy_of(eviction="size_adjusted", evict_count=1)
    run = clean("working_memory", *items, allocated=1_900, policy=policy, call=10)
    assert [each[1] for each in acted(run)] == ["b"]


def test_a_run_with_something_to_free_evicts_until_it_has():
    items = [item(f"file-{number}", tokens=1_000, idle=100.0 - number) for number in range(20)]
    run = clean("working_memory", *items, reduce=6_500)
    assert run.tokens_freed == 7_000
    assert [action.item for action in run.actions] == [f"file-{number}" for number in range(7)]


def test_which_kinds_may_be_evicted_is_policy():
    items = [item("result", "tool_result", 1_000), item("debug", "debug", 1_000)]
    run = clean("working_memory", *items, allocated=2_000, policy=policy_of(evict_kinds=("tool_result",)))
    assert acted(run) == [("evict_lru", "result", 1_000, 0)]


def test_an_item_no_larger_than_its_stub_is_not_removed_on_its_own():
    items = [
        item("small", "task", 50, completed=True),
        item("call", "task", 20, completed=True, group="g"),
        item("result", "task", 900, completed=True, group="g"),
    ]
    run = clean("working_memory", *items, policy=policy_of(stub_tokens=50))
    assert {each[1] for each in acted(run)} == {"call", "result"}


def test_stubs_count_against_what_is_to_be_freed():
    items = [item(f"file-{number}", tokens=1_000, idle=100.0 - number) for number in range(20)]
    run = clean("working_memory", *items, reduce=6_500, policy=policy_of(stub_tokens=100))
    assert len(run.actions) == 8


# What a cleanup costs


def gaining(gain: float, **more: Any) -> Desk:
    return Desk(preset=variant(cleanup={"minimum_gain": gain, "debug_after_calls": 2, "evict_above": 10.0, **more}))


def test_a_cleanup_that_frees_too_little_for_the_lost_prompt_cache_waits():
    """The debug output stands first: its 1,000 tokens would cost the cache of the 50,000 behind it."""
    desk = gaining(0.1)
    desk.put("debug", "debug", 1_000)
    call(desk, 3)
    desk.put("file", "file", 50_000)
    assert (desk.made(CleanedUp), len(desk.made(BoundExceeded))) == ([], 1)
    assert not desk.last.runs


def test_a_cleanup_of_what_stands_last_costs_nothing():
    desk = gaining(0.1)
    desk.put("file", "file", 50_000)
    desk.put("debug", "debug", 1_000)
    call(desk, 3)
    assert "debug" in [action.item for entry in desk.all(CleanedUp) for action in entry.actions]


def test_a_manual_cleanup_never_waits():
    desk = gaining(0.1)
    desk.put("debug", "debug", 1_000)
    call(desk, 3)
    desk.put("file", "file", 50_000)
    desk.do(CLEAN)
    assert removed(desk) == ["debug"]


def test_a_cleanup_without_which_something_would_be_refused_never_waits():
    desk = gaining(0.1)
    desk.put("debug", "debug", 1_000)
    call(desk, 3)
    desk.put("file", "file", 50_000)
    assert desk.ask(tokens=10_000)["outcome"] == "after_cleanup"
    assert removed(desk) == ["debug"]


def test_an_item_put_again_keeps_its_place_in_the_prompt():
    desk = Desk()
    desk.put("a", "file", 10)
    desk.put("b", "file", 10)
    desk.put("a", "file", 20)
    held = desk.session.components["working_memory"].items
    assert held["a"].place < held["b"].place


# The whole window's marks


def marked(**more: Any) -> Desk:
    """Cleaned up above 0.8 of the window down to 0.5 of it; no component is cleaned up by a target of its own."""
    rows = {name: replace(row, above_target=()) for name, row in STANDARD.components.items()}
    rows["working_memory"] = replace(rows["working_memory"], share=0.60)
    rows["knowledge_base"] = replace(rows["knowledge_base"], share=0.05)
    rows["interaction_buffer"] = replace(rows["interaction_buffer"], share=0.10)
    return Desk(preset=variant(components=rows, window=WindowPolicy(upper=0.8, lower=0.5), **more))


def test_above_the_upper_mark_the_window_is_cleaned_up_to_the_lower_one():
    desk = marked()
    for number in range(11):
        desk.wait(1)
        desk.put(f"file-{number}", "file", 10_000)
    desk.put("prompt", "prompt", 50_000)
    assert not desk.made(CleanedUp), "160,000 are not above 0.8"
    desk.put("one more", "prompt", 1)
    [cleaned] = desk.made(CleanedUp)
    assert (cleaned.component, cleaned.trigger, cleaned.tokens_freed) == ("working_memory", "target", 70_000)
    assert desk.session.used == 90_001


def test_the_component_of_the_highest_utilization_is_cleaned_up_first():
    desk = marked()
    desk.put("skill", "skill", 9_000)
    desk.wait(200 * MINUTE)
    desk.put("done", "plan", 5_000, completed=True)
    for number in range(12):
        desk.put(f"file-{number}", "file", 10_000)
    desk.put("prompt", "prompt", 30_000)
    assert [entry.component for entry in desk.made(CleanedUp)] == ["working_memory"]


def test_a_window_that_cannot_be_cleaned_up_is_tried_again_only_when_it_has_grown():
    desk = marked()
    desk.put("prompt", "prompt", 161_000)
    assert [entry.bound for entry in desk.made(BoundExceeded)] == ["window"]
    for number in range(9):
        desk.put(f"word-{number}", "interaction", 1_000)
        assert not desk.made(BoundExceeded)
    desk.put("word", "interaction", 1_000)
    assert [entry.bound for entry in desk.made(BoundExceeded)] == ["window"]


def waiting() -> Desk:
    """Above its mark at 0.81 of the window, inside its overall target: what could go does not pay for the cache."""
    desk = marked(cleanup={"minimum_gain": 1.0, "evict_above": 0.0, "debug_after_calls": 2})
    desk.put("debug", "debug", 20_000)
    call(desk, 3)
    desk.put("prompt", "prompt", 142_000, pinned=True)
    assert (desk.made(CleanedUp), [entry.bound for entry in desk.made(BoundExceeded)]) == ([], ["window"])
    return desk


def test_a_cleanup_that_waits_inside_the_overall_target_runs_as_soon_as_the_window_leaves_it():
    desk = waiting()
    desk.put("word", "prompt", 8_000)
    assert not desk.made(CleanedUp), "170,000 are not above 0.85"
    desk.put("another", "prompt", 1)
    assert removed(desk) == ["debug"]


def test_a_window_made_smaller_is_cleaned_up_at_once_whatever_waited_before():
    desk = waiting()
    desk.do(ChangeSession(total_tokens=185_000))
    assert removed(desk) == ["debug"]


def test_a_component_made_smaller_crosses_its_target_anew():
    desk = Desk()
    desk.put("file", "file", 50_000, pinned=True)
    desk.put("one more", "file", 1_000)
    assert not desk.made(BoundExceeded), "nothing could be done above the target, and nothing has changed since"
    desk.do(ChangeSession(shares={**STANDARD.shares, "working_memory": 0.28, "knowledge_base": 0.22}))
    assert [action.item for entry in desk.made(CleanedUp) for action in entry.actions] == ["one more"]


def test_an_observed_window_is_not_cleaned_up():
    desk = marked()
    desk = Desk(preset=desk.session.policy.name, mode="observed")
    desk.do(ReportUsage(components={"working_memory": 190_000}))
    assert not desk.made(CleanedUp)
    assert not desk.made(BoundExceeded)
