"""The real programs around a dashboard: a sidecar, Prometheus that scrapes it, Alertmanager, and who hears from it."""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
PATIENCE = 30.0  # seconds until something that must happen has not
LISTENING = r'msg="Listening on" address=(\S+)'


class Program:
    """A program that runs until the test ends. What it prints is read all the while, so that it never blocks."""

    def __init__(self, *command: str) -> None:
        self.output: list[str] = []
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.output.extend(self._process.stdout)

    def says(self, pattern: str) -> str:
        """Wait for a line with the pattern; its first group."""

        def find() -> str | None:
            match = re.search(pattern, "".join(self.output))
            assert match or self._process.poll() is None, "".join(self.output)
            return match and match[1]

        return wait_for(find)

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def wait_for(happened: Callable[[], T | None]) -> T:
    """Ask until the answer is something, and give it."""
    until = time.monotonic() + PATIENCE
    while not (answer := happened()):
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.05)
    return answer


def fetch(url: str, body: Any = None, method: str | None = None) -> Any:
    """The JSON that an address answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.load(response)


@dataclass
class Inbox:
    """A receiver of Alertmanager's messages, on loopback."""

    alerts: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.alerts.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:  # type: ignore[explicit-override]
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def stop(self) -> None:
        """Receive no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Stack:
    """All of them together, wired up as an operator would."""

    def __init__(self, folder: Path, find: Callable[[str], str]) -> None:
        self.inbox = Inbox()
        self._running: list[Program] = []
        try:
            self._start(folder, find)
        except BaseException:
            self.stop()
            raise

    def _start(self, folder: Path, find: Callable[[str], str]) -> None:
        # Looked for first: without them, the test is skipped before anything runs.
        prometheus, alertmanager = find("prometheus"), find("prometheus-alertmanager")
        free = "127.0.0.1:0"
        places = ("--listen", free, "--telemetry", free, "--otlp", free, "--journal", "memory:")
        sidecar = self._run(sys.executable, "-m", "sidecar", "serve", *places, "--metrics-detail")
        self.api = sidecar.says(r"api\s+(http://[^\s,;]+)")
        self.telemetry = sidecar.says(r"telemetry\s+http://([^\s,;]+)")
        routes = {
            "route": {"receiver": "inbox", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "inbox", "webhook_configs": [{"url": self.inbox.url}]}],
        }
        config = self._write(folder / "alertmanager.yaml", routes)
        manager = self._run(
            alertmanager,
            f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={free}",
            "--cluster.listen-address=",
        )
        scrapes = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "dashboards" / "prometheus" / "*.yaml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager.says(LISTENING)]}]}]},
            "scrape_configs": [{"job_name": "sidecars", "static_configs": [{"targets": [self.telemetry]}]}],
        }
        config = self._write(folder / "prometheus.yaml", scrapes)
        server = self._run(
            prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={free}",
            "--enable-feature=exemplar-storage",
        )
        self.prometheus = f"http://{server.says(LISTENING)}"
        server.says(r"(Server is ready to receive web requests)")
        # Counters are seen at 0 before anything happens.
        wait_for(lambda: self.series("token_budget_journal_up"))

    def _run(self, *command: str) -> Program:
        program = Program(*command)
        self._running.append(program)
        return program

    def _write(self, path: Path, config: Mapping[str, Any]) -> Path:
        path.write_text(yaml.safe_dump(config))
        return path

    def stop(self) -> None:
        """End everything, the last one first."""
        for program in reversed(self._running):
            program.stop()
        self.inbox.stop()

    # What is asked of Prometheus

    def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus' HTTP API answers."""
        query = urllib.parse.urlencode(parameters)
        try:
            return fetch(f"{self.prometheus}/api/v1/{path}?{query}")["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{json.load(error)['error']}: {parameters}") from error

    def series(self, query: str) -> list[Any]:
        """The series that a query gives now, those that are not numbers left out."""
        found = self.ask("query", query=query)["result"]
        return [each for each in found if each["value"][1] != "NaN"]

    def history(self, query: str, seconds: float, step: float) -> list[Any]:
        """The series that a query gives in the last seconds, those that are never numbers left out."""
        now = time.time() // step * step  # as Grafana does it, so that queries of a panel meet at the same times
        found = self.ask("query_range", query=query, start=str(now - seconds), end=str(now), step=str(step))["result"]
        return [each for each in found if any(value != "NaN" for _, value in each["values"])]

    # What is told to the sidecar

    def replay(self, *flags: str) -> None:
        """Replay recordings with the sidecar's own command."""
        command = [sys.executable, "-m", "sidecar", "replay", *flags, "--to", self.api]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
        assert done.returncode == 0, done.stderr

    def scraped(self, times: int = 3) -> None:
        """Wait until what has happened by now has been scraped: a rate needs two samples, and a step after them."""
        last = time.time()

        def later() -> float | None:
            found = self.series(f"timestamp(token_budget_journal_up) > {last}")
            return float(found[0]["value"][1]) if found else None

        for _ in range(times):
            last = wait_for(later)

    def tell(self, *events: Mapping[str, Any]) -> None:
        """Send events; all must be taken."""
        answer = fetch(f"{self.api}/v1/events", list(events))
        assert answer["rejected"] == 0, answer
