"""The rules over all steps (SPEC 3.5): what is never touched, what goes together, what is counted."""

import copy
from itertools import count

import pytest

from sidecar.budget.cleanup import CleanupRun, StepRun, run_cleanup
from sidecar.budget.presets import STANDARD
from tests.budget.cleaning import (
    HOUR,
    MINUTE,
    NOW,
    acted,
    clean,
    held,
    item,
    left_after,
    with_cleanup,
    would_free,
)

OLD = 9 * HOUR


def eligible(**more):
    """Per component, items that its whole strategy has something to do to; `more` goes to each of them."""
    return {
        "working_memory": [
            item("context", "context", 20_000, idle=OLD, **more),
            item("result", "tool_result", 20_000, idle=OLD, **more),
            item("debug", "debug", age=OLD, **more),
            item("task", "task", completed=True, **more),
            *[item(f"file{number}", "file", 9_000, idle=number, **more) for number in range(7)],
        ],
        "knowledge_base": [
            item("idle skill", "skill", idle=OLD, **more),
            item("full doc", "doc", full=True, **more),
            item("copy", "memory", age=5, fingerprint="x", **more),
            item("newest", "memory", age=4, fingerprint="x", **more),
            item("documented skill", "skill", 5_000, doc_tokens=4_000, **more),
        ],
        "agent_context": [
            item("agent", "agent", completed=True, **more),
            item("plan", "plan", 20_000, idle=OLD, **more),
        ],
        "interaction_buffer": [
            item("old", "interaction", age=3 * HOUR, **more),
            item("said", "interaction", age=50 * MINUTE, fingerprint="x", **more),
            item("said again", "interaction", age=45 * MINUTE, fingerprint="x", **more),
            item("very old", "interaction", age=5 * HOUR, **more),
        ],
    }


CLEANED = tuple(eligible())


@pytest.mark.parametrize(
    ("component", "steps"),
    [
        ("working_memory", ["compress_inactive", "remove_debug", "archive_tasks", "evict_lru"]),
        ("knowledge_base", ["unload_skills", "cache_docs", "remove_duplicates", "compress_docs"]),
        ("agent_context", ["archive_completed", "compress_idle"]),
        ("interaction_buffer", ["summarize_old", "remove_redundant", "archive"]),
    ],
)
def test_the_steps_of_a_strategy_run_in_order(component, steps):
    items = eligible()[component]
    run = clean(component, *items, allocated=sum(each.tokens for each in items))
    if component == "working_memory":  # its other steps free so much that nothing needs to be evicted
        run = clean(component, *items, allocated=1)
    assert [each.step for each in run.steps] == steps
    assert run.result == "freed"


@pytest.mark.parametrize("component", CLEANED)
def test_pinned_items_are_never_touched(component):
    assert acted(clean(component, *eligible(pinned=True)[component], allocated=1)) == []


@pytest.mark.parametrize("component", CLEANED)
def test_items_of_the_current_command_are_never_touched(component):
    items = eligible()[component]
    assert acted(clean(component, *items, allocated=1, protected=[each.id for each in items])) == []


@pytest.mark.parametrize("component", CLEANED)
def test_a_cleanup_decides_and_changes_nothing(component):
    items = eligible()[component]
    before = copy.deepcopy(items)
    assert clean(component, *items, allocated=1).actions
    assert items == before


@pytest.mark.parametrize("component", CLEANED)
def test_a_second_run_over_what_the_first_left_does_nothing(component):
    items = eligible()[component]
    first = clean(component, *items)
    second = clean(component, *left_after(first, *items))
    assert first.result == "freed"
    assert (second.actions, second.steps, second.tokens_freed, second.result) == ((), (), 0, "noop")


@pytest.mark.parametrize("component", CLEANED)
def test_reclaimable_is_what_a_manual_run_frees(component):
    items = eligible()[component]
    assert would_free(component, *items, allocated=1) == clean(component, *items, allocated=1).tokens_freed > 0


def test_system_context_answers_an_empty_result():
    run = clean("system_context", item("p", "prompt", 50_000, age=OLD, idle=OLD, completed=True), allocated=1)
    assert run == CleanupRun(component="system_context", trigger="target")
    assert run.result == "noop"


def test_an_empty_component_is_nothing_to_do():
    assert clean("working_memory", allocated=0) == CleanupRun(component="working_memory", trigger="target")


def test_n_eligible_items_give_n_actions():
    items = [item(f"d{number}", "debug", 7, age=OLD) for number in range(100)]
    run = clean("working_memory", *items)
    assert [each.item for each in run.actions] == [each.id for each in items]
    assert run.steps == (StepRun("remove_debug", 100, 700),)
    assert run.tokens_freed == 700


def test_an_action_that_would_not_make_the_item_smaller_is_skipped():
    items = [
        item("empty task", "task", 0, completed=True),
        item("empty debug", "debug", 0, age=OLD),
        item("empty file", "file", 0, idle=OLD),
    ]
    assert acted(clean("working_memory", *items, used=9, allocated=10)) == []
    assert acted(clean("knowledge_base", *[item(n, "memory", 0, fingerprint="x") for n in "ab"])) == []


def test_an_item_is_compressed_once_until_it_is_put_again():
    compressed = item("a", "context", 20_000, idle=OLD, original_tokens=50_000)
    summarized = item("b", "interaction", 500, age=3 * HOUR, original_tokens=5_000)
    excerpted = item("c", "skill", 5_000, doc_tokens=4_000, original_tokens=9_000)
    cached = item("d", "doc", 5_000, full=True, original_tokens=9_000)
    assert acted(clean("working_memory", compressed)) == []
    assert acted(clean("interaction_buffer", summarized)) == []
    assert acted(clean("knowledge_base", excerpted, cached)) == []


def test_a_compressed_item_is_still_removed_and_its_first_size_remembered():
    (action,) = clean("interaction_buffer", item("a", "interaction", 200, age=OLD, original_tokens=5_000)).actions
    assert (action.tokens_before, action.tokens_after, action.original_tokens) == (200, 0, 5_000)


def test_each_step_counts_its_own_tokens_on_what_the_previous_left():
    run = clean("interaction_buffer", item("a", "interaction", 5_000, age=OLD))
    assert acted(run) == [("summarize_old", "a", 5_000, 200), ("archive", "a", 200, 0)]
    assert run.steps == (StepRun("summarize_old", 1, 4_800), StepRun("archive", 1, 200))
    assert run.tokens_freed == 5_000
    assert [each.original_tokens for each in run.actions] == [5_000, 5_000]


def test_an_item_that_one_step_removed_is_no_business_of_the_next():
    items = [
        item("idle", "skill", 9_000, idle=OLD, doc_tokens=5_000, fingerprint="x"),
        item("used", "skill", 100, age=10, fingerprint="x"),
    ]
    assert acted(clean("knowledge_base", *items)) == [("unload_skills", "idle", 9_000, 0)]


def test_an_action_carries_what_the_archive_and_the_directive_need():
    (action,) = clean("knowledge_base", item("d", "doc", 500, full=True, content=17), first_number=41).actions
    assert (action.number, action.step, action.action) == (41, "cache_docs", "summarize")
    assert (action.kind, action.component, action.content) == ("doc", "knowledge_base", 17)
    assert (action.tokens_before, action.tokens_after, action.original_tokens) == (500, 100, 500)


def test_actions_are_numbered_only_where_directives_are_sent():
    items = [item(f"d{number}", "debug", age=OLD) for number in range(3)]
    assert [each.number for each in clean("working_memory", *items).actions] == [0, 0, 0]
    assert [each.number for each in clean("working_memory", *items, first_number=7).actions] == [7, 8, 9]


def test_only_the_steps_asked_for_run():
    run = clean("interaction_buffer", *eligible()["interaction_buffer"], steps=("remove_redundant",))
    assert acted(run) == [("remove_redundant", "said", 1_000, 0)]


def test_the_durations_of_a_run_and_of_its_steps_are_read_from_the_stopwatch_given():
    ticks = count(10.0, 0.25)
    run = clean("working_memory", item("d", "debug", age=OLD), stopwatch=lambda: next(ticks))
    (step,) = run.steps
    assert step.seconds == 0.25
    assert run.duration > step.seconds


# Groups


def test_a_group_goes_together_each_as_its_own_action_under_the_same_step():
    result = item("result", "debug", 500, age=OLD, group="call")
    call = item("call", "context", 50, group="call")
    run = clean("working_memory", result, call)
    assert acted(run) == [("remove_debug", "result", 500, 0), ("remove_debug", "call", 50, 0)]
    assert run.steps == (StepRun("remove_debug", 2, 550),)
    assert [each.action for each in run.actions] == ["remove", "remove"]


def test_a_group_goes_together_across_components_each_in_its_own():
    answer = item("answer", "interaction", 300, age=5 * HOUR, group="g")
    plan = item("plan", "plan", 40, group="g")
    run = clean("interaction_buffer", plan, answer, steps=("archive",))
    assert [(each.item, each.component, each.kind) for each in run.actions] == [
        ("answer", "interaction_buffer", "interaction"),
        ("plan", "agent_context", "plan"),
    ]
    assert run.tokens_freed == 340


@pytest.mark.parametrize(
    ("companion", "protected"),
    [
        (item("b", "context", pinned=True, group="g"), ()),
        (item("b", "plan", pinned=True, group="g"), ()),
        (item("b", "context", group="g"), ("b",)),
        (item("b", "interaction", age=30 * MINUTE - 1, group="g"), ()),
        (item("b", "prompt", group="g"), ()),
    ],
    ids=["pinned", "pinned elsewhere", "of this command", "young exchange", "system context"],
)
def test_a_group_stays_together_if_one_of_it_must_stay(companion, protected):
    items = [
        item("a", "debug", age=OLD, group="g"),
        item("c", "task", completed=True, group="g"),
        item("d", "file", idle=OLD, group="g"),
        companion,
    ]
    assert acted(clean("working_memory", *items, allocated=1, protected=protected)) == []


def test_an_exchange_of_thirty_minutes_may_go_with_its_group():
    items = item("a", "debug", age=OLD, group="g"), item("b", "interaction", age=30 * MINUTE, group="g")
    assert [each.item for each in clean("working_memory", *items).actions] == ["a", "b"]


def test_shrinking_concerns_an_item_alone():
    items = item("a", "context", 20_000, idle=OLD, group="g"), item("b", "context", pinned=True, group="g")
    assert acted(clean("working_memory", *items)) == [("compress_inactive", "a", 20_000, 8_000)]


def test_a_companion_without_tokens_goes_along():
    items = item("result", "debug", 500, age=OLD, group="g"), item("call", "context", 0, group="g")
    assert acted(clean("working_memory", *items)) == [
        ("remove_debug", "result", 500, 0),
        ("remove_debug", "call", 0, 0),
    ]


def test_a_companion_that_was_compressed_in_the_same_run_goes_with_what_is_left_of_it():
    items = item("big", "context", 20_000, idle=OLD, group="g"), item("debug", "debug", 500, age=OLD, group="g")
    assert acted(clean("working_memory", *items)) == [
        ("compress_inactive", "big", 20_000, 8_000),
        ("remove_debug", "debug", 500, 0),
        ("remove_debug", "big", 8_000, 0),
    ]


def test_two_eligible_items_of_one_group_are_counted_once():
    items = [item(name, "debug", 500, age=OLD, group="g") for name in "ab"]
    assert acted(clean("working_memory", *items)) == [("remove_debug", "a", 500, 0), ("remove_debug", "b", 500, 0)]


def test_the_companion_of_an_evicted_file_comes_on_top_of_the_five():
    items = [item(f"f{number}", "file", idle=100 - number) for number in range(7)]
    items[0].group = items[6].group = "g"
    names = [each.item for each in clean("working_memory", *items, allocated=7_000).actions]
    assert names == ["f0", "f6", "f1", "f2", "f3", "f4"]


def test_a_file_whose_group_must_stay_is_not_one_of_the_five():
    items = [item(f"f{number}", "file", idle=100 - number) for number in range(7)]
    items[0].group = "g"
    pinned = item("p", "context", 1, pinned=True, group="g")
    names = [each.item for each in clean("working_memory", *items, pinned, allocated=7_000).actions]
    assert names == ["f1", "f2", "f3", "f4", "f5"]


def test_a_group_may_name_what_is_not_there_any_more():
    run = run_cleanup(
        "working_memory",
        "manual",
        items=held([item("a", "debug", age=OLD, group="g")]),
        groups={"g": {"a", "gone"}},
        policy=STANDARD,
        now=NOW,
        used=1_000,
        allocated=1_000,
    )
    assert acted(run) == [("remove_debug", "a", 1_000, 0)]


# The extent `goal`


def debug(count):
    return [item(f"d{number}", "debug", 1_000, age=OLD) for number in range(count)]


def test_by_default_all_steps_run_to_their_end():
    assert clean("working_memory", *debug(10), allocated=1_000_000, pending=1).tokens_freed == 10_000


def test_with_goal_a_run_stops_as_soon_as_the_request_fits():
    # 10,000 of 20,000: inside the target; 12,000 more fit when 2,000 are freed.
    run = clean("working_memory", *debug(10), allocated=20_000, pending=12_000, extent="goal")
    assert run.tokens_freed == 2_000


def test_with_goal_a_run_goes_on_until_the_component_is_inside_its_target():
    # The target's upper end is 0.80 of 10,000, which is inside.
    assert clean("working_memory", *debug(10), allocated=10_000, extent="goal").tokens_freed == 2_000


def test_with_goal_nothing_is_done_where_all_is_well():
    assert clean("working_memory", *debug(10), allocated=100_000, pending=500, extent="goal").result == "noop"


def test_with_goal_a_group_is_not_torn_apart():
    items = debug(10)
    for each in items[:4]:
        each.group = "g"
    run = clean("working_memory", *items, allocated=20_000, pending=11_000, extent="goal")
    assert [each.item for each in run.actions] == ["d0", "d1", "d2", "d3"]


def test_the_extent_is_policy():
    policy = with_cleanup(STANDARD, extent="goal")
    assert clean("working_memory", *debug(10), allocated=10_000, policy=policy).tokens_freed == 2_000
    assert would_free("working_memory", *debug(10), allocated=10_000, policy=policy) == 2_000
    assert clean("working_memory", *debug(10), allocated=10_000, policy=policy, extent="full").tokens_freed == 10_000
