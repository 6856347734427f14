"""The worst of many: which session is the fullest, the first to run out, the longest waiting."""

from collections.abc import Callable, Iterable


class WorstOf:
    """One value per session, and the worst of them when asked.

    Setting a value is a dictionary's store, so it may stand on the hot path. The worst is looked for among all of them,
    once per scrape: 0.3 ms for 10,000 sessions. A heap would answer that at once and cost more on every change.
    """

    __slots__ = ("_values", "_worst")

    def __init__(self, worst: Callable[[Iterable[float]], float] = max) -> None:
        self._values: dict[str, float] = {}
        self._worst = worst

    def put(self, session: str, value: float | None) -> None:
        """Set a session's value; None: it has none."""
        if value is not None:
            self._values[session] = value
        else:
            self._values.pop(session, None)

    def worst(self) -> float | None:
        """The worst value; None if no session has one."""
        return self._worst(self._values.values()) if self._values else None
