"""What a sidecar's stream tells, kept as the latest report of each session and the latest entries."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

import aiohttp

from sidecar.lab.connection import Connection, SidecarError, session_path

Report: TypeAlias = Mapping[str, Any]
Entry: TypeAlias = Mapping[str, Any]

OK = 200
AGAIN = 1.0  # seconds between two attempts to connect
SILENCE = 40.0  # seconds after which a stream without even a heartbeat is given up
REMEMBERED = 200  # entries of a session


@dataclass(slots=True)
class Window:
    """One session: its latest report, what was freed so far (None: not asked yet), its latest entries."""

    report: Report
    freed: int | None = None
    version: int = 0
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


@dataclass(slots=True, kw_only=True)
class Watch:
    """Follows one sidecar. `changed` is called after each thing that it heard."""

    connection: Connection
    changed: Callable[[], None] = lambda: None
    windows: dict[str, Window] = field(default_factory=dict)
    trouble: str = "connecting"
    _last: str = ""
    _early: Counter[str] = field(default_factory=Counter)

    async def read(self) -> None:
        """Read every session once, without the stream. Raises `SidecarError`."""
        async for each in self.connection.pages("/v1/sessions", "sessions"):
            if each["session"] not in self.windows:
                self.windows[each["session"]] = Window(_from_summary(each))
        self.trouble = ""

    async def complete(self, session: str) -> None:
        """Read what a summary leaves out: the components, and what was freed before. Raises `SidecarError`."""
        window = self.windows[session]
        if "components" not in window.report:
            window.report = (await self.connection.call("GET", session_path(session))).body
        if window.freed is None:
            told = (await self.connection.call("GET", f"/live/history/{quote(session, safe='')}")).body
            later = [entry for entry in window.entries if entry["version"] > told["version"]]
            window.freed = told["sums"]["freed_tokens"] + sum(_freed(entry) for entry in later)
        self.changed()

    async def recall(self, session: str) -> None:
        """Read the latest entries from before this watch began. Raises `SidecarError`."""
        window = self.windows[session]
        latest = (
            window.version
            or (await self.connection.call("GET", f"/live/history/{quote(session, safe='')}")).body["version"]
        )
        known = {entry["version"] for entry in window.entries}
        path = f"{session_path(session, 'ledger')}?after={max(0, latest - REMEMBERED)}&limit={REMEMBERED}"
        entries = (await self.connection.call("GET", path)).body["entries"]
        window.entries.extendleft(
            {"session": session, **entry} for entry in reversed(entries) if entry["version"] not in known
        )
        self.changed()

    async def follow(self) -> None:
        """Follow the stream until cancelled; whenever it breaks, go on where it broke."""
        while True:
            try:
                await self._stream()
            except (aiohttp.ClientError, TimeoutError, SidecarError) as error:
                self.trouble = str(error) or type(error).__name__
            self.changed()
            await asyncio.sleep(AGAIN)

    async def _stream(self) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE)
        async with self.connection.client.get("/v1/stream?reports=true", headers=headers, timeout=timeout) as answer:
            if answer.status != OK:
                raise SidecarError(f"{self.connection.name} answers {answer.status}")
            await self.read()
            self.changed()
            async for name, data in self._events(answer.content):
                self._hear(name, data)
                self.changed()
        raise SidecarError("the sidecar ended the stream")

    async def _events(self, lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
        name, data = "", b""
        buffer = b""
        async for piece in lines.iter_any():
            *whole, buffer = (buffer + piece).split(b"\n")
            for line in whole:
                key, _, value = line.partition(b": ")
                if not line:
                    if data:
                        yield name, json.loads(data)
                    name, data = "", b""
                elif key == b"id":
                    self._last = value.decode()
                elif key == b"event":
                    name = value.decode()
                elif key == b"data":
                    data += value

    def _hear(self, name: str, data: Any) -> None:
        if name == "reset":
            for window in self.windows.values():
                window.freed = None
                window.entries.clear()
        elif name == "report":
            window = self.windows.setdefault(data["session"], Window(data))
            window.report, window.version = data, data["version"]
        elif data["session"] in self.windows:
            self._entry(self.windows[data["session"]], data)
        elif data["type"] == "opened":
            self.windows[data["session"]] = Window(_from_opened(data), freed=0)
            self._entry(self.windows[data["session"]], data)

    def _entry(self, window: Window, entry: Entry) -> None:
        window.entries.append(entry)
        window.version = max(window.version, entry["version"])
        if window.freed is not None:
            window.freed += _freed(entry)


def _freed(entry: Entry) -> int:
    return int(entry["tokens_freed"]) if entry["type"] == "cleaned_up" else 0


def _from_summary(summary: Mapping[str, Any]) -> Report:
    """A report as far as the list of sessions tells it."""
    overall = {
        "total_tokens": summary["total_tokens"],
        "used_tokens": summary["used_tokens"],
        "utilization_ratio": summary["utilization_ratio"],
        "status": summary["status"],
    }
    return {**summary, "overall": overall, "forecast": {}}


def _from_opened(entry: Entry) -> Report:
    total = entry["total_tokens"] - entry.get("reserve_tokens", 0)
    overall = {"total_tokens": total, "used_tokens": 0, "utilization_ratio": 0.0, "status": "low"}
    known = {name: entry.get(name) for name in ("session", "agent", "mode", "model")}
    return {**known, "state": "active", "overall": overall, "forecast": {}}
