"""What would be released runs in a clean environment of each Python that it promises. It downloads: `make release`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.release, pytest.mark.timeout(600), pytest.mark.xdist_group("release")]

VERSIONS = ("3.11", "3.12", "3.13")
# Answered as one line each, in this order, when the ports are bound.
ADDRESSES = ("api", "telemetry")


def interpreter(version: str) -> str:
    """The program of a Python; pyenv's stand-ins count only where they lead somewhere."""
    homes = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin"))
    for path in (*homes, None):
        program = shutil.which(f"python{version}", path=path)
        if program and subprocess.run((program, "-c", "import venv, ensurepip"), capture_output=True).returncode == 0:  # noqa: PLW1510
            return program
    pytest.skip(f"NO PYTHON {version}: what is released was not tried on it")


def run(*command: str | Path) -> str:
    """Run a program to its end, outside the checkout; return what it printed, or fail with what it complained about."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TOKEN_BUDGET"))}
    result = subprocess.run(
        command, cwd=Path(sys.prefix), env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def released(checkout, tmp_path_factory):
    """The sdist, and the wheel that is built from it, each with the declared backend in an environment of its own."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, checkout)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def asked(url: str, method: str, body: object = None) -> bytes:
    request = urllib.request.Request(
        url,
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        content: bytes = answer.read()
    return content


@pytest.mark.parametrize("version", VERSIONS)
def test_it_installs_serves_and_ends_in_a_clean_environment(released, version, checkout, tmp_path):
    """From the sdist, with the newest dependencies that pip finds, then from the wheel; far from the checkout."""
    home = tmp_path / "environment"
    run(interpreter(version), "-m", "venv", home)
    pip = (home / "bin" / "pip", "--no-input", "--disable-pip-version-check")
    run(*pip, "install", "-q", released["sdist"])
    run(*pip, "install", "-q", "--no-deps", "--force-reinstall", released["wheel"])
    run(*pip, "check")
    program = home / "bin" / "token-budget-sidecar"
    declared = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    assert run(program, "--version").split()[-1] == declared
    assert run(home / "bin" / "python", "-W", "error", "-c", "import sidecar.client; print(sidecar.__version__)")

    addresses = ("--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--otlp", "off")
    journal = f"sqlite:///{tmp_path}/journal.db"
    serving = subprocess.Popen(
        (program, "serve", *addresses, "--journal", journal), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert serving.stdout is not None
        urls = dict(line.split() for line in (serving.stdout.readline() for _ in ADDRESSES))
        assert set(urls) == set(ADDRESSES)
        asked(f"{urls['api']}/v1/sessions/s1", "PUT", {"agent": "coder"})
        granted = json.loads(
            asked(f"{urls['api']}/v1/sessions/s1/allocations", "POST", {"component": "working_memory", "tokens": 100})
        )
        assert granted["granted"] == 100
        info = re.search(
            rb"^token_budget_build_info\{(.*)\}", asked(f"{urls['telemetry']}/metrics", "GET"), re.MULTILINE
        )
        assert info
        assert f'python="{version}.' in info[1].decode()
    finally:
        serving.send_signal(signal.SIGTERM)
        _, complaints = serving.communicate(timeout=30)
    assert (serving.returncode, "Traceback" in complaints) == (0, False), complaints
