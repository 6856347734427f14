"""A real sidecar in this process, and payloads posted to its OTLP listener."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sidecar.app import Sidecar, make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort
from tests.budget.desk import hold_together
from tests.hostile.mutating import Payload

LOOPBACK = HostPort("127.0.0.1", 0)
STATM = Path("/proc/self/statm")
PAGE = 4_096


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A sidecar that takes payloads."""

    app: Sidecar
    http: aiohttp.ClientSession

    async def post(self, payload: Payload) -> int:
        """Send a payload; the status of its answer."""
        url = f"{self.app.urls['otlp'][0]}/v1/{payload.signal}"
        async with self.http.post(
            url, data=io.BytesIO(payload.body), headers={"Content-Type": payload.media}
        ) as answer:
            await answer.read()
            return answer.status

    async def holds(self) -> None:
        """Every session's sums hold, and each can be read."""
        await self.app.otlp.settle()
        await self.app.ledger.settled()
        for summary in await self.app.ledger.sessions(limit=1_000):
            hold_together((await self.app.ledger.view(summary["session"])).session)
            url = f"{self.app.urls['api'][0]}/v1/sessions"
            async with self.http.get(url, params={"limit": 1_000}) as answer:
                assert answer.status == 200
                break


@asynccontextmanager
async def telemetry(**settings: Any) -> AsyncIterator[Telemetry]:
    """Start one on free ports, with a journal in memory."""
    config = Config(listen=(LOOPBACK,), telemetry=LOOPBACK, otlp=LOOPBACK, journal="memory:", **settings)
    async with make_app(config) as app, aiohttp.ClientSession() as http:
        yield Telemetry(app, http)


def resident() -> int:
    """This process's resident memory, in bytes."""
    return int(STATM.read_text().split()[1]) * PAGE
