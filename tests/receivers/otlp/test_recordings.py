"""Recorded sessions told as their agents' telemetry: the level is the billed one at every call."""

import asyncio
import statistics

import pytest

from sidecar.lab.recordings import read
from tests.receivers.otlp.measure import BUNDLED, SHAPES, Figures, measure

RECORDINGS = ("claude-code__entire-cli-15833058f9e6", "codex__agentv-961801ac0665", "pi__pi-mono-1c8417aaebf0")
# Median error of each component as a part of the window: what the README shows, and a little room.
WITH_CONTENT, WITHOUT = 0.10, 0.20


@pytest.fixture(scope="module")
def figures() -> dict[str, Figures]:
    recordings = read([BUNDLED / f"{name}.jsonl.gz" for name in RECORDINGS])
    return {name: asyncio.run(measure(recordings, make)) for name, make in SHAPES.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_level_is_what_was_billed_at_every_call(figures, shape):
    assert figures[shape].calls > 200
    assert figures[shape].right == figures[shape].calls


@pytest.mark.parametrize("shape", SHAPES)
def test_every_recorded_compaction_is_found(figures, shape):
    assert (figures[shape].recorded, figures[shape].found) == (3, 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_false_alarm_is_a_real_fall_that_the_recording_does_not_explain(figures, shape):
    assert figures[shape].false == 3  # in one session, by 25,000 to 42,000 tokens


@pytest.mark.parametrize("shape", [name for name in SHAPES if "no content" not in name])
def test_the_composition_is_near_the_recording_s_own_counts(figures, shape):
    most = WITH_CONTENT if shape.endswith(", content") else WITHOUT
    for component, errors in figures[shape].errors.items():
        assert statistics.median(errors) < most, component
