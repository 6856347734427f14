"""The agent label is bounded and always showable; so is the choice of a format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exporters import agents
from sidecar.exporters.agents import AgentLabels, tidy
from sidecar.exporters.negotiation import content_type
from sidecar.exporters.series import OPENMETRICS, TEXT
from sidecar.exporters.worst import WorstOf

# What these versions ask for.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def labels(limit, configured="mine"):
    begun: list[str] = []
    folded: list[int] = []
    return AgentLabels(configured, limit=limit, begin=begun.append, fold=lambda: folded.append(1)), begun, folded


def test_the_configured_agent_is_there_from_the_start():
    _, begun, folded = labels(3)
    assert begun == ["mine"]
    assert not folded


def test_agents_beyond_the_bound_share_other_and_each_counts_once():
    label, begun, folded = labels(3)
    assert [label[name] for name in ("a", "b", "c", "d", "c", "a", "mine")] == [
        "a",
        "b",
        "other",
        "other",
        "other",
        "a",
        "mine",
    ]
    assert begun == ["mine", "a", "b", "other"]
    assert len(folded) == 2


def test_an_agent_called_other_takes_no_place():
    label, begun, folded = labels(2)
    assert [label[name] for name in ("other", "a", "b")] == ["other", "a", "other"]
    assert begun == ["mine", "other", "a"]
    assert len(folded) == 1


def test_memory_is_bounded_however_many_agents_come(monkeypatch):
    monkeypatch.setattr(agents, "MAX_NAMES", 5)
    label, _, folded = labels(2)
    assert {label[f"agent-{number}"] for number in range(100)} == {"agent-0", "other"}
    assert len(folded) == 4
    assert label["agent-99"] == "other"


@given(st.text(max_size=300))
def test_a_label_is_printable_short_and_never_empty(name):
    tidied = tidy(name)
    assert tidied.isprintable()
    assert 1 <= len(tidied) <= agents.MAX_LENGTH
    assert tidied == tidy(tidied)


def test_a_name_that_can_be_shown_is_shown_as_it_is():
    assert tidy("claude-code/ä 1") == "claude-code/ä 1"
    assert tidy("a\nb\x00") == "a_b_"
    assert tidy("") == "unknown"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;q=high, text/plain", TEXT),
        (";;;q=,,=", TEXT),
    ],
)
def test_the_scraper_gets_the_format_that_it_likes_best(accept, expected):
    assert content_type(accept) == expected


def test_the_worst_is_right_after_the_worst_got_better_or_left():
    worst = WorstOf()
    assert worst.worst() is None
    worst["a"], worst["b"] = 0.9, 0.5
    assert worst.worst() == 0.9
    worst["a"] = 0.1
    assert worst.worst() == 0.5
    worst.forget("b")
    assert worst.worst() == 0.1
    soonest = WorstOf(min)
    soonest["a"], soonest["b"] = 5.0, 2.0
    assert soonest.worst() == 2.0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([None, 0.1, 0.2, 0.3]), st.booleans())))
def test_the_worst_is_that_of_all_however_often_one_looks_in_between(steps):
    worst, all_values = WorstOf(), dict[str, float]()
    for session, value, looks in steps:
        if value is None:
            worst.forget(session)
            all_values.pop(session, None)
        else:
            worst[session] = all_values[session] = value
        if looks:
            assert worst.worst() == max(all_values.values(), default=None)
    assert worst.worst() == max(all_values.values(), default=None)
