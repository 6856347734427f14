"""Bytes at the OTLP receiver, guided by what they reach: atheris sees which lines a payload ran through, and goes on
from those that found new ones.

    .venv/bin/python -m tests.hostile.guided -max_total_time=120 corpus/

Everything behind the HTTP server is real: receiver, ledger, a journal in memory. An error that is not one of those that
are answered 4xx ends it, with the payload in a file beside.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["sidecar.receivers", "sidecar.budget"]):
    from sidecar.app import make_app
    from sidecar.config import Config
    from sidecar.receivers.problems import explain

from tests.hostile.mutating import JSON, PROTOBUF, recorded
from tests.hostile.telemetry import LOOPBACK

SIGNALS: Any = ("traces", "logs", "metrics")
AGAIN = 2_000  # payloads, after which a new sidecar begins


class Target:
    """Takes payloads; the first byte says which signal and which encoding."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._count = 0
        self._app: Any = None

    def __call__(self, data: bytes) -> None:
        """One payload."""
        if not data:
            return
        signal, media = SIGNALS[data[0] % len(SIGNALS)], JSON if data[0] & 4 else PROTOBUF
        self._loop.run_until_complete(self._take(signal, data[1:], media))

    async def _take(self, signal: Any, body: bytes, media: str) -> None:
        if self._count % AGAIN == 0:
            if self._app is not None:
                await self._app.stop()
            self._app = make_app(Config(listen=(LOOPBACK,), telemetry=LOOPBACK, otlp=None, journal="memory:"))
            await self._app.start()
        self._count += 1
        try:
            await self._app.otlp._take(signal, body, media)
        except Exception as error:
            if explain(error).kind.status >= 500:
                raise


def seeds(folder: Path) -> None:
    """The recorded payloads, each with the byte that says what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, payload in enumerate(recorded()):
        kind = SIGNALS.index(payload.signal), payload.media == JSON
        first = next(byte for byte in range(256) if (byte % len(SIGNALS), bool(byte & 4)) == kind)
        (folder / f"recorded-{number}").write_bytes(bytes([first]) + payload.body)


if __name__ == "__main__":
    corpus = next((Path(each) for each in sys.argv[1:] if not each.startswith("-")), None)
    if corpus is None:
        corpus = Path(tempfile.mkdtemp())
        sys.argv.append(str(corpus))
    seeds(corpus)
    atheris.Setup(sys.argv, Target())
    atheris.Fuzz()
