"""The commands that Claude Code runs, against a real sidecar, with payloads as its reference gives them."""

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
import urllib.request

import pytest

from sidecar.client.claude_code import EVENTS, settings
from tests.receivers.otlp.telling import log, logs

COMMON = {
    "session_id": "abc123",
    "transcript_path": "/home/user/.claude/projects/p/abc123.jsonl",
    "cwd": "/home/user/my-project",
    "permission_mode": "default",
}
READ = {
    "hook_event_name": "PostToolUse",
    "tool_name": "Read",
    "tool_input": {"file_path": "/home/user/my-project/a.py"},
    "tool_response": {"type": "text", "file": {"filePath": "/home/user/my-project/a.py", "content": "x = 1\n" * 2_000}},
    "tool_use_id": "toolu_01",
    "duration_ms": 12,
}
WINDOW = {
    "context_window_size": 200_000,
    "total_input_tokens": 15_234,
    "used_percentage": 8,
    "current_usage": {
        "input_tokens": 8_500,
        "output_tokens": 1_200,
        "cache_creation_input_tokens": 5_000,
        "cache_read_input_tokens": 26_500,
    },
}
STATUS = {
    **COMMON,
    "hook_event_name": "Status",
    "model": {"id": "claude-opus-4-6", "display_name": "Opus"},
    "context_window": WINDOW,
}


@pytest.fixture
def run(neighbour, tmp_path):
    """Run a command of the module with an event, as a process of its own; what it printed."""
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "NO_COLOR": "1"}

    def execute(command, event, url=None, **more):
        text = event if isinstance(event, str) else json.dumps({**COMMON, **event, **more})
        done = subprocess.run(
            [sys.executable, "-m", "sidecar.client.claude_code", command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**environment, "TOKEN_BUDGET_URL": url or neighbour.url},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return execute


@pytest.fixture
def patient(monkeypatch):
    """Hooks in this process that wait for a busy machine."""
    monkeypatch.setattr("sidecar.client.claude_code.TIMEOUT", 20)


@pytest.fixture
def tell(neighbour, patient, monkeypatch, tmp_path):
    """As `run`, in this process, where a busy machine is waited for."""
    from sidecar.client import claude_code

    monkeypatch.setenv("TOKEN_BUDGET_URL", neighbour.url)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda command, event, **more: claude_code._run(command, {**COMMON, **event, **more})


def items(asks, session="abc123"):
    return {item["id"]: item for item in asks(session, "items", limit=1000)["items"]}


def test_the_real_commands_tell_of_a_session_and_show_it(run, asks, tell):
    assert run("hook", {"hook_event_name": "SessionStart", "source": "startup", "model": "claude-opus-4-6"}) == ""
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup", "model": "claude-opus-4-6"})
    assert run("hook", READ) == ""
    tell("hook", READ)
    report = asks("abc123")
    assert (report["agent"], report["mode"], report["model"]) == ("claude-code", "observed", "claude-opus-4-6")
    assert re.fullmatch(r"window \d+% of 200k · .*\n", run("statusline", STATUS))


def test_what_comes_into_the_window_is_an_item_of_its_component(tell, asks):
    tell("hook", {"hook_event_name": "UserPromptSubmit", "prompt": "Fix the bug.", "prompt_id": "p1"})
    tell("hook", READ)
    tell("hook", READ, tool_name="Bash", tool_input={"command": "ls"}, tool_response={"stdout": "a"}, tool_use_id="t2")
    tell(
        "hook", READ, tool_name="Agent", tool_input={"prompt": "Look"}, tool_response={"content": []}, tool_use_id="t3"
    )
    tell(
        "hook", READ, tool_name="Skill", tool_input={"skill": "pdf"}, tool_response={"success": True}, tool_use_id="t4"
    )
    tell("hook", {"hook_event_name": "Stop", "last_assistant_message": "Done."})
    found = items(asks)
    said = [item for id, item in found.items() if id not in ("p1", "toolu_01", "t2", "t3", "t4")]
    assert [found[id]["component"] for id in ("p1", "toolu_01", "t2", "t3", "t4")] == [
        "interaction_buffer",
        "working_memory",
        "working_memory",
        "agent_context",
        "knowledge_base",
    ]
    assert [item["component"] for item in said] == ["interaction_buffer"]
    assert found["toolu_01"]["path"] == "/home/user/my-project/a.py"
    assert 3_000 <= found["toolu_01"]["tokens"] <= 3_100


def test_the_status_line_shows_each_components_part_and_tells_the_level(tell, asks):
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup"})
    tell("hook", READ)
    line = tell("statusline", STATUS)
    *parts, last = line.split(" · ")
    assert parts == [
        "window 20% of 200k",
        "system 0%",
        "working 2%",
        "knowledge 0%",
        "agents 0%",
        "talk 0%",
        "other 18%",
    ]
    assert last == "full in 4 calls"
    assert asks("abc123")["overall"]["used_tokens"] == 40_000
    wide = {**WINDOW, "context_window_size": 1_000_000}
    assert tell("statusline", {**STATUS, "context_window": wide}).startswith("window 4% of 1,000k · ")


def test_a_window_that_is_nearly_full_is_told_to_the_user(tell):
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup"})
    full = {**WINDOW, "current_usage": {"input_tokens": 185_000}}
    tell("statusline", {**STATUS, "context_window": full})
    said = json.loads(tell("hook", {"hook_event_name": "UserPromptSubmit", "prompt": "And now?"}))
    assert set(said) == {"systemMessage"}
    assert "93% full" in said["systemMessage"] or "92% full" in said["systemMessage"]


@pytest.mark.parametrize("source", ["clear", "compact"])
def test_after_a_compaction_no_item_of_before_is_held(tell, asks, source):
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup"})
    tell("hook", READ)
    tell("hook", {"hook_event_name": "PreCompact", "trigger": "auto", "custom_instructions": ""})
    assert "toolu_01" in items(asks)
    tell("hook", {"hook_event_name": "SessionStart", "source": source})
    assert items(asks) == {}


def test_a_sub_agent_has_a_window_of_its_own_that_ends_with_it(tell, asks):
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup"})
    part = {"agent_id": "a5f0", "agent_type": "Explore"}
    tell("hook", READ, **part)
    report = asks("abc123.a5f0")
    assert (report["parent"], report["agent"], report["mode"]) == ("abc123", "Explore", "observed")
    assert items(asks) == {}
    tell("hook", {"hook_event_name": "SubagentStop"}, **part)
    assert asks("abc123.a5f0")["state"] == "closed"


def test_telemetry_beside_hooks_counts_nothing_twice(tell, neighbour, asks):
    """What an item was counted for is a part of the level that the next model call shows, whoever told it first."""
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup"})
    counts = {"input_tokens": 30_000, "cache_read_tokens": 10_000, "cache_creation_tokens": 0, "output_tokens": 0}
    called = log("claude_code.api_request", time.time(), session__id="abc123", model="claude-opus-4-6", **counts)
    payload = logs([called], service="claude-code")
    tell("hook", READ)
    request = urllib.request.Request(
        f"{neighbour.url}/v1/logs", json.dumps(payload).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    assert asks("abc123")["overall"]["used_tokens"] == 40_000
    tell("statusline", {**STATUS, "context_window": {**WINDOW, "current_usage": {"input_tokens": 40_000}}})
    assert asks("abc123")["overall"]["used_tokens"] == 40_000
    assert asks("abc123")["components"]["working_memory"]["used_tokens"] >= 3_000


def test_a_session_that_ends_is_closed(tell, neighbour):
    tell("hook", {"hook_event_name": "SessionStart", "source": "startup"})
    tell("hook", {"hook_event_name": "SessionEnd", "reason": "prompt_input_exit"})
    with urllib.request.urlopen(f"{neighbour.url}/v1/sessions/abc123", timeout=20) as answer:
        assert json.load(answer)["state"] == "closed"


@pytest.mark.parametrize("event", ["", "no JSON", "[]", "{}", '{"session_id": 7}', '{"session_id": "s", "model": []}'])
def test_whatever_it_is_given_a_hook_says_nothing_and_succeeds(run, event):
    assert run("hook", event) == ""


def test_without_a_sidecar_the_status_line_shows_what_claude_code_knows(run, neighbour):
    neighbour.stop()
    assert run("statusline", STATUS) == "window 20% of 200k · no sidecar\n"


def test_a_sidecar_that_hangs_is_waited_for_once(tmp_path, monkeypatch):
    """A listener that never answers costs the first hook its timeout, and those of the next seconds nothing."""
    import socket

    from sidecar.client import claude_code

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TOKEN_BUDGET_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        took = []
        for _ in range(5):
            started = time.monotonic()
            assert claude_code._run("hook", {**COMMON, **READ}) == ""
            took.append(time.monotonic() - started)
    assert took[0] >= claude_code.TIMEOUT
    assert max(took[1:]) < claude_code.TIMEOUT


def test_a_hook_costs_little_more_than_starting_python(run):
    """In processor time, which a busy machine changes least."""

    def cost(*arguments):
        before = os.times()
        subprocess.run([sys.executable, *arguments], input="{}", text=True, check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    bare = statistics.median(cost("-c", "pass") for _ in range(5))
    hook = statistics.median(cost("-m", "sidecar.client.claude_code", "hook") for _ in range(5))
    print(f"starting Python {1000 * bare:.0f} ms, a hook {1000 * hook:.0f} ms of processor time")
    assert hook - bare < 0.15
    loaded = "import sys, sidecar.client.claude_code; print(*({'asyncio', 'aiohttp', 'pydantic'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
    assert out.strip() == ""


def test_the_settings_that_it_prints_are_those_that_it_understands():
    made = json.loads(settings())
    assert tuple(made["hooks"]) == EVENTS
    for [group] in made["hooks"].values():
        assert shlex.split(group["hooks"][0]["command"])[1:] == ["-m", "sidecar.client.claude_code", "hook"]
    assert made["statusLine"]["command"].endswith("statusline")
    assert made["env"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
