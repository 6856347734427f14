"""The whole sidecar between an agent and its collector: telemetry goes through, decisions show in the agent's trace."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
def sidecar(monkeypatch):
    """A sidecar in this process, with settings and OTEL_* variables of its own; not started yet."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")

    def make(traces=None, **settings):
        if traces is not None:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces)
        every: dict[str, Any] = {
            "listen": (LOOPBACK,),
            "telemetry": LOOPBACK,
            "otlp": LOOPBACK,
            "journal": "memory:",
            **settings,
        }
        return make_app(Config(**every))

    return make


@pytest.fixture
async def collector():
    async with collecting() as made:
        yield made


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def scraped(http, app):
    """The metrics in OpenMetrics."""
    accept = {"Accept": "application/openmetrics-text"}
    async with http.get(f"{app.urls['telemetry'][0]}/metrics", headers=accept) as answer:
        return await answer.text()


async def until_scraped(http, app, line):
    """Wait until the metrics have this line."""
    async with asyncio.timeout(30):
        while not re.search(rf"^{re.escape(line)}$", await scraped(http, app), re.MULTILINE):  # noqa: ASYNC110 - as Prometheus would
            await asyncio.sleep(0.01)


async def test_a_decision_shows_below_the_agents_span_which_arrives_whole(sidecar, collector, http):
    async with sidecar(collector.url, downstream=collector.url) as app:
        async with running(app.urls["otlp"][0], app.urls["api"][0]) as agent:
            async with http.put(f"{app.urls['api'][0]}/v1/sessions/s", json={"agent": "coder"}) as answer:
                assert answer.status == 201
            with agent.span("invoke_agent coder"), agent.span("chat some-model", **CALL) as chat:
                answer = await agent.ask("s", component="working_memory", tokens=70_000)
                assert answer["outcome"] == "partial"
            await agent.flush()
        spans = {span.name: span for span in await collector.spans("chat some-model", "token_budget.allocate")}
        trace, span = ids(chat)
        theirs, ours = spans["chat some-model"], spans["token_budget.allocate"]
        assert (theirs.trace, theirs.id, theirs.parent) == (trace, span, spans["invoke_agent coder"].id)
        assert theirs.attributes == CALL
        assert theirs.resource["service.name"] == "agent"
        assert (ours.trace, ours.parent) == (trace, span)
        assert ours.resource["service.name"] == "token-budget-sidecar"
        assert theirs.start <= ours.start <= ours.end <= theirs.end
        forwarded = [each for each in collector.requests if each.headers.get("x-api-key") == "the agent's own"]
        assert forwarded, "the agent's own headers went along"
        assert not any(b"token-budget-sidecar" in each.body for each in forwarded), "its payloads are only its own"
        shown = await scraped(http, app)
        exemplar = f'# {{trace_id="{ours.trace}",span_id="{ours.id}"}}'
        for metric in ("exhaustions_total", "allocation_duration_seconds_bucket", "cleanup_duration_seconds_bucket"):
            assert re.search(rf"^token_budget_{metric}{{.*{re.escape(exemplar)}", shown, re.MULTILINE), metric


async def test_an_observed_agents_exhaustion_and_end_show_in_its_trace_with_nothing_but_the_endpoint_set(
    sidecar, collector, http
):
    app = sidecar(collector.url, downstream=collector.url, total_tokens=1_000)
    async with app, running(app.urls["otlp"][0], app.urls["api"][0]) as agent:
        with agent.span("chat some-model", **CALL):
            pass
        await agent.flush()
        # What came in between is attributed, and is more than such a window can hold.
        with agent.span("chat some-model", **CALL | {"gen_ai.usage.input_tokens": 20_000}) as chat:
            pass
        await agent.flush()
        spans = {span.name: span for span in await collector.spans("token_budget.exhaustion", "chat some-model")}
        exhaustion = spans["token_budget.exhaustion"]
        assert (exhaustion.trace, exhaustion.parent) == ids(chat)
        assert exhaustion.attributes["gen_ai.conversation.id"] == "conversation"
        assert exhaustion.attributes["token_budget.mode"] == "observed"
        async with http.delete(f"{app.urls['api'][0]}/v1/sessions/conversation") as answer:
            assert answer.status == 200
        (session,) = [span for span in await collector.spans("token_budget.session") if span.name.endswith("session")]
        assert session.attributes["token_budget.peak_tokens"] == 20_000
        assert session.attributes["gen_ai.agent.name"] == "coder"


async def test_events_of_a_batch_show_below_the_span_of_who_sent_it(sidecar, collector, http):
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = {"type": "request_allocation", "component": "working_memory", "tokens": 1}
    async with sidecar(collector.url) as app:
        url = f"{app.urls['api'][0]}/v1/events"
        batch = [{"session": f"s{number}", **event} for number in range(3)]
        async with http.post(url, json=batch, headers={"traceparent": traceparent, "tracestate": "a=b"}) as answer:
            assert (await answer.json())["accepted"] == 3
    spans = collector.exported()
    assert {span.attributes["gen_ai.conversation.id"] for span in spans} == {"s0", "s1", "s2"}
    assert {(span.trace, span.parent) for span in spans} == {(traceparent[3:35], traceparent[36:52])}


async def test_only_what_was_accepted_is_forwarded_once_and_as_it_came(sidecar, collector, http):
    async with sidecar(downstream=collector.url) as app:
        url = app.urls["otlp"][0]
        logs = b'{"resourceLogs": [], "somethingNew": 1}'
        for path, body, headers, status in [
            ("/v1/traces", b"no protobuf", {"Content-Type": "application/x-protobuf"}, 400),
            ("/v1/traces", b"{}", {"Content-Type": "text/plain"}, 415),
            ("/v1/logs", logs, {"Content-Type": "application/json"}, 200),
            ("/v1/metrics", b"", {"Content-Type": "application/x-protobuf"}, 200),
        ]:
            async with http.post(f"{url}{path}", data=body, headers=headers) as answer:
                assert answer.status == status
        await collector.until(2)
        await until_scraped(http, app, 'token_budget_forwarded_total{signal="logs",result="delivered"} 1')
        await until_scraped(http, app, 'token_budget_forwarded_total{signal="metrics",result="delivered"} 1')
        assert 'token_budget_forwarded_total{signal="traces",result="delivered"} 0' in await scraped(http, app)
    assert {each.path: each.body for each in collector.requests} == {"/v1/logs": logs, "/v1/metrics": b""}


async def test_a_downstream_and_a_collector_that_hang_change_nothing_for_the_agent(sidecar, http):
    async with collecting(hanging=True) as collector:
        app = sidecar(collector.url, downstream=collector.url, downstream_queue=50)
        await app.start()
        otlp, api = app.urls["otlp"][0], app.urls["api"][0]
        begun = time.monotonic()
        for _ in range(30):
            async with http.post(f"{otlp}/v1/logs", json={"resourceLogs": []}) as answer:
                assert answer.status == 200
            ask = {"type": "request_allocation", "session": "s", "component": "working_memory", "tokens": 9_000}
            async with http.post(f"{api}/v1/events", json=[ask]) as answer:
                assert (await answer.json())["accepted"] == 1
        assert time.monotonic() - begun < 10, "no answer has waited for a collector's"
        shown = await scraped(http, app)
        assert 'token_budget_forwarded_total{signal="logs",result="failed"} 28' in shown
        assert 'token_budget_dropped_total{what="forward",reason="queue_full"} 28' in shown
        begun = time.monotonic()
        await app.stop()
        assert 2 < time.monotonic() - begun < 3.5, "what waits is given a while, and no longer"


def test_a_process_ends_in_time_though_its_collector_hangs(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as collector, (tmp_path / "log").open("w") as log:  # fmt: skip
        assert collector.stdout is not None
        url = collector.stdout.readline().strip()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKEN_BUDGET_"))},
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "TOKEN_BUDGET_DOWNSTREAM": url,
            "TOKEN_BUDGET_JOURNAL": "memory:",
        }
        flags = ("--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--otlp", "127.0.0.1:0")
        with subprocess.Popen(
            [sys.executable, "-m", "sidecar", "serve", *flags],
            stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment,
        ) as program:  # fmt: skip
            assert program.stdout is not None
            urls = dict(program.stdout.readline().split() for _ in range(3))
            asyncio.run(_use(urls))
            assert collector.stdout.readline() == "a request\n"
            begun = time.monotonic()
            program.send_signal(signal.SIGTERM)
            assert program.wait(timeout=30) == 0
            took = time.monotonic() - begun
        collector.kill()
    assert took < 5, "at most 3 s for both, and the interpreter's own end on a busy machine"


async def _use(urls):
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{urls['otlp']}/v1/logs", json={"resourceLogs": []}) as answer:
            assert answer.status == 200
        event = {"type": "request_allocation", "session": "s", "component": "working_memory", "tokens": 1}
        async with http.post(f"{urls['api']}/v1/events", json=[event]) as answer:
            assert answer.status == 200


# Takes connections, says so, and never answers.
HANGING = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
kept = []
while True:
    kept.append(listener.accept()[0])
    print("a request", flush=True)
"""
