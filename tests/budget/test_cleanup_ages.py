"""When an age next matters: never missed, never before its time."""

from dataclasses import replace

import pytest

from sidecar.budget.cleanup import first_due, first_due_call
from sidecar.budget.presets import STANDARD
from tests.budget.cleaning import HOUR, MINUTE, NOW, clean, item, left_after

SOON = pytest.approx(NOW + 1, abs=1e-5)


@pytest.mark.parametrize(
    "each",
    [
        item("a", "context", 10_001, idle=HOUR - 1),
        item("a", "tool_result", 10_001, idle=HOUR - 1),
        item("a", "debug", age=2 * HOUR - 1),
        item("a", "skill", idle=3 * HOUR - 1),
        item("a", "agent", 10_001, idle=HOUR - 1),
        item("a", "interaction", 201, age=2 * HOUR - 1),
        item("a", "interaction", 200, age=4 * HOUR - 1),
        item("a", "interaction", 500, age=4 * HOUR - 1, original_tokens=1_000),
    ],
    ids=lambda each: f"{each.kind} {each.tokens}",
)
def test_an_item_is_due_when_it_crosses_its_threshold_and_no_moment_earlier(each):
    assert first_due(each, STANDARD) == SOON
    run = clean(each.component, each)
    assert run.result == "noop"
    assert run.due == SOON
    assert clean(each.component, each, now=NOW + 1).result == "noop"  # exactly at the threshold is not over it
    assert clean(each.component, each, now=run.due).result == "freed"


@pytest.mark.parametrize(
    "each",
    [
        item("a", "context", 10_000),
        item("a", "context", 20_000, original_tokens=50_000),
        item("a", "file", 20_000),
        item("a", "task", 20_000),
        item("a", "doc", 20_000, full=True),
        item("a", "memory", 20_000),
        item("a", "agent", 10_000),
        item("a", "prompt", 50_000),
        item("a", "debug", pinned=True),
        item("a", "debug", 0),
        item("a", "interaction", 0),
    ],
    ids=lambda each: f"{each.kind} {each.tokens}",
)
def test_an_item_without_a_threshold_is_never_due(each):
    assert first_due(each, STANDARD) is None
    assert clean(each.component, each).due is None


def test_a_threshold_that_is_reached_this_very_moment_is_still_to_come():
    run = clean("working_memory", item("a", "debug", age=2 * HOUR))
    assert run.result == "noop"
    assert run.due is not None
    assert NOW < run.due < NOW + 1e-5
    assert clean("working_memory", item("a", "debug", age=2 * HOUR), now=run.due).result == "freed"


def test_a_threshold_that_is_past_is_not_due_again():
    pinned = item("pinned", "context", pinned=True, group="g")
    stays = item("stays", "debug", age=3 * HOUR, group="g")
    assert clean("working_memory", stays, pinned).due is None
    later = item("later", "debug", age=HOUR)
    assert clean("working_memory", stays, pinned, later).due == pytest.approx(NOW + HOUR, abs=1e-5)


def test_what_a_run_left_is_due_at_its_next_threshold():
    run = clean("interaction_buffer", item("a", "interaction", 1_000, age=3 * HOUR))
    assert run.tokens_freed == 800
    assert run.due == pytest.approx(NOW + HOUR, abs=1e-5)


def test_a_run_of_some_steps_still_says_when_any_step_of_the_strategy_is_due():
    run = clean("interaction_buffer", item("a", "interaction", 100, age=4 * HOUR - 1), steps=("summarize_old",))
    assert run.due == SOON


def test_a_redundant_exchange_is_due_when_it_is_young_no_longer():
    young = item("young", "interaction", 100, age=30 * MINUTE - 1, fingerprint="x")
    newer = item("newer", "interaction", 100, age=29 * MINUTE, fingerprint="x")
    run = clean("interaction_buffer", young, newer)
    assert run.due == NOW + 1
    assert clean("interaction_buffer", young, newer, now=run.due).tokens_freed == 100


def test_an_exchange_that_nothing_repeats_is_not_due_for_it():
    young = item("young", "interaction", 100, age=20 * MINUTE, fingerprint="x")
    other = item("other", "interaction", 100, age=19 * MINUTE, fingerprint="y")
    assert clean("interaction_buffer", young, other).due == pytest.approx(NOW + 4 * HOUR - 20 * MINUTE, abs=1e-5)


def test_a_new_repetition_is_due_no_later_than_what_it_repeats():
    old = item("old", "interaction", 100, age=25 * MINUTE, fingerprint="x")
    new = item("new", "interaction", 100, age=16 * MINUTE, fingerprint="x")
    due = first_due(new, STANDARD)
    assert due is not None
    assert due <= NOW + 5 * MINUTE == clean("interaction_buffer", old, new).due


def test_the_earliest_of_many_counts():
    items = [item(f"d{number}", "debug", age=number * MINUTE) for number in range(100)]
    items += [item(f"c{number}", "context", 20_000, idle=number * MINUTE) for number in range(50)]
    run = clean("working_memory", *items)
    assert run.due == pytest.approx(NOW + 11 * MINUTE, abs=1e-5)
    assert run.due == min(due for each in items if (due := first_due(each, STANDARD)) is not None)


def test_after_every_due_time_something_happened_until_nothing_is_due():
    items = [item(f"i{number}", "interaction", 1_000, age=number * 17 * MINUTE) for number in range(12)]
    now, runs = NOW, 0
    while True:
        run = clean("interaction_buffer", *items, now=now)
        items = left_after(run, *items)
        if run.due is None:
            break
        assert run.due > now
        assert runs == 0 or run.result == "freed"
        now, runs = run.due, runs + 1
    assert items == []
    assert runs > 12


def test_a_variant_of_a_policy_has_ages_of_its_own_whatever_was_asked_of_the_first():
    each, in_an_hour = item("a", "debug", age=HOUR), pytest.approx(NOW + HOUR, abs=1e-5)
    assert first_due(each, STANDARD) == in_an_hour
    variant = replace(STANDARD, cleanup=replace(STANDARD.cleanup, debug_after=HOUR + 1, debug_after_calls=3))
    assert first_due(each, variant) == SOON
    assert first_due_call(each, variant) == 3
    assert first_due(each, STANDARD) == in_an_hour
    assert first_due_call(each, STANDARD) is None
