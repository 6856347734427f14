"""What the components share: measured system context (SPEC 3.10), and a total in the host's own tokens (SPEC 3.9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.allocation import split, split_beside
from sidecar.budget.commands import Acknowledge, ChangeSession, CleanUp, RemoveItem, ReportUsage
from sidecar.budget.decide import Defaults
from sidecar.budget.entries import Calibrated
from sidecar.budget.policy import COMPONENTS, CalibratePolicy
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import Profile
from sidecar.budget.report import report
from tests.budget.desk import Desk
from tests.budget.variants import variant

MEASURED = variant(measured_system=True)
CALIBRATED = variant(calibrate=CalibratePolicy(on=True))


def budgets(desk: Desk) -> list[int]:
    return [held.allocated for held in desk.session.components.values()]


def test_until_the_system_context_is_known_its_share_is_set_aside():
    assert budgets(Desk(preset=MEASURED)) == [20_000, 60_000, 40_000, 30_000, 50_000]


def test_the_system_context_gets_what_it_takes_and_the_others_share_the_rest_in_proportion():
    desk = Desk(preset=MEASURED)
    desk.put("prompt", "prompt", 11_000)
    assert budgets(desk) == [11_000, 63_000, 42_000, 31_500, 52_500]
    desk.put("tools", "tool_definition", 9_000)
    assert budgets(desk) == [20_000, 60_000, 40_000, 30_000, 50_000]
    desk.do(RemoveItem(item="prompt"))
    desk.do(RemoveItem(item="tools"))
    assert budgets(desk) == [20_000, 60_000, 40_000, 30_000, 50_000]


def test_a_system_context_of_any_size_exhausts_nothing_of_its_own():
    desk = Desk(preset=MEASURED)
    desk.put("prompt", "prompt", 90_000)
    assert desk.session.components["system_context"].exhaustions == 0
    assert sum(budgets(desk)) == 200_000


def test_a_request_for_the_system_context_may_take_what_the_window_has_left():
    desk = Desk(preset=MEASURED)
    desk.put("prompt", "prompt", 30_000)
    assert desk.ask("system_context", 5_000)["outcome"] == "full"
    assert desk.ask("system_context", 190_000)["granted"] == 165_000
    assert desk.session.used == 200_000


def test_a_measured_budget_is_measured_of_a_changed_window_too():
    desk = Desk(preset=MEASURED)
    desk.put("prompt", "prompt", 10_000)
    desk.do(ChangeSession(total_tokens=100_000))
    assert budgets(desk) == [10_000, 30_000, 20_000, 15_000, 25_000]


tokens = st.integers(0, 300_000)


@given(total=tokens, taken=st.dictionaries(st.sampled_from(COMPONENTS), tokens))
def test_budgets_beside_measured_ones_sum_to_the_total(total, taken):
    parts = split_beside(total, STANDARD.shares, taken)
    assert sum(parts.values()) == total
    assert all(tokens >= 0 for tokens in parts.values())
    assert all(parts[name] <= taken[name] for name in taken) or len(taken) == len(COMPONENTS)


def test_beside_nothing_measured_the_split_is_the_split():
    assert split_beside(200_000, STANDARD.shares, {}) == split(200_000, STANDARD.shares)


# Calibration


def billed(desk: Desk, total: int) -> list[float]:
    """Report a billed call; the ratio that the total is divided by from then on, if it has changed."""
    desk.do(ReportUsage(total=total))
    return [entry.ratio for entry in desk.made(Calibrated)]


@pytest.fixture
def desk() -> Desk:
    desk = Desk(preset=CALIBRATED)
    desk.put("file", "file", 10_000)
    return desk


def test_the_total_is_divided_by_what_a_counted_token_is_billed_as(desk):
    assert billed(desk, 12_500) == [1.25]
    assert desk.session.total == 160_000
    assert sum(budgets(desk)) == 160_000
    assert desk.session.unattributed == 0
    assert report(desk.session)["provider_ratio"] == 1.25


def test_the_reserve_is_in_the_providers_tokens_as_the_window_is():
    desk = Desk(preset=CALIBRATED, reserve_tokens=40_000)
    desk.put("file", "file", 10_000)
    billed(desk, 12_500)
    assert desk.session.total == 128_000


def test_standard_divides_by_nothing():
    desk = Desk()
    desk.put("file", "file", 10_000)
    assert billed(desk, 12_500) == []
    assert desk.session.total == 200_000
    assert desk.session.provider_ratio == 1.25


def test_one_odd_call_does_not_move_the_budgets(desk):
    for total in (12_500, 12_500, 12_500):
        billed(desk, total)
    assert billed(desk, 19_000) == []
    assert desk.session.total == 160_000


def test_budgets_do_not_swing_with_each_call(desk):
    changes = [billed(desk, total) for total in (12_500, 12_700, 12_300, 12_600, 12_400, 12_500) * 5]
    assert changes[1:] == [[]] * 29


def test_a_ratio_that_stays_moved_is_followed(desk):
    for total in (12_500,) * 9:
        billed(desk, total)
    moved = [ratio for _ in range(9) for ratio in billed(desk, 14_000)]
    assert moved == [1.4]


def test_what_no_ratio_explains_stays_unattributed(desk):
    """A prompt ten times as large as what the host has counted holds something else."""
    billed(desk, 100_000)
    assert desk.session.calibration == 2.0
    assert desk.session.total == 100_000
    assert desk.session.unattributed == 40_000


def test_a_few_counted_tokens_tell_nothing():
    desk = Desk(preset=CALIBRATED)
    desk.put("word", "interaction", 20)
    assert billed(desk, 9_000) == []


def test_a_call_that_was_billed_as_nothing_tells_nothing(desk):
    billed(desk, 12_500)
    assert billed(desk, 0) == []


def test_a_call_with_directives_under_way_tells_nothing(desk):
    """Whether the billed prompt still held what they take away, nobody knows."""
    billed(desk, 12_500)
    desk.put("done", "task", 8_000, completed=True)
    desk.do(CleanUp(component="working_memory"))
    for _ in range(9):
        assert billed(desk, 22_500) == []
    desk.do(Acknowledge(through=desk.session.issued))
    assert desk.session.total == 160_000


def test_a_session_starts_from_what_is_known_of_its_agent_and_model():
    known = Profile(provider_ratios={"m": (1.25,)})
    desk = Desk(preset=CALIBRATED, agent="a", model="m", defaults=Defaults(profiles={"a": known}))
    assert desk.session.total == 160_000


def test_a_call_billed_far_below_what_was_counted_tells_nothing(desk):
    """Where a bill leaves out what was cached, the window is no larger for that."""
    assert billed(desk, 3) == []
    assert desk.session.total == 200_000


def test_an_observed_session_divides_by_nothing_whatever_is_known_of_its_agent():
    """What is observed are the provider's tokens already."""
    known = Profile(provider_ratios={"m": (1.25,)})
    watched = Desk(preset=CALIBRATED, agent="a", model="m", mode="observed", defaults=Defaults(profiles={"a": known}))
    assert watched.session.total == sum(budgets(watched)) == 200_000
    assert report(watched.session)["provider_ratio"] is None


def test_a_session_that_is_only_observed_from_now_on_divides_by_nothing(desk):
    billed(desk, 12_500)
    desk.do(ChangeSession(mode="observed"))
    desk.do(ReportUsage(total=100_000))
    assert (desk.session.total, desk.session.used) == (200_000, 100_000)
    desk.do(ChangeSession(mode="managed"))
    assert desk.session.total == sum(budgets(desk)) == 160_000


def test_the_ratio_in_use_is_told_before_the_first_bill():
    known = Profile(provider_ratios={"m": (1.25,)})
    desk = Desk(preset=CALIBRATED, agent="a", model="m", defaults=Defaults(profiles={"a": known}))
    assert report(desk.session)["provider_ratio"] == 1.25


def test_another_models_bills_are_not_counted_with_a_models_own(desk):
    for _ in range(5):
        billed(desk, 19_000)
    desk.do(ChangeSession(model="another"))
    assert billed(desk, 11_000) == [1.1]


def test_a_restart_divides_by_the_same(desk):
    billed(desk, 12_500)
    desk.restart()
    assert desk.session.total == 160_000
    assert desk.session.ratios == [1.25]
