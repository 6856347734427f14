"""The README and the tour of the API do what they say: their commands run, in order, beside a real sidecar."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidecar.__main__ import COMMANDS, parser

README = "README.md"
TOUR = "sidecar/receivers/README.md"
DOCUMENTS = (README, TOUR)
# What these would do is tried elsewhere, or cannot be here; that what they name is there, is tried here.
NOT_RUN = ("make", "helm", "kubectl", ".")


def blocks(checkout, path, language):
    """The blocks of a document that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (checkout / path).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(checkout, path):
    """The commands of a document's shell blocks, in order; a command may go on for lines."""
    found = []
    for block in blocks(checkout, path, "sh"):
        begun = ""
        for line in block.splitlines():
            begun += line + "\n"
            try:
                shlex.split(begun.replace("\\\n", " "), comments=True)
            except ValueError:  # a quotation that is still open
                continue
            if not line.endswith("\\"):
                found.append(begun.rstrip("\n"))
                begun = ""
        assert not begun, f"it never ends: {begun}"
    return found


def program(command):
    """The first word that is no variable."""
    return next((word for word in shlex.split(command, comments=True) if "=" not in word), "")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory):
    """A sidecar on ports of its own; the addresses that it says."""
    folder = tmp_path_factory.mktemp("readme")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TOKEN_BUDGET_", "OTEL_"))}
    flags = ("--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--otlp", "127.0.0.1:0")
    process = subprocess.Popen(
        (sys.executable, "-m", "sidecar", "serve", *flags, "--journal", f"sqlite:///{folder}/journal.db"),
        env=own,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        addresses: dict[str, str] = {}
        assert process.stdout is not None
        while len(addresses) < 3:
            name, address = process.stdout.readline().split()
            addresses[name] = address
        yield {"http://127.0.0.1:8321": addresses["api"], "http://127.0.0.1:9464": addresses["telemetry"]}
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def shell(checkout, sidecar, need_program, tmp_path):
    """Run commands in one shell, in the checkout; what was written, command by command."""
    need_program("curl")

    def run(script):
        mark = "--- next ---"
        text = f"\necho; echo '{mark}'\n".join(script)
        for place, address in sidecar.items():
            text = text.replace(place, address)
        assert "127.0.0.1:4318" not in text
        text = text.replace("report.html", str(tmp_path / "report.html")).replace(
            "token-budget-sidecar", f"{sys.executable} -m sidecar"
        )
        done = subprocess.run(
            ("bash", "-euo", "pipefail", "-c", 'curl() { command curl -sS --fail-with-body "$@"; }\n' + text),
            cwd=checkout,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return done.stdout.split(mark)

    return run


def test_the_tour_of_the_api_runs_as_it_stands_and_shows_what_it_tells(checkout, shell):
    """Each call is answered, the second request after a cleanup, and what that archived comes back."""
    script = commands(checkout, TOUR)
    answers = dict(zip(script, shell(script), strict=True))
    told = {command: json.loads(text) for command, text in answers.items() if program(command) == "curl"}
    (asked,) = (answer for command, answer in told.items() if '"request_id": "r1"' in command)
    assert (asked["outcome"], asked["granted"]) == ("after_cleanup", 20000)
    assert [each["item"] for each in asked["directives"]] == ["app"]
    (restored,) = (answer for command, answer in told.items() if command.endswith("app/restore"))
    assert restored["outcome"] == "full"
    (batch,) = (answer for answer in told.values() if "accepted" in answer)
    assert (batch["accepted"], batch["rejected"]) == (4, 0)
    (final,) = (answer for command, answer in told.items() if "-X DELETE" in command)
    assert final["state"] == "closed"


def test_the_readmes_calls_run_as_they_stand(checkout, shell):
    """The calls of the API, the metrics and the tools; not what installs, serves, or needs a cluster."""
    script = [
        command
        for command in commands(checkout, README)
        if program(command) not in NOT_RUN and " serve" not in command and "audit --html" not in command
    ]
    written = shell(script)
    assert len(script) > 5
    assert any('"outcome":"full"' in text for text in written)
    assert any("token_budget_window_used_tokens" in text for text in written)
    assert any("coding-agent" in text and "requests refused" in text for text in written)


def test_the_readmes_audit_writes_its_page(checkout, shell, tmp_path):
    """Of the recordings, as the comment beside the command says."""
    (command,) = (each for each in commands(checkout, README) if "audit --html" in each)
    beside = command.partition("# of recordings: ")[2]
    assert beside
    assert "model calls carried" in " ".join(shell([f"token-budget-sidecar {beside} --newest 2"])).replace("\n", " ")
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_is_not_run_names_what_there_is(checkout, path):
    """Targets of make, flags of commands, the folder of the chart."""
    makefile = (checkout / "Makefile").read_text("utf-8")
    text = (checkout / path).read_text("utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"token-budget-sidecar ([a-z][a-z-]+)\b(?= |`)", text.replace("helm install token", "")):
        assert name in COMMANDS or name.startswith("helm"), name
    inline = [code for code in re.findall(r"`([^`\n]+)`", text) if code.startswith("token-budget-sidecar ")]
    for command in [*commands(checkout, path), *inline]:
        words = shlex.split(command, comments=True)
        if words[:1] == ["token-budget-sidecar"] and words[1] in COMMANDS and "--help" not in words:
            parser(words[1]).parse_args(words[1:])
        if words[:2] == ["helm", "install"]:
            assert (checkout / words[3] / "Chart.yaml").is_file()


def test_the_readmes_python_stands_in_the_guide_where_it_is_run(checkout):
    """tests/client/test_readme.py runs each block of the guide with the real frameworks."""
    guide = blocks(checkout, "sidecar/client/README.md", "python")
    ours = blocks(checkout, README, "python")
    assert ours
    assert [block for block in ours if block not in guide] == []


def test_the_readmes_alert_is_one_that_prometheus_takes(checkout, need_program, tmp_path):
    """As written, it is a file of rules."""
    (alert,) = blocks(checkout, README, "yaml")
    assert yaml.safe_load(alert)["groups"]
    file = tmp_path / "rules.yaml"
    file.write_text(alert)
    done = subprocess.run(
        (need_program("promtool"), "check", "rules", file), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_figures_of_the_backtest_are_those_of_its_reference(checkout):
    """The README shows five rows of the table that `backtest` printed."""
    reference = (checkout / "sidecar/lab/backtest/README.md").read_text("utf-8")
    shown = (checkout / README).read_text("utf-8")

    def printed(row):
        (line,) = (line for line in reference.splitlines() if line.startswith(f"  {row}  "))
        cells = re.split(r"\s{2,}", line.strip())
        return cells[1], cells[-1]

    def told(row):
        (line,) = (line for line in shown.splitlines() if line.startswith(f"| {row}"))
        return tuple(cell.strip() for cell in line.split("|")[2:4])

    assert told("requests refused") == printed("requests refused")
    assert told("windows that overflowed") == printed("sessions over their limit")
    assert told("freed, then needed again") == printed("in percent of those freed")
    assert told("emergency cleanups") == tuple(f"{float(cell):g}" for cell in printed("emergency cleanups a session"))
    lost = tuple(f"{int(cell.replace(',', '')) / 1e6:.1f} million" for cell in printed("prompt cache lost, in tokens"))
    assert told("prompt cache lost") == lost


def test_the_rooms_that_the_readme_shows_are_the_rooms_that_there_are(checkout):
    """Every package of the sidecar stands in the table."""
    text = (checkout / README).read_text("utf-8")
    rooms = {path.parent.name for path in Path(checkout, "sidecar").glob("*/__init__.py")}
    assert sorted(room for room in rooms if f"`sidecar/{room}`" not in text) == []
    assert sorted(each for each in re.findall(r"`(sidecar/[a-z_./]+)`", text) if not (checkout / each).exists()) == []
