"""What filled each window, by hand; and the provider's tokens, learned from its bills."""

from pathlib import Path
from statistics import median

import pytest

from sidecar.lab.audit.auditing import audit
from sidecar.lab.audit.findings import Compaction, Reread, Tally, total
from sidecar.lab.audit.recorded import _calls, record, scale
from sidecar.lab.audit.sources import find, read
from sidecar.lab.audit.transcript import Bill, Cut, Notes, Piece
from sidecar.lab.audit.windows import windows
from sidecar.lab.recordings import MAIN, bundled

TRANSCRIPTS = Path(__file__).with_name("transcripts")


@pytest.fixture(scope="module")
def claude():
    """The windows of the session in Claude Code's format: its own, and a sub-agent's."""
    (source,) = read(find([TRANSCRIPTS / "claude-code"]), Notes())
    return windows(record(source))


def piece(kind, counted, billed=None, *, role="user", **more):
    return Piece(kind=kind, role=role, counted=counted, bill=Bill(fresh=billed) if billed else None, **more)


def said(counted, billed):
    return piece("assistant_message", counted, billed, role="assistant")


# --- by hand --------------------------------------------------------------------------------------------------------


def test_the_peak_is_the_largest_prompt_and_what_it_was_made_of(claude):
    """840 tokens are hidden: 1,010 were billed when 170 had come in."""
    main, _ = claude
    assert (main.course, main.peak, main.peak_call) == ([1010, 1431, 2246, 1140, 1452, 1659], 2246, 3)
    assert (main.hidden, main.ratio, main.limit, main.billed) == (840, 1.0, 200_000, True)
    assert main.composition == {
        "system_context": 840,
        "working_memory": 100 + 311 + 503 + 311,
        "knowledge_base": 70,  # the folder's instructions, the list of skills
        "agent_context": 0,  # the sub-agent was called in this call, after the prompt
        "interaction_buffer": 110,
    }


def test_what_a_tool_brought_is_counted_with_the_calls_that_carried_it(claude):
    """Three reads of 11 + 300: two before the compaction, over 2 and 1 calls, one after it, over 2."""
    main, _ = claude
    assert main.origins["Read"] == Tally(pieces=6, tokens=933, at_peak=622, carried=2 * 311 + 311 + 2 * 311)
    assert main.servers == {"tickets": Tally(pieces=2, tokens=503, at_peak=503, carried=503)}
    assert main.origins["tickets · search"] == main.servers["tickets"]
    assert main.skills["release"].tokens == 6 + 199
    assert main.files["src/cart.py"] == main.origins["Read"]


def test_a_compaction_tells_what_it_cost(claude):
    """Before and after, what the provider read anew, and the file that was read again."""
    main, side = claude
    assert main.compactions == [
        Compaction(
            session="claude-code__shop-1f0c2a9e",
            at=150.0,
            call=3,
            trigger="auto",
            silent=False,
            before=2400,
            after=1140,
            repaid=340,
            reread_files=1,
            reread_tokens=300,
        )
    ]
    assert main.compactions[0].dropped == 1260
    assert main.origins["compaction summaries"].tokens == 300  # 1,140 billed after it, 840 of them hidden
    assert not side.compactions


def test_a_file_read_again_counts_while_the_earlier_read_is_in_the_window(claude):
    """The read after the compaction is the compaction's doing."""
    main, _ = claude
    assert main.rereads == {
        "src/cart.py": Reread(path="src/cart.py", reads=2, windows=1, tokens=300, same=1, same_tokens=300)
    }


def test_a_sub_agent_fills_a_window_of_its_own(claude):
    """What it reported is in its caller's."""
    main, side = claude
    assert (side.within, side.label, side.peak, side.cost.sent) == ("ab12", "Explore", 550, 550)
    assert main.reported == 90


def test_the_bill_is_added_up_by_what_it_cost(claude):
    """Each call once."""
    main, _ = claude
    assert (main.cost.calls, main.cost.fresh, main.cost.written, main.cost.cached) == (6, 57, 3046, 5835)
    assert main.cost.sent == sum(main.course)


def test_what_was_carried_is_what_was_sent(claude):
    """All pieces over all the calls that carried them come to the prompts, to the last few tokens."""
    main, _ = claude
    assert sum(tally.carried for tally in main.origins.values()) == pytest.approx(main.cost.sent, rel=0.002)


# --- the provider's tokens ------------------------------------------------------------------------------------------


def test_the_ratio_is_learned_from_how_the_bill_grows():
    """3,000 counted tokens more, 4,500 billed: 1.5, and what is left of the first bill is hidden."""
    learned = scale(
        [piece("user_message", 1000), said(0, 6500), piece("tool_result", 3000, role="tool"), said(0, 11_000)]
    )
    assert (learned.ratio, learned.hidden, learned.billed) == (1.5, 5000, True)


def test_without_bills_a_token_is_a_token():
    """And nobody claims to know what is hidden."""
    learned = scale([piece("user_message", 1000), said(10, None)])
    assert (learned.ratio, learned.hidden, learned.billed) == (1.0, 0, False)


def test_what_a_compaction_left_is_learned_from_the_bill_after_it():
    """Tools keep more than the summary: 2,000 of the 7,000 after it are neither hidden nor counted."""
    cut = piece("compaction", 100, role="system", cut=Cut())
    learned = scale([piece("user_message", 4000), said(0, 9000), cut, said(0, 7000), cut])
    assert (learned.hidden, learned.kept) == (5000, (2000, None))


def test_a_fall_that_nobody_tells_of_is_a_silent_compaction(transcript):
    """Tools drop old results without a word; the bill shows it."""
    lines = []
    for at, prompt in enumerate((10_000, 11_000, 9_000)):
        usage = {"input_tokens": prompt, "output_tokens": 1}
        message = {"id": f"m{at}", "model": "claude-opus-4-6", "content": "ok", "usage": usage}
        lines.append({"type": "assistant", "sessionId": "s", "message": message})
    found = audit(find([transcript(*lines)]), [])
    (cut,) = found.windows[0].compactions
    assert (cut.silent, cut.before, cut.after, cut.call, cut.repaid) == (True, 11_000, 9_000, 2, 9_000)


def off(folder):
    """By window of at least ten billed calls, how far each prompt is from what it follows to be, as a part of it."""
    for source in read(find([folder]), Notes()):
        for thread in source.threads:
            learned, calls = scale(thread.pieces), list(_calls(thread.pieces))
            if len(calls) >= 10:
                kept = [0, *(left or 0 for left in learned.kept)]
                follows = [learned.hidden + learned.ratio * call.counted + kept[call.era] for call in calls]
                yield [abs(call.billed - each) / call.billed for call, each in zip(calls, follows, strict=True)]


def quantile(values, at):
    return sorted(values)[int(at * len(values))]


def test_the_windows_of_bundled_sessions_come_to_what_was_billed():
    """Half of the calls are within 3 %, in half of the windows."""
    windows = list(off(bundled()))
    assert len(windows) >= 8
    assert median(map(median, windows)) < 0.03


def test_the_windows_of_all_recorded_sessions_come_to_what_was_billed(full_set):
    """The figures of the README: a call is 1.6 % off at the median and 6.9 % at the 90th percentile."""
    windows = list(off(full_set))
    calls = [each for window in windows for each in window]
    assert (len(windows), len(calls)) == (86, 6761)
    assert (round(median(calls), 3), round(quantile(calls, 0.9), 3)) == (0.016, 0.069)
    assert round(quantile([median(window) for window in windows], 0.9), 3) == 0.044


def test_real_sessions_add_up():
    """Whatever the recording: the peak's parts come to the peak, and no window is fuller than its limit says."""
    found = audit(find([bundled()]), [])
    assert found.sessions == 12
    for window in found.windows:
        if window.billed:
            assert sum(window.composition.values()) == pytest.approx(window.peak, rel=0.02, abs=200)
        assert window.peak == max(window.course, default=0)
        assert window.fill <= 1
    assert next(iter(total(found.windows, "origins").values())).carried > 0


def test_files_of_several_projects_are_told_apart():
    """Two READMEs are two files."""
    found = audit(find([TRANSCRIPTS]), [])
    assert {"shop/src/cart.py", "notes/README.md"} <= set(total(found.windows, "files"))
    alone = audit(find([TRANSCRIPTS / "pi"]), [])
    assert set(total(alone.windows, "files")) == {"README.md"}


def test_the_recording_is_what_the_engine_takes():
    """Its windows, in order, in the provider's tokens, with the hidden prompt first."""
    (source,) = read(find([TRANSCRIPTS / "claude-code"]), Notes())
    recording = record(source).recording
    assert recording.windows == {
        MAIN: "claude-code__shop-1f0c2a9e",
        "sub:ab12": "claude-code__shop-1f0c2a9e.ab12",
    }
    assert [step.number for step in recording.steps] == list(range(len(recording.steps)))
    first = recording.steps[0]
    assert (first.kind, first.tokens, recording.agent) == ("system_hidden", 840, "claude-code")
