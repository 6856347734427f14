"""Secrets are planted wherever an operator or a caller can put one, and all that the program says is searched."""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import bcrypt
import pytest
from typing_extensions import override

SECRETS = {
    "token": "planted-token-4711-of-the-operator",
    "stranger": "planted-token-4712-of-a-stranger",
    "downstream": "planted-4713-header-of-the-backend",
    "password": "planted-4714-password-of-prometheus",
    "journal": "planted-4715-password-of-the-database",
    "url": "planted-4716-password-in-a-url",
    "content": "planted-4717-content-of-an-item",
    "exporter": "planted-4718-header-of-the-collector",
    "query": "planted-4719-key-in-the-query-of-a-url",
}


class Collector(BaseHTTPRequestHandler):
    """Takes in what is sent downstream and by our own exporter."""

    took: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.took.append((self.path, str(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Collector.took = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path, collector):
    """A configuration with a secret wherever there can be one."""
    (tmp_path / "tokens").write_text(SECRETS["token"])
    hashed = bcrypt.hashpw(SECRETS["password"].encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users:\n  prometheus: {hashed}\n")
    (tmp_path / "sidecar.toml").write_text(
        f"""
        listen = ["127.0.0.1:0"]
        otlp = "127.0.0.1:0"
        telemetry = "127.0.0.1:0"
        journal = "sqlite:///{tmp_path}/j.db"
        admin_tokens = ["{tmp_path}/tokens"]
        telemetry_web_config = "{tmp_path}/web.yml"
        downstream = "{collector.replace("://", f"://user:{SECRETS['url']}@")}"
        downstream_logs = "{collector}/in/logs?key={SECRETS["query"]}"
        downstream_headers = "api-key={SECRETS["downstream"]}"
        log_level = "debug"
        """
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TOKEN_BUDGET_", "OTEL_"))}
    environment = {
        **own,
        "PYTHONASYNCIODEBUG": "1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector}/v1/traces?key={SECRETS['query']}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={SECRETS['exporter']}",
    }
    return ("--config", str(tmp_path / "sidecar.toml")), environment


def run(*argv, environment):
    return subprocess.run(
        (sys.executable, "-m", "sidecar", *argv),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def call(method, url, body=None, **headers):
    """Everything that an answer says."""
    request = urllib.request.Request(url, method=method, data=body)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return f"{answer.status} {answer.headers} {answer.read().decode()}"
    except urllib.error.HTTPError as answer:
        with answer:
            return f"{answer.code} {answer.headers} {answer.read().decode()}"


def use(urls):
    """Call with the right token, with a wrong one, and with broken requests; everything that was answered."""
    api = urls["api"]
    right, wrong = (f"Bearer {SECRETS[name]}" for name in ("token", "stranger"))
    item = {"id": "t", "kind": "task", "tokens": 9, "completed": True, "content": SECRETS["content"]}
    events = json.dumps([{"type": "put_item", "session": "s1", "item": item}]).encode()
    cleanup = b'{"component": "working_memory"}'
    for token in (right, wrong):
        sent = {"Authorization": token, "Content_Type": "application/json"}
        yield call("PUT", f"{api}/v1/sessions/s1", b'{"agent": "tester"}', **sent)
        yield call("POST", f"{api}/v1/events", events, **sent)
        yield call("POST", f"{api}/v1/sessions/s1/cleanups", cleanup, **sent)
        yield call("POST", f"{api}/v1/sessions/s1/allocations", b'{"item": 1}', **sent)
        yield call("POST", f"{api}/v1/sessions/s1/allocations", b'{"item":', **sent)
        for path in ("", "/items", "/archive", "/ledger", "/directives"):
            yield call("GET", f"{api}/v1/sessions/s1{path}", Authorization=token)
        yield call("POST", f"{urls['otlp']}/v1/traces", b"{}", **sent)
        yield call("POST", f"{urls['otlp']}/v1/traces", b"nonsense", **sent)
        yield call("POST", f"{urls['otlp']}/v1/logs", b"{}", **sent)
    for password in (SECRETS["password"], SECRETS["stranger"]):
        import base64

        login = base64.b64encode(f"prometheus:{password}".encode()).decode()
        yield call("GET", f"{urls['telemetry']}/metrics", Authorization=f"Basic {login}")
    for path in ("/", "/openapi.json", "/live/main.js"):
        yield call("GET", api + path)


def found(text):
    return sorted(name for name, secret in SECRETS.items() if secret in text)


def test_no_secret_is_in_answers_logs_metrics_traces_arguments_or_what_is_forwarded(settings, tmp_path):
    flags, environment = settings
    with subprocess.Popen(
        (sys.executable, "-m", "sidecar", "serve", *flags),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            urls = dict(process.stdout.readline().split() for _ in range(3))
            answers = list(use(urls))
            arguments = Path(f"/proc/{process.pid}/cmdline").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
    assert [answer[:3] for answer in answers[:3]] == ["201", "200", "200"]
    assert {answer[:3] for answer in answers[13:26]} == {"401"}
    assert found("".join(answers)) == []
    assert found(out + err) == []
    assert len(err.splitlines()) >= 2
    assert found(arguments) == []
    assert found((tmp_path / "j.db").read_bytes().decode("latin-1")) in (
        [],
        ["content"],
    )  # it is kept, and nothing else
    traces = [each for each in Collector.took if b"token_budget." in each[2]]
    forwarded = [each for each in Collector.took if b"token_budget." not in each[2]]
    assert traces
    assert forwarded
    assert {path.partition("?")[0] for path, *_ in Collector.took if SECRETS["query"] in path} == {
        "/v1/traces",
        "/in/logs",
    }
    for _, headers, body in traces:
        assert found(headers + body.decode("latin-1")) == ["exporter"]
    for _, headers, body in forwarded:
        assert "downstream" in found(headers)
        assert set(found(headers + body.decode("latin-1"))) <= {"downstream", "url"}


def test_no_secret_is_in_what_is_told_of_good_and_bad_settings(settings, tmp_path):
    flags, environment = settings
    journal = f"postgresql://user:{SECRETS['journal']}@127.0.0.1:1/x"
    told = [
        run("check-config", *flags, environment={**environment, "TOKEN_BUDGET_JOURNAL": journal}),
        run("check-config", *flags, environment={**environment, "TOKEN_BUDGET_JOURNAL": journal.replace("q", "k")}),
        run("check-config", environment={**environment, "TOKEN_BUDGET_DOWNSTREAM_HEADERS": SECRETS["downstream"]}),
        run("check-config", environment={**environment, "TOKEN_BUDGET_DOWNSTREAM": f"ftp://u:{SECRETS['url']}@x"}),
        run("check-config", environment={**environment, "TOKEN_BUDGET_DOWNSTREAM": f"ftp://x/?key={SECRETS['query']}"}),
    ]
    for name in ("tokens", "web.yml"):
        path = tmp_path / name
        path.write_text(path.read_text() + f"\n- {SECRETS['token']} and more: '\n")
        told.append(run("serve", *flags, environment=environment))
        path.write_text(SECRETS["token"] if name == "tokens" else "")
    assert [each.returncode for each in told] == [0, 2, 2, 2, 2, 1, 1]
    assert found("".join(each.stdout + each.stderr for each in told)) == []


def test_the_database_that_cannot_be_reached_is_named_without_its_password(settings):
    flags, environment = settings
    journal = f"postgresql://user:{SECRETS['journal']}@127.0.0.1:1/x"
    with subprocess.Popen(
        (sys.executable, "-m", "sidecar", "serve", *flags),
        env={**environment, "TOKEN_BUDGET_JOURNAL": journal},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        urls = dict(process.stdout.readline().split() for _ in range(3))
        answer = call("GET", f"{urls['api']}/v1/sessions/s1", Authorization=f"Bearer {SECRETS['token']}")
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert answer.startswith("503")
    assert found(answer + out + err) == []
    assert "127.0.0.1" in err
