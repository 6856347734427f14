"""`backtest` as it is called: the table, the machine-readable form, the picture, and the processes behind them."""

import json
import threading
from xml.etree import ElementTree as ET

import pytest

from sidecar.__main__ import main
from sidecar.lab.backtest.aims import AIMS
from sidecar.lab.backtest.course import windows
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.plot import plot
from sidecar.lab.backtest.running import Contest, compare
from sidecar.lab.backtest.scores import SECTIONS
from sidecar.lab.backtest.table import table
from sidecar.lab.recordings import bundled, read
from sidecar.lab.style import Style

FEW = ("swe-agent", "tau-bench", "codex__agentv")


def few():
    return [path for path in sorted(bundled().glob("*.jsonl.gz")) if path.name.startswith(FEW)]


@pytest.fixture
def made():
    """Measures of one session under a policy, as far as they matter."""

    def make(policy="standard", part="judge", **figures):
        return Measures(session="agent__project-1", project="project", part=part, policy=policy, limit=1_000, **figures)

    return make


async def test_the_outcome_does_not_depend_on_the_number_of_processes():
    courses = list(windows(read(few())))
    contest = Contest(presets=("standard", "adapted"))
    assert await compare(courses, contest, jobs=1) == await compare(courses, contest, jobs=2)


async def test_progress_counts_each_session_under_each_policy():
    courses = list(windows(read(few()[:2])))
    seen: list[int] = []
    await compare(courses, Contest(presets=("standard", "elastic")), jobs=1, on_window=seen.append)
    assert sum(seen) == 2 * len(courses)


async def test_no_thread_of_the_pool_is_left_for_the_end_of_the_interpreter_to_meet():
    before = set(threading.enumerate())
    await compare(list(windows(read(few()[:1]))), Contest(presets=("standard",)), jobs=1)
    assert set(threading.enumerate()) <= before


def test_a_policy_of_ones_own_is_compared_in_every_form(tmp_path, capsys):
    policy, told, picture = tmp_path / "mine.toml", tmp_path / "out.json", tmp_path / "out.svg"
    policy.write_text('base = "standard"\ncleanup.evict_count = 50\n')
    files = [str(path) for path in few()[:2]]
    options = [
        "--preset",
        "standard",
        "--policy",
        str(policy),
        "--jobs",
        "1",
        "--json",
        str(told),
        "--plot",
        str(picture),
    ]
    assert main(["backtest", *files, *options]) == 0
    shown = capsys.readouterr()
    head = next(line for line in shown.out.splitlines() if "fit their window" in line)
    assert head.split()[-2:] == ["standard", "mine"]
    assert "of 4 sessions run" in shown.err
    assert [each["policy"] for each in json.loads(told.read_text())["policies"]] == ["standard", "mine"]
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - our own picture


def test_the_printed_json_is_the_written_one(tmp_path, capsys):
    told = tmp_path / "out.json"
    files = [str(path) for path in few()[:1]]
    main(["backtest", *files, "--preset", "standard", "--format", "json", "--json", str(told), "--jobs", "1"])
    assert capsys.readouterr().out == told.read_text()
    (policy,) = json.loads(told.read_text())["policies"]
    assert set(policy["all"]["scores"]) == {name for section in SECTIONS.values() for name in section}
    assert set(policy["all"]["aims"]) == {aim.name for aim in AIMS}
    assert policy["sessions"][0]["session"].startswith("codex__agentv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl"], "backtest: none.jsonl: cannot be read"),
        ([str(bundled()), "--preset", "strict"], "backtest: --preset strict: expected one of standard"),
        ([str(bundled()), "--policy", "none.toml"], "backtest: none.toml: cannot be read"),
        ([str(few()[0]), "--part", "judge"], "backtest: --part judge: none of the sessions belongs to it"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(arguments, said, capsys):
    assert main(["backtest", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(said)
    assert "sessions run" not in shown.err


@pytest.mark.parametrize("option", ["--plot", "--json"])
@pytest.mark.parametrize(("place", "why"), [("none/out", "No such file or directory"), ("", "Is a directory")])
def test_what_cannot_be_written_is_said_before_anything_runs(option, place, why, tmp_path, capsys):
    options = ["--preset", "standard", "--jobs", "1", option, str(tmp_path / place)]
    assert main(["backtest", str(few()[0]), *options]) == 2
    shown = capsys.readouterr()
    assert shown.err == f"backtest: {tmp_path / place}: cannot be written: {why}\n"


def test_the_table_marks_which_aims_are_met(made):
    outcome = {
        "standard": [made(calls=10, overflows=2, requests=5, refusals=1, emergencies=4, freed_tokens=100)],
        "other": [made(policy="other", calls=10, freed_tokens=100, readmitted_tokens=3)],
    }
    lines = table(outcome, Style(blocks=True)).splitlines()
    aims = {line[:62].strip(): line[62:].split() for line in lines[-len(AIMS) :]}
    assert aims["refuses nothing, of sessions whose total fits: at least 95 %"] == ["0.0", "%", "✗", "100.0", "%", "✓"]
    assert aims["sessions over their limit, in provider tokens: none"] == ["1", "✗", "0", "✓"]
    assert aims["freed, then needed again: under 4 %"] == ["0.0", "%", "✓", "3.0", "%", "✓"]


@pytest.mark.parametrize(("width", "style"), [(100, Style(blocks=True)), (100, Style()), (80, Style(blocks=True))])
def test_the_table_of_four_policies_fits_its_width_and_keeps_its_columns(width, style, made):
    """Titles take a second line instead."""
    measured = [made(freed_tokens=1_234_567, part=part) for part in ("tune", "judge")]
    outcome = dict.fromkeys(("standard", "adapted", "elastic", "coding-agent"), measured)
    text = table(outcome, style, width=width)
    assert max(map(len, text.splitlines())) <= width
    (freed,) = [line for line in text.splitlines() if "  tokens freed  " in line]
    assert freed.endswith("2,469,134     2,469,134")
    assert " ".join(text.split()).count("coding-agent") == 1


def test_aims_are_judged_for_each_part_by_itself(made):
    outcome = {"standard": [made(part="tune", overflows=1), made(part="judge")]}
    text = table(outcome, Style())
    judged, tuned = text.split("Aims, on the 1 session that policies are ")[1:]
    assert "0 met" in judged
    assert "1 missed" in tuned


def test_the_picture_shows_each_session_under_each_policy(made):
    picture = plot({"standard": [made(peak_billed=1_200, overflows=1)], "other": [made(policy="other")]})
    assert picture.count("<circle") == 2
    assert "agent__project-1: 120 %" in picture
    assert 'class="over"' in picture
    ET.fromstring(picture)  # noqa: S314 - our own picture


async def test_bundled_sessions_fare_better_under_coding_agent_than_under_standard():
    courses = list(windows(read([bundled()])))
    outcome = await compare(courses, Contest(presets=("standard", "coding-agent")), jobs=2)
    standard, coding = outcome["standard"], outcome["coding-agent"]
    for name in ("refused_tokens", "emergencies", "readmitted_tokens", "recent_actions"):
        assert sum(getattr(each, name) for each in coding) < sum(getattr(each, name) for each in standard), name
    aims = {aim.name: aim for aim in AIMS}
    for name in ("refuses_nothing", "never_overflows", "little_readmitted", "nothing_recent"):
        assert aims[name].met(aims[name].of(coding)), name
