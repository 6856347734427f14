"""The laws of any command in any order, under `coding-agent` and under policies nobody has thought of (SPEC 3.10)."""

from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from typing_extensions import override

from sidecar.budget.commands import Command, ReportUsage, RequestAllocation, RestoreItem
from sidecar.budget.decide import Defaults
from sidecar.budget.entries import Allocated, CleanedUp
from sidecar.budget.lending import bound, owed, spare
from sidecar.budget.policy import CalibratePolicy, ElasticPolicy, Policy, WindowPolicy
from sidecar.budget.presets import CODING_AGENT, PRESETS, STANDARD, add_preset
from sidecar.budget.session import state_of
from sidecar.journal.freezing import freeze, thaw
from tests.budget.desk import NOW, Desk
from tests.budget.test_properties import Sessions
from tests.budget.variants import variant

calls = st.none() | st.integers(1, 6)


@st.composite
def policies(draw: st.DrawFn) -> str:
    """The name of a policy that differs from `standard` or `coding-agent` in any dimension."""
    base = draw(st.sampled_from([STANDARD, CODING_AGENT]))
    return variant(
        base,
        elastic=ElasticPolicy(on=draw(st.booleans()), lender_floor=draw(st.sampled_from([0.0, 0.05, 0.2]))),
        measured_system=draw(st.booleans()),
        window=WindowPolicy(
            upper=draw(st.sampled_from([None, 0.3, 0.8])),
            lower=draw(st.sampled_from([0.0, 0.2, 0.6])),
            order=draw(st.sampled_from(["worst", "reclaimable"])),
        ),
        calibrate=CalibratePolicy(on=draw(st.booleans()), calls=draw(st.integers(1, 4))),
        cleanup={
            "inactive_after_calls": draw(calls),
            "debug_after_calls": draw(calls),
            "summarize_after_calls": draw(calls),
            "archive_after_calls": draw(calls),
            "full_text_for_calls": draw(calls),
            "protect_calls": draw(st.integers(0, 4)),
            "minimum_gain": draw(st.sampled_from([0.0, 0.1, 3.0])),
            "evict_kinds": draw(st.sampled_from([("file",), ("file", "tool_result", "context")])),
            "eviction": draw(st.sampled_from(["lru", "size_adjusted"])),
            "extent": draw(st.sampled_from(["full", "goal"])),
            "stub_tokens": draw(st.sampled_from([0, 50, 5_000])),
        },
    )


class Presets(Sessions):
    """A session under any commands and one policy; beside the laws of `Desk`, those of the policy's dimensions."""

    def begin(self, preset: str) -> None:
        self.desk = Desk(preset=preset, defaults=Defaults(preset=preset, adjust_interval=20_000.0), now=NOW)

    @property
    def policy(self) -> Policy:
        return self.desk.session.policy

    @override
    def ask(self, command: Command, **more: Any) -> None:
        session = self.desk.session
        used = session.used
        items = {id: copy(item) for held in session.components.values() for id, item in held.items.items()}
        used_calls = {id: item.used_call for held in session.components.values() for id, item in held.items.items()}
        entries = len(self.desk.entries)
        super().ask(command, **more)
        if len(self.desk.entries) == entries:
            return
        session = self.desk.session
        for entry in self.desk.made(CleanedUp):
            for action in entry.actions:
                if action.item in items and session.calls and self.policy.cleanup.protect_calls:
                    age = session.calls - used_calls[action.item]
                    assert age >= self.policy.cleanup.protect_calls, "a protected item was touched"
        if self.policy.elastic.on and isinstance(command, RequestAllocation | RestoreItem):
            assert session.used <= max(used, session.total), "a request took the window over its limit"
            for entry in self.desk.made(Allocated):
                if entry.outcome == "borrowed":
                    assert session.used <= max(used, bound(session)), "borrowed above the overall target"
        self.hold()

    def hold(self) -> None:
        session = self.desk.session
        parts = session.components.values()
        assert sum(held.allocated for held in parts) == session.total
        assert all(0 <= held.borrowed <= held.over for held in parts)
        lent = min(owed(session), spare(session)) if self.policy.elastic.on else 0
        assert sum(held.borrowed for held in parts) == lent, "lenders lack of their own"
        frozen = freeze(session, written_at=0.0)
        assert state_of(thaw(frozen)) == state_of(session), "a snapshot gives something else"

    @rule(factor=st.sampled_from([0.8, 1.0, 1.3, 4.0]))
    def call(self, factor: float) -> None:
        """A model call of the window as it is."""
        self.ask(ReportUsage(total=int(self.desk.session.attributed * factor), time=self.time))


class CodingAgent(Presets):
    """Under the preset that is shipped."""

    @initialize()
    def coding_agent(self) -> None:
        self.begin("coding-agent")


class AnyPolicy(Presets):
    """Under any."""

    @initialize(preset=policies())
    def any_policy(self, preset: str) -> None:
        self.begin(preset)


CodingAgent.TestCase.settings = settings(max_examples=7, stateful_step_count=40, deadline=None)
AnyPolicy.TestCase.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)
TestCodingAgent = CodingAgent.TestCase
TestAnyPolicy = AnyPolicy.TestCase


def test_a_preset_of_another_policy_cannot_take_a_name_that_is_taken():
    add_preset(STANDARD)
    with pytest.raises(ValueError, match="another preset of the name 'standard'"):
        add_preset(replace(STANDARD, total_tokens=1))
    assert PRESETS["standard"] is STANDARD
