"""A real sidecar as a process of its own, which can be killed like one."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = ("--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--otlp", "off")


class Process:
    """One sidecar. Its port changes with each start: look into `urls` before each call; empty, it does not run."""

    def __init__(
        self,
        *flags: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "sidecar"),
    ) -> None:
        """`environment`: variables that say where it listens too, instead of flags. `program`: what Python runs."""
        self._program = program
        self._flags = flags if environment else (*LOOPBACK, *flags)
        self._environment = environment or {}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self.urls: dict[str, str] = {}
        self.starts = 0

    @property
    def api(self) -> str:
        """Where the API is, or was last."""
        return self.urls["api"]

    @property
    def telemetry(self) -> str:
        """Where /metrics is."""
        return self.urls["telemetry"]

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._program,
                "serve",
                *self._flags,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={
                    "PYTHONPATH": str(ROOT),
                    **{name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")},
                    **self._environment,
                },
            )
        assert self._process.stdout is not None
        urls: dict[str, str] = {}
        async with asyncio.timeout(60):
            while not {"api", "telemetry"} <= set(urls):
                line = (await self._process.stdout.readline()).decode().split()
                assert line, f"the sidecar ended: {self._log.read_text()}"
                urls[line[0]] = line[1]
        self.urls = urls
        self.starts += 1

    async def kill(self) -> None:
        """Let nothing of it go on: SIGKILL."""
        assert await self._end(signal.SIGKILL) == -signal.SIGKILL

    async def terminate(self) -> int:
        """Ask it to end; its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self.urls = {}  # from now on its port may be anybody's
        self._process.send_signal(how)
        code = await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]
        self._process = None
        return code

    async def stop(self) -> None:
        """End it if it runs; for the end of a test."""
        if self._process is not None:
            await self._end(signal.SIGKILL)
