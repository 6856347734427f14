"""What planned tasks will need, and when the window will be full (SPEC 3.8)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.commands import TaskSpec
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.prediction import predict_needs, straight_line
from sidecar.budget.presets import STANDARD

NOTHING = dict.fromkeys(COMPONENTS, 0)
SIMPLE = {**NOTHING, "working_memory": 10_000, "agent_context": 5_000}
MODERATE = {**NOTHING, "working_memory": 30_000, "agent_context": 15_000, "knowledge_base": 10_000}
COMPLEX = {**NOTHING, "working_memory": 60_000, "agent_context": 30_000, "knowledge_base": 20_000}


def task(files: int = 0, agents: int = 0, minutes: float = 0.0, id: str = "t") -> TaskSpec:
    return TaskSpec(
        id=id,
        files=[f"src/{number}.py" for number in range(files)],
        agents=[f"agent {number}" for number in range(agents)],
        estimated_minutes=minutes,
    )


def eta(samples, available: int) -> dict[str, object]:
    return dict(straight_line(samples, available))


def predicted(*tasks: TaskSpec):
    return predict_needs(tasks, STANDARD)


@pytest.mark.parametrize(
    ("what", "score", "complexity", "needs"),
    [
        (task(), 0, "simple", SIMPLE),
        (task(files=2, minutes=5), 30, "simple", SIMPLE),
        (task(minutes=24.99), 49.98, "simple", SIMPLE),
        (task(files=5), 50, "moderate", MODERATE),
        (task(files=3, agents=1, minutes=20), 90, "moderate", MODERATE),
        (task(files=14, minutes=4.5), 149, "moderate", MODERATE),
        (task(agents=5, files=5), 150, "complex", COMPLEX),
        (task(files=10, agents=3, minutes=60), 280, "complex", COMPLEX),
    ],
)
def test_the_score_makes_the_complexity_and_that_the_needs(what, score, complexity, needs):
    (prediction,) = predicted(what).tasks
    assert prediction == {"id": "t", "score": score, "complexity": complexity, "prior": needs, "predicted": needs}


def test_needs_of_several_tasks_add_up():
    prediction = predicted(task(id="a"), task(files=5, id="b"), task(agents=9, id="c"))
    assert [each["id"] for each in prediction.tasks] == ["a", "b", "c"]
    assert prediction.prior == {
        "system_context": 0,
        "working_memory": 100_000,
        "knowledge_base": 30_000,
        "agent_context": 50_000,
        "interaction_buffer": 0,
    }
    assert prediction.predicted == prediction.prior


def test_without_tasks_nothing_is_needed():
    assert predicted().prior == NOTHING


def test_a_calibration_changes_what_is_predicted_and_not_the_prior():
    def doubled(complexity, prior):
        return {name: 2 * tokens for name, tokens in prior.items()} if complexity == "simple" else prior

    prediction = predict_needs([task(id="a"), task(files=5, id="b")], STANDARD, calibrate=doubled)
    assert [each["predicted"]["working_memory"] for each in prediction.tasks] == [20_000, 30_000]
    assert prediction.prior["working_memory"] == 40_000
    assert prediction.predicted["working_memory"] == 50_000


def test_two_predictions_share_no_data():
    first = predicted(task()).tasks[0]
    first["predicted"]["working_memory"] = 1
    first["prior"]["knowledge_base"] = 1
    assert predicted(task()).tasks[0]["prior"] == predicted(task()).tasks[0]["predicted"] == SIMPLE


def test_weights_and_bounds_are_policy():
    policy = replace(STANDARD, predict=replace(STANDARD.predict, per_file=100.0, complex_from=100.0))
    assert predict_needs([task(files=1)], policy).tasks[0]["complexity"] == "complex"


# The straight line


def test_steady_growth_reaches_the_end_when_it_should():
    samples = [(1_700_000_000.0 + 10 * number, 1_000 * number, number) for number in range(10)]
    assert eta(samples, 5_000) == {"eta_seconds": pytest.approx(50), "eta_calls": pytest.approx(5)}


def test_the_line_is_that_of_least_squares():
    # Slope of (0, 0), (1, 4), (2, 2): 1 per second.
    assert eta([(0.0, 0, 0), (1.0, 4, 0), (2.0, 2, 0)], 10) == {"eta_seconds": pytest.approx(10)}


def test_a_window_that_is_full_has_no_time_left_whatever_it_did_before():
    assert eta([], 0) == {"eta_seconds": 0.0, "eta_calls": 0.0}
    assert eta([(0.0, 9, 0), (1.0, 1, 1)], -5) == {"eta_seconds": 0.0, "eta_calls": 0.0}


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [(0.0, 100, 0)],
        [(0.0, 100, 0), (0.0, 200, 0)],
        [(0.0, 100, 0), (10.0, 100, 1)],
        [(0.0, 200, 0), (10.0, 100, 1)],
    ],
    ids=["no sample", "one sample", "one point in time", "level", "falling"],
)
def test_without_growth_nothing_is_known(samples):
    assert eta(samples, 1_000) == {}


def test_time_and_calls_are_known_each_for_itself():
    assert eta([(0.0, 0, 3), (10.0, 100, 3)], 200) == {"eta_seconds": pytest.approx(20)}
    assert eta([(5.0, 0, 3), (5.0, 100, 4)], 200) == {"eta_calls": pytest.approx(2)}


def test_a_time_beyond_all_numbers_is_not_known():
    assert eta([(0.0, 0, 0), (1e300, 1, 1)], 10**12) == {"eta_calls": pytest.approx(10**12)}


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6), st.integers(0, 1000)), max_size=32),
    st.integers(-10, 10**9),
    st.floats(1e9, 2e9),
)
def test_a_forecast_is_never_negative_and_does_not_depend_on_the_epoch(samples, available, epoch):
    forecast = straight_line([(epoch + round(time), used, calls) for time, used, calls in samples], available)
    assert all(0 <= eta < float("inf") for eta in forecast.values())  # type: ignore[operator]
    later = straight_line([(2 * epoch + round(time), used, calls) for time, used, calls in samples], available)
    assert later.get("eta_calls") == forecast.get("eta_calls")
