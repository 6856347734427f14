"""What a terminal is shown."""

import io

import pytest

from sidecar.budget.policy import COMPONENTS
from sidecar.lab.style import COLOURS, LETTERS, Style, cut, duration

PLAIN, BLOCKS = Style(), Style(blocks=True)


@pytest.mark.parametrize(
    ("ratio", "plain", "blocks"),
    [
        (0.0, "........", "░░░░░░░░"),
        (0.5, "####....", "████░░░░"),
        (0.55, "####....", "████▍░░░"),
        (1.0, "########", "████████"),
        (2.5, "########", "████████"),
        (-1.0, "........", "░░░░░░░░"),
    ],
)
def test_a_bar_shows_its_ratio_and_never_leaves_its_width(ratio, plain, blocks):
    assert PLAIN.bar(ratio, 8) == plain
    assert BLOCKS.bar(ratio, 8) == blocks


def test_a_mark_shows_where_a_bar_should_stay_below_until_it_is_passed():
    assert PLAIN.bar(0.25, 8, mark=0.75) == "##....|."
    assert PLAIN.bar(0.25, 8, mark=1.0) == "##.....|"
    assert PLAIN.bar(0.9, 8, mark=0.75) == "#######."


def test_a_stack_is_as_long_as_its_sum_however_its_parts_are_rounded():
    assert PLAIN.stack({"a": 0.06, "b": 0.06, "c": 0.06}, 10) == "##........"
    assert PLAIN.stack({"a": 0.8, "b": 0.8}, 10) == "#" * 10


def test_without_colours_a_stack_tells_its_parts_by_letters():
    """Piped, and with NO_COLOR."""
    parts = {"system_context": 0.2, "working_memory": 0.5, "knowledge_base": 0.1}
    assert BLOCKS.stack(parts, 10) == "ssmmmmmk░░"
    assert PLAIN.stack(parts, 10) == "ssmmmmmk.."
    assert Style(colour=True).stack(parts, 10) == "\x1b[34m##\x1b[0m\x1b[32m#####\x1b[0m\x1b[35m#\x1b[0m.."
    assert set(LETTERS) == set(COMPONENTS)
    assert set(COLOURS) > set(COMPONENTS)
    assert len(set(LETTERS.values())) == len(LETTERS)


def test_colours_are_only_for_terminals_and_no_color_is_respected(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"
        isatty = lambda _: True  # noqa: E731 - a terminal in one line

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Style.of(Terminal()) == Style(colour=True, blocks=True, live=True)
    assert not Style.of(io.StringIO()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert Style.of(Terminal()) == Style(colour=False, blocks=True, live=True)
    monkeypatch.setenv("TERM", "dumb")
    assert not Style.of(Terminal()).live


def test_a_terminal_without_blocks_gets_plain_characters():
    assert not Style.of(io.TextIOWrapper(io.BytesIO(), encoding="ascii")).blocks
    assert Style.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")).blocks


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7200, "2 h 0 min"), (270_000, "3 d 3 h"), (59.7, "1 min 0 s")],
)
def test_a_duration_is_written_in_its_two_largest_units(seconds, shown):
    assert duration(seconds) == shown


def test_names_are_cut_at_the_front_because_they_differ_at_the_end():
    assert cut("agent__project-1", 9) == "…roject-1"
    assert cut("short", 9) == "short"
