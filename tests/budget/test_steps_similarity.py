"""Similar exchanges: Hamming distance at most 3 over 64 bits, found without comparing all with all."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget import similarity
from sidecar.budget.items import Item
from sidecar.budget.similarity import superseded

BASE = 0x0123456789ABCDEF
marks = st.integers(min_value=0, max_value=2**64 - 1)


def exchange(number: int, mark: int | str, at: float = 0.0) -> Item:
    return Item(
        id=str(number),
        kind="interaction",
        component="interaction_buffer",
        tokens=100,
        created_at=at,
        last_accessed_at=at,
        fingerprint=mark if isinstance(mark, str) else f"{mark:016x}",
    )


def found(*items, within=600.0, bits=3):
    return {older: newer.id for older, newer in superseded(items, within=within, bits=bits).items()}


@given(marks, st.sets(st.integers(0, 63), max_size=6))
def test_up_to_three_differing_bits_are_similar_and_more_are_not(mark, flipped):
    other = mark ^ sum(1 << bit for bit in flipped)
    assert found(exchange(0, mark), exchange(1, other, 60)) == ({"0": "1"} if len(flipped) <= 3 else {})


@given(marks, st.sets(st.integers(0, 63), max_size=6), st.integers(0, 5))
def test_the_number_of_bits_is_policy(mark, flipped, bits):
    other = mark ^ sum(1 << bit for bit in flipped)
    assert bool(found(exchange(0, mark), exchange(1, other, 60), bits=bits)) is (len(flipped) <= bits)


def test_upper_and_lower_case_digits_are_the_same_fingerprint():
    assert found(exchange(0, "00ab00000000000f"), exchange(1, "00AB00000000000F")) == {"0": "1"}


@pytest.mark.parametrize(
    "text",
    ["short", "0123456789abcde", "0123456789abcdef0", "0x23456789abcdef", "0123_56789abcdef", " 123456789abcdef"],
)
def test_what_is_not_16_hex_digits_has_equals_but_nothing_similar(text):
    assert found(exchange(0, text), exchange(1, text)) == {"0": "1"}
    assert found(exchange(0, text), exchange(1, text[:-1] + "g")) == {}


def test_an_item_without_fingerprint_is_like_nothing():
    assert found(exchange(0, ""), exchange(1, "")) == {}


def test_the_time_between_the_two_counts_and_not_their_order_of_insertion():
    newer, older = exchange(0, BASE, 600), exchange(1, BASE ^ 1, 0)
    assert found(newer, older) == {"1": "0"}
    assert found(newer, older, within=599) == {}


def test_an_equal_one_too_late_does_not_hide_a_similar_one_in_time():
    late, near, old = exchange(0, BASE, 10_000), exchange(1, BASE ^ 1, 300), exchange(2, BASE, 0)
    assert found(late, near, old) == {"2": "1"}


def test_the_nearest_of_several_equal_ones_is_found_even_when_a_later_one_is_out_of_time():
    items = [exchange(number, BASE ^ (number % 2), 500.0 * number) for number in range(6)]
    assert found(*items) == {str(number): str(number + 1) for number in range(5)}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2000)), max_size=40))
def test_it_finds_exactly_what_comparing_all_with_all_finds(rows):
    spread = [BASE ^ (row * 0x0101_0101_0101_0101 & 0xFFFF_FFFF_FFFF_FFFF) for row, _ in rows]
    items = [exchange(number, spread[number], float(at)) for number, (_, at) in enumerate(rows)]

    def newer(a: int, b: int) -> bool:
        return (items[a].created_at, a) < (items[b].created_at, b)

    expected = {
        str(a)
        for a in range(len(items))
        for b in range(len(items))
        if newer(a, b) and items[b].created_at - items[a].created_at <= 600 and (spread[a] ^ spread[b]).bit_count() <= 3
    }
    assert set(superseded(items, within=600, bits=3)) == expected


def test_ten_thousand_fingerprints_with_a_band_in_common_are_not_compared_all_with_all(monkeypatch):
    chance = random.Random(1)
    band = 0x1111_1111_1111_1111
    compared = 0
    search = similarity._nearest

    def counting(bucket, *rest):
        nonlocal compared
        compared += len(bucket)
        return search(bucket, *rest)

    monkeypatch.setattr(similarity, "_nearest", counting)
    found(*[exchange(number, chance.getrandbits(64) & ~band, number / 100) for number in range(10_000)])
    assert 10_000 < compared <= 10_000 * 4 * similarity.CROWD  # all with all would be 50 million
