"""A board of windows that fill up while a replay runs: a line each, one bar of five components."""

from collections.abc import Sequence
from os import terminal_size

from sidecar.budget.policy import COMPONENTS
from sidecar.lab.player import Played, Player
from sidecar.lab.style import Style, cut
from sidecar.lab.table import HEADINGS

NAME = 38
FIGURES = 22  # a space, the tokens, the percentage
SPARE_LINES = 3  # legend, progress, cursor


def board(players: Sequence[Player], style: Style, size: terminal_size) -> list[str]:
    """Draw the windows of players that have begun, sub-agents' while they are open, and a legend.

    As many as fit the terminal; those that began last are the ones to watch.
    """
    open_windows = [
        played
        for player in players
        for played in player.played.values()
        if played.opened.parent is None or not played.closed
    ]
    width = min(size.columns - NAME - FIGURES - 2, 60)
    room = size.lines - SPARE_LINES
    if width < len(COMPONENTS) or room < 1 or not open_windows:
        return []
    legend = "  ".join(f"{style.key(component)} {HEADINGS[component]}" for component in COMPONENTS)
    return [legend, *(_line(played, style, width) for played in open_windows[-room:])]


def _line(played: Played, style: Style, width: int) -> str:
    tokens, total = played.sender.host.tokens, played.total_tokens
    name = cut(("  " if played.opened.parent else "") + played.session, NAME)
    bar = style.stack({component: tokens[component] / max(total, 1) for component in COMPONENTS}, width)
    used = tokens.total()
    return f"{name:<{NAME}} {bar} {used:>12,} {100 * used / max(total, 1):>5.0f} %"
