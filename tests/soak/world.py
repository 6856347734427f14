"""What surrounds the sidecar and goes wrong: its disk, the collector behind it, and clients that are slow or silent."""

import asyncio
import subprocess
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Mood = Literal["well", "dead", "silent", "refusing"]
BAD: tuple[Mood, ...] = ("dead", "silent", "refusing")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Disk:
    """A disk of its own, in memory, that can be filled to the last page; needs root."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=3g", "token-budget-soak", str(place)]
        self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no room: ENOSPC from now on."""
        used = subprocess.run(["du", "-sk", self.place], capture_output=True, text=True, check=True).stdout.split()[0]
        self._resize(f"{int(used) + 64}k")

    def free(self) -> None:
        """Make room again."""
        self._resize("3g")

    def _resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.place)], check=True)

    def remove(self) -> None:
        """Give it back."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.place)], check=True)


class Collector:
    """Takes what the sidecar forwards and exports, or does not: it has moods."""

    def __init__(self) -> None:
        self.mood: Mood = "well"
        self.taken = 0
        self._hanging: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def change(self, mood: Mood) -> None:
        """Be in another mood; who waits for an answer gets none."""
        self.mood = mood
        for writer in self._hanging:
            writer.transport.abort()
        self._hanging.clear()

    async def close(self) -> None:
        """Listen no more."""
        self.change("dead")
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mood == "dead":
            writer.transport.abort()
            return
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(length[0].partition(b":")[2]) if length else 0)
            if self.mood == "silent":
                self._hanging.add(writer)
                return
            self.taken += self.mood == "well"
            writer.write(OK if self.mood == "well" else NO)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


async def dawdle(api: str, seconds: float) -> None:
    """Clients that hold on to connections: one says nothing, one sends a byte a second, one reads no stream."""
    parts = urlsplit(api)
    opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(12)]
    head = f"Host: {parts.netloc}\r\nContent-Type: application/json\r\n"
    for n, (_, writer) in enumerate(opened):
        if n % 3 == 1:
            writer.write(f"POST /v1/events HTTP/1.1\r\n{head}Content-Length: 9999\r\n\r\n[".encode())
        elif n % 3 == 2:
            writer.write(f"GET /v1/stream HTTP/1.1\r\n{head}\r\n".encode())
            writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(int(seconds)):
        await asyncio.sleep(1)
        for n, (_, writer) in enumerate(opened):
            if n % 3 == 1 and not writer.is_closing():
                writer.write(b" ")
    for _, writer in opened:
        writer.transport.abort()
