"""Bytes in, commands out.

A receiver is given the ledger's `handle` and its read-only views, and nothing else. It turns a request into a command,
and the ledger's reply or error into an answer; it decides nothing and remembers nothing about a session.

In the order of the flow:

    connections.py   who may be connected, and what is no HTTP; handshakes.py: until TLS is spoken
    shortcut.py      the short way to a session's writes, past the router
    callers.py       the trace that a request belongs to; requests.py: what its path and query say
    arriving.py      bodies while they arrive; bodies.py: what they can be
    shapes.py        JSON to commands, and what is wrong in plain words; outlines.py, pieces.py: of large ones
    operations.py    the calls as data: api.py answers them, openapi.py describes them
    operation.py     what is said of each
    pages.py         the answers that are no replies of the budget: pages of lists, batches
    events.py        batches; profiles.py: what is known of agents; otlp: telemetry
    answers.py       replies to JSON; problems.py: every error to an answer
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
