"""Ratios as what they were written as: 0.4 is two fifths, not the binary number beside it.

Sizes and splits are whole tokens, and a float error of the fifteenth digit is a token too many at the wrong moment:
`ceil(0.07 * 100)` is 8. A ratio is therefore read as its shortest decimal and reckoned with exactly.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache


@lru_cache(maxsize=4096)
def exact(ratio: float) -> Fraction:
    """The fraction whose decimal the float was written as; `ratio` must be finite."""
    return Fraction(repr(float(ratio)))


def portion(ratio: float) -> Callable[[int], int]:
    """A function from tokens to `ratio` of them, rounded up (SPEC 3.5)."""
    numerator, denominator = exact(ratio).as_integer_ratio()

    def part_of(tokens: int) -> int:
        return -(-tokens * numerator // denominator)

    return part_of


def portions(ratio: float, tokens: Iterable[int]) -> list[int]:
    """As `portion`, of many at once."""
    numerator, denominator = exact(ratio).as_integer_ratio()
    up = denominator - 1
    return [(each * numerator + up) // denominator for each in tokens]


def whole_part(ratio: float, tokens: int) -> int:
    """`ratio` of so many tokens, rounded down."""
    numerator, denominator = exact(ratio).as_integer_ratio()
    return tokens * numerator // denominator


def is_over(used: int, allocated: int, ratio: float) -> bool:
    """Whether used/allocated is strictly above `ratio`. 0 of 0 is utilization 0, anything else of 0 is above all."""
    numerator, denominator = exact(ratio).as_integer_ratio()
    return used * denominator > allocated * numerator
