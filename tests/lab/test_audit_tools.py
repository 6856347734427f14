"""What a tool's name and arguments say, and reading JSON that may hold anything: tables, values in and values out."""

import math

import pytest

from sidecar.lab.audit.fields import compact, content, folder, name, time, tokens
from sidecar.lab.audit.origins import origin_of
from sidecar.lab.audit.tools import call_kind, path_of, result_kind, server_of, skill_of
from sidecar.lab.audit.transcript import Piece, reckon_hidden_thinking
from sidecar.lab.mapping import STEP_KINDS


@pytest.mark.parametrize(
    ("tool", "path", "call", "result"),
    [
        ("Read", "src/a.py", "tool_call", "file_read"),
        ("read_file", "README.md", "tool_call", "doc"),
        ("Read", "skills/deploy/SKILL.md", "tool_call", "skill"),
        ("Bash", None, "tool_call", "tool_result"),
        ("exec_command", "src/a.py", "tool_call", "file_read"),
        ("Edit", "src/a.py", "tool_call", "tool_result"),
        ("WebFetch", None, "tool_call", "doc"),
        ("TodoWrite", None, "plan", "plan"),
        ("update_plan", None, "plan", "plan"),
        ("Task", None, "subagent_call", "subagent_report"),
        ("Skill", None, "tool_call", "skill"),
        ("mcp__github__get_issue", None, "tool_call", "tool_result"),
    ],
)
def test_a_tool_says_what_kind_its_call_and_its_result_are(tool, path, call, result):
    """The kinds are those of recordings."""
    assert (call_kind(tool), result_kind(tool, path)) == (call, result)
    assert {call, result} <= set(STEP_KINDS)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("cat src/a.py", "src/a.py"),
        ("sed -n '1,80p' 'a b.py'", "a b.py"),
        ("head -n 40 a.py", "a.py"),
        ("nl -ba a.py | sed -n '1,20p'", "a.py"),
        (["bash", "-lc", "cat a.py"], "a.py"),
        ("cat a.py b.py", None),  # two
        ("cat a.py > b.py", None),  # written
        ("cat a.py; rm b.py", None),  # and more
        ("cat a.py && ls", None),
        ("sed -i s/a/b/ a.py", None),  # changed
        ("cat $HOME/a.py", None),  # not known here
        ("cat *.py", None),
        ("cat", None),
        ("cat 'open", None),  # no command
        ("pytest a.py", None),
        (None, None),
        ([], None),
        ({"cat": "a"}, None),
    ],
)
def test_a_shell_command_reads_a_file_if_that_is_all_it_does(command, path):
    """One command, one file, nothing written."""
    assert path_of("exec_command", {"cmd": command}) == path


def test_a_path_is_taken_from_the_argument_that_names_it():
    """Whatever the tool calls it; only shells have commands."""
    assert path_of("Read", {"file_path": "/a"}) == "/a"
    assert path_of("view", {"path": "b"}) == "b"
    assert path_of("Grep", {"command": "cat a"}) is None
    assert path_of("Read", ["/a"]) is None


def test_a_server_is_told_from_its_tool():
    """Names of servers may hold single underscores; a tool's may hold any."""
    assert server_of("mcp__linear_server__get__issue") == ("linear_server", "get__issue")
    assert server_of("mcp__alone") is None
    assert server_of("Read") is None
    assert (skill_of("x/deploy/SKILL.md"), skill_of("SKILL.md")) == ("deploy", None)


def test_every_kind_of_piece_has_a_name_for_its_origin():
    """No person is told `other` of something that a reader makes."""
    for kind in STEP_KINDS:
        piece = Piece(kind=kind, role="user", counted=1)
        assert kind in {"tool_call", "tool_result"} or origin_of(piece) != "other"


def test_thinking_that_is_told_is_not_reckoned():
    """Only where its text is kept back does the rest of the output stand for it."""
    told = Piece(kind="thinking", role="assistant", counted=30, digest="d")
    kept = Piece(kind="thinking", role="assistant", counted=0)
    said = Piece(kind="assistant_message", role="assistant", counted=10)
    reckon_hidden_thinking([told, said], 100)
    reckon_hidden_thinking([kept, said], 100)
    assert (told.counted, kept.counted) == (30, 90)
    reckon_hidden_thinking([kept, said, said], 5)
    assert kept.counted == 0


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2026-11-03T09:00:00Z", 1_793_696_400.0),
        ("2026-11-03T10:00:00+01:00", 1_793_696_400.0),
        ("2026-11-03T09:00:00", 1_793_696_400.0),
        (1_793_696_400_000, 1_793_696_400.0),  # milliseconds
        (1_793_696_400.5, 1_793_696_400.5),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:59", None),
        (math.nan, None),
        (math.inf, None),
        (True, None),
        (-1, None),
        ([], None),
        (None, None),
    ],
)
def test_a_time_is_read_in_any_form_or_not_at_all(given, read):
    """RFC 3339, seconds, milliseconds."""
    assert time(given) == read


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (5, 5),
        (5.9, 5),
        (-5, 0),
        (True, 0),
        ("5", 0),
        (None, 0),
        (math.nan, 0),
        (math.inf, 0),
        (10**40, 10**12),
        ({}, 0),
    ],
)
def test_a_number_of_tokens_is_whole_and_bounded(given, read):
    """A transcript cannot make sums overflow."""
    assert tokens(given) == read


def test_a_name_is_what_can_be_shown():
    """No control characters, no change of direction, no half of a pair."""
    assert name(" a\x00b\x1b[31m\u202ec\ud800d\n ") == "ab[31mcd"
    assert name("\x00") is None
    assert name(7) is None
    assert len(name("x" * 5_000) or "") == 1_000
    assert folder("C:\\work\\shop\\") == "C:/work/shop"


def test_content_is_the_texts_of_all_its_blocks_and_the_number_of_its_images():
    """A text, or blocks of any of the tools' shapes; what is none is passed over."""
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "output_text", "text": "b"},
        {"type": "image", "source": {"data": "x" * 9_999}},
        {
            "type": "tool_result",
            "content": [{"type": "text", "text": "c"}, {"type": "input_image", "image_url": "data:"}],
        },
        "d",
        7,
    ]
    assert content(blocks) == ("a\nb\nc", 2)
    assert content("plain") == ("plain", 0)
    assert content(None) == ("", 0)
    assert [compact(each) for each in ("x", {"a": [1]}, None)] == ["x", '{"a":[1]}', ""]
