"""The command line, and the program as a whole: started, used, ended by a signal, started again."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import sidecar
from sidecar.__main__ import COMMANDS

LOOPBACK = ("--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--otlp", "off")


def environment(**extra):
    """The test's environment without settings of whoever runs it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")}
    return {**own, "PYTHONIOENCODING": "utf-8", **extra}


def run(*argv, **variables):
    """Run a command to its end."""
    command = (sys.executable, "-m", "sidecar", *argv)
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )


class Program:
    """A sidecar as its own process."""

    def __init__(self, *argv, **variables):
        self.process = subprocess.Popen(
            (sys.executable, "-m", "sidecar", "serve", *LOOPBACK, *argv),
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.urls = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, url = line.split()
            self.urls[name] = url
            if name == "telemetry":
                break

    def __call__(self, method, path, body=None):
        """Call the API; status and body."""
        request = urllib.request.Request(
            self.urls["api"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, json.load(answer)

    def end(self, number=signal.SIGTERM):
        """Send a signal; the exit code, what it complained about, and how long it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err, time.monotonic() - begun


@pytest.fixture
def start():
    """Start programs; what is left of them at the end is killed."""
    programs = []

    def begin(*argv, **variables):
        programs.append(Program(*argv, **variables))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()


def test_the_version_is_printed_without_loading_what_serving_needs():
    code = "import sys; sys.argv = ['x', '--version']\nfrom sidecar.__main__ import main\n"
    code += (
        "try: main()\nexcept SystemExit: pass\nprint([name for name in ('aiohttp', 'pydantic') if name in sys.modules])"
    )
    result = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines() == [f"token-budget-sidecar {sidecar.__version__}", "[]"]


def test_help_lists_every_command_with_what_it_does():
    result = run("--help", COLUMNS="120")
    assert result.returncode == 0
    for name, meaning in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(meaning)}$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = run(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: token-budget-sidecar {command} ")


def test_help_of_serve_tells_every_setting_with_its_default():
    result = run("serve", "--help", COLUMNS="200")
    assert "--listen HOST:PORT|unix:PATH" in result.stdout
    assert "(default: 127.0.0.1:8321)" in result.stdout
    assert "(default: 15m)" in result.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "required: COMMAND"),
        (("dance",), "invalid choice: 'dance'"),
        (("serve", "--lisen", "x"), "unrecognized arguments: --lisen x (did you mean --listen?)"),
        (("demo", "--total_tokens=5"), "unrecognized arguments: --total_tokens=5 (did you mean --total-tokens?)"),
        (("serve", "--xyz"), "unrecognized arguments: --xyz\n"),
        (("serve", "extra"), "unrecognized arguments: extra"),
    ],
)
def test_a_wrong_command_line_is_told_and_exits_2(argv, words):
    result = run(*argv)
    assert result.returncode == 2
    assert words in result.stderr


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_wrong_settings_are_all_named_and_exit_2(command):
    result = run(command, "--listen", "8321", TOKEN_BUDGET_JOURNL="memory:", TOKEN_BUDGET_MAX_AGENTS="0")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "token-budget-sidecar: TOKEN_BUDGET_JOURNL is not a setting (did you mean TOKEN_BUDGET_JOURNAL?)",
        'token-budget-sidecar: TOKEN_BUDGET_MAX_AGENTS must be a whole number from 1 to 1,000,000,000,000, not "0"',
        'token-budget-sidecar: --listen must be HOST:PORT, with a port of 0 to 65535, or unix:PATH, not "8321"',
    ]
    assert result.stdout == ""


def test_good_settings_are_printed_with_where_they_come_from():
    result = run("check-config", "--agent", "reviewer", TOKEN_BUDGET_OTLP="off")
    assert result.returncode == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["agent", "reviewer", "--agent"] in rows
    assert ["otlp", "off", "TOKEN_BUDGET_OTLP"] in rows


def test_the_openapi_document_is_printed_as_json():
    result = run("openapi")
    assert result.returncode == 0
    assert json.loads(result.stdout)["openapi"] == "3.1.0"


def test_a_reader_that_has_seen_enough_is_no_disaster():
    with subprocess.Popen(
        (sys.executable, "-m", "sidecar", "openapi"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 1


def test_an_address_that_is_taken_is_told_in_a_line_and_exits_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("serve", *LOOPBACK[2:], "--listen", address, "--journal", "memory:")
    assert result.returncode == 1
    assert result.stderr == (
        f"token-budget-sidecar: cannot listen on {address}: Address already in use; "
        "--listen takes another address, port 0 a free one\n"
    )


def fill(program):
    """Use a sidecar as an agent would; what its sessions look like then."""
    assert program("PUT", "/v1/sessions/s1", {"agent": "tester"})[0] == 201
    assert program("POST", "/v1/sessions/s1/allocations", {"component": "working_memory", "tokens": 500})[0] == 200
    events = [
        {
            "type": "put_item",
            "session": session,
            "item": {"id": f"t{number}", "kind": "task", "tokens": 100, "completed": True, "content": "text"},
        }
        for session in ("s1", "s2")
        for number in range(20)
    ]
    assert program("POST", "/v1/events", events)[1]["accepted"] == 40
    assert program("POST", "/v1/sessions/s2/cleanups", {"component": "working_memory"})[1]["tokens_freed"] == 2_000
    assert program("DELETE", "/v1/sessions/s2")[0] == 200
    return look(program)


def look(program):
    return [
        program("GET", f"/v1/sessions/{session}{part}")[1]
        for session in ("s1", "s2")
        for part in ("", "/items", "/archive", "/archive/t3", "/directives", "/ledger?limit=1000")
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_with_0_and_started_again_it_shows_the_same(start, tmp_path, number):
    journal = ("--journal", f"sqlite:///{tmp_path}/j.db")
    first = start(*journal)
    shown = fill(first)
    code, err, took = first.end(number)
    assert code == 0
    assert took < 5
    begin, end = err.splitlines()  # a line for each, and nothing else
    assert re.search(
        rf" INFO sidecar\.app: serving: api {first.urls['api']}, telemetry {first.urls['telemetry']}; "
        rf"journal sqlite:///{tmp_path}/j\.db; preset standard; tokens not asked for$",
        begin,
    )
    assert end.endswith(f" INFO sidecar.app: stopped: {number.name}")
    again = start(*journal)
    assert look(again) == shown


def test_killed_it_has_lost_nothing_that_was_answered(start, tmp_path):
    journal = ("--journal", f"sqlite:///{tmp_path}/j.db", "--durability", "full")
    first = start(*journal)
    shown = fill(first)
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    again = start(*journal)
    assert look(again) == shown


def test_it_ends_in_time_also_with_connections_that_are_kept_open(start):
    program = start("--journal", "memory:")
    host, _, port = program.urls["api"].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as kept:
        kept.sendall(b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        code, _, took = program.end()
    assert code == 0
    assert took < 5


def test_a_second_sidecar_on_the_same_journal_serves_503_and_says_why(start, tmp_path):
    journal = ("--journal", f"sqlite:///{tmp_path}/j.db")
    first, second = start(*journal), start(*journal)
    assert first("PUT", "/v1/sessions/s1")[0] == 201
    status, problem = second("PUT", "/v1/sessions/s1")
    assert status == 503
    assert "is in use by another process" in problem["detail"]
    code, err, _ = second.end()
    assert code == 0
    assert "is in use by another process" in err


def test_settings_come_from_the_environment_and_a_file_too(start, tmp_path):
    file = tmp_path / "sidecar.toml"
    file.write_text('journal = "memory:"\ntotal_tokens = 1000\n')
    program = start("--config", str(file), TOKEN_BUDGET_AGENT="house")
    status, report = program("PUT", "/v1/sessions/s1")
    assert (status, report["agent"], report["overall"]["total_tokens"]) == (201, "house", 1000)
