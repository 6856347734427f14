"""Commands in any order, at any time, of any size, through HTTP: the laws hold, and a restart changes nothing."""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import aiohttp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from typing_extensions import override

from sidecar.app import make_app
from sidecar.config import Config
from tests.budget.desk import hold_together
from tests.hostile.commands import BODIES, SESSIONS, batches, dated
from tests.hostile.telemetry import LOOPBACK

# The calls that take the same body as an event.
CALLS = {
    "request_allocation": "POST allocations",
    "release_tokens": "POST releases",
    "clean_up": "POST cleanups",
    "plan_tasks": "POST predictions",
    "adjust_shares": "POST adjustments",
    "sync_window": "PUT window",
    "acknowledge": "POST directives/acknowledgements",
}
READS = ("", "/items?limit=1000", "/archive?limit=1000", "/directives?limit=1000", "/ledger?limit=1000")


class Calls(RuleBasedStateMachine):
    """A sidecar on a file, its sessions under any calls; it is stopped and started again at any time."""

    asked = 0  # calls so far, of all that ran

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.versions: dict[str, int] = {}
        self.do(self._start())

    def do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    @override
    def teardown(self) -> None:
        self.do(self._stop())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    async def _start(self) -> None:
        journal = f"sqlite:///{Path(self.folder.name) / 'journal.db'}"
        self.app = make_app(Config(listen=(LOOPBACK,), telemetry=LOOPBACK, otlp=None, journal=journal))
        await self.app.start()
        self.base = self.app.urls["api"][0]
        self.http = aiohttp.ClientSession()

    async def _stop(self) -> None:
        await self.http.close()
        await self.app.stop()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call, which may be refused but not fail; nothing that was so is lost by it."""
        Calls.asked += 1
        async with self.http.request(method, f"{self.base}/v1/{path}", json=body) as answer:
            told = await answer.json(content_type=None)
            assert answer.status < 500, (method, path, body, told)
            assert answer.status < 400 or answer.content_type == "application/problem+json"
            return told

    async def hold(self) -> None:
        await self.app.ledger.settled()
        for summary in await self.app.ledger.sessions(limit=1_000):
            session = (await self.app.ledger.view(summary["session"])).session
            hold_together(session)
            assert session.version >= self.versions.get(session.id, 0), "entries were lost"
            self.versions[session.id] = session.version

    async def state(self) -> Any:
        """All that the API shows of every session, but the moment that it is shown at."""
        shown: dict[str, Any] = {}
        for session in SESSIONS:
            for part in READS:
                told = await self.ask("GET", f"sessions/{quote(session, safe='')}{part}")
                told.pop("timestamp", None)
                told.pop("forecast", None)
                shown[session + part] = told
        return shown

    @rule(batch=batches)
    def send(self, batch: list[Any]) -> None:
        told = self.do(self.ask("POST", "events", dated(batch, time.time())))
        assert told["accepted"] + told["duplicates"] + told["rejected"] == len(batch)
        self.do(self.hold())

    @rule(session=st.sampled_from(SESSIONS), data=st.data())
    def call(self, session: str, data: st.DataObject) -> None:
        type_ = data.draw(st.sampled_from(list(CALLS)))
        method, below = CALLS[type_].split()
        body = dated(data.draw(BODIES[type_]), time.time())
        self.do(self.ask(method, f"sessions/{quote(session, safe='')}/{below}", body))
        self.do(self.hold())

    @rule(session=st.sampled_from(SESSIONS), data=st.data())
    def change(self, session: str, data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(["PUT", "PATCH"]))
        self.do(self.ask(method, f"sessions/{quote(session, safe='')}", data.draw(BODIES["open_session"])))
        self.do(self.hold())

    @rule(session=st.sampled_from(SESSIONS))
    def erase(self, session: str) -> None:
        self.do(self.ask("DELETE", f"sessions/{quote(session, safe='')}/archive"))

    @precondition(lambda self: self.versions)
    @rule()
    def restart(self) -> None:
        before = self.do(self.state())
        self.do(self._stop())
        self.do(self._start())
        assert self.do(self.state()) == before, "a restart shows something else"


Calls.TestCase.settings = settings(
    max_examples=6, stateful_step_count=25, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestCalls = Calls.TestCase
