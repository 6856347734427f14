"""Reading recorded sessions."""

import gzip
from pathlib import Path

import pytest

from sidecar.lab.recordings import RecordingError, read


def test_steps_come_in_the_order_of_their_numbers_whatever_the_order_of_the_lines(record, line):
    (recording,) = read([record(line(2, tokens=3), line(0, tokens=1), line(1, tokens=2))])
    assert [step.tokens for step in recording.steps] == [1, 2, 3]


def test_time_never_falls_within_a_window(record, line):
    (recording,) = read([record(line(0, ts=5.0), line(1, ts=3.0), line(2, ts=6.0))])
    assert [step.ts for step in recording.steps] == [5.0, 5.0, 6.0]


def test_a_step_without_a_time_came_with_the_one_before(record, line):
    (recording,) = read([record(line(0), line(1, ts=4.0), line(2), line(3, ts=None))])
    assert [step.ts for step in recording.steps] == [0.0, 4.0, 4.0, 4.0]
    assert recording.duration == 4.0


def test_each_sub_agent_is_a_window_with_a_clock_and_a_session_of_its_own(record, line):
    (recording,) = read([record(line(0, ts=9.0), line(1, ts=1.0, ctx="sub:a1"), line(2, ts=2.0, ctx="sub:b2"))])
    assert recording.windows == {
        "main": "agent__project-1",
        "sub:a1": "agent__project-1.a1",
        "sub:b2": "agent__project-1.b2",
    }
    assert [step.ts for step in recording.steps] == [9.0, 1.0, 2.0]


def test_the_agent_is_the_first_part_of_the_sessions_name(record, line):
    assert read([record(line(0))])[0].agent == "agent"
    assert read([record({**line(0), "session": "7f3a"})])[0].agent == "unknown"


def test_a_similarity_hash_is_preferred_to_a_digest(record, line):
    lines = line(0, fingerprint="a" * 16, simhash="b" * 16), line(1, fingerprint="a" * 16), line(2)
    assert [step.fingerprint for step in read([record(*lines)])[0].steps] == ["b" * 16, "a" * 16, None]


def test_gzip_plain_several_in_one_file_and_folders_are_all_read(record, line, tmp_path):
    plain = record(line(0), {**line(0), "session": "other"}, "")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "packed.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "notes.txt").write_text("not a recording")
    assert [recording.session for recording in read([tmp_path])] == ["agent__project-1", "other"] * 2


def test_steps_without_tokens_and_fields_that_do_not_matter_are_fine(record, line):
    assert read([record(line(0, tokens=0, truncated=True, usage={"pre_tokens": 7}))])[0].steps[0].tokens == 0


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"tokens": -1}, "tokens"),
        ({"tokens": 1.5}, "tokens"),
        ({"tokens": True}, "tokens"),
        ({"tokens": "10"}, "tokens"),
        ({"step": -1}, "step"),
        ({"session": ""}, "session"),
        ({"ts": "yesterday"}, "ts"),
        ({"ctx": 3}, "ctx"),
        ({"usage": {"context_tokens": -4}}, "usage.context_tokens"),
        ({"kind": "telepathy"}, "kind"),
    ],
)
def test_an_error_names_the_file_the_line_the_field_and_the_rule(record, line, bad, field):
    path = record(line(0), {**line(1), **bad})
    with pytest.raises(RecordingError) as error:
        read([path])
    assert str(error.value).startswith(f"{path}:2: Expected ")
    assert f"`{field}`" in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"session": "s"}', "\x00", '{"tokens": NaN}'])
def test_a_line_that_is_no_step_is_an_error_of_its_line(record, line, text):
    with pytest.raises(RecordingError, match=r":2: "):
        read([record(line(0), text)])


def test_a_file_that_is_missing_empty_or_broken_says_so(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl.gz").write_bytes(b"\x1f\x8bnot gzip")
    (tmp_path / "bare").mkdir()
    for name, reason in {
        "absent.jsonl": "No such file",
        "empty.jsonl": "holds no steps",
        "broken.jsonl.gz": "cannot be read",
        "bare": "holds no recordings",
    }.items():
        with pytest.raises(RecordingError, match=reason):
            read([Path(tmp_path / name)])
