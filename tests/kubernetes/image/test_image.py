"""The real image, run as a pod would run it. `make image`; two minutes, so not part of `make test`."""

import json
import os
import socket
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(600), pytest.mark.xdist_group("image")]

START_SECONDS = 2.0
STOP_SECONDS = 5.0
ADDED_BYTES = 100_000_000
IDLE_BYTES = 96 << 20  # what the chart asks for


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def running(engine, image):
    """The sidecar on this machine's network, on free ports: its telemetry URL and how long it took to start."""
    api, telemetry = free_port(), free_port()
    engine.create(
        "running",
        image,
        options=(
            "--network=host",
            f"--env=TOKEN_BUDGET_LISTEN=127.0.0.1:{api}",
            f"--env=TOKEN_BUDGET_TELEMETRY=127.0.0.1:{telemetry}",
            "--env=TOKEN_BUDGET_OTLP=off",
        ),
    )
    url = f"http://127.0.0.1:{telemetry}"
    for attempt in (1, 2, 3):  # a machine that is busy with something else says nothing of the image
        begun = time.monotonic()
        engine.podman("start", "running")
        while not answers(f"{url}/startupz"):
            assert time.monotonic() - begun < 30, engine.podman("logs", "running")
            time.sleep(0.01)
        seconds = time.monotonic() - begun
        if seconds < START_SECONDS or attempt == 3:
            return url, seconds
        engine.podman("stop", "running")
    raise AssertionError


def process(engine):
    return Path("/proc") / engine.podman("inspect", "--format", "{{.State.Pid}}", "running")


def processor_seconds(engine):
    fields = (process(engine) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_adds_less_than_100_mb_to_its_base(engine, image, note):
    sizes = {
        name: int(engine.podman("image", "inspect", "--format", "{{.Size}}", name))
        for name in (image, "docker.io/library/python:3.13-slim-trixie")
    }
    added = sizes[image] - min(sizes.values())
    note(f"image: {added / 1e6:.0f} MB over its base")
    assert added < ADDED_BYTES


def test_it_starts_in_under_2_s(running, note):
    _, seconds = running
    note(f"start: {seconds:.2f} s from `podman start` to /startupz")
    assert seconds < START_SECONDS


def test_its_health_check_passes_while_it_runs(engine, running):
    engine.podman("healthcheck", "run", "running")


def test_it_runs_as_nobody_in_particular_on_a_root_that_it_cannot_write(engine, running):
    assert engine.podman("exec", "running", "id", "-u") == "65532"
    tried = engine.podman("exec", "running", "sh", "-c", "touch /app/x && echo written", check=False)
    assert "written" not in tried
    status = (process(engine) / "status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_it_has_the_packages_it_runs_on_and_no_others(engine, image, checkout):
    code = "from importlib.metadata import distributions; print(*{package.name for package in distributions()})"
    engine.create("packages", image, "-c", code, options=("--network=none", "--entrypoint=python"))
    engine.podman("start", "--attach", "packages", check=False)
    listed = {name.lower().replace("_", "-") for name in engine.podman("logs", "packages").split()}
    locked = {
        line.split("==")[0]
        for line in (checkout / "requirements.txt").read_text().splitlines()
        if "==" in line and "sys_platform == 'win32'" not in line
    }
    assert listed == locked | {"token-budget-sidecar"}


def test_idle_it_takes_less_memory_than_the_chart_asks_for_and_hardly_any_processor(engine, running, note):
    time.sleep(5)  # let it settle, then watch it do nothing
    seconds, begun = processor_seconds(engine), time.monotonic()
    time.sleep(20)
    share = (processor_seconds(engine) - seconds) / (time.monotonic() - begun)
    status = (process(engine) / "status").read_text()
    resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) << 10
    note(f"idle: {resident / (1 << 20):.0f} MiB resident, {share:.2%} of a processor")
    assert resident < IDLE_BYTES
    assert share < 0.01


def test_a_container_that_shares_its_network_can_make_the_main_calls_and_run_helms_test(engine, image, checkout):
    """As the pod of `helm test` with a plain sidecar, which it ends: they share their processes too."""
    engine.create("sidecar", image, options=("--network=none",))
    engine.podman("start", "sidecar")
    scripts = (Path(__file__).with_name("drive.py"), checkout / "helm/token-budget-sidecar/files/check.py")
    work = "\n".join(script.read_text() for script in scripts)
    shared = ("--network=container:sidecar", "--pid=container:sidecar", "--env=STOP_SIDECAR=true")
    engine.create("agent", image, "-c", work, options=(*shared, "--entrypoint=python"))
    engine.podman("start", "--attach", "agent", check=False)
    told = engine.podman("logs", "agent")
    assert told.splitlines() == ["all calls answered", "the sidecar took an event, and its metric shows it"], told
    assert engine.podman("wait", "sidecar") == "0"


def test_told_to_stop_it_ends_in_order_in_under_5_s(engine, running, note):
    begun = time.monotonic()
    engine.podman("stop", "--time", "30", "running")
    seconds = time.monotonic() - begun
    state = json.loads(engine.podman("inspect", "running"))[0]["State"]
    note(f"stop: {seconds:.2f} s from `podman stop`")
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]
    assert seconds < STOP_SECONDS
