"""Counting and cutting texts, offline."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.client.shorten import middle_out
from sidecar.client.tokens import Calibration, estimate


@given(st.text())
def test_only_no_text_is_no_tokens(text):
    assert (estimate(text) == 0) == (text == "")


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_texts_are_no_more_tokens_than_each_counted_alone(one, other):
    assert estimate(one + other) <= estimate(one) + estimate(other)


@given(st.text(max_size=5000), st.integers(min_value=1, max_value=500))
def test_a_cut_text_has_at_most_the_tokens_it_may_have(text, tokens):
    assert estimate(middle_out(text, tokens, estimate)) <= tokens


def test_what_is_cut_is_the_middle():
    text = "begin " + "x" * 4000 + " end"
    shorter = middle_out(text, 100, estimate)
    assert shorter.startswith("begin x")
    assert shorter.endswith("x end")
    assert "tokens left out here" in shorter


def test_the_largest_of_the_last_bills_counts():
    calibration = Calibration(calls=2)
    assert calibration.ratio == 1.0
    for billed in (2000, 1500, 1100):
        calibration.learn(counted=1000, billed=billed)
    assert calibration.ratio == 1.5
