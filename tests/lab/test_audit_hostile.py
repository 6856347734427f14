"""Transcripts that are broken or mean harm: the audit goes on, says what it left out, and shows no text."""

import gzip
import json
import os
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright
from typing_extensions import override

from sidecar.lab.audit import lines as reading
from sidecar.lab.audit import sources
from sidecar.lab.audit.auditing import audit
from sidecar.lab.audit.machine import document
from sidecar.lab.audit.page import page
from sidecar.lab.audit.readers import READERS
from sidecar.lab.audit.readers.claude_code import ClaudeCode
from sidecar.lab.audit.recorded import record
from sidecar.lab.audit.sources import AuditError, Source, find, read
from sidecar.lab.audit.terminal import report
from sidecar.lab.audit.transcript import Notes
from sidecar.lab.audit.windows import windows
from sidecar.lab.style import Style

TRANSCRIPTS = Path(__file__).with_name("transcripts")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m\x00\u202e"


def user(text, **more):
    return {"type": "user", "sessionId": "s", "message": {"role": "user", "content": text}, **more}


def assistant(*blocks, usage=None, **more):
    message = {"id": "m", "model": more.pop("model", "m-1"), "content": list(blocks), "usage": usage or {}}
    return {"type": "assistant", "sessionId": "s", "message": message, **more}


def shown(found):
    """Everything that an audit can show: terminal, page, JSON."""
    style = Style(colour=True, blocks=True)
    return (
        report(found, style, width=200, rows=99),
        page(found, rows=99),
        json.dumps(document(found), ensure_ascii=False),
    )


# --- broken ---------------------------------------------------------------------------------------------------------


def test_a_broken_line_costs_only_itself_and_is_named(transcript):
    """Not JSON, no object, cut off at the end: with file, line and reason."""
    notes = Notes()
    path = transcript(user("hello"), "{not json", "[1, 2]", user("again"), '{"type":"user","sess')
    path.write_text(path.read_text().rstrip("\n"))
    (source,) = read([path], notes)
    assert len(source.threads[0].pieces) == 2
    assert notes.broken == [
        f"{path}:2: not JSON",
        f"{path}:3: not an object",
        f"{path}:5: not JSON: the file ends within it",
    ]


def test_a_line_too_long_to_be_a_message_is_passed_over(transcript, monkeypatch):
    """It is never held as a whole, and the lines after it count."""
    monkeypatch.setattr(reading, "LONGEST", 1024)
    notes = Notes()
    (source,) = read([transcript(user("hello"), user("x" * 5000), user("again"))], notes)
    assert len(source.threads[0].pieces) == 2
    assert notes.broken[0].endswith(":2: longer than 0 MiB")


def test_nesting_without_end_is_a_broken_line(transcript):
    """A decoder that recurses must not take the program down."""
    notes = Notes()
    read([transcript(user("hello"), '{"sessionId":' + "[" * 100_000 + "]" * 100_000 + "}")], notes)
    assert (notes.broken_lines, notes.files) == (1, 1)


def test_a_shape_that_a_reader_was_not_made_for_costs_its_line(transcript, monkeypatch):
    """Formats change without notice, and the next one may meet a mistake of ours: the audit goes on."""

    class Mistaken(ClaudeCode):
        @override
        def take(self, line):
            super().take({**line, "type": line["type"] + 1 if line.get("new") else line["type"]})

    monkeypatch.setattr(sources, "READERS", (Mistaken,))
    notes = Notes()
    path = transcript(user("hello"), user("changed", new=True), user("again"))
    (source,) = read([path], notes)
    assert len(source.threads[0].pieces) == 2
    assert notes.broken == [f"{path}:2: of a shape that is not understood (TypeError)"]


def test_a_file_of_another_kind_is_left_out_and_named(tmp_path, transcript):
    """So is one that is packed and broken, or empty."""
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(b'{"sessionId": "s"}\n' * 99)[:-30])
    (tmp_path / "empty.jsonl").write_text("")
    transcript(user("hello"), name="good.jsonl")
    notes = Notes()
    assert len(read(find([tmp_path]), notes)) == 1
    assert [line.rpartition("/")[2] for line in notes.foreign] == [
        "empty.jsonl: holds no JSON lines",
        "other.jsonl: not a transcript of a known tool",
        "packed.jsonl.gz: Compressed file ended before the end-of-stream marker was reached",
    ]


def test_nothing_to_audit_is_an_error_that_says_what_was_looked_at(tmp_path, transcript):
    """No file, no folder, nothing in it."""
    with pytest.raises(AuditError, match=r"/gone: no such file or folder$"):
        find([tmp_path / "gone"])
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(AuditError, match=r"/pipe\.jsonl: neither a file nor a folder$"):
        find([tmp_path / "pipe.jsonl"])
    with pytest.raises(AuditError, match=r"no transcripts there \(\.jsonl or \.jsonl\.gz\)$"):
        find([tmp_path])
    with pytest.raises(AuditError, match=r"the file holds no conversation \(first: .*other\.jsonl: not a transcript"):
        audit([transcript('{"a": 1}', name="other.jsonl")], [])


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "x",
    "\ud800",
    [],
    {},
    [[]],
    [{}],
    [None],
    {"type": None},
    {"text": 7},
    {"type": "x"},
]


def spoiled(value, chance):
    """The value with one or a few of its parts, anywhere within it, replaced by junk."""
    if chance.random() < 0.04:
        return chance.choice(JUNK)
    if isinstance(value, dict):
        return {key: spoiled(inner, chance) for key, inner in value.items() if chance.random() > 0.01}
    if isinstance(value, list):
        return [spoiled(inner, chance) for inner in value]
    return value


@pytest.mark.parametrize("folder", ["claude-code", "codex", "copilot-cli", "pi"])
def test_any_value_in_any_place_is_borne(folder, tmp_path):
    """Each transcript, spoiled in 200 ways: readers, and what follows the windows, never fail."""
    (path, *_) = sorted((TRANSCRIPTS / folder).rglob("*.jsonl"), key=lambda path: -path.stat().st_size)
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    (reader,) = (reader for reader in READERS if reader.agent == folder)
    for seed in range(200):
        chance = random.Random(seed)
        told = reader(tmp_path / "x.jsonl", Notes())
        for line in whole:
            spoilt = spoiled(line, chance)
            if isinstance(spoilt, dict):
                reader.claims(spoilt)
                told.take(spoilt)
        threads = [thread for thread in told.threads() if thread.pieces]
        if threads:
            windows(record(Source(agent=folder, session="s", project=None, threads=threads)))


# --- hostile --------------------------------------------------------------------------------------------------------


@pytest.fixture
def evil(transcript):
    """An audit of a transcript whose names all try to get out of the page and the terminal."""
    call = {"type": "tool_use", "id": "t", "name": f"mcp__{EVIL}__{EVIL}", "input": {"file_path": f"/x/{EVIL}"}}
    path = transcript(
        user("hello", cwd=f"/home/{EVIL}", timestamp="2026-11-03T09:00:00Z"),
        assistant(call, {"type": "tool_use", "id": "k", "name": "Skill", "input": {"skill": EVIL}}, model=EVIL,
                  usage={"input_tokens": 900, "output_tokens": 5}),
        user([{"type": "tool_result", "tool_use_id": "t", "content": "a" * 400},
              {"type": "tool_result", "tool_use_id": "k", "content": f"Launching skill: {EVIL}"}]),
        assistant({"type": "text", "text": "ok"}, model=EVIL, usage={"input_tokens": 1200, "output_tokens": 5}),
        {"type": EVIL, "sessionId": "s"},
        "{broken",
        name="evil<b>.jsonl",
    )  # fmt: skip
    return audit(find([path]), [])


OWN = set("html head meta title style body main header footer section div h1 h2 p b span ul li".split())  # noqa: SIM905
OWN |= set("table thead tbody tr th td figure figcaption svg rect polygon polyline line".split())  # noqa: SIM905


class Tags(HTMLParser):
    """Every tag and attribute of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], []

    @override
    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    @override
    def handle_data(self, data):
        self.text.append(data)


def test_a_page_holds_no_tag_that_is_not_its_own(evil):
    """Whatever a name holds is text."""
    parser = Tags()
    parser.feed(page(evil, rows=99))
    assert parser.tags <= OWN
    assert not any(name.startswith("on") or name in {"style", "href", "src"} for name, _ in parser.attributes)
    assert "<script>alert(1)</script>" in "".join(parser.text)


def test_a_page_asks_for_nothing_and_allows_nothing_but_its_own_style(evil):
    """The policy names the style sheet by its digest; no address is in the page."""
    text = page(evil, rows=99)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'", policy
    )
    assert not re.search(r"https?://|url\(|@import|javascript:", text)


def test_no_control_character_reaches_the_terminal(evil):
    """Nor one that turns the direction of what follows."""
    text, _, _ = shown(evil)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert all(character.isprintable() or character == "\n" for character in plain)
    assert "\x1b[31m\x1b" not in text


def test_no_text_of_a_transcript_is_shown_anywhere(transcript):
    """Names, paths and sizes only: neither what was said, nor a tool's arguments, nor its results."""
    secret = "SECRETWORD lives here"
    side = {"isSidechain": True, "agentId": "a1"}
    path = transcript(
        user(secret),
        assistant({"type": "thinking", "thinking": secret}, {"type": "text", "text": secret},
                  {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": f"echo {secret}"}},
                  usage={"input_tokens": 50, "output_tokens": 9}),
        user([{"type": "tool_result", "tool_use_id": "t", "content": secret}]),
        {"type": "attachment", "sessionId": "s", "attachment": {"type": "hook_context", "content": [secret]}},
        user(secret, isCompactSummary=True),
        user(secret, **side),
        "{broken " + secret,
        {"type": "summary", "summary": secret, "sessionId": "s"},
    )  # fmt: skip
    for text in shown(audit(find([path]), [])):
        assert "SECRETWORD" not in text
        assert "Bash" in text


async def test_a_page_in_a_browser_runs_nothing_and_asks_for_nothing(evil, tmp_path, need_program):
    """Chromium opens it without a word in its console, a dialog, or a request for anything else."""
    address, heard = (tmp_path / "page.html").as_uri(), []
    (tmp_path / "page.html").write_text(page(evil, rows=99), encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=need_program("chromium"), args=FLAGS)
        view = await browser.new_page()
        view.on("console", lambda message: heard.append(message.text))
        view.on("dialog", lambda dialog: heard.append(dialog.message))
        view.on("request", lambda request: heard.append(request.url))
        await view.goto(address)
        background = await view.evaluate("getComputedStyle(document.body).backgroundColor")
        await browser.close()
    assert heard == [address]
    assert background == "rgb(251, 250, 248)"  # its own style sheet is allowed
