"""The division of a window into whole tokens: exact, by largest remainder."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.allocation import check_shares, shown, split
from sidecar.budget.errors import Invalid
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.presets import STANDARD

EVEN: dict[Component, float] = dict.fromkeys(COMPONENTS, 0.2)


def shares_of(*values: float) -> dict[Component, float]:
    return dict(zip(COMPONENTS, values, strict=True))


def tokens_of(total: int, *values: float) -> list[int]:
    return list(split(total, shares_of(*values)).values())


def test_the_default_split_is_the_table():
    assert split(200_000, STANDARD.shares) == {
        "system_context": 20_000,
        "working_memory": 60_000,
        "knowledge_base": 40_000,
        "agent_context": 30_000,
        "interaction_buffer": 50_000,
    }


def test_no_float_truncation():
    # In floats 0.29 * 200_000 is 57999.99999999999.
    assert tokens_of(200_000, 0.29, 0.11, 0.20, 0.15, 0.25) == [58_000, 22_000, 40_000, 30_000, 50_000]


def test_the_largest_remainders_get_what_is_left():
    # Quotas 0.7, 2.1, 1.4, 1.05, 1.75: two tokens are left, for 0.75 and 0.7.
    assert tokens_of(7, 0.10, 0.30, 0.20, 0.15, 0.25) == [1, 2, 1, 1, 2]


def test_ties_go_in_the_order_of_the_table():
    assert list(split(3, EVEN).values()) == [1, 1, 1, 0, 0]
    assert list(split(7, EVEN).values()) == [2, 2, 1, 1, 1]


def test_nothing_is_divided_into_nothing():
    assert list(split(0, STANDARD.shares).values()) == [0, 0, 0, 0, 0]


def test_a_component_may_have_all_or_none():
    assert tokens_of(11, 0.0, 1.0, 0.0, 0.0, 0.0) == [0, 11, 0, 0, 0]


def test_shares_that_miss_one_a_little_are_relative():
    third = 0.3333333
    assert sum(tokens_of(1_000_000_000, third, third, third, 0.0, 0.0)) == 1_000_000_000
    assert tokens_of(300, third, third, third, 0.0, 0.0) == [100, 100, 100, 0, 0]


parts = st.lists(st.integers(0, 1000), min_size=5, max_size=5).filter(any)


@given(st.integers(0, 10**12), parts)
def test_the_components_sum_to_the_total_and_each_is_within_a_token_of_its_quota(total, weights):
    """The integer split is exact: component budgets sum to the total."""
    whole = sum(weights)
    shares = shares_of(*[weight / whole for weight in weights])
    tokens = split(total, shares)
    assert list(tokens) == list(COMPONENTS)
    assert sum(tokens.values()) == total
    exact = {name: Fraction(repr(share)) for name, share in shares.items()}
    for name, count in tokens.items():
        assert abs(count - total * exact[name] / sum(exact.values())) < 1


@given(st.integers(0, 10**9), st.lists(st.integers(0, 100), min_size=4, max_size=4).filter(lambda w: sum(w) <= 100))
def test_shares_in_whole_percents_are_split_as_if_by_hand(total, percents):
    percents = [*percents, 100 - sum(percents)]
    tokens = tokens_of(total, *[percent / 100 for percent in percents])
    left = total - sum(total * percent // 100 for percent in percents)
    order = sorted(range(5), key=lambda n: (-(total * percents[n] % 100), n))
    by_hand = [total * percent // 100 + (n in order[:left]) for n, percent in enumerate(percents)]
    assert tokens == by_hand


# What shares may be


@given(st.lists(st.floats(0.05, 1.0), min_size=5, max_size=5))
def test_shares_are_told_with_twelve_digits_which_are_still_shares(weights):
    """What is written down sums to 1 in decimals, is no further off than its last digit, and may be sent back."""
    shares = shares_of(*[weight / sum(weights) for weight in weights])
    told = shown(shares)
    assert sum(Decimal(str(share)) for share in told.values()) == 1
    assert all(share == round(share, 12) for share in told.values())
    assert all(abs(told[name] - share) < 1e-12 for name, share in shares.items())
    assert check_shares(told) == told


def test_no_share_is_told_with_what_floats_leave_behind():
    shares = shares_of(0.1, 0.1 + 0.2, 0.25 - 0.05, 0.15, 0.25)
    assert list(shown(shares).values()) == [0.1, 0.3, 0.2, 0.15, 0.25]


def test_good_shares_come_back_in_the_order_of_the_table():
    backwards = dict(reversed(list(STANDARD.shares.items())))
    assert list(check_shares(backwards).items()) == list(STANDARD.shares.items())


def test_shares_may_miss_one_by_a_millionth():
    check_shares(shares_of(0.200001, 0.2, 0.2, 0.2, 0.2))
    with pytest.raises(Invalid, match=r"must sum to 1, not 1\.00001"):
        check_shares(shares_of(0.20001, 0.2, 0.2, 0.2, 0.2))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_is_a_ratio(share):
    with pytest.raises(Invalid, match="between 0 and 1") as error:
        check_shares({**EVEN, "knowledge_base": share})
    assert error.value.path == "shares.knowledge_base"


def test_all_five_components_need_a_share():
    with pytest.raises(Invalid, match="missing: agent_context, interaction_buffer") as error:
        check_shares({"system_context": 0.5, "working_memory": 0.3, "knowledge_base": 0.2})
    assert error.value.path == "shares"


def test_an_unknown_component_is_named():
    with pytest.raises(Invalid, match="'scratchpad' is no component; the components are system_context,") as error:
        check_shares({**EVEN, "scratchpad": 0.0})  # type: ignore[dict-item]
    assert error.value.path == "shares.scratchpad"
