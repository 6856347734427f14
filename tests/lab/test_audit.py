"""The command `audit`: what it prints and writes, and how it ends."""

import json
import re
from pathlib import Path

import pytest

from sidecar.__main__ import main
from sidecar.budget.policy import COMPONENTS
from sidecar.lab.audit.auditing import audit
from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.sections import heading
from sidecar.lab.audit.sources import find
from sidecar.lab.audit.summary import percent, short, summary
from sidecar.lab.audit.terminal import report
from sidecar.lab.backtest.arms import arms
from sidecar.lab.recordings import bundled
from sidecar.lab.style import Style

TRANSCRIPTS = Path(__file__).with_name("transcripts")
CLAUDE = TRANSCRIPTS / "claude-code"


@pytest.fixture(scope="module")
def found():
    """An audit of the hand-made transcripts that hold bills, judged by both presets."""
    return audit(
        find([TRANSCRIPTS / tool for tool in ("claude-code", "codex", "pi")]), arms(["standard", "coding-agent"], [])
    )


@pytest.fixture(scope="module")
def real():
    """An audit of the bundled recordings, without policies."""
    return audit(find([bundled()]), [])


def run(capsys, *argv):
    code = main(["audit", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


# --- what is said ---------------------------------------------------------------------------------------------------


def test_the_summary_is_three_sentences_of_the_figures_below_it(found):
    """What filled the windows, what was wasted, what a policy would have changed."""
    filled, wasted, changed = summary(found)
    assert filled.startswith("Of all that your model calls carried, hidden prompt and tools was 60 %, exec_command ")
    assert filled.endswith("; the fullest of 4 windows reached 1.1 %.")
    assert wasted == (
        "3 compactions threw out 2.5 k tokens, made the provider read 440 anew, and 700 of files were read again"
        " afterwards; files still in the window were read again for 300 tokens, 300 of it word for word."
    )
    assert changed == (
        "The policy coding-agent would have found nothing to free, and spared 3 of 3 compactions;"
        " it would have refused nothing."
    )


def test_without_policies_nothing_is_said_of_them(real):
    """Two sentences, and no table."""
    assert len(summary(real)) == 2
    assert "policy" not in report(real, Style(), width=120, rows=5)


def test_the_heading_says_what_was_looked_at(found):
    """Windows, sessions by tool, projects, and the days of it."""
    assert heading(found) == ("4 windows of 3 sessions (claude-code 1, codex 1, pi 1) · 2 projects · 3 Nov 2026")


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.0 k"),
        (1_234, "1.2 k"),
        (41_400, "41 k"),
        (999_600, "1.0 M"),
        (3_210_000_000, "3.2 G"),
    ],
)
def test_tokens_are_told_in_as_many_digits_as_matter(tokens, shown):
    """What would be rounded to a thousand is a thousand of the next unit."""
    assert short(tokens) == shown


def test_a_part_of_nothing_is_none():
    """And small parts keep a digit after the point."""
    assert [percent(1, 0), percent(0, 5), percent(1, 3), percent(1, 40)] == ["0 %", "0 %", "33 %", "2.5 %"]


# --- the terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_the_terminal(width, found, real):
    """Columns give way, names are cut, sentences wrap."""
    for each in (found, real):
        lines = report(each, Style(blocks=True), width=width, rows=20).splitlines()
        assert max(map(len, lines)) <= width


def test_the_fullest_window_is_told_with_what_filled_it(found):
    """Its largest prompt, at which call, and of what."""
    text = report(found, Style(), width=140, rows=10)
    assert re.search(
        r"^claude-code__shop-1f0c2a9e +claude-opus-4-6 +3 min 40 s +6 +2\.2 k +1\.1 % +1 ", text, re.MULTILINE
    )
    row = r"^claude-code__shop-1f0c2a9e +call 3 +1 min 50 s +hidden prompt and tools 37 %, Read 28 %, tickets"
    assert re.search(row, text, re.MULTILINE)
    assert re.search(r"^tickets +2 +503 ", text, re.MULTILINE)
    assert re.search(r"^Explore +1 +1 +550 +550 ", text, re.MULTILINE)
    assert "2 lines of kinds that are not known: claude-code/hologram 1, codex/mystery 1" in text


def test_the_components_are_told_beside_their_budgets(found):
    """Of the four largest prompts together: 5,264 tokens, 2,252 of them working memory."""
    text = report(found, Style(), width=100, rows=10)
    parts = {name: sum(window.composition[name] for window in found.windows) for name in COMPONENTS}
    assert sum(parts.values()) == pytest.approx(sum(window.peak for window in found.windows), abs=5)
    share = f"{100 * parts['working_memory'] / sum(parts.values()):.0f} %"
    assert re.search(rf"^working_memory +2\.3 k +{share} +0\.6 % +30 %$", text, re.MULTILINE)


def test_rows_that_are_left_out_are_counted(found):
    """`--rows` is a choice of the reader's, not a loss."""
    text = report(found, Style(), width=120, rows=2)
    assert "and 2 more" in text


def test_a_terminal_without_blocks_gets_plain_characters(found):
    """Nothing that it cannot show."""
    text = report(found, Style(), width=80, rows=5).replace("·", "-")
    assert text.isascii()


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_the_report_and_writes_page_and_figures(tmp_path, capsys):
    """Progress goes to stderr, the report to stdout."""
    html, figures = tmp_path / "report.html", tmp_path / "report.json"
    code, out, err = run(capsys, CLAUDE, "--html", html, "--json", figures)
    assert code == 0
    assert out.startswith("2 windows of 1 session (claude-code 1)")
    assert err.startswith("2 of 2 files read, 1 session judged by 2 policies, ")
    assert "<h1>What filled the windows</h1>" in html.read_text(encoding="utf-8")
    told = json.loads(figures.read_text())
    assert told["format"] == "token-budget-audit/1"
    assert [window["peak"] for window in told["windows"]] == [2246, 550]
    assert [policy["policy"] for policy in told["policies"]] == ["standard", "coding-agent"]
    assert told["read"]["unknown"] == {"claude-code/hologram": 1}


def test_the_same_transcripts_give_the_same_bytes(tmp_path, capsys):
    """Page, figures and report."""
    outcomes = []
    for attempt in ("1", "2"):
        html, figures = tmp_path / f"{attempt}.html", tmp_path / f"{attempt}.json"
        _, out, _ = run(capsys, TRANSCRIPTS, "--html", html, "--json", figures)
        outcomes.append((out, html.read_bytes(), figures.read_bytes()))
    assert outcomes[0] == outcomes[1]


def test_policies_can_be_chosen_or_left_out(tmp_path, capsys):
    """By name, by file, or none."""
    own = tmp_path / "mine.toml"
    own.write_text('name = "mine"\nbase = "standard"\n')
    _, out, _ = run(capsys, CLAUDE, "--preset", "standard", "--policy", own)
    assert re.search(r"^standard .*\nmine ", out, re.MULTILINE)
    _, out, err = run(capsys, CLAUDE, "--without-policies")
    assert "What a policy would have changed" not in out
    assert "judged" not in err


def test_nothing_to_audit_ends_with_1(tmp_path, capsys):
    """And says what was looked at."""
    code, out, err = run(capsys, tmp_path)
    assert (code, out) == (1, "")
    assert err == f"audit: {tmp_path}: no transcripts there (.jsonl or .jsonl.gz)\n"


def test_a_policy_that_nobody_knows_ends_with_2(capsys):
    """Before anything is read."""
    code, _, err = run(capsys, CLAUDE, "--preset", "nonsense")
    assert code == 2
    assert err.startswith("audit: --preset nonsense: expected one of standard, ")
    code, _, err = run(capsys, CLAUDE, "--without-policies", "--preset", "standard")
    assert (code, err) == (2, "audit: --without-policies: judges none, so it goes with neither --preset nor --policy\n")


def test_a_wrong_number_names_its_flag(capsys):
    """As argparse says it."""
    with pytest.raises(SystemExit) as ended:
        run(capsys, CLAUDE, "--rows", "0")
    assert ended.value.code == 2
    assert "argument --rows: '0': expected a number of 1 or more" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_ends_with_1(tmp_path, capsys):
    """And names the file."""
    code, _, err = run(capsys, CLAUDE, "--html", tmp_path / "no" / "report.html")
    assert code == 1
    assert err.endswith(f"audit: {tmp_path}/no/report.html: cannot be written: No such file or directory\n")


def test_the_tools_own_folders_are_audited_when_none_is_named(tmp_path, capsys, monkeypatch):
    """That is what somebody types first."""
    for variable in ("CODEX_HOME", "COPILOT_HOME", "PI_CODING_AGENT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "projects").symlink_to(CLAUDE)
    code, out, _ = run(capsys, "--without-policies")
    assert code == 0
    assert out.startswith("2 windows of 1 session")


def test_a_window_with_bills_that_say_nothing_is_told_as_an_estimate(transcript):
    """Sizes with a ~, and a table of costs that says why it is empty."""
    path = transcript(
        {"type": "user", "sessionId": "s", "message": {"content": "x" * 400}},
        {"type": "assistant", "sessionId": "s", "message": {"id": "m", "content": "ok"}},
    )
    found: Audit = audit(find([path]), [])
    text = report(found, Style(), width=100, rows=5)
    assert "~100" in text
    assert "The transcripts hold no bills: all sizes are estimates." in text
