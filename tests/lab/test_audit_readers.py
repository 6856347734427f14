"""Each tool's transcripts, made by hand in the shapes that the tools write: what the readers make of them."""

import os
from pathlib import Path

import pytest

from sidecar.lab.audit.recorded import record as as_recording
from sidecar.lab.audit.sources import AuditError, find, read, usual_folders
from sidecar.lab.audit.transcript import Bill, Cut, Notes, shortened
from sidecar.lab.recordings import MAIN

TRANSCRIPTS = Path(__file__).with_name("transcripts")


def sources(path, notes=None):
    return read(find([path]), notes or Notes())


def told(thread):
    """The pieces as what somebody would check by hand: kind, who, and our count."""
    return [(piece.kind, piece.name or piece.skill or "", piece.counted) for piece in thread.pieces]


def test_claude_code_is_read_into_the_pieces_that_came_into_the_window():
    """Messages, instructions, skills, tools of the agent and of servers, sub-agents and the summary, in order."""
    (source,) = sources(TRANSCRIPTS / "claude-code")
    main, _ = source.threads
    assert told(main) == [
        ("user_message", "", 100),
        ("system_reminder", "nested_memory", 50),
        ("skill", "(list of skills)", 20),
        ("thinking", "", 100),  # hidden: 121 tokens put out, 10 said and 11 called
        ("assistant_message", "", 10),
        ("tool_call", "Read", 11),
        ("file_read", "Read", 300),
        ("tool_call", "mcp__tickets__search", 3),
        ("tool_result", "mcp__tickets__search", 500),
        ("tool_call", "Read", 11),
        ("file_read", "Read", 300),
        ("subagent_call", "Task", 10),
        ("subagent_report", "Task", 90),
        ("compaction", "", 200),
        ("assistant_message", "", 1),
        ("tool_call", "Read", 11),
        ("file_read", "Read", 300),
        ("tool_call", "Skill", 5),
        ("skill", "Skill", 6),
        ("skill", "release", 199),
        ("assistant_message", "", 2),
    ]
    assert {piece.path for piece in main.pieces if piece.path} == {"src/cart.py", "web/CLAUDE.md"}


def test_a_call_that_claude_code_tells_in_several_lines_is_billed_once():
    """The lines of one message repeat its usage, with results in between: it stands on the last."""
    (source,) = sources(TRANSCRIPTS / "claude-code")
    bills = [(index, piece.bill) for index, piece in enumerate(source.threads[0].pieces) if piece.bill]
    assert [(index, bill.prompt) for index, bill in bills] == [
        (5, 1010),
        (9, 1431),
        (11, 2246),
        (15, 1140),
        (17, 1452),
        (20, 1659),
    ]
    assert bills[1][1] == Bill(fresh=1, written=420, cached=1010, output=14, model="claude-opus-4-6")


def test_claude_codes_compactions_and_sub_agents_are_told():
    """The boundary says what was before; the sub-agent's own file is a window of the session, with its type."""
    (source,) = sources(TRANSCRIPTS / "claude-code")
    main, side = source.threads
    assert [piece.cut for piece in main.pieces if piece.cut] == [Cut(trigger="auto", before=2400)]
    assert (main.within, side.within, side.label) == (None, "ab12", "Explore")
    assert told(side) == [("user_message", "", 50), ("assistant_message", "", 2)]
    assert (source.project, source.session[:8]) == ("shop", "1f0c2a9e")


def test_sub_agents_that_share_claude_codes_file_have_windows_of_their_own(transcript):
    """Older versions write them between the session's lines, told apart by the line that each follows."""
    path = transcript(
        {"type": "user", "uuid": "a", "parentUuid": None, "sessionId": "s", "message": {"content": "four"}},
        {"type": "user", "uuid": "b1", "isSidechain": True, "sessionId": "s", "message": {"content": "one"}},
        {"type": "user", "uuid": "c1", "isSidechain": True, "sessionId": "s", "message": {"content": "two"}},
        {
            "type": "user",
            "uuid": "b2",
            "parentUuid": "b1",
            "isSidechain": True,
            "sessionId": "s",
            "message": {"content": "3"},
        },
    )
    (source,) = sources(path)
    assert {thread.within: len(thread.pieces) for thread in source.threads} == {None: 1, "b1": 2, "c1": 1}


def test_a_boundary_without_a_summary_is_a_compaction_all_the_same(transcript):
    """The session ended, or the file was cut, before the summary was written."""
    path = transcript(
        {"type": "user", "sessionId": "s", "message": {"content": "hello"}},
        {"type": "system", "subtype": "compact_boundary", "sessionId": "s", "compactMetadata": {"preTokens": 9}},
    )
    (source,) = sources(path)
    assert source.threads[0].pieces[-1].cut == Cut(before=9)


def test_codex_is_read_into_the_pieces_that_came_into_the_window():
    """What is sent counts, not what is only shown; a shell command that shows a file reads it."""
    (source,) = sources(TRANSCRIPTS / "codex")
    (thread,) = source.threads
    assert told(thread) == [
        ("system_prompt", "", 100),
        ("system_prompt", "", 20),
        ("project_instructions", "", 22),
        ("system_reminder", "", 16),
        ("user_message", "", 25),
        ("thinking", "", 0),
        ("tool_call", "exec_command", 9),
        ("file_read", "exec_command", 400),
        ("tool_call", "exec_command", 8),
        ("tool_result", "exec_command", 600),
        ("tool_call", "apply_patch", 40),
        ("tool_result", "apply_patch", 5),
        ("compaction", "", 25),
        ("tool_call", "exec_command", 6),
        ("file_read", "exec_command", 400),
        ("assistant_message", "", 8),
    ]
    assert {piece.path for piece in thread.pieces if piece.path} == {"src/app.py"}
    assert (thread.limit, source.project) == (258_400, "shop")


def test_codexs_counts_stand_on_what_the_model_wrote_and_are_taken_once():
    """A count that is only told again, with the same total, is no other call."""
    (source,) = sources(TRANSCRIPTS / "codex")
    pieces = source.threads[0].pieces
    bills = [(index, piece.bill.prompt, piece.bill.cached) for index, piece in enumerate(pieces) if piece.bill]
    assert bills == [(6, 1000, 0), (8, 1409, 1000), (10, 2017, 1409), (13, 900, 800), (15, 1307, 900)]
    assert pieces[12].cut == Cut(before=2017)
    assert {piece.bill.model for piece in pieces if piece.bill} == {"gpt-5.4"}


def test_a_codex_sub_agent_with_a_session_of_its_own_is_a_window_of_its_callers(transcript):
    """Its header names the thread that spawned it."""
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": "p", "agent_role": "explorer"}}}
    paths = [
        transcript(
            {"type": "session_meta", "payload": {"id": id, "cwd": "/home/ada/shop", "source": source}},
            {"type": "response_item", "payload": {"type": "message", "role": "user", "content": "hello"}},
            name=f"rollout-{id}.jsonl",
        )
        for id, source in (("p", "cli"), ("c", spawned))
    ]
    (source,) = read(paths, Notes())
    assert [(thread.within, thread.label) for thread in source.threads] == [(None, None), ("c", "explorer")]


def test_pi_is_read_into_the_pieces_that_came_into_the_window():
    """A command of the user's that is kept from the model is left out."""
    (source,) = sources(TRANSCRIPTS / "pi")
    (thread,) = source.threads
    assert told(thread) == [
        ("user_message", "", 30),
        ("thinking", "", 5),
        ("tool_call", "read", 5),
        ("doc", "read", 120),
        ("assistant_message", "", 3),
        ("compaction", "", 40),
    ]
    assert [piece.bill.prompt for piece in thread.pieces if piece.bill] == [320, 451]
    assert thread.pieces[-1].cut == Cut(before=454)


def test_copilot_cli_is_read_into_the_pieces_that_came_into_the_window():
    """Messages as they were sent, thinking by what was put out beyond the rest; no bills."""
    (source,) = sources(TRANSCRIPTS / "copilot-cli")
    (thread,) = source.threads
    assert told(thread) == [
        ("system_prompt", "", 500),
        ("user_message", "", 30),
        ("thinking", "", 41),  # 50 put out, 9 called
        ("tool_call", "view", 9),
        ("file_read", "view", 200),
        ("assistant_message", "", 6),
        ("compaction", "", 70),
    ]
    assert (thread.pieces[-1].cut, source.project) == (Cut(before=900), "site")
    assert not any(piece.bill for piece in thread.pieces)
    assert {piece.path for piece in thread.pieces if piece.path} == {"index.html"}


def test_recordings_are_transcripts_too(record, line):
    """What they estimated of the hidden prompt is left to the bills."""
    path = record(
        line(0, "system_hidden", 5000, role="system"),
        line(1, "user_message", 40, role="user", ts=0),
        line(2, "assistant_message", 5, role="assistant", ts=3, usage={"context_tokens": 1040, "output_tokens": 5}),
    )
    (source,) = sources(path)
    recorded = as_recording(source)
    assert (recorded.scales[MAIN].hidden, source.project) == (1000, "project")
    assert [step.kind for step in recorded.recording.steps] == ["system_hidden", "user_message", "assistant_message"]


def test_a_session_told_in_two_files_is_one_and_what_both_tell_counts_once():
    """A file was copied while it grew: what is told twice is one piece."""
    files = find([TRANSCRIPTS / "claude-code"])
    (once,), (twice,) = read(files, Notes()), read([*files, *files], Notes())
    assert [told(thread) for thread in twice.threads] == [told(thread) for thread in once.threads]


def test_what_nobody_knows_is_counted_by_its_name():
    """Tools change what they write: the audit goes on, and says what it left out."""
    notes = Notes()
    sources(TRANSCRIPTS, notes)
    assert dict(notes.unknown) == {"claude-code/hologram": 1, "codex/mystery": 1}
    assert (notes.files, notes.broken_lines, notes.foreign_files) == (5, 0, 0)


def test_the_usual_folders_are_those_of_the_tools(tmp_path, monkeypatch):
    """In the home folder, or where the tools' own variables put them; none of them is an error that names them."""
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "PI_CODING_AGENT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        AuditError, match=r"none of the tools' own folders is there \(.*/\.claude/projects.*name a PATH"
    ):
        usual_folders()
    (tmp_path / ".claude" / "projects").mkdir(parents=True)
    (tmp_path / "elsewhere" / "sessions").mkdir(parents=True)
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "elsewhere"))
    assert usual_folders() == [tmp_path / ".claude" / "projects", tmp_path / "elsewhere" / "sessions"]


def test_the_newest_files_are_those_written_last(tmp_path):
    """However they are called."""
    for age, name in enumerate(("b.jsonl", "a.jsonl", "c.jsonl")):
        (tmp_path / name).write_text("{}\n")
        os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
    assert [path.name for path in find([tmp_path], newest=2)] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("path", "root", "shown"),
    [
        ("/home/ada/shop/src/a.py", "/home/ada/shop", "src/a.py"),
        ("./src/a.py", "/home/ada/shop", "src/a.py"),
        ("/home/ada/other/a.py", "/home/ada/shop", "~/other/a.py"),
        ("/home/ada/shop-2/a.py", "/home/ada/shop", "~/shop-2/a.py"),
        ("C:\\Users\\ada\\a.py", None, "~/a.py"),
        ("/etc/hosts", "/home/ada", "/etc/hosts"),
    ],
)
def test_a_path_is_told_from_the_project_or_from_home(path, root, shown):
    """As a person would say it."""
    assert shortened(path, root) == shown
