"""A snapshot equals the fold of the entries, whatever happened before and happens after (DESIGN section 1)."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.budget import commands as c
from sidecar.budget.errors import BudgetError
from sidecar.budget.evolve import replay
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.session import state_of
from sidecar.journal import JournalError
from sidecar.journal.codec import decode, encode
from sidecar.journal.freezing import freeze, freeze_in_pieces, ours, stamp, thaw
from tests.budget.desk import Desk

ids = st.sampled_from([f"item-{number}" for number in range(8)])
names = st.sampled_from(["a", "b", "c"])
sizes = st.sampled_from([1, 150, 9_999, 12_000, 40_000, 61_000])
components = st.sampled_from(COMPONENTS)
kinds = st.sampled_from(["prompt", "tool_result", "debug", "task", "file", "skill", "doc", "agent", "interaction"])
specs = st.builds(
    c.ItemSpec,
    id=ids,
    kind=kinds,
    tokens=sizes,
    pinned=st.booleans(),
    group=st.none() | names,
    claims=st.none() | names,
    content=st.none() | st.just("text"),
)
commands = st.one_of(
    st.builds(c.PutItem, item=specs, id=st.none() | names),
    st.builds(c.PutItem, item=specs),
    st.builds(
        c.RequestAllocation,
        component=components,
        tokens=sizes,
        request_id=st.none() | names,
        lease_seconds=st.none() | st.just(1_000.0),
    ),
    st.builds(c.RequestAllocation, item=specs, request_id=st.none() | names),
    st.builds(c.CompleteItem, item=ids),
    st.builds(c.TouchItem, item=ids),
    st.builds(c.RemoveItem, item=ids),
    st.builds(c.ReportUsage, components=st.dictionaries(components, sizes, max_size=2), total=st.none() | sizes),
    st.builds(c.Acknowledge, through=st.integers(0, 9), sizes=st.dictionaries(ids, sizes, max_size=2)),
    st.builds(c.CleanUp, component=components),
    st.builds(c.AdjustShares),
    st.builds(
        c.PlanTasks, tasks=st.lists(st.builds(c.TaskSpec, id=names, files=st.just(["f"])), min_size=1, max_size=2)
    ),
    st.builds(c.CompleteTask, task=names),
    st.builds(
        c.ChangeSession, total_tokens=st.none() | st.just(150_000), mode=st.sampled_from(["managed", "observed"])
    ),
    st.builds(c.SyncWindow, items=st.just([]), through=st.integers(0, 9)),
    st.builds(c.CloseSession),
    st.builds(c.OpenSession, agent=names),
)
gaps = st.sampled_from([0.0, 1.0, 700.0, 4_000.0, 15_000.0])


@settings(max_examples=150)
@given(st.lists(st.tuples(gaps, commands, st.booleans()), max_size=30))
def test_a_session_that_was_frozen_and_thawed_at_any_moments_equals_the_fold_of_its_entries(story):
    desk = Desk(laws=False)
    for gap, command, freezing in story:
        desk.wait(gap)
        with contextlib.suppress(BudgetError):
            desk.do(command)
        if freezing:
            desk.held = thaw(freeze(desk.session, written_at=desk.now))
        assert state_of(desk.session) == state_of(replay("s", decode(encode(desk.entries))))


def test_a_session_that_changes_while_it_is_frozen_in_pieces_is_frozen_as_it_was_when_that_began():
    desk = Desk(laws=False)
    for number in range(300):
        desk.ask(tokens=1, request_id=f"r{number}")
    desk.put("i", tokens=5_000)
    whole = freeze(desk.session, written_at=7.0)
    counts = list[int]()

    def changing():
        pieces = freeze_in_pieces(desk.session, written_at=7.0)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value
            counts.append(len(counts))
            desk.put(f"i{len(counts)}", tokens=1)
            desk.ask(tokens=1, request_id=f"later{len(counts)}")

    assert changing() == whole
    assert len(counts) > 1


@pytest.fixture
def snapshot():
    desk = Desk()
    desk.put("i", tokens=5_000)
    return freeze(desk.session, written_at=7.0)


def test_a_snapshot_says_whose_it_is_and_when_it_was(snapshot):
    assert (snapshot.session, snapshot.version, snapshot.written_at) == ("s", 2, 7.0)


def test_only_a_snapshot_of_the_same_release_and_fields_is_believed(snapshot):
    assert ours(snapshot)
    assert not ours(None)
    assert not ours(replace(snapshot, stamp="0.0.9 0011223344556677"))
    assert stamp().split()[0] in snapshot.stamp


def test_a_snapshot_of_another_release_can_be_read_where_nothing_else_is_left(snapshot):
    """Fields that it does not have are at their defaults, and those that nobody knows any more are passed over."""
    state = snapshot.state.replace(b'"peak":5000', b'"summit":5000')
    assert state != snapshot.state
    session = thaw(replace(snapshot, state=state))
    assert (session.used, session.peak) == (5_000, 0)


@pytest.mark.parametrize("state", [b"", b"{}", b"[]", b'{"id": "s"}', b"\xff", b'{"opened": {"preset": "nobody\'s"}}'])
def test_what_is_no_session_is_an_error(snapshot, state):
    with pytest.raises(JournalError, match="the snapshot of session 's' cannot be read"):
        thaw(replace(snapshot, state=state))


def test_a_snapshot_under_another_version_is_an_error(snapshot):
    with pytest.raises(JournalError, match="of another version"):
        thaw(replace(snapshot, version=9))
