"""What a run has left so far: shrinking many at once is shrinking each."""

import pytest

from sidecar.budget.overlay import Overlay
from sidecar.budget.presets import STANDARD
from tests.budget.cleaning import MINUTE, NOW, item

ITEMS = {
    each.id: each
    for each in (
        item("free", "tool_result", 500),
        item("small", "tool_result", 40),
        item("shrunk before", "tool_result", 500, original_tokens=900),
        item("pinned", "tool_result", 500, pinned=True),
        item("asked for", "tool_result", 500),
        item("young", "interaction", 500, age=MINUTE, component="working_memory"),
        item("old", "interaction", 500, age=500 * MINUTE, component="working_memory"),
        item("shrunk by a step", "tool_result", 500),
        item("gone", "tool_result", 500),
    )
}


@pytest.mark.parametrize("protected", [(), ("asked for",)])
@pytest.mark.parametrize("steps_before", [False, True])
def test_all_at_once_leaves_what_one_after_the_other_does(protected, steps_before):
    def run() -> Overlay:
        held = Overlay(
            "working_memory",
            items={"working_memory": ITEMS},
            groups={},
            policy=STANDARD,
            now=NOW,
            used=4_040,
            allocated=1,
            protected=protected,
        )
        if steps_before:
            held.shrink(ITEMS["shrunk by a step"], 450)
            held.remove(ITEMS["gone"])
        return held

    one, other = run(), run()
    changes = [(each, each.tokens, 100) for each in ITEMS.values() if one.shrink(each, 100)]
    assert other.shrink_all([(each, 100) for each in ITEMS.values()]) == changes
    assert (other.shrunk, other.freed_here) == (one.shrunk, one.freed_here)
    assert [each.id for each, _, _ in changes][:2] == ["free", "old" if protected else "asked for"]
