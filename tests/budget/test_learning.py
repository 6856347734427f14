"""What an agent's tasks and calls teach (SPEC 3.8, 3.9): robust, bounded, and nothing while there is little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.allocation import check_shares
from sidecar.budget.commands import CloseSession, CompleteItem, OpenSession, PlanTasks, ReportUsage, TaskSpec
from sidecar.budget.decide import Defaults
from sidecar.budget.entries import Learned, TaskCompleted
from sidecar.budget.errors import Conflict
from sidecar.budget.pace import MOST_CAP, USUAL, Pace
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.prediction import calibrated, factors, nearest, predict_needs
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import SESSIONS, TASKS, DoneTask, Profile, learn, merged
from tests.budget.desk import NOW, Desk

PRIOR: dict[Component, int] = {"working_memory": 10_000, "agent_context": 5_000}


def done(actual, complexity="simple", prior=10_000):
    return DoneTask(complexity=complexity, prior={"working_memory": prior}, actual={"working_memory": actual})


def knowing(*tasks, **more):
    return Profile(tasks=tasks, **more)


# Tasks


def test_two_tasks_are_too_few_and_the_third_is_heard():
    """It falls back to the prior while there is little data."""
    for tasks, expected in ((0, 10_000), (1, 10_000), (2, 10_000), (3, 4_000), (9, 4_000)):
        needs = calibrated(knowing(*[done(4_000)] * tasks), "simple", PRIOR)
        assert needs == {"working_memory": expected, "agent_context": 5_000}


def test_odd_tasks_do_not_move_what_many_say():
    tasks = [done(3_000)] * 9 + [done(900_000)] * 3
    assert calibrated(knowing(*tasks), "simple", PRIOR)["working_memory"] == 3_000


def test_tasks_of_the_same_complexity_count_most():
    tasks = [done(2_000)] * 8 + [done(30_000, "moderate", 30_000)] * 8
    profile = knowing(*tasks)
    assert calibrated(profile, "simple", PRIOR)["working_memory"] == 2_000
    assert calibrated(profile, "moderate", {**PRIOR, "working_memory": 30_000})["working_memory"] == 30_000


def test_tasks_of_another_complexity_are_better_than_nothing():
    profile = knowing(*[done(1_000)] * 8)
    assert calibrated(profile, "complex", {**PRIOR, "working_memory": 60_000})["working_memory"] == 6_000


def test_what_was_given_stands_for_the_prior():
    profile = knowing(calibration={"working_memory": 2.0})
    assert calibrated(profile, "simple", PRIOR)["working_memory"] == 20_000
    assert factors(profile) == {"working_memory": 2.0}
    learned = knowing(*[done(1_000)] * 5, calibration={"working_memory": 2.0})
    assert factors(learned) == {"working_memory": 0.1}


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 10**7)), max_size=40), st.floats(0, 100))
def test_a_factor_lies_among_what_was_observed_and_is_bounded(observed, start):
    found = nearest(observed, start=start)
    ratios = [min(actual / prior, 100.0) for prior, actual in observed if prior > 0]
    assert found in [start, *ratios]
    assert 0 <= found <= 100


def test_the_prior_is_told_beside_what_was_learned():
    profile = knowing(*[done(500)] * 6)
    told = predict_needs([TaskSpec(id="t")], STANDARD, calibrate=lambda kind, prior: calibrated(profile, kind, prior))
    assert (told.prior["working_memory"], told.predicted["working_memory"]) == (10_000, 500)


# The profile


def lesson(**more):
    return Learned(time=NOW, agent="a", preset="standard", **more)


def task_lesson(actual):
    needs: dict[Component, int] = {"working_memory": 10_000}
    return TaskCompleted(
        time=NOW, task="t", complexity="simple", prior=needs, predicted=needs, actual=actual, measured=True,
        allocated=dict.fromkeys(COMPONENTS, 1), agent="a",
    )  # fmt: skip


def test_a_profile_remembers_the_newest_of_everything():
    profile = Profile()
    for number in range(100):
        profile = learn(profile, task_lesson({"working_memory": number}), at=float(number))
        profile = learn(profile, lesson(model=f"m{number}", provider_ratio=1.0, call_growth=float(number)), at=0.0)
    assert [each.actual.get("working_memory", 0) for each in profile.tasks] == list(range(100 - TASKS, 100))
    assert profile.growth == tuple(map(float, range(100 - SESSIONS, 100)))
    assert list(profile.provider_ratios) == [f"m{number}" for number in range(84, 100)]
    assert (profile.revision, profile.sessions) == (200, 100)


def test_a_sessions_odd_ratio_does_not_move_an_agents():
    profile = Profile()
    for ratio in (1.2, 1.21, 9.0, 1.19, 1.2):
        profile = learn(profile, lesson(model="m", provider_ratio=ratio), at=0.0)
    assert profile.provider_ratio("m") == 1.2
    assert profile.provider_ratio("other") is None


def test_shares_learned_under_a_preset_are_for_its_sessions():
    shares = {**STANDARD.shares, "working_memory": 0.35, "interaction_buffer": 0.20}
    profile = learn(Profile(), lesson(shares=shares, began_with=STANDARD.shares), at=0.0)
    assert profile.shares_for("standard") == shares
    assert profile.shares_for("coding-agent") is None
    given = Profile(shares=STANDARD.shares)
    assert given.shares_for("coding-agent") == STANDARD.shares
    assert merged(given, profile).shares == shares
    assert merged(given, learn(Profile(), task_lesson({}), at=0.0)).shares == STANDARD.shares


# The session


def test_a_session_begins_with_what_is_known_of_its_agent_and_says_so():
    """A restart must not need the profile: the entry carries it."""
    profile = Profile(growth=(2_000.0,), provider_ratios={"m": (1.3,)})
    desk = Desk(defaults=Defaults(profiles={"a": profile}), agent="a", model="m")
    assert (desk.session.pace.usual, desk.session.opened.provider_ratio) == (2_000.0, 1.3)
    assert desk.session.components["working_memory"].pace.usual == 1_600.0
    desk.restart()
    desk.do(PlanTasks(tasks=[TaskSpec(id="t")]))
    assert desk.do(OpenSession(agent="a", model="m"))["state"] == "active"


def test_opening_again_is_the_same_whatever_was_learned_since():
    """4: 200 if it is the same as it was opened; 409 if different."""
    shares = {**STANDARD.shares, "working_memory": 0.35, "interaction_buffer": 0.20}
    desk = Desk(agent="a")
    desk.defaults = Defaults(profiles={"a": Profile(shares=shares, growth=(9.0,))})
    before = len(desk.entries)
    assert desk.do(OpenSession(agent="a"))["shares"] == STANDARD.shares
    assert len(desk.entries) == before
    with pytest.raises(Conflict):
        desk.do(OpenSession(agent="a", shares=shares))
    desk.do(CloseSession())
    assert desk.do(OpenSession(agent="a"))["shares"] == shares
    explicit = Desk(agent="a", shares=shares)
    with pytest.raises(Conflict):
        explicit.do(OpenSession(agent="a"))


def test_a_session_teaches_what_its_calls_added_and_were_billed():
    desk = Desk(agent="a", model="m")
    for call in range(8):
        desk.sync(("f", 1_000 * (call + 1), "file"))
        desk.do(ReportUsage(total=1_500 * (call + 1)))
    desk.do(CloseSession())
    (learned,) = desk.made(Learned)
    assert learned.provider_ratio == pytest.approx(1.5)
    assert (learned.model, learned.shares) == ("m", None)


@pytest.mark.parametrize(("tokens", "bills", "told"), [
    (50_000, [0], None),
    (50, [5_000], None),
    (50_000, [1], None),
    (50_000, [60_000, 0], 1.2),
    (50_000, [10**12], 2.0),
    (50_000, [60_000, 10**12, 60_000], 1.2),
])  # fmt: skip
def test_no_absurd_bill_is_learned(tokens, bills, told):
    desk = Desk(agent="a", model="m")
    desk.put("file", "file", tokens)
    for total in bills:
        desk.do(ReportUsage(total=total))
    desk.do(CloseSession())
    assert [entry.provider_ratio for entry in desk.made(Learned)] == ([] if told is None else [told])


def test_shares_that_two_sessions_learned_at_a_time_sum_to_one():
    """Both were given another share for what is fixed."""
    given = {**dict.fromkeys(COMPONENTS, 0.1), "system_context": 0.6}
    profile = Profile()
    for _ in range(2):
        profile = learn(profile, lesson(shares=given, began_with=STANDARD.shares), at=0.0)
    assert profile.shares is not None
    assert check_shares(profile.shares)["system_context"] == 0.6


def test_a_session_that_saw_nothing_teaches_nothing():
    desk = Desk()
    desk.do(CloseSession())
    assert [entry.type for entry in desk.last.entries] == ["closed"]


def test_a_cleanup_between_calls_hides_no_growth():
    """Growth goes on from what a cleanup left."""
    desk = Desk()
    desk.sync(("t", 40_000, "task"))
    desk.do(CompleteItem(item="t"))
    desk.put("n", "file", 12_000)
    assert desk.used() == 12_000, "crossing the target archived the task"
    assert (desk.session.pace.level, desk.session.pace.falls) == (0, 1)
    desk.sync(("n", 12_000), through=1)
    assert (desk.session.pace.level, desk.session.pace.seen) == (12_000, 1)


# The pace


def test_a_jump_counts_for_no_more_than_its_cap():
    calm, jumped = Pace(), Pace()
    for pace, jump in ((calm, 0), (jumped, 90_000)):
        level = 1_000
        for call in range(30):
            level += 500 + (jump if call == 20 else 0)
            pace.see(level)
    assert calm.rate == pytest.approx(500, rel=0.25)
    assert jumped.rate < 2 * calm.rate, "a mean would be six times it"


def test_a_new_session_goes_at_its_agents_pace():
    pace = Pace()
    assert pace.rate == USUAL
    pace.see(10_000)
    assert pace.rate == USUAL, "the first call's level is no growth"


@given(st.lists(st.integers(0, 10**15), max_size=60))
def test_a_pace_is_finite_and_never_negative(levels):
    pace = Pace()
    for level in levels:
        pace.see(level)
        assert 0 <= pace.rate < 10**16
        assert 0 <= pace.cap <= MOST_CAP
