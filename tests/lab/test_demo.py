"""The demonstration, as a whole program."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

FLAGS = ["--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--otlp", "off"]


@pytest.fixture
def start(tmp_path, checkout):
    """Start the demonstration with these flags and give its process; what is left of it at the end is killed."""
    processes = []

    def begin(*flags):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "demo", *FLAGS, *flags],
            cwd=checkout,
            env={**environment, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_once_it_replays_shows_every_session_and_leaves_nothing_behind(start, tmp_path):
    process = start("--once", "--speed", "max")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "12 of 12 recordings" in err
    for component in ("system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer"):
        assert len(re.findall(rf"^  {component} +[\d,]+ of ", out, re.MULTILINE)) >= 12
    assert re.search(r"\d+ cleanups .* freed [\d,]+ tokens: ", out)
    assert re.search(r"exhausted \d+ time", out)
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_serving_what_it_says_until_interrupted(start, tmp_path):
    process = start("--speed", "max")
    out = ""
    for line in process.stdout:
        out += line
        if line.startswith("Serving until interrupted"):
            break
    for what, expected in (("all sessions", '"sessions"'), ("its ledger", '"entries"'), ("metrics", "token_budget_")):
        (url,) = re.findall(rf"{what} +(http://\S+)", out)
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert expected in answer.read().decode()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_interrupted_in_the_middle_it_leaves_cleanly(start, tmp_path):
    process = start("--speed", "1")
    assert "listens on" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_bad_setting_names_itself_and_stops_the_start(start):
    process = start("--total-tokens", "none at all")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--total-tokens" in err
