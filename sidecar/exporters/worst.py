"""The worst of many: which session is the fullest, the first to run out, the longest waiting."""

from collections.abc import Callable, Iterable


class WorstOf(dict[str, float]):
    """The worst of a value per session. Setting one is a dictionary's store, so it may stand on the hot path.

    The dictionary holds what was set since the worst was last asked for. All the others are looked at again only where
    one of those that were the worst is set anew or forgotten: with 10,000 sessions that takes 0.2 ms, for each of eight
    of these, in each scrape. A heap would know the worst at once, and cost more on every change.
    """

    __slots__ = ("_choose", "_settled", "_worst")

    def __init__(self, choose: Callable[[Iterable[float]], float] = max) -> None:
        super().__init__()
        self._choose = choose
        self._settled: dict[str, float] = {}
        self._worst: float | None = None  # of what is settled; None: look

    def forget(self, session: str) -> None:
        """The session has no value any more."""
        self.pop(session, None)
        if self._settled.pop(session, None) == self._worst:
            self._worst = None

    def worst(self) -> float | None:
        """The worst value; None if no session has one."""
        settled = self._settled
        if self:
            if self._worst is not None:
                changed_most = 2 * len(self) > len(settled)
                if changed_most or self._worst in map(settled.get, self):
                    self._worst = None
                else:
                    self._worst = self._choose((self._worst, self._choose(self.values())))
            settled.update(self)
            self.clear()
        if self._worst is None and settled:
            self._worst = self._choose(settled.values())
        return self._worst
