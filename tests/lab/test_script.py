"""Recordings told as moves."""

import pytest

from sidecar.lab.recordings import read
from sidecar.lab.script import Close, Compact, Complete, Gain, ModelCall, Open, Use, moves

START = 1_700_000_000.0


@pytest.fixture
def told(record):
    """The moves of a recording made of these lines."""

    def tell(*lines):
        (recording,) = read([record(*lines)])
        return list(moves(recording, start=START))

    return tell


def of(told, kind):
    return [move for move in told if isinstance(move, kind)]


def assistant(line, step, kind="assistant_message", **fields):
    return line(step, kind, role="assistant", **fields)


def test_a_window_opens_with_its_agent_model_and_size(told, line):
    usage = {"context_tokens": 5, "model": "m-1", "context_window": 258_400}
    (opened,) = of(told(line(0, ts=2.0), assistant(line, 1, usage=usage)), Open)
    assert opened == Open(
        session="agent__project-1", time=START + 2, agent="agent", parent=None, model="m-1", window_tokens=258_400
    )


def test_times_are_the_recordings(told, line):
    assert [move.item.created_at for move in of(told(line(0, ts=1.0), line(1, ts=7.5)), Gain)] == [
        START + 1,
        START + 7.5,
    ]


def test_a_call_and_its_result_share_a_group_also_where_calls_run_side_by_side(told, line):
    gained = of(
        told(
            assistant(line, 0, "tool_call", name="Read", path="a"),
            assistant(line, 1, "tool_call", name="Read", path="b"),
            assistant(line, 2, "tool_call", name="Bash"),
            line(3, "tool_result", role="tool", name="Bash"),
            line(4, "file_read", role="tool", name="Read", path="b"),
            line(5, "file_read", role="tool", name="Read", path="a"),
            line(6, "tool_result", role="tool"),
        ),
        Gain,
    )
    groups = {move.item.id: move.item.group for move in gained}
    assert groups["file_read-5"] == groups["tool_call-0"]
    assert groups["file_read-4"] == groups["tool_call-1"]
    assert groups["tool_result-3"] == groups["tool_call-2"]
    assert groups["tool_result-6"] is None, "a notice from the background answers no call"
    assert len(set(groups.values())) == 4


def test_reading_a_file_again_adds_a_copy_and_working_on_it_uses_the_newest(told, line):
    story = told(
        line(0, "file_read", role="tool", name="Read", path="a"),
        line(1, "file_read", role="tool", name="Read", path="a"),
        assistant(line, 2, "tool_call", name="Edit", path="a"),
    )
    assert [move.item.id for move in of(story, Gain)] == ["file_read-0", "file_read-1", "tool_call-2"]
    assert [move.item for move in of(story, Use)] == ["file_read-1"]


def test_only_what_tools_bring_is_asked_for_and_nothing_without_tokens(told, line):
    story = told(
        line(0, "system_prompt", role="system"),
        line(1),
        line(2, "tool_result", role="tool", tokens=0),
        line(3, "tool_result", role="tool"),
        line(4, "file_read", role="tool"),
    )
    assert [move.declinable for move in of(story, Gain)] == [False, False, False, True, True]


def test_a_plan_is_finished_when_it_is_written_anew(told, line):
    story = told(
        assistant(line, 0, "plan", name="TodoWrite"),
        line(1, "plan", role="tool", name="TodoWrite"),
        assistant(line, 2, "plan", name="other"),
        assistant(line, 3, "plan", name="TodoWrite"),
    )
    assert [move.item for move in of(story, Complete)] == ["plan-0", "plan-1"]
    assert story.index(of(story, Complete)[0]) > 3


def test_each_created_task_stays_open(told, line):
    story = told(*(assistant(line, step, "plan", name="TaskCreate") for step in range(3)))
    assert of(story, Complete) == []


def test_a_sub_agents_execution_is_finished_once_its_report_has_been_read(told, line):
    story = told(
        assistant(line, 0, "subagent_call", name="Agent"),
        line(1, "subagent_report", role="subagent", name="Agent"),
        assistant(line, 2),
        line(3),
        assistant(line, 4),
    )
    kinds = [type(move) for move in story]
    assert [move.item for move in of(story, Complete)] == ["subagent_call-0", "subagent_report-1"]
    assert kinds == [Open, ModelCall, Gain, Gain, ModelCall, Gain, Gain, ModelCall, Complete, Complete, Gain]


def test_a_sub_agents_window_is_a_session_with_a_parent_that_closes_with_its_last_step(told, line):
    story = told(line(0), line(1, ctx="sub:x", ts=1.0), line(2), line(3, ctx="sub:x", ts=4.0), line(4))
    opened = of(story, Open)
    assert [(move.session, move.parent) for move in opened] == [
        ("agent__project-1", None),
        ("agent__project-1.x", "agent__project-1"),
    ]
    (closed,) = of(story, Close)
    assert (closed.session, closed.time) == ("agent__project-1.x", START + 4)
    assert isinstance(story[story.index(closed) - 1], Gain)


def test_a_compaction_throws_out_all_but_what_lasts_and_leaves_its_summary(told, line):
    story = told(
        line(0, "system_hidden", role="system"),
        line(1),
        assistant(line, 2, "tool_call", name="Read", path="a"),
        line(3, "compaction", role="system"),
        line(4, "file_read", role="tool", name="Read", path="a"),
    )
    (compacted,) = of(story, Compact)
    assert compacted.items == ("user_message-1", "tool_call-2")
    assert [move.item.id for move in of(story, Gain)][-2:] == ["compaction-3", "file_read-4"]
    assert of(story, Gain)[-1].item.group is None, "its call is gone"
    assert of(story, Use) == []


def test_a_model_call_begins_where_the_usage_before_it_ended(told, line):
    story = told(
        line(0),
        assistant(line, 1, "thinking"),
        assistant(line, 2, "tool_call", name="a"),
        line(3, "tool_result", role="tool", name="a"),
        assistant(line, 4, "tool_call", name="b", usage={"context_tokens": 100}),
        assistant(line, 5, usage={"context_tokens": 200}),
    )
    assert [move.billed for move in of(story, ModelCall)] == [100, 200]


def test_without_usage_all_that_is_written_between_two_inputs_is_one_call(told, line):
    story = told(
        line(0), assistant(line, 1), assistant(line, 2), line(3, "tool_result", role="tool"), assistant(line, 4)
    )
    assert [move.billed for move in of(story, ModelCall)] == [None, None]
