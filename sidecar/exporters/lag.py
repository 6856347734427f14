"""How late the event loop is: what everything that runs on it waits for."""

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 1.0


class LoopLag:
    """A timer that measures its own delay, in seconds, once an `interval`, from `start` to `stop`."""

    def __init__(self, observe: Callable[[float], None], *, interval: float = INTERVAL) -> None:
        self._observe = observe
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure the running loop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        self._timer = loop.call_at(due, self._wake, loop, due)

    def _wake(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._observe(max(0.0, loop.time() - due))
        self.start()

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
