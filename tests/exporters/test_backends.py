"""Real backends in the collector's place: what goes through the sidecar and what it adds are found there.

A collector from PyPI (rotel) is among all tests. Phoenix takes minutes to install, so it has a group of its own:
`make backends`.
"""

import asyncio
import os
import re
import shutil
import socket
import sys
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest

from sidecar.app import make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort
from tests.exporters.agent import CALL, ids, running
from tests.exporters.collector import collecting

LOOPBACK = HostPort("127.0.0.1", 0)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def between(monkeypatch, http):
    """An agent's turn, with a sidecar between it and a backend: its span, and the exemplar of the decision in it."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")

    async def turn(url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        app = make_app(Config(listen=(LOOPBACK,), telemetry=LOOPBACK, otlp=LOOPBACK, journal="memory:", downstream=url))
        async with app, running(app.urls["otlp"][0], app.urls["api"][0]) as agent:
            async with http.put(f"{app.urls['api'][0]}/v1/sessions/s", json={"agent": "coder"}) as answer:
                assert answer.status == 201
            with agent.span("invoke_agent coder"), agent.span("chat some-model", **CALL) as chat:
                await agent.ask("s", component="working_memory", tokens=70_000)
            await agent.flush()
            accept = {"Accept": "application/openmetrics-text"}
            async with http.get(f"{app.urls['telemetry'][0]}/metrics", headers=accept) as answer:
                metrics = await answer.text()
        found = re.search(
            r'^token_budget_exhaustions_total.*# {trace_id="(\w+)",span_id="(\w+)"}', metrics, re.MULTILINE
        )
        assert found is not None
        return chat, found.groups()

    return turn


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def program(*argv, port, log, **environment):
    """A program that listens on a port; ended after use."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv), stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        async with asyncio.timeout(90):
            while True:
                assert process.returncode is None, log.read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_through_a_real_collector_the_decision_is_found_below_the_agents_span(between, tmp_path):
    package = find_spec("rotel")
    if package is None or package.origin is None:
        pytest.skip("MISSING TOOL: rotel is not installed (`make venv` does it)")
    port, grpc = free_port(), free_port()
    flags = (
        "--otlp-http-endpoint",
        f"127.0.0.1:{port}",
        "--otlp-grpc-endpoint",
        f"127.0.0.1:{grpc}",
        "--exporter",
        "otlp",
    )
    files = ("--pid-file", tmp_path / "pid", "--log-file", tmp_path / "log")
    async with collecting() as backend:
        export = ("--otlp-exporter-endpoint", backend.url, "--otlp-exporter-protocol", "http")
        rotel = Path(package.origin).parent / "rotel-agent"
        async with program(rotel, "start", *flags, *files, *export, port=port, log=tmp_path / "out") as url:
            chat, exemplar = await between(url)
            spans = await backend.spans("chat some-model", "invoke_agent coder", "token_budget.cleanup")
    named = {span.name: span for span in spans}
    theirs, ours = named["chat some-model"], named["token_budget.allocate"]
    assert (theirs.trace, theirs.id) == ids(chat)
    assert theirs.parent == named["invoke_agent coder"].id
    assert theirs.attributes == CALL
    assert theirs.resource["service.name"] == "agent"
    assert (ours.trace, ours.parent) == ids(chat)
    assert named["token_budget.cleanup"].parent == ours.id
    assert exemplar == (ours.trace, ours.id)


@pytest.mark.backends
@pytest.mark.timeout(300)
async def test_in_phoenix_the_decision_is_found_below_the_agents_span(between, http, tmp_path):
    phoenix = shutil.which("phoenix", path=f"{ROOT / '.venv-backends' / 'bin'}:{Path(sys.executable).parent}")
    if phoenix is None:
        pytest.skip("MISSING TOOL: Phoenix is not installed (`make backends` does it)")
    port = free_port()
    environment = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_WORKING_DIR": str(tmp_path),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    async with program(phoenix, "serve", port=port, log=tmp_path / "out", **environment) as url:
        chat, exemplar = await between(url)
        trace, span = ids(chat)
        wanted = {"invoke_agent coder", "chat some-model", "token_budget.allocate", "token_budget.cleanup"}
        named: dict[str, dict] = {}
        async with asyncio.timeout(60):
            while not wanted <= set(named):  # Phoenix writes what it got some time later
                await asyncio.sleep(0.2)
                async with http.get(f"{url}/v1/projects/default/spans") as answer:
                    found = (await answer.json()).get("data", []) if answer.status == 200 else []
                named = {each["name"]: each for each in found}
    context = {name: (each["context"]["trace_id"], each["context"]["span_id"]) for name, each in named.items()}
    assert context["chat some-model"] == (trace, span)
    assert named["chat some-model"]["parent_id"] == context["invoke_agent coder"][1]
    assert named["token_budget.allocate"]["parent_id"] == span
    assert named["token_budget.cleanup"]["parent_id"] == context["token_budget.allocate"][1]
    assert {each[0] for each in context.values()} == {trace}
    assert exemplar == context["token_budget.allocate"]
