"""A window under a policy: what is counted, on a recording whose every figure is known by hand."""

import pytest

from sidecar.budget.presets import PRESETS
from sidecar.lab.backtest.arms import VARIANTS, Arm
from sidecar.lab.backtest.course import Course, courses, windows
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.parts import part_of, project_of
from sidecar.lab.backtest.running import measured
from sidecar.lab.backtest.window import lost
from sidecar.lab.recordings import bundled, read
from sidecar.lab.script import Compact, Gain, Open

STANDARD = Arm(name="standard", policy=PRESETS["standard"])


@pytest.fixture
def told(record):
    """The courses of a recording made of these lines."""

    def tell(*lines):
        (recording,) = read([record(*lines)])
        return courses(recording)

    return tell


@pytest.fixture
def call(line):
    """A tool call by the model, with what it was billed: twice what the window held before it."""

    def make(step, path, held):
        usage = {"context_tokens": 2 * held}
        return line(step, "tool_call", 50, role="assistant", name="Read", path=path, usage=usage)

    return make


@pytest.fixture
def reads(line, call):
    """Three files are read into a window of 10,000 tokens, whose working memory has 3,000; then the first again."""

    def read_file(step, path, tokens):
        return line(step, "file_read", tokens, role="tool", name="Read", path=path)

    return (
        line(0, "system_prompt", 500, role="system"),
        line(1, "user_message", 100, role="user"),
        call(2, "a", 600),
        read_file(3, "a", 1_000),
        line(4, "user_message", 200, role="user"),
        call(5, "b", 1_850),
        read_file(6, "b", 1_200),
        call(7, "c", 3_100),  # working memory: 2,350 of 3,000, below its target of 0.80
        read_file(8, "c", 1_000),  # does not fit: both files go, each with its call
        call(9, "a", 4_150),
        read_file(10, "a", 1_000),
    )


def test_every_measure_of_a_small_window_is_as_worked_out_by_hand(told, reads):
    (measures,) = measured(told(*reads), STANDARD, total=10_000)
    assert measures == Measures(
        session="agent__project-1",
        project="project",
        part=part_of("project"),
        policy="standard",
        limit=10_000,
        total_tokens=5_200,
        fits=True,
        fits_billed=False,  # 5,200 tokens at two provider tokens each
        calls=4,
        requests=4,
        exhaustions=1,
        emergencies=1,
        cleanups=1,
        freed_tokens=2_300,
        peak_billed=6_200,  # at the third call: 3,100 tokens
        readmitted_tokens=1_200 + 1_000,  # `b` went in the call after it was read; `a` is read again
        recent_actions=4,
        cache_lost_tokens=200,  # the message between the two files
    )


def test_what_does_not_fit_is_refused_and_left_out_of_the_window(told, line, call):
    lines = (
        call(0, "a", 1),
        line(1, "file_read", 3_500, role="tool", name="Read", path="a"),
        call(2, "b", 3_550),
    )
    (measures,) = measured(told(*lines), STANDARD, total=10_000)
    assert (measures.refusals, measures.refused_tokens, measures.emergencies) == (1, 3_500, 1)
    assert measures.peak_billed == 100  # the first call's own 50 tokens, at two provider tokens each


def test_a_model_call_over_the_limit_in_the_providers_tokens_is_an_overflow(told, line, call):
    lines = (line(0, "user_message", 400), call(1, "a", 400))
    (measures,) = measured(told(*lines), STANDARD, total=700)
    assert (measures.fits, measures.fits_billed) == (True, False)
    assert (measures.overflows, measures.calls_above, measures.peak_billed) == (1, 1, 800)


def test_a_model_call_inside_the_overall_target_is_counted_as_such(told, line, call):
    lines = (line(0, "user_message", 400), call(1, "a", 400))
    (measures,) = measured(told(*lines), STANDARD, total=1_000)
    assert (measures.calls_in_target, measures.calls_above, measures.overflows) == (1, 0, 0)


def test_steady_growth_is_foreseen_ten_calls_ahead(told, line):
    lines = []
    for number in range(15):
        usage = {"context_tokens": 800 * (number + 1)}
        lines += [
            line(2 * number, "user_message", 700, role="user"),
            line(2 * number + 1, "assistant_message", 100, role="assistant", usage=usage),
        ]
    (measures,) = measured(told(*lines), STANDARD, total=100_000)
    assert len(measures.errors) == 4  # at the first call no growth was known
    assert max(measures.errors) < 0.5  # points, where the window grows by eight


def test_the_hosts_own_compaction_and_its_summary_are_left_out(told, line, call):
    (course,) = told(line(0, tokens=100), call(1, "a", 100), line(2, "compaction", 10), line(3, tokens=5))
    assert not any(isinstance(move, Compact) for move in course.moves)
    assert [move.item.tokens for move in course.moves if isinstance(move, Gain)] == [100, 50, 5]


def test_the_ratio_is_that_of_the_same_call_unless_the_recorded_window_was_much_smaller_than_ours():
    course = Course(
        opened=Open(session="s", time=0.0, agent="a", parent=None, model=None, window_tokens=None),
        moves=(),
        levels=((100, 110), (200, 240), (20, 160), (150, 210)),  # the host compacted before the third call
        total=0,
    )
    assert course.ratio(1, 200) == 1.2
    assert course.ratio(2, 200) == 1.2  # not 8, which is mostly what is hidden in a small window
    assert course.ratio(2, 40) == 8.0
    assert course.ratio(3, 210) == 1.4
    assert course.ratio(0, 10_000) == 1.1  # no call was like ours: the largest window there was


def test_a_session_without_billing_has_the_ratio_of_one(told, line):
    (course,) = told(line(0), line(1, "assistant_message", role="assistant"))
    assert course.ratio(0, 1_000) == 1.0


@pytest.mark.parametrize(
    ("before", "prompt", "tokens"),
    [
        ([("a", 1), ("b", 2)], [("a", 1), ("b", 2), ("c", 4)], 0),  # appended
        ([("a", 1), ("b", 2), ("c", 4)], [("a", 1), ("c", 4), ("d", 8)], 4),  # removed: `c` was cached, `d` is new
        ([("a", 3), ("b", 2), ("c", 4)], [("a", 1), ("b", 2), ("c", 4)], 7),  # shrunk: its rest has to be sent, too
        ([("a", 1), ("b", 2)], [("a", 1)], 0),  # the end went
        ([], [("a", 1)], 0),
    ],
)
def test_the_prompt_cache_is_lost_behind_the_first_piece_that_changed(before, prompt, tokens):
    assert lost(before, prompt) == tokens


def test_shares_learned_in_one_session_are_where_the_agents_next_one_starts(record, line):
    paths = []
    for number in (1, 2):
        name = f"agent__project-{number}"
        steps = [{**line(step, "tool_result", 200, role="tool", ts=float(step)), "session": name} for step in range(30)]
        paths.append(record(*steps, name=f"{name}.jsonl"))
    once, again = measured(windows(read(paths)), VARIANTS["adapted"], total=10_000)
    plain = measured(windows(read(paths)), STANDARD, total=10_000)
    assert [each.refused_tokens for each in plain] == [once.refused_tokens] * 2
    assert again.refused_tokens < once.refused_tokens


@pytest.mark.parametrize(
    ("session", "project"),
    [
        ("claude-code__oh-my-posh-5145a85a9a32", "oh-my-posh"),
        ("codex__oh-my-posh-1.a5f", "oh-my-posh"),
        ("mine", "mine"),
    ],
)
def test_a_project_is_what_its_sessions_are_named_by_whoever_worked_on_it(session, project):
    assert project_of(session) == project


def test_both_parts_have_bundled_sessions():
    parts = {part_of(project_of(course.session)) for course in windows(read([bundled()]))}
    assert parts == {"tune", "judge"}
