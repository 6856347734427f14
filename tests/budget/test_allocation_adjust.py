"""Shares adapted to their history (SPEC 3.4): both worked examples, and the order in which its rules yield."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.allocation import Adjustment, adjust_shares, split
from sidecar.budget.commands import ComponentHistory
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.presets import STANDARD

DEFAULT = STANDARD.shares
FIXED: Component = "system_context"
ADJUSTABLE = [name for name in COMPONENTS if name != FIXED]


def history(exhaustions: int, utilization: float) -> ComponentHistory:
    return ComponentHistory(exhaustion_count=exhaustions, avg_utilization=utilization)


def shares_of(*values: float) -> dict[Component, float]:
    return dict(zip(COMPONENTS, values, strict=True))


def adjusted(shares=DEFAULT, critical=(), **histories: ComponentHistory) -> Adjustment:
    return adjust_shares(shares, histories, STANDARD, critical=critical)  # type: ignore[arg-type]


def rounded(adjustment: Adjustment) -> list[float]:
    return [round(share, 4) for share in adjustment.after.values()]


# The worked examples


def test_worked_example_raise_and_lower_that_need_no_scaling():
    adjustment = adjusted(
        system_context=history(0, 0.98),
        working_memory=history(2, 0.75),
        knowledge_base=history(1, 0.50),
        agent_context=history(5, 0.98),
        interaction_buffer=history(0, 0.45),
    )
    assert adjustment.after == {**DEFAULT, "agent_context": 0.20, "interaction_buffer": 0.20}
    assert adjustment.reasons == {
        "agent_context": ["5 exhaustions, more than 3: +0.05"],
        "interaction_buffer": ["average utilization 0.45 below 0.50: -0.05"],
    }


def test_worked_example_raise_that_scales_all_but_the_fixed():
    adjustment = adjusted(
        working_memory=history(5, 0.95),
        **{name: history(0, 0.60) for name in COMPONENTS if name != "working_memory"},
    )
    assert rounded(adjustment) == [0.10, 0.3316, 0.1895, 0.1421, 0.2368]
    assert adjustment.reasons["working_memory"] == [
        "5 exhaustions, more than 3: +0.05",
        "all scaled to 0.90, beside what is fixed",
    ]
    assert adjustment.reasons["knowledge_base"] == ["all scaled to 0.90, beside what is fixed"]
    assert FIXED not in adjustment.reasons


# The rules, one by one


def test_without_history_nothing_changes_and_nothing_is_said():
    assert adjusted() == Adjustment(after=DEFAULT, reasons={})


def test_three_exhaustions_are_not_more_than_three():
    assert adjusted(working_memory=history(3, 0.9)).after == DEFAULT
    assert adjusted(working_memory=history(4, 0.9)).after != DEFAULT


def test_an_average_of_exactly_half_is_not_below_half():
    assert adjusted(working_memory=history(0, 0.5)).after == DEFAULT
    assert adjusted(working_memory=history(0, 0.4999)).after != DEFAULT


def test_both_rules_may_apply_and_then_cancel():
    adjustment = adjusted(working_memory=history(4, 0.2))
    assert adjustment.after == DEFAULT
    assert adjustment.reasons["working_memory"] == [
        "4 exhaustions, more than 3: +0.05",
        "average utilization 0.20 below 0.50: -0.05",
    ]


def test_the_fixed_component_never_changes_whatever_its_history():
    for what in (history(9, 0.99), history(0, 0.0)):
        assert adjusted(system_context=what).after == DEFAULT


def test_a_component_without_history_only_changes_by_scaling():
    after = adjusted(working_memory=history(0, 0.1)).after
    ratios = {round(after[name] / DEFAULT[name], 9) for name in ADJUSTABLE if name != "working_memory"}
    assert len(ratios) == 1
    assert ratios.pop() > 1


def test_raising_stops_at_the_cap():
    adjustment = adjusted(shares_of(0.10, 0.48, 0.14, 0.14, 0.14), working_memory=history(5, 0.9))
    assert adjustment.reasons["working_memory"][0] == "5 exhaustions, more than 3: +0.02"
    assert adjustment.after["working_memory"] < 0.50


def test_raising_a_share_above_the_cap_does_not_lower_it_any_further():
    above = shares_of(0.10, 0.60, 0.10, 0.10, 0.10)
    assert adjusted(above, working_memory=history(5, 0.9)).after == adjusted(above).after
    assert adjusted(above).after["working_memory"] == 0.50


def test_components_without_any_share_take_alike_what_a_capped_one_leaves():
    after = adjusted(shares_of(0.0, 1.0, 0.0, 0.0, 0.0)).after
    assert [round(share, 6) for share in after.values()] == [0.0, 0.5, 0.166667, 0.166667, 0.166667]


def test_lowering_stops_at_the_floor():
    adjustment = adjusted(shares_of(0.10, 0.07, 0.28, 0.27, 0.28), working_memory=history(0, 0.1))
    assert adjustment.reasons["working_memory"][0] == "average utilization 0.10 below 0.50: -0.02"
    assert adjustment.after["working_memory"] >= 0.05


def test_the_cap_holds_after_scaling_and_what_is_cut_off_goes_to_the_others():
    # Lowering three scales the fourth from 0.50 beyond the cap; the three share what that leaves, alike.
    low = history(0, 0.1)
    adjustment = adjusted(
        shares_of(0.10, 0.50, 0.15, 0.15, 0.10), knowledge_base=low, agent_context=low, interaction_buffer=low
    )
    assert rounded(adjustment) == [0.10, 0.50, 0.16, 0.16, 0.08]
    assert adjustment.reasons["working_memory"] == ["held at the cap 0.50"]


def test_the_floor_holds_after_scaling_and_the_others_pay_for_it():
    adjustment = adjusted(shares_of(0.10, 0.05, 0.25, 0.30, 0.30), agent_context=history(9, 0.9))
    assert adjustment.after["working_memory"] == 0.05
    assert adjustment.reasons["working_memory"] == ["held at the floor 0.05"]
    assert rounded(adjustment) == [0.10, 0.05, 0.2361, 0.3306, 0.2833]


def test_a_critical_component_is_not_lowered_by_its_own_average():
    adjustment = adjusted(critical={"working_memory"}, working_memory=history(0, 0.3))
    assert adjustment.after == DEFAULT
    assert adjustment.reasons["working_memory"] == [
        "average utilization 0.30 below 0.50, but critical now: not lowered"
    ]


def test_a_critical_component_is_not_lowered_by_scaling():
    adjustment = adjusted(critical={"agent_context"}, working_memory=history(5, 0.95))
    assert adjustment.after["agent_context"] == 0.15
    assert adjustment.reasons["agent_context"] == ["critical now: not lowered"]
    assert rounded(adjustment) == [0.10, 0.3281, 0.1875, 0.15, 0.2344]


def test_a_critical_component_may_be_raised():
    after = adjusted(critical={"agent_context"}, agent_context=history(5, 0.95)).after
    assert after["agent_context"] > 0.15


def test_repeated_adjustments_approach_the_cap_and_stay_sound():
    shares = dict(DEFAULT)
    for _ in range(50):
        shares = adjusted(shares, working_memory=history(5, 0.95)).after
        assert sum(split(200_000, shares).values()) == 200_000
        assert split(200_000, shares)[FIXED] == 20_000
    assert shares["working_memory"] == pytest.approx(0.50)


# What yields where all of it cannot hold: sum to 1, then fixed, then floors, then caps, then not lowering


def test_not_lowering_yields_to_the_sum():
    # 0.60 + 0.28 critical and two floors are 0.98, where the fixed one leaves 0.90 and the cap allows 0.50.
    shares = shares_of(0.10, 0.45, 0.45, 0.0, 0.0)
    after = adjusted(shares, critical={"working_memory", "knowledge_base"}).after
    assert after == shares_of(0.10, 0.40, 0.40, 0.05, 0.05)


def test_not_lowering_yields_to_the_cap():
    after = adjusted(shares_of(0.10, 0.60, 0.10, 0.10, 0.10), critical={"working_memory"}).after
    assert after["working_memory"] == 0.50


def test_not_lowering_yields_no_more_than_it_must():
    shares = shares_of(0.10, 0.45, 0.40, 0.05, 0.0)
    after = adjusted(shares, critical={"working_memory", "knowledge_base"}, agent_context=history(9, 0.9)).after
    assert (after["agent_context"], after["interaction_buffer"]) == (0.05, 0.05)
    assert after["working_memory"] + after["knowledge_base"] == pytest.approx(0.80)


def test_caps_yield_to_the_sum():
    fixed = {
        name: replace(row, fixed=name not in {"working_memory", "agent_context"})
        for name, row in STANDARD.components.items()
    }
    policy = replace(STANDARD, components=fixed)
    shares = shares_of(0.0, 0.8, 0.0, 0.1, 0.1)
    assert adjust_shares(shares, {}, policy).after == shares_of(0.0, 0.5, 0.0, 0.4, 0.1)
    tight = replace(policy, adapt=replace(policy.adapt, cap=0.40))
    after = adjust_shares(shares, {}, tight).after
    assert after == shares_of(0.0, 0.5, 0.0, 0.4, 0.1)  # 0.90 for two at 0.40: the one that wants more takes the rest


def test_floors_yield_to_what_is_fixed_and_share_alike():
    after = adjusted(shares_of(0.84, 0.10, 0.06, 0.0, 0.0)).after
    assert after == shares_of(0.84, 0.04, 0.04, 0.04, 0.04)


def test_where_the_fixed_take_everything_the_others_have_nothing():
    shares = shares_of(1.0, 0.0, 0.0, 0.0, 0.0)
    assert adjusted(shares, working_memory=history(9, 0.9)).after == shares


# Laws


weights = st.lists(st.integers(0, 100), min_size=5, max_size=5).filter(lambda row: sum(row) > 0)
any_shares = weights.map(lambda row: shares_of(*[weight / sum(row) for weight in row]))
histories = st.dictionaries(
    st.sampled_from(COMPONENTS),
    st.builds(history, st.integers(0, 8), st.floats(0, 2)),
)
criticals = st.sets(st.sampled_from(COMPONENTS))


@given(any_shares, histories, criticals)
def test_the_sum_stays_one_and_the_fixed_stay_fixed(shares, histories, critical):
    after = adjust_shares(shares, histories, STANDARD, critical=critical).after
    assert sum(after.values()) == pytest.approx(1, abs=1e-12)
    assert after[FIXED] == shares[FIXED]
    assert all(share >= 0 for share in after.values())


@given(any_shares, histories, criticals)
def test_floors_and_caps_hold_after_scaling_wherever_they_can(shares, histories, critical):
    """Caps and floors hold *after* scaling: clip, redistribute, repeat."""
    after = adjust_shares(shares, histories, STANDARD, critical=critical).after
    room = 1 - shares[FIXED]
    if room >= 0.20 + 1e-9:
        assert all(after[name] >= 0.05 - 1e-12 for name in ADJUSTABLE)
    assert all(after[name] <= 0.50 + 1e-12 for name in ADJUSTABLE)  # four caps are 2.00: they always can


@given(any_shares, histories, criticals)
def test_a_component_that_is_critical_now_is_not_lowered_wherever_that_can_be(shares, histories, critical):
    after = adjust_shares(shares, histories, STANDARD, critical=critical).after
    bounds = [max(0.05, min(shares[name], 0.50)) if name in critical else 0.05 for name in ADJUSTABLE]
    if sum(bounds) <= 1 - shares[FIXED] - 1e-9:
        for name in critical - {FIXED}:
            assert after[name] >= min(shares[name], 0.50) - 1e-12


@given(any_shares, histories)
def test_between_floor_and_cap_all_are_scaled_alike(shares, histories):
    """The adjustable components are scaled to what the fixed ones leave."""
    policy = replace(STANDARD, adapt=replace(STANDARD.adapt, raise_by=0.0, lower_by=0.0))
    after = adjust_shares(shares, histories, policy).after
    scales = [
        Fraction(repr(after[name])) / Fraction(repr(shares[name]))
        for name in ADJUSTABLE
        if 0.05 < shares[name] < 0.50 and 0.05 + 1e-9 < after[name] < 0.50 - 1e-9
    ]
    assert all(abs(scale - scales[0]) < 1e-9 for scale in scales)


@given(any_shares, histories, criticals)
def test_an_adjustment_says_why_for_every_share_that_changed(shares, histories, critical):
    adjustment = adjust_shares(shares, histories, STANDARD, critical=critical)
    changed = {name for name in COMPONENTS if abs(adjustment.after[name] - shares[name]) > 1e-9}
    assert changed <= set(adjustment.reasons)
    assert all(adjustment.reasons.values())


@given(any_shares, histories, criticals)
def test_more_exhaustions_never_make_a_share_smaller(shares, histories, critical):
    for name, what in histories.items():
        more = {**histories, name: replace(what, exhaustion_count=what.exhaustion_count + 4)}
        before = adjust_shares(shares, histories, STANDARD, critical=critical).after[name]
        assert adjust_shares(shares, more, STANDARD, critical=critical).after[name] >= before - 1e-12
