"""The tables at the end of a replay."""

import re
from dataclasses import replace
from typing import cast

import pytest

from sidecar.budget.commands import ItemSpec, OpenSession, PutItem, RequestAllocation
from sidecar.budget.decide import Defaults, decide
from sidecar.budget.report import report
from sidecar.budget.session import Session
from sidecar.lab.account import Account
from sidecar.lab.connection import Connection
from sidecar.lab.player import Played
from sidecar.lab.script import Open
from sidecar.lab.sending import AsItems
from sidecar.lab.style import Style
from sidecar.lab.table import details, overview


@pytest.fixture
def played():
    """A session that was decided for real: a prompt over its budget, a file that came in and one that did not."""
    account = Account()
    session: Session | None = None
    for command in (
        OpenSession(agent="a", model="m-1", time=0.0),
        PutItem(item=ItemSpec(id="p", kind="prompt", tokens=30_000), time=1.0),
        RequestAllocation(item=ItemSpec(id="f", kind="file", tokens=45_000), time=2.0),
        RequestAllocation(item=ItemSpec(id="g", kind="file", tokens=70_000), time=3.0),
    ):
        decision = decide(session, command, id="agent__p-1", now=100.0, defaults=Defaults())
        session = decision.session
        for entry in decision.entries:
            account.add({"type": entry.type, **{name: getattr(entry, name) for name in entry.__struct_fields__}})
    assert session is not None
    opened = Open(session="agent__p-1", time=0.0, agent="a", parent=None, model="m-1", window_tokens=None)
    return Played(
        opened=opened,
        sender=AsItems(cast("Connection", None), "agent__p-1", managed=True, run="r"),
        total_tokens=200_000,
        steps=3,
        seconds=61.0,
        report=dict(report(session)),
        account=account,
    )


def test_a_block_has_a_bar_for_each_component_and_for_the_window(played):
    lines = details([played], Style()).splitlines()
    assert lines[0] == "agent__p-1  m-1 · managed · 3 steps · 1 min 1 s"
    assert re.match(r"  system_context +30,000 of +20,000  #{30} +150 %  critical  exhausted 1 time$", lines[1])
    assert re.match(r"  working_memory +45,000 of +60,000  #{22}[.#|]{8} +75 %  high", lines[2])
    assert re.match(r"  whole window +75,000 of +200,000 ", lines[6])


def test_a_block_tells_what_was_refused(played):
    assert "2 requests: 1 full, 1 denied (70,000 tokens refused)" in details([played], Style())


def test_a_long_sentence_is_broken_between_words(played):
    played.account.cleanups["target"] = 12
    played.account.freed.update({f"step_number_{number}": 1_000 for number in range(12)})
    block = details([played], Style())
    assert max(map(len, block.splitlines())) <= 119
    assert "1,000,\n    step_number_8 1,000, " in block


@pytest.mark.parametrize("width", [80, 96, 119, 240])
def test_nothing_is_wider_than_the_terminal_and_what_gives_way_is_told_elsewhere(played, width):
    played.opened = replace(played.opened, session="a-session-with-a-name-that-is-rather-long__p-1")
    played.account.freed["evict_lru"] = 1_234_567
    block, lines = details([played], Style(blocks=True), width), overview([played], Style(blocks=True), width)
    assert [line for line in (block + "\n" + lines).splitlines() if len(line) > width] == []
    assert "exhausted" in block
    assert "refused" in lines
    assert "__p-1" in lines
    assert ("exhausted" in lines) == (width > 100)


def test_the_overview_has_a_line_for_each_session_and_their_sum(played):
    head, one, two, total = overview([played, played], Style()).splitlines()
    assert head.split() == [
        "session",
        "window",
        "system",
        "memory",
        "knowl.",
        "agents",
        "talk",
        "exhausted",
        "cleanups",
        "freed",
        "refused",
    ]
    assert one == two
    assert one.split() == ["agent__p-1", "38", "150", "75", "0", "0", "0", "2", "0", "0", "70,000"]
    assert total.split() == ["2", "sessions", "4", "0", "0", "140,000"]
    assert len(head) == len(one) == len(total)


def test_colours_change_nothing_but_colours(played):
    plain, coloured = (overview([played], Style(colour=colour)) for colour in (False, True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert coloured != plain
