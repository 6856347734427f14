"""Files that change while they are used: when one did, and looking again and again."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]

LOOK_EVERY = 1.0  # seconds: how long what was withdrawn may still work


def signature(paths: Sequence[Path]) -> Signature:
    """What changes when a file does, also where a symbolic link is turned, as Kubernetes does with its volumes."""

    def of(path: Path) -> tuple[int, int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    return tuple(of(path) for path in paths)


async def look_again(refreshing: Sequence[Callable[[], object]], *, interval: float = LOOK_EVERY) -> None:
    """Refresh what is read from files, every `interval` seconds, for ever."""
    while True:
        await asyncio.sleep(interval)
        for refresh in refreshing:
            refresh()
