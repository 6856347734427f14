"""On the bundled recordings forecasts and calibrated predictions are better than what they started from."""

import pytest

from sidecar.lab.recordings import bundled, read
from tests.forecasts.__main__ import of_tasks, of_windows, quantile
from tests.forecasts.tasks import guesses
from tests.forecasts.windows import PREDICTORS, misses, windows


@pytest.fixture(scope="module")
def recordings():
    """Few, so that it is quick: the figures of all are in the README beside this."""
    return [each for each in read([bundled()]) if len(each.steps) < 1_500]


@pytest.fixture(scope="module")
def missed(recordings):
    return list(misses(windows(recordings)))


def error(missed, predictor, part, calls=10):
    return quantile((m.error for m in missed if (m.component, m.predictor, m.calls) == (None, predictor, calls)), part)


def test_the_pace_is_better_than_both_baselines(missed):
    """Ten calls ahead, in the middle and in the tail."""
    for part in (0.5, 0.9):
        assert error(missed, "pace", part) < 0.9 * min(error(missed, each, part) for each in PREDICTORS[:2])
    assert error(missed, "pace", 0.5) < 0.03


def test_about_eight_in_ten_fall_inside_the_interval(missed):
    told = [miss.within for miss in missed if miss.within is not None]
    assert 0.7 < sum(told) / len(told) < 0.95


def test_calibrated_predictions_are_better_than_the_prior(recordings):
    found = [guess for guess in guesses(recordings) if guess.known > 2]
    calibrated, prior = (quantile((getattr(g, name) for g in found), 0.5) for name in ("calibrated", "prior"))
    assert calibrated <= prior
    assert sum(guess.calibrated for guess in found) < 0.7 * sum(guess.prior for guess in found)


def test_the_tables_are_written(missed, recordings, capsys):
    of_windows(missed)
    of_tasks(list(guesses(recordings)))
    text = capsys.readouterr().out
    assert text.count("\n\n|") == 6
    assert "| judge | pace, agent known |" in text
