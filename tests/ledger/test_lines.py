"""Who is next: agents in turn, their sessions in turn, each session's commands in order; and who gives way."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget.commands import TouchItem
from sidecar.ledger.contract import Ask, Overloaded
from sidecar.ledger.lines import IN_A_ROW, Lines
from sidecar.ledger.queue import Queue
from sidecar.ledger.turn import Batch, Waiting


def agent_of(session: str) -> str:
    return session.partition("/")[0]


def asks(sessions: Iterable[str]) -> list[Ask]:
    return [Ask(session, TouchItem(item="i")) for session in sessions]


async def waiting(*sessions: str) -> Lines:
    lines = Lines(agent_of)
    batch = Batch(len(sessions))
    for place, ask in enumerate(asks(sessions)):
        lines.add(Waiting(ask, batch, place))
    return lines


def served(lines: Lines) -> list[str]:
    return [lines.take()[0].ask.session for _ in range(len(lines))]


def served_in_rows(lines: Lines, most: int) -> list[list[str]]:
    rows = []
    while len(lines):
        rows.append([each.ask.session for each in lines.take(most)])
    return rows


async def test_a_session_with_thousands_makes_another_wait_for_a_few():
    lines = await waiting(*["a/flood"] * 2_000, "a/other")
    assert served(lines).index("a/other") == IN_A_ROW


@pytest.mark.parametrize("most", [1, 5, 16, 1_000])
async def test_however_many_are_taken_at_once_the_order_is_the_same(most):
    sessions = ["a/1"] * 40 + ["a/2"] * 20 + ["b/1"] * 3 + ["a/3"] * 33
    rows = served_in_rows(await waiting(*sessions), most)
    assert [each for row in rows for each in row] == served(await waiting(*sessions))
    assert all(len(set(row)) == 1 and len(row) <= min(most, IN_A_ROW) for row in rows)


async def test_an_agent_with_many_sessions_gets_as_much_as_one_with_one():
    flood = [f"a/{number}" for number in range(100)] * IN_A_ROW
    lines = await waiting(*flood, *["b/1"] * IN_A_ROW * 3)
    first = served(lines)[: 6 * IN_A_ROW]
    assert sum(session == "b/1" for session in first) == 3 * IN_A_ROW


async def test_after_a_heavy_command_another_session_has_its_turn():
    lines = await waiting("a/1", "a/1", "a/2")
    assert lines.take()[0].ask.session == "a/1"
    lines.pass_on("a/1")
    assert served(lines) == ["a/2", "a/1"]


@given(st.lists(st.tuples(st.sampled_from(["a/1", "a/2", "b/1", "b/2", "c/1"]), st.integers(0, 3)), max_size=200))
async def test_a_sessions_commands_are_served_in_order_and_each_once_whatever_comes_between(steps):
    """Adding, taking, putting back and pushing out in any order: nothing overtakes, nothing is lost."""
    lines = Lines(agent_of)
    held: dict[str, list[int]] = {}
    for number, (session, step) in enumerate(steps):
        if step <= 1 or not len(lines):
            lines.add(Waiting(asks([session])[0], Batch(1), number))
            held.setdefault(session, []).append(number)
        elif step == 2:
            taken = lines.take(1 + number % 3)
            (served_now,) = {each.ask.session for each in taken}
            assert [each.place for each in taken] == held[served_now][: len(taken)]
            if number % 5 == 0:
                for each in reversed(taken):
                    lines.put_back(each)
            else:
                del held[served_now][: len(taken)]
        else:
            longest = lines.longest()
            assert lines.push_out(longest).place == held[longest].pop()
        assert len(lines) == sum(map(len, held.values()))
    left = [each.place for each in lines]
    assert sorted(left) == sorted(place for places in held.values() for place in places)


async def test_where_there_is_no_room_a_long_line_gives_way_to_who_has_less():
    queue = Queue(100, 1.0, agent_of=agent_of)
    flood = queue.add(asks(["a/flood"] * 100))
    other = queue.add(asks(["b/1", "b/2"]))
    assert len(queue) == 100
    assert [isinstance(answer, Overloaded) for answer in flood.answers[-3:]] == [False, True, True]
    assert not any(isinstance(answer, Overloaded) for answer in other.answers)
    with pytest.raises(Overloaded, match="max_waiting"):
        queue.add(asks(["a/flood"]))


async def test_where_all_lines_are_short_who_comes_is_refused_whole():
    """No payload loses a part to another one that then loses a part as well."""
    queue = Queue(10, 1.0, agent_of=agent_of)
    queue.add(asks([f"a/{number}" for number in range(8)]))
    with pytest.raises(Overloaded, match="8 commands wait already"):
        queue.add(asks(["b/1", "b/2", "b/3"]))
    assert len(queue) == 8


async def test_a_command_that_would_wait_for_too_long_is_refused_and_no_other_sessions():
    """At a hundred commands a second, thirty before it are too many for a quarter of a second."""
    queue = Queue(1_000, 0.25, agent_of=agent_of)
    queue.add(asks(["a/flood"] * 30))
    queue.served(100, 1.0)
    with pytest.raises(Overloaded, match=r"would wait for 0\.3 s") as refused:
        queue.add(asks(["a/flood"]))
    assert refused.value.retry_after == 1
    batch = queue.add(asks(["a/flood", "b/quiet"]))
    assert isinstance(batch.answers[0], Overloaded)
    assert not isinstance(batch.answers[1], Overloaded)
