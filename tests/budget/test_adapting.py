"""Adjustments that run by themselves do not swing (SPEC 3.4): at an interval, and from session to session."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.budget.adapting import LEAST_CHANGE, adapt
from sidecar.budget.commands import CloseSession, ComponentHistory, PutItem
from sidecar.budget.decide import Defaults
from sidecar.budget.entries import SharesAdjusted
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import Profile, learn, lesson_of
from sidecar.lab.recordings import bundled, read
from sidecar.lab.script import Compact, Gain, ModelCall, Open, moves
from tests.budget.desk import HOUR, NOW, Desk

SHORT = ComponentHistory(exhaustion_count=5, avg_utilization=0.95)
IDLE = ComponentHistory(exhaustion_count=0, avg_utilization=0.2)
WELL = ComponentHistory(exhaustion_count=0, avg_utilization=0.7)
ADJUSTABLE = [name for name in COMPONENTS if name != "system_context"]


def adapted(history, *, shares=None, raised=None, doubted=(), critical=()):
    return adapt(shares or STANDARD.shares, history, STANDARD, raised=raised or {}, doubted=doubted, critical=critical)


def test_a_component_that_is_short_gets_what_others_leave_idle():
    """The first worked example holds for adjustments that nobody asked for, too."""
    found = adapted({"agent_context": SHORT, "interaction_buffer": IDLE, "working_memory": WELL})
    assert found.after == pytest.approx({**STANDARD.shares, "agent_context": 0.20, "interaction_buffer": 0.20})
    assert found.raised == {"agent_context": True, "interaction_buffer": False}
    assert "5 exhaustions" in found.reasons["agent_context"][0]


def test_what_is_idle_gives_to_those_in_use():
    """Nobody has to be exhausted for that: the rule of the average holds by itself (SPEC 3.4)."""
    history = dict.fromkeys(ADJUSTABLE, WELL) | {"interaction_buffer": IDLE}
    found = adapted(history)
    assert found.after["interaction_buffer"] == pytest.approx(0.20 * 0.90 / 0.85)
    assert all(found.after[name] > STANDARD.shares[name] for name in ADJUSTABLE if name != "interaction_buffer")


def test_where_all_that_is_in_use_is_idle_nothing_moves():
    """A share taken from one would help none, and short sessions would push a profile to its bounds."""
    found = adapted(dict.fromkeys(ADJUSTABLE, IDLE))
    assert found.after == STANDARD.shares
    assert (found.raised, found.doubted, found.reasons) == ({}, (), {})


def test_to_take_a_change_back_needs_a_second_sign():
    first = adapted({"agent_context": IDLE, "working_memory": SHORT}, raised={"agent_context": True})
    assert first.doubted == ("agent_context",)
    assert "waits for a second sign" in first.reasons["agent_context"][0]
    assert first.after["agent_context"] / first.after["knowledge_base"] == pytest.approx(0.75), "only scaled along"
    assert "agent_context" not in first.raised
    again = adapted(
        {"agent_context": IDLE, "working_memory": SHORT}, raised={"agent_context": True}, doubted=["agent_context"]
    )
    assert again.doubted == ()
    assert again.raised["agent_context"] is False
    assert again.after["agent_context"] < first.after["agent_context"]


def test_a_doubt_does_not_outlive_a_time_without_it():
    calm = adapted({"agent_context": WELL}, raised={"agent_context": True}, doubted=["agent_context"])
    assert calm.doubted == ()


def test_a_change_that_is_hardly_one_is_not_made():
    at_cap = {
        **STANDARD.shares,
        "working_memory": 0.495,
        "knowledge_base": 0.135,
        "agent_context": 0.12,
        "interaction_buffer": 0.15,
    }
    assert adapted({"working_memory": SHORT}, shares=at_cap).after == at_cap


histories = st.dictionaries(
    st.sampled_from(COMPONENTS),
    st.builds(ComponentHistory, exhaustion_count=st.integers(0, 8), avg_utilization=st.floats(0, 1.5)),
)


@settings(max_examples=200)
@given(st.lists(histories, max_size=12))
def test_whatever_happens_shares_sum_to_one_within_their_bounds_and_do_not_go_to_and_fro(told):
    shares, raised, doubted = dict(STANDARD.shares), dict[Component, bool](), tuple[Component, ...]()
    for history in told:
        found = adapted(history, shares=shares, raised=raised, doubted=doubted)
        assert sum(found.after.values()) == pytest.approx(1)
        assert found.after["system_context"] == shares["system_context"]
        assert all(0.05 - 1e-9 <= found.after[name] <= 0.50 + 1e-9 for name in ADJUSTABLE)
        moved = max(abs(found.after[name] - shares[name]) for name in COMPONENTS)
        assert not moved or moved >= LEAST_CHANGE
        for name, up in found.raised.items():
            assert raised.get(name, up) == up or name in doubted, "taken back at the first sign"
        shares, raised, doubted = found.after, {**raised, **found.raised}, found.doubted


def longest():
    return max(read([bundled()]), key=lambda recording: recording.duration)


def test_a_long_recorded_session_does_not_swing():
    """Adjusted every fifteen minutes of its hours, a component turns in a third of the adjustments at most."""
    recording = longest()
    desk = Desk(defaults=Defaults(adjust_interval=HOUR / 4), now=NOW + 10**8, laws=False, open_it=False)
    for move in moves(recording, start=NOW):
        if move.session != recording.session:
            continue
        if isinstance(move, Open):
            desk = Desk(defaults=desk.defaults, now=NOW + 10**8, laws=False, agent=move.agent, time=move.time)
        elif isinstance(move, Gain):
            desk.do(PutItem(item=move.item, time=move.time))
        elif isinstance(move, Compact | ModelCall):
            continue
    adjustments = desk.all(SharesAdjusted)
    assert len(adjustments) >= 4
    for name in ADJUSTABLE:
        own = [entry.raised[name] for entry in adjustments if name in entry.raised]
        turns = sum(before != after for before, after in pairwise(own))
        assert turns <= len(adjustments) // 3
    desk.check()


def test_the_recorded_sessions_of_an_agent_settle_its_profile():
    """From session to session the profile moves towards what the agent needs, and then rests."""
    profile, seen = Profile(), []
    for recording in [each for each in read([bundled()]) if each.agent == "claude-code"] * 3:
        desk = Desk(defaults=Defaults(profiles={"claude-code": profile}), now=NOW + 10**8, laws=False, open_it=False)
        for move in moves(recording, start=NOW):
            if move.session != recording.session:
                continue
            if isinstance(move, Open):
                desk = Desk(defaults=desk.defaults, now=NOW + 10**8, laws=False, agent=move.agent, time=move.time)
            elif isinstance(move, Gain):
                desk.do(PutItem(item=move.item, time=move.time))
        desk.do(CloseSession())
        for entry in desk.entries:
            if (lesson := lesson_of(entry)) is not None:
                profile = learn(profile, lesson[1], at=desk.now)
        seen.append(dict(profile.shares or STANDARD.shares))
    changes = [max(abs(after[name] - before[name]) for name in COMPONENTS) for before, after in pairwise(seen)]
    assert seen[-1]["working_memory"] >= 0.30
    assert all(0.05 - 1e-9 <= seen[-1][name] <= 0.50 + 1e-9 for name in ADJUSTABLE)
    assert max(changes[-4:], default=0) <= 0.06
