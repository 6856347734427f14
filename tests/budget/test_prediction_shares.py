"""Suggested shares: the smallest change that covers a shortfall from what others neither use nor need (SPEC 3.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.allocation import split, split_beside
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.prediction import suggest_shares
from sidecar.budget.presets import STANDARD

TOTAL = 200_000
DEFAULT = STANDARD.shares
FIXED: Component = "system_context"


def row(*values: int) -> dict[Component, int]:
    return dict(zip(COMPONENTS, values, strict=True))


def suggested(used, needs, *, total=TOTAL, shares=DEFAULT):
    return suggest_shares(
        total=total, allocated=split(total, shares), used=used, needs=needs, policy=STANDARD, shares=shares
    )


def test_without_a_shortfall_nothing_is_suggested():
    assert suggested(row(0, 0, 0, 0, 0), row(0, 60_000, 20_000, 30_000, 0)) is None


def test_exactly_what_is_missing_moves_from_those_who_can_spare_it():
    # Working memory lacks 20,000; knowledge base can spare 30,000 above its floor, interaction buffer 10,000.
    used = row(20_000, 20_000, 0, 30_000, 40_000)
    shares = suggested(used, row(0, 60_000, 0, 0, 0))
    assert split(TOTAL, shares) == row(20_000, 80_000, 25_000, 30_000, 45_000)
    assert shares == {
        "system_context": 0.10,
        "working_memory": 0.40,
        "knowledge_base": 0.125,
        "agent_context": 0.15,
        "interaction_buffer": 0.225,
    }


def test_what_others_need_themselves_is_not_taken():
    # Knowledge base needs 35,000 of its 40,000: it gives no more than 5,000, which is not enough.
    used = row(0, 50_000, 0, 30_000, 50_000)
    assert suggested(used, row(0, 15_000, 35_000, 0, 0)) == pytest.approx(
        {**DEFAULT, "working_memory": 0.325, "knowledge_base": 0.175}
    )
    assert suggested(used, row(0, 15_001, 35_000, 0, 0)) is None


def test_nobody_is_left_below_the_floor():
    used = row(0, 60_000, 0, 30_000, 50_000)
    assert split(TOTAL, suggested(used, row(0, 30_000, 0, 0, 0)))["knowledge_base"] == 10_000
    assert suggested(used, row(0, 30_001, 0, 0, 0)) is None


def test_beside_a_measured_component_the_others_shares_move_and_its_own_does_not():
    # It takes 60,000 though its share is 20,000; knowledge base lacks 13,334 of what the others have.
    taken: dict[Component, int] = {"system_context": 60_000}
    before = split_beside(TOTAL, DEFAULT, taken)
    shares = suggest_shares(
        total=TOTAL, allocated=before, used=row(60_000, 0, 0, 0, 0), needs=row(0, 0, 44_445, 0, 0), policy=STANDARD,
        shares=DEFAULT, taken=taken,
    )  # fmt: skip
    assert shares is not None
    assert shares["system_context"] == DEFAULT["system_context"]
    assert sum(shares.values()) == pytest.approx(1)
    assert split_beside(TOTAL, shares, taken)["knowledge_base"] == 44_445
    assert min(shares.values()) >= STANDARD.adapt.floor


def test_the_fixed_component_gives_nothing_and_lacks_nothing():
    assert suggested(row(0, 60_000, 40_000, 30_000, 50_000), row(0, 1, 0, 0, 0)) is None
    assert suggested(row(20_000, 0, 0, 0, 0), row(5_000, 0, 0, 0, 0)) is None


def test_a_component_over_its_budget_is_brought_up_to_what_it_uses_and_needs():
    used = row(0, 70_000, 0, 0, 0)
    assert split(TOTAL, suggested(used, row(0, 5_000, 0, 0, 0)))["working_memory"] == 75_000


def test_a_component_over_its_budget_that_needs_nothing_is_not_short():
    assert suggested(row(0, 70_000, 0, 0, 0), row(0, 0, 0, 0, 0)) is None


def test_several_shortfalls_are_covered_together():
    shares = suggested(row(0, 60_000, 0, 30_000, 0), row(0, 10_000, 0, 5_000, 0))
    assert split(TOTAL, shares) == row(20_000, 70_000, 40_000 - 6_429, 35_000, 50_000 - 8_571)


def test_a_window_of_nothing_has_nothing_to_suggest():
    assert suggested(row(0, 0, 0, 0, 0), row(0, 1, 0, 0, 0), total=0) is None


shares_in_use = (
    st.lists(st.integers(1, 1000), min_size=5, max_size=5)
    .map(lambda weights: [weight / sum(weights) for weight in weights])
    .map(lambda values: dict(zip(COMPONENTS, values, strict=True)))
)
sizes = st.lists(st.integers(0, 400), min_size=5, max_size=5)


@given(st.integers(0, 10**6), st.just(DEFAULT) | shares_in_use, sizes, sizes)
def test_a_suggestion_covers_every_shortfall_and_takes_no_more(total, shares, used_parts, needs_parts):
    used = row(*[total * part // 1000 for part in used_parts])
    needs = row(*[total * part // 1000 for part in needs_parts])
    allocated = split(total, shares)
    suggestion = suggested(used, needs, total=total, shares=shares)
    short = {name for name in COMPONENTS if name != FIXED and needs[name] > max(0, allocated[name] - used[name])}
    if suggestion is None:
        spare = sum(
            max(0, allocated[name] - max(used[name] + needs[name], -(-total // 20)))
            for name in COMPONENTS
            if name != FIXED and name not in short
        )
        lacking = sum(used[name] + needs[name] - allocated[name] for name in short)
        assert not short or lacking > spare - 5  # the floor of a share may keep back a token of each
        return
    after = split(total, suggestion)
    assert sum(suggestion.values()) == pytest.approx(1, abs=1e-9)
    assert after[FIXED] == allocated[FIXED]
    for name in COMPONENTS:
        if name in short:
            assert after[name] == used[name] + needs[name]
        elif after[name] != allocated[name]:
            assert after[name] < allocated[name]
            assert after[name] >= used[name] + needs[name]
            assert after[name] >= total * 0.05 - 1e-6
            assert suggestion[name] >= 0.05 - 1e-12
