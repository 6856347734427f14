"""Bytes in, commands out.

A receiver is given the ledger's `handle` and its read-only views, and nothing else. It turns a request into a command,
and the ledger's reply or error into an answer; it decides nothing and remembers nothing about a session.
"""

from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

__all__ = ["Receiver"]


class Receiver(Protocol):
    """One way in: the routes it answers on a listener."""

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        ...
