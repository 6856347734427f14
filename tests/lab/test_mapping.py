"""The table from a recorded step to component, kind and item."""

import pytest

from sidecar.budget.items import KINDS
from sidecar.budget.policy import COMPONENTS
from sidecar.lab.mapping import MAPPING, STEP_KINDS, place

# By hand from SPEC sections 3.1 and 5 and the recordings' own description, not from the table.
EXPECTED = {
    "system_prompt": ("system_context", "prompt"),
    "system_hidden": ("system_context", "prompt"),
    "tool_definitions": ("system_context", "tool_definition"),
    "project_instructions": ("system_context", "config"),
    "system_reminder": ("system_context", "config"),
    "user_message": ("interaction_buffer", "interaction"),
    "assistant_message": ("interaction_buffer", "interaction"),
    "thinking": ("working_memory", "context"),
    "tool_call": ("working_memory", "context"),
    "tool_result": ("working_memory", "tool_result"),
    "file_read": ("working_memory", "file"),
    "compaction": ("working_memory", "context"),
    "doc": ("knowledge_base", "doc"),
    "skill": ("knowledge_base", "skill"),
    "plan": ("agent_context", "plan"),
    "subagent_call": ("agent_context", "agent"),
    "subagent_report": ("agent_context", "execution"),
}


def test_every_recorded_kind_has_its_place():
    assert {kind: (place(kind, "", None).component, place(kind, "", None).kind) for kind in STEP_KINDS} == EXPECTED


def test_every_component_is_reached_and_no_row_leaves_the_contracts_kinds():
    assert {row.component for row in MAPPING.values()} == set(COMPONENTS)
    assert {row.kind for row in MAPPING.values()} <= set(KINDS)


@pytest.mark.parametrize(
    ("kind", "role", "name", "expected"),
    [
        ("system_reminder", "system", "nested_memory", "memory"),
        ("system_reminder", "system", "hook_success", "debug"),
        ("system_reminder", "system", "never seen before", "config"),
    ],
)
def test_a_tools_name_can_make_a_row_more_particular(kind, role, name, expected):
    assert place(kind, role, name).kind == expected


@pytest.mark.parametrize("kind", ["skill", "doc"])
def test_what_a_tool_brings_is_declinable_and_what_the_harness_gives_is_not(kind):
    assert place(kind, "tool", "Read").declinable
    assert not place(kind, "system", None).declinable


def test_only_what_tools_bring_can_be_declined():
    declinable = {kind for (kind, _, _), row in MAPPING.items() if row.declinable}
    assert declinable == {"tool_result", "file_read", "skill", "doc"}


def test_a_row_that_calls_does_not_answer():
    assert not [key for key, row in MAPPING.items() if row.calls and row.answers]


def test_only_what_is_sent_with_every_call_outlasts_a_compaction():
    lasting = {kind for (kind, _, _), row in MAPPING.items() if row.lasting}
    assert lasting == {"system_prompt", "system_hidden", "tool_definitions", "project_instructions"}
