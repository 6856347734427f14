"""Each step of SPEC 3.5 does what its row says, up to the last second and token."""

import pytest

from sidecar.budget.items import Kind
from sidecar.budget.policy import Step
from sidecar.budget.presets import STANDARD
from sidecar.budget.steps import ACTION, STEPS, reasons
from tests.budget.cleaning import HOUR, MINUTE, NOW, acted, clean, item, with_cleanup

A = "0123456789abcdef"
B = "fedcba9876543210"


def only(step: Step, *items, **more):
    """The actions of this one step: item, size before and after."""
    component = next(name for name, row in STANDARD.components.items() if step in row.steps)
    return [each[1:] for each in acted(clean(component, *items, steps=(step,), **more))]


# compress_inactive: context and tool_result items over 10,000 tokens not accessed for over 1 h: to 0.4


@pytest.mark.parametrize("kind", ["context", "tool_result"])
def test_a_large_unused_item_is_compressed_to_two_fifths(kind):
    assert only("compress_inactive", item("a", kind, 25_000, idle=HOUR + 1)) == [("a", 25_000, 10_000)]


@pytest.mark.parametrize("kind", ["debug", "task", "file"])
def test_other_kinds_are_not_compressed_in_working_memory(kind):
    assert only("compress_inactive", item("a", kind, 25_000, idle=HOUR + 1)) == []


def test_an_item_of_exactly_10000_tokens_is_not_over_10000():
    idle = HOUR + 1
    items = item("exactly", "context", 10_000, idle=idle), item("over", "context", 10_001, idle=idle)
    assert only("compress_inactive", *items) == [("over", 10_001, 4_001)]


def test_an_item_accessed_exactly_an_hour_ago_is_not_idle_for_over_an_hour():
    items = item("exactly", "context", 20_000, idle=HOUR), item("over", "context", 20_000, idle=HOUR + 0.001)
    assert only("compress_inactive", *items) == [("over", 20_000, 8_000)]


def test_what_counts_for_compression_is_the_last_access_not_the_creation():
    assert only("compress_inactive", item("a", "context", 20_000, age=9 * HOUR, idle=10)) == []


@pytest.mark.parametrize(
    ("tokens", "left"), [(10_001, 4_001), (10_002, 4_001), (10_003, 4_002), (25_000, 10_000), (99_999, 40_000)]
)
def test_sizes_are_rounded_up_and_never_by_a_float_error(tokens, left):
    assert only("compress_inactive", item("a", "context", tokens, idle=2 * HOUR)) == [("a", tokens, left)]


# remove_debug: debug items created over 2 h ago


def test_debug_output_goes_over_two_hours_after_its_creation_whenever_it_was_read():
    items = (
        item("exactly", "debug", age=2 * HOUR),
        item("over", "debug", age=2 * HOUR + 1, idle=0),
        item("young", "debug", age=HOUR),
    )
    assert only("remove_debug", *items) == [("over", 1_000, 0)]


def test_only_debug_items_are_debug_output():
    items = [item(kind, kind, age=9 * HOUR, idle=9 * HOUR) for kind in ("context", "tool_result", "task", "file")]
    assert only("remove_debug", *items) == []


# archive_tasks: completed tasks


def test_completed_tasks_are_archived_and_open_ones_stay():
    items = item("done", "task", completed=True), item("open", "task"), item("file", "file", completed=True)
    assert only("archive_tasks", *items) == [("done", 1_000, 0)]


# evict_lru: only if utilization (without the pending request) is still above 0.75: the 5 least recently used files


def files(count):
    """Files of 1,000 tokens; `f0` was used last, `f9` longest ago."""
    return [item(f"f{number}", "file", idle=10.0 * number) for number in range(count)]


def test_the_five_least_recently_used_files_are_evicted_the_oldest_first():
    assert [name for name, *_ in only("evict_lru", *files(10), allocated=10_000)] == ["f9", "f8", "f7", "f6", "f5"]


def test_at_exactly_three_quarters_nothing_is_evicted():
    assert only("evict_lru", *files(6), allocated=8_000) == []
    assert len(only("evict_lru", *files(6), allocated=7_999)) == 5


def test_the_request_that_waits_does_not_count_for_eviction():
    assert only("evict_lru", *files(6), allocated=8_000, pending=1_000_000) == []


def test_tokens_that_no_item_holds_count_for_eviction():
    assert len(only("evict_lru", *files(6), used=6_001, allocated=8_000)) == 5


def test_nothing_is_evicted_when_the_steps_before_freed_enough():
    items = [*files(6), item("old", "debug", 2_000, age=3 * HOUR)]
    run = clean("working_memory", *items, allocated=8_000)
    assert acted(run) == [("remove_debug", "old", 2_000, 0)]


def test_fewer_than_five_files_are_all_evicted():
    assert len(only("evict_lru", *files(3), allocated=3_000)) == 3


def test_a_component_with_no_budget_at_all_is_above_every_utilization():
    assert len(only("evict_lru", *files(2), allocated=0)) == 2


def test_files_used_at_the_same_time_go_in_order_of_insertion():
    items = [item(f"f{number}", "file", idle=60) for number in range(7)]
    assert [name for name, *_ in only("evict_lru", *items, allocated=7_000)] == ["f0", "f1", "f2", "f3", "f4"]


def test_a_file_that_must_stay_gives_its_place_to_the_next():
    items = [*files(7), item("pinned", "file", idle=900, pinned=True), item("own", "file", idle=800)]
    names = [name for name, *_ in only("evict_lru", *items, allocated=9_000, protected={"own"})]
    assert names == ["f6", "f5", "f4", "f3", "f2"]


def test_only_files_are_evicted():
    items = [item("a", "context", idle=HOUR), item("b", "tool_result", idle=HOUR), item("c", "task", idle=HOUR)]
    assert only("evict_lru", *items, allocated=3_000) == []


def test_the_newest_copy_of_a_path_goes_last_where_policy_says_so_and_takes_its_call_with_it():
    items = (
        item("call-1", "context", 10, idle=9, group="1", path="a"),
        item("old copy", idle=9, group="1", path="a"),
        item("output", "tool_result", idle=5),
        item("call-2", "context", 10, idle=20, group="2", path="a"),
        item("newest copy", idle=20, group="2", path="a"),
    )
    kinds: tuple[Kind, ...] = ("file", "tool_result", "context")
    order = [
        [name for name, *_ in only("evict_lru", *items, allocated=1_000, policy=policy)]
        for policy in (with_cleanup(STANDARD, evict_kinds=kinds, newest_copies_last=last) for last in (False, True))
    ]
    assert order[0] == ["newest copy", "call-2", "old copy", "call-1", "output"]
    assert order[1] == ["old copy", "call-1", "output", "newest copy", "call-2"]


# unload_skills: skills not accessed for over 3 h


def test_skills_are_unloaded_over_three_hours_after_their_last_access():
    items = (
        item("exactly", "skill", idle=3 * HOUR),
        item("over", "skill", idle=3 * HOUR + 1),
        item("memory", "memory", idle=9 * HOUR),
    )
    assert only("unload_skills", *items) == [("over", 1_000, 0)]


# cache_docs: documents with `full`: keep a summary of 0.2 of their size


def test_documents_in_full_keep_a_fifth():
    items = item("full", "doc", 10_001, full=True), item("short", "doc", 10_001), item("skill", "skill", full=True)
    assert only("cache_docs", *items) == [("full", 10_001, 2_001)]


def test_a_document_too_small_to_shrink_is_left_alone():
    assert only("cache_docs", item("tiny", "doc", 1, full=True)) == []


# remove_duplicates: items whose `fingerprint` another item of the component has; the newest stays


def test_of_equal_fingerprints_the_newest_stays():
    items = (
        item("middle", "memory", age=20, fingerprint="x"),
        item("newest", "doc", age=10, fingerprint="x"),
        item("oldest", "skill", age=30, fingerprint="x"),
        item("other", "memory", age=40, fingerprint="y"),
        item("unmarked", "memory", age=50),
        item("unmarked too", "memory", age=60),
    )
    assert only("remove_duplicates", *items) == [("oldest", 1_000, 0), ("middle", 1_000, 0)]


def test_of_duplicates_created_at_the_same_time_the_one_inserted_last_stays():
    items = [item(name, "memory", fingerprint="x") for name in ("first", "second", "third")]
    assert [name for name, *_ in only("remove_duplicates", *items)] == ["first", "second"]


def test_a_duplicate_in_another_component_is_none():
    items = item("a", "memory", fingerprint="x", age=9), item("b", "file", fingerprint="x")
    assert only("remove_duplicates", *items) == []


def test_similar_fingerprints_are_no_duplicates_of_knowledge():
    items = item("a", "memory", fingerprint=A, age=9), item("b", "memory", fingerprint="0123456789abcdee")
    assert only("remove_duplicates", *items) == []


def test_a_pinned_copy_stays_and_still_makes_older_ones_duplicates():
    items = (
        item("old", "memory", age=30, fingerprint="x"),
        item("pinned", "memory", age=20, fingerprint="x", pinned=True),
        item("new", "memory", age=10, fingerprint="x"),
    )
    assert only("remove_duplicates", *items) == [("old", 1_000, 0)]
    assert only("remove_duplicates", *items[:2]) == [("old", 1_000, 0)]


def test_no_copy_goes_whose_group_holds_what_another_is_a_copy_of():
    items = (
        item("a1", "memory", age=40, fingerprint="x", group="g"),
        item("b1", "memory", age=30, fingerprint="y"),
        item("a2", "memory", age=20, fingerprint="x"),
        item("b2", "memory", age=10, fingerprint="y", group="g"),
    )
    # Removing a1 would take b2 along, the newest y; then b1 would be lost as the copy of nothing.
    assert only("remove_duplicates", *items) == [("b1", 1_000, 0)]


# compress_docs: skills with `doc_tokens` over 2,000: that part to 0.3


def test_the_documentation_of_a_skill_keeps_three_tenths_and_the_rest_stays():
    items = (
        item("over", "skill", 5_000, doc_tokens=2_001),
        item("exactly", "skill", 5_000, doc_tokens=2_000),
        item("doc", "doc", 5_000, doc_tokens=4_000),
    )
    assert only("compress_docs", *items) == [("over", 5_000, 5_000 - 2_001 + 601)]


def test_documentation_cannot_be_more_than_its_skill():
    assert only("compress_docs", item("all", "skill", 1_000, doc_tokens=5_000)) == [("all", 1_000, 300)]


# archive_completed: completed agents, plans and executions


def test_completed_agents_plans_and_executions_are_archived():
    kinds: tuple[Kind, ...] = ("agent", "plan", "execution")
    items = [item(kind, kind, completed=True) for kind in kinds] + [item(f"open {kind}", kind) for kind in kinds]
    assert only("archive_completed", *items) == [(kind, 1_000, 0) for kind in kinds]


def test_other_kinds_held_as_agent_context_are_not_archived_when_completed():
    assert only("archive_completed", item("t", "task", completed=True, component="agent_context")) == []


# compress_idle: items over 10,000 tokens not accessed for over 1 h: to 0.4


def test_every_kind_of_large_idle_item_of_agents_is_compressed():
    items = [
        item("agent", "agent", 20_000, idle=HOUR + 1),
        item("note", "context", 20_000, idle=HOUR + 1, component="agent_context"),
        item("exactly", "plan", 10_000, idle=HOUR + 1),
        item("used", "plan", 20_000, idle=HOUR),
    ]
    assert only("compress_idle", *items) == [("agent", 20_000, 8_000), ("note", 20_000, 8_000)]


# summarize_old: interactions created over 2 h ago: to at most 200 tokens


def test_old_exchanges_are_summarized_to_200_tokens():
    items = (
        item("over", "interaction", 201, age=2 * HOUR + 1),
        item("short", "interaction", 200, age=3 * HOUR),
        item("exactly", "interaction", 5_000, age=2 * HOUR),
        item("young", "interaction", 5_000, age=HOUR),
    )
    assert only("summarize_old", *items) == [("over", 201, 200)]


# remove_redundant: exchanges of equal or similar fingerprint within 10 minutes of each other; the newest stays


def exchange(id, at, fingerprint, **more):
    """An exchange `at` minutes after a moment three hours ago."""
    return item(id, "interaction", age=3 * HOUR - at * MINUTE, fingerprint=fingerprint, **more)


def test_an_exchange_repeated_within_ten_minutes_goes_and_the_newest_stays():
    assert only("remove_redundant", exchange("a", 0, A), exchange("b", 10, A)) == [("a", 1_000, 0)]


def test_an_exchange_repeated_later_than_that_stays():
    assert only("remove_redundant", exchange("a", 0, A), exchange("b", 10.01, A)) == []


def test_a_chain_of_repetitions_leaves_its_newest():
    items = [exchange(name, 8 * number, A) for number, name in enumerate("abcd")]
    assert [name for name, *_ in only("remove_redundant", *items)] == ["a", "b", "c"]


def test_equal_exchanges_of_one_moment_leave_the_one_inserted_last():
    assert [name for name, *_ in only("remove_redundant", *[exchange(n, 0, A) for n in "abc"])] == ["a", "b"]


def test_a_young_exchange_keeps_its_full_text_until_it_is_thirty_minutes_old():
    young = item("young", "interaction", age=30 * MINUTE - 1, fingerprint=A)
    newer = item("newer", "interaction", age=29 * MINUTE, fingerprint=A)
    assert only("remove_redundant", young, newer) == []
    assert only("remove_redundant", young, newer, now=NOW + 1) == [("young", 1_000, 0)]


def test_a_pinned_repetition_counts_and_stays():
    items = exchange("old", 0, A), exchange("pinned", 5, A, pinned=True), exchange("new", 8, A)
    assert only("remove_redundant", *items) == [("old", 1_000, 0)]


def test_no_redundant_exchange_takes_along_what_another_repeats():
    items = (
        exchange("a1", 0, A, group="g"),
        exchange("b1", 1, B),
        exchange("a2", 2, A),
        exchange("b2", 3, B, group="g"),
    )
    assert only("remove_redundant", *items) == [("b1", 1_000, 0)]


# archive: interactions created over 4 h ago


def test_very_old_exchanges_are_archived():
    items = (
        item("over", "interaction", 100, age=4 * HOUR + 1),
        item("exactly", "interaction", 100, age=4 * HOUR),
        item("other", "memory", 100, age=9 * HOUR, component="interaction_buffer"),
    )
    assert only("archive", *items) == [("over", 100, 0)]


# The tables


def test_every_step_has_a_rule_an_action_and_a_reason():
    steps = [step for row in STANDARD.components.values() for step in row.steps]
    assert list(STEPS) == steps
    assert list(ACTION) == steps
    assert list(reasons(STANDARD.cleanup)) == steps


def test_the_actions_are_those_of_the_directives():
    assert ACTION == {
        "compress_inactive": "compress",
        "compress_idle": "compress",
        "summarize_old": "summarize",
        "cache_docs": "summarize",
        "compress_docs": "excerpt",
        "unload_skills": "unload",
        "evict_lru": "evict",
        "archive_tasks": "archive",
        "archive_completed": "archive",
        "archive": "archive",
        "remove_debug": "remove",
        "remove_duplicates": "remove",
        "remove_redundant": "remove",
    }


def test_reasons_are_written_with_the_numbers_of_the_policy():
    standard = reasons(STANDARD.cleanup)
    assert standard["compress_inactive"] == "over 10,000 tokens and not accessed for over 1 hour"
    assert standard["remove_redundant"] == "a newer exchange within 10 minutes says the same"
    other = with_cleanup(STANDARD, large_item_tokens=500, inactive_after=90 * 60.0, archive_after=30.5).cleanup
    assert reasons(other)["compress_inactive"] == "over 500 tokens and not accessed for over 90 minutes"
    assert reasons(other)["archive"] == "exchange created over 30.5 seconds ago"


def test_all_numbers_are_policy():
    policy = with_cleanup(
        STANDARD, large_item_tokens=100, inactive_after=10.0, compress_to=0.5, evict_above=0.1, evict_count=1
    )
    items = [item("a", "context", 101, idle=11), item("f", "file", idle=5), item("g", "file", idle=6)]
    run = clean("working_memory", *items, policy=policy, allocated=10_000)
    assert acted(run) == [("compress_inactive", "a", 101, 51), ("evict_lru", "g", 1_000, 0)]
