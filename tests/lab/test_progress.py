"""Progress of a replay, and the board above it."""

import io
from os import terminal_size
from typing import cast

import pytest

from sidecar.budget.commands import ItemSpec
from sidecar.lab.board import board
from sidecar.lab.connection import Connection
from sidecar.lab.player import Options, Pace, Played, Player
from sidecar.lab.progress import Progress
from sidecar.lab.recordings import Recording
from sidecar.lab.script import Open
from sidecar.lab.sending import AsItems
from sidecar.lab.style import Style

NOWHERE = cast("Connection", None)  # the board asks nobody


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines_and_ends_with_the_sum():
    stream = io.StringIO()
    progress = Progress(stream=stream, style=Style(), steps=2, recordings=1)
    with progress.shown():
        progress.step()
        progress.step()
        progress.finish()
    assert stream.getvalue().splitlines()[-1] == "2 of 2 steps, 1 of 1 recording, 0 s"
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_on_a_terminal_progress_is_drawn_in_place_and_leaves_one_clean_line():
    stream = io.StringIO()
    progress = Progress(stream=stream, style=Style(live=True), steps=4, recordings=1, board=lambda: ["a window"])
    with progress.shown():
        progress._shown = 0.0
        progress.step()
    shown = stream.getvalue()
    assert "a window\n" in shown
    assert " 25 %" in shown
    assert shown.endswith("\x1b[2A\r\x1b[J1 of 4 steps, 0 of 1 recording, 0 s\n")


def test_progress_is_told_also_when_the_replay_fails():
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress(stream=stream, style=Style(), steps=1, recordings=1).shown():
        raise RuntimeError
    assert "0 of 1 step" in stream.getvalue()


@pytest.fixture
def player():
    """A player whose main window and a sub-agent's are open."""
    player = Player(connection=NOWHERE, recording=Recording(session="main", steps=(), windows={}), options=Options())
    for name, parent in (("main", None), ("main.sub", "main")):
        opened = Open(session=name, time=0.0, agent="a", parent=parent, model=None, window_tokens=None)
        sender = AsItems(NOWHERE, name, managed=True, run="r")
        sender.host.gain(ItemSpec(id="f", kind="file", tokens=30_000))
        player.played[name] = Played(opened=opened, sender=sender, total_tokens=120_000)
    return player


def test_the_board_has_a_line_for_each_open_window_under_a_legend(player):
    legend, main, sub = board([player], Style(), terminal_size((120, 40)))
    assert "m memory" in legend
    assert main.startswith("main ")
    assert sub.startswith("  main.sub ")
    assert main.endswith("30,000    25 %")
    bar = main.split()[1]
    assert bar.count("m") / len(bar) == pytest.approx(0.25, abs=0.02)
    assert set(bar) == {"m", "."}


def test_the_window_of_a_sub_agent_leaves_the_board_when_it_closes(player):
    player.played["main.sub"].closed = True
    assert len(board([player], Style(), terminal_size((120, 40)))) == 2


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
@pytest.mark.parametrize("lines", [1, 4, 5, 40])
def test_the_board_never_leaves_the_terminal(player, columns, lines):
    drawn = board([player] * 5, Style(), terminal_size((columns, lines)))
    assert len(drawn) <= max(lines - 2, 0)
    assert all(len(line) < columns for line in drawn[1:])


def test_a_pace_divides_recorded_time_by_the_speed():
    pace = Pace(10.0, None)
    assert pace.wait(50.0) == pytest.approx(5.0, abs=0.5)
    assert pace.wait(100.0) == pytest.approx(10.0, abs=0.5)


def test_a_pause_is_waited_for_no_longer_than_asked_and_steps_back_cost_nothing():
    pace = Pace(1.0, 2.0)
    pace.wait(1.0)
    pace.wait(3600.0)
    pace.wait(3599.0)
    pace.wait(3601.0)
    assert pace.due == pytest.approx(1.0 + 2.0 + 1.0)


def test_without_a_speed_nothing_waits():
    assert Pace(None, None).wait(1e9) == 0.0
