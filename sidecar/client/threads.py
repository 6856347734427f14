"""The conversations of one agent: for each its session, blocking and awaited, and its window."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from sidecar.client.asynchronous import AsyncClient, AsyncSession
from sidecar.client.blocking import Client, Session
from sidecar.client.pieces import Piece
from sidecar.client.tokens import Count, estimate
from sidecar.client.window import Window

MANY = 1_000  # windows remembered; an older conversation's is rebuilt from its messages


@dataclass(slots=True)
class Thread:
    """One conversation. `fixed`: what its last prompt held beside messages."""

    session: Session
    awaited: AsyncSession
    window: Window
    fixed: list[Piece] = field(default_factory=list)


class Threads:
    """Makes and remembers conversations; both of its clients share one view of whether the sidecar is there.

    Args:
        url: Where the sidecar listens; else `TOKEN_BUDGET_URL`, else its default.
        total_tokens: The model's window.
        reserve_tokens: What of it is kept for the output.
        count: Tokens of a text.
        keep: The newest messages that are never taken out for want of room alone.
        content: Whether the sidecar is given the texts.
        settings: `timeout`, `fail` and more, as of `Client`.
        opening: `agent`, `parent`, `model`, `preset`, `shares` of each session.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        total_tokens: int = 200_000,
        reserve_tokens: int = 0,
        count: Count = estimate,
        keep: int = 6,
        content: bool = True,
        settings: dict[str, Any] | None = None,
        **opening: Any,
    ) -> None:
        self.client = Client(url, **(settings or {}))
        self.aclient = AsyncClient(url, **(settings or {}))
        self.aclient.courses = self.client.courses
        self._sizes = {"total_tokens": total_tokens, "reserve_tokens": reserve_tokens}
        self._opening = {**self._sizes, **opening}
        self._count, self._keep, self._content = count, keep, content
        self._threads: OrderedDict[str, Thread] = OrderedDict()

    def __getitem__(self, id: str) -> Thread:
        """The conversation whose session has this id."""
        return self.open(id)

    def open(self, id: str, **opening: Any) -> Thread:
        """As by its id; where it is new, its session is opened as no other is: with a `parent`, say."""
        thread = self._threads.get(id)
        if thread is None:
            window = Window(
                total_tokens=self._sizes["total_tokens"],
                reserve_tokens=self._sizes["reserve_tokens"],
                count=self._count,
                keep=self._keep,
                content=self._content,
            )
            opening = {**self._opening, **opening}
            session, awaited = self.client.session(id, **opening), self.aclient.session(id, **opening)
            thread = self._threads[id] = Thread(session, awaited, window)
            if len(self._threads) > MANY:
                self._threads.popitem(last=False)
        self._threads.move_to_end(id)
        return thread
