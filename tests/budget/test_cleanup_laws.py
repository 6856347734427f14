"""Laws of cleanup that hold for any window: nothing lost, nothing counted twice, nothing touched that must stay."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.cleanup import first_due
from sidecar.budget.items import KINDS, Item
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.presets import STANDARD
from tests.budget.cleaning import HOUR, MINUTE, NOW, clean, item, left_after, would_free

ages = st.sampled_from([0, 5, 25, 29.99, 30, 31, 45, 59, 60, 61, 119, 120, 121, 180, 181, 239, 240, 241, 600]).map(
    lambda minutes: minutes * MINUTE
)
fingerprints = st.none() | st.sampled_from(["x", "y", "00000000000000ff", "00000000000000f0", "ffff0000ffff0000"])


@st.composite
def windows(draw) -> list[Item]:
    """Up to a dozen items of any kind, age, size and group, a few of them in another component than their kind's."""
    return [
        item(
            f"i{number}",
            draw(st.sampled_from(KINDS)),
            draw(st.sampled_from([0, 1, 2, 100, 200, 201, 2_500, 10_000, 10_001, 30_000])),
            age=draw(ages),
            idle=draw(ages),
            completed=draw(st.booleans()),
            pinned=draw(st.sampled_from([False, False, False, True])),
            full=draw(st.booleans()),
            doc_tokens=draw(st.sampled_from([0, 2_000, 2_001, 5_000])),
            group=draw(st.sampled_from([None, None, "g", "h", "k"])),
            fingerprint=draw(fingerprints),
            original_tokens=draw(st.sampled_from([None, None, None, 40_000])),
            **(draw(st.sampled_from([{}, {}, {"component": "working_memory"}, {"component": "interaction_buffer"}]))),
        )
        for number in range(draw(st.integers(0, 12)))
    ]


components = st.sampled_from(COMPONENTS)
budgets = st.sampled_from([0, 1, 5_000, 50_000, 1_000_000])


@given(windows(), components, budgets)
def test_freed_is_exactly_what_the_window_got_smaller_by(items, component, allocated):
    """Freed tokens are counted once; usage never goes below zero."""
    run = clean(component, *items, allocated=allocated)
    before, after = (sum(each.tokens for each in window) for window in (items, left_after(run, *items)))
    assert run.tokens_freed == before - after
    assert run.tokens_freed == sum(each.tokens_freed for each in run.steps)
    assert run.tokens_freed == sum(each.tokens_before - each.tokens_after for each in run.actions)
    assert after >= 0


@given(windows(), components, budgets)
def test_each_action_starts_from_what_the_last_one_left(items, component, allocated):
    """Steps run in order, each on what the previous left."""
    size = {each.id: each.tokens for each in items}
    first = {each.id: each.original_tokens or each.tokens for each in items}
    alone = {each.id for each in items if each.group is None}
    for action in clean(component, *items, allocated=allocated).actions:
        assert action.tokens_before == size.pop(action.item)
        assert 0 <= action.tokens_after < action.tokens_before or (
            action.tokens_after == 0 and action.item not in alone
        )
        assert action.original_tokens == first[action.item]
        if action.tokens_after:
            size[action.item] = action.tokens_after


@given(windows(), components, budgets, st.sets(st.integers(0, 11).map("i{}".format)))
def test_pinned_protected_young_and_fixed_are_never_touched(items, component, allocated, protected):
    run = clean(component, *items, allocated=allocated, protected=protected)
    touched = {each.item for each in run.actions}
    for each in items:
        if each.pinned or each.id in protected or each.component == "system_context":
            assert each.id not in touched
        if each.kind == "interaction" and NOW - each.created_at < 30 * MINUTE:
            assert each.id not in touched


@given(windows(), components, budgets)
def test_of_a_group_all_are_removed_by_the_same_step_or_none(items, component, allocated):
    run = clean(component, *items, allocated=allocated)
    removed = {each.item: each.step for each in run.actions if each.tokens_after == 0}
    for name in {each.group for each in items if each.group}:
        steps = {removed.get(each.id) for each in items if each.group == name}
        assert len(steps) == 1


@given(windows(), components, st.sampled_from([10**9]))
def test_a_second_run_frees_nothing_more(items, component, allocated):
    """An action that would not make the item smaller is skipped; an item is compressed once until it is put again."""
    # A copy that stayed because its group held what another was a copy of may go when that other one is gone.
    items = [msgspec.structs.replace(each, fingerprint=None) if each.group else each for each in items]
    run = clean(component, *items, allocated=allocated)
    assert clean(component, *left_after(run, *items), allocated=allocated).actions == ()


@given(windows(), components, budgets)
def test_only_items_of_the_component_are_touched_unless_their_group_goes(items, component, allocated):
    by_id = {each.id: each for each in items}
    run = clean(component, *items, allocated=allocated)
    for action in run.actions:
        each = by_id[action.item]
        assert action.component == each.component
        if each.component != component:
            assert action.tokens_after == 0
            assert any(other.group == each.group and other.component == component for other in items)


@given(windows(), components, budgets)
def test_the_shorter_way_to_reclaimable_gives_the_same(items, component, allocated):
    run = clean(component, *items, allocated=allocated)
    assert would_free(component, *items, allocated=allocated) == run.tokens_freed


@given(windows(), components, st.integers(0, 60_000), st.sampled_from([10_000, 40_000, 200_000]))
def test_with_goal_no_less_is_done_than_the_goal_needs_and_no_more_than_full(items, component, pending, allocated):
    used = sum(each.tokens for each in items if each.component == component)
    full = clean(component, *items, allocated=allocated, pending=pending)
    goal = clean(component, *items, allocated=allocated, pending=pending, extent="goal")
    assert goal.actions == full.actions[: len(goal.actions)]
    if goal.actions != full.actions:
        left = used - sum(
            each.tokens_before - each.tokens_after for each in goal.actions if each.component == component
        )
        assert pending == 0 or left + pending <= allocated
        assert left <= STANDARD.components[component].target.high * allocated


@given(windows(), components, st.sampled_from([10**9]))
def test_until_it_is_due_nothing_more_can_be_done(items, component, allocated):
    """`due` is later than now, and no cleanup before it frees anything (utilization is too low for eviction)."""
    run = clean(component, *items, allocated=allocated)
    left = left_after(run, *items)
    until = run.due if run.due is not None else NOW + 10_000 * HOUR
    assert until > NOW
    shortly_before = until - 0.001 if until > NOW + 0.001 else NOW
    ages = [each for each in left if each.group is None]  # the age of another component's companion may free a group
    run_alone = clean(component, *ages, allocated=allocated)
    assert clean(component, *left_after(run_alone, *ages), allocated=allocated, now=shortly_before).actions == ()


@given(windows())
def test_no_item_is_due_later_than_its_component_says(items):
    """Keeping the least `first_due` of what was put never misses what a run would have said."""
    for component in COMPONENTS:
        mine = [each for each in items if each.component == component]
        run = clean(component, *mine, steps=())
        firsts = [due for each in mine if (due := first_due(each, STANDARD)) is not None]
        if run.due is not None:
            assert min(firsts) <= run.due
