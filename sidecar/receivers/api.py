"""The HTTP API of a session (SPEC section 4): a path and a body give a command, the ledger's reply is the answer.

The calls are the table in `operations`. Writes are alike but for their command, so one function answers them all; reads
are a method each.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from sidecar.access.guard import Admit, admit_all
from sidecar.budget.commands import Command, Name, RestoreItem, SyncWindow
from sidecar.budget.replies import ArchiveRecordReply
from sidecar.budget.report import directive_reply, item_reply, report, rfc3339
from sidecar.journal import ArchiveRecord
from sidecar.journal.readable import readable
from sidecar.ledger import Ledger, Origin
from sidecar.receivers.answers import answer
from sidecar.receivers.arriving import Arrivals, read_body
from sidecar.receivers.callers import traced
from sidecar.receivers.operation import Operation
from sidecar.receivers.operations import BY_ID, OPERATIONS, SESSION, Restore
from sidecar.receivers.pieces import read_window
from sidecar.receivers.requests import LAST_NUMBER, Query, named
from sidecar.receivers.shapes import Shape
from sidecar.receivers.shortcut import Call, Taker

NAME: Shape[str] = Shape(Name)
ORIGIN = Origin(receiver="api")


@cache
def shape_of(operation: str) -> Shape[Command]:
    """The shape of a call's body, by the call's id."""
    return Shape(BY_ID[operation].body)


class SessionApi:
    """Sessions, and everything below one. `tracing`: somebody wants to know the callers' trace contexts.

    `admit`: asked about what takes more than the right to write; that right is asked for before.
    """

    def __init__(self, ledger: Ledger, *, max_body_bytes: int, tracing: bool = False, admit: Admit = admit_all) -> None:
        self._admit = admit
        self._ledger = ledger
        self._tracing = tracing
        self._arrivals = Arrivals(max_body_bytes)

    def routes(self) -> Iterable[web.RouteDef]:
        """A route for each call of the table but the batch of events."""
        for operation in OPERATIONS:
            if operation.events or operation.of_agent:
                continue
            handler: Handler = self._write(operation) if operation.body else getattr(self, operation.id)
            # aiohttp's own pattern for a part of a path would not take braces.
            path = operation.path.replace("{session}", "{session:[^/]+}").replace("{item}", "{item:[^/]+}")
            yield web.route(operation.method, path, handler)

    def calls(self) -> Mapping[Call, Taker]:
        """The writes that name nothing but a session: what the short way answers."""
        return {
            (operation.method, below): self._taker(operation)
            for operation in OPERATIONS
            if operation.body and "{" not in (below := operation.path.removeprefix(f"{SESSION}/"))
        }

    def _write(self, operation: Operation) -> Handler:
        take = self._taker(operation)

        async def write(request: web.Request) -> web.StreamResponse:
            Query(request).end()
            return await take(request, named(request, "session", NAME))

        return write

    def _taker(self, operation: Operation) -> Taker:
        """What answers a write to the session that its path names."""
        shape = shape_of(operation.id)
        empty = None if operation.optional_body is False else b"{}"
        answered = operation.answers_directives
        ledger, arrivals, tracing = self._ledger, self._arrivals, self._tracing
        admit = self._admit if operation.admin else None
        in_pieces = operation.body is SyncWindow

        async def take(request: web.Request, session: str) -> web.StreamResponse:
            if admit is not None:
                admit(request, operation.scope)
            body = await read_body(request, arrivals)
            command = await read_window(body) if in_pieces else shape.read(body or empty or b"")
            if isinstance(command, Restore):
                command = _restore(command, item=named(request, "item", NAME))
            origin = traced(ORIGIN, request) if tracing else ORIGIN
            reply = await ledger.handle(session, command, origin=origin, answered=answered)
            if reply.duplicate:
                # What was answered first is not kept, only that it was.
                return answer({**reply.body, "duplicate": True}) if answered else await self.read_report(request)
            return answer(reply.body, 201 if reply.created and operation.creates else 200)

        return take

    async def list_sessions(self, request: web.Request) -> web.Response:
        """A page of all sessions."""
        query = Query(request)
        limit, after = query.limit(), query.text("after")
        query.end()
        found = await self._ledger.sessions(after=after, limit=limit + 1)
        return page("sessions", found, limit, cursor="session")

    async def read_report(self, request: web.Request) -> web.Response:
        """A session's report."""
        Query(request).end()
        view = await self._ledger.view(named(request, "session", NAME))
        return answer(report(view.session, idle=view.idle))

    async def list_items(self, request: web.Request) -> web.Response:
        """A page of what a window holds."""
        query = Query(request)
        limit, after, component = query.limit(), query.text("after"), query.component()
        query.end()
        view = await self._ledger.view(named(request, "session", NAME))
        held = view.session.components
        items = (item for name in ([component] if component else held) for item in held[name].items.values())
        found = heapq.nsmallest(
            limit + 1, (item for item in items if after is None or item.id > after), key=attrgetter("id")
        )
        return page("items", [item_reply(item) for item in found], limit, cursor="id")

    async def list_directives(self, request: web.Request) -> web.Response:
        """A page of the directives that are not confirmed yet."""
        query = Query(request)
        limit, after = query.limit(), query.number("after", default=0, least=0, most=LAST_NUMBER)
        query.end()
        session = (await self._ledger.view(named(request, "session", NAME))).session
        found = [directive for number, directive in session.directives.items() if number > after][: limit + 1]
        return page("directives", [directive_reply(session, each) for each in found], limit, cursor="number")

    async def list_archive(self, request: web.Request) -> web.Response:
        """A page of what was archived."""
        query = Query(request)
        limit, after, component, q = query.limit(), query.text("after"), query.component(), query.text("q")
        query.end()
        found = await self._ledger.archive(
            named(request, "session", NAME), component=component, query=q, after=after, limit=limit + 1
        )
        return page("items", [archive_reply(record) for record in found], limit, cursor="id")

    async def read_archived(self, request: web.Request) -> web.Response:
        """One archived item with its content."""
        Query(request).end()
        session, item = named(request, "session", NAME), named(request, "item", NAME)
        record = await self._ledger.archive_record(session, item)
        return answer(archive_reply(record) | {"content": record.content})

    async def list_entries(self, request: web.Request) -> web.Response:
        """A page of the ledger."""
        query = Query(request)
        limit, after = query.limit(), query.number("after", default=0, least=0, most=LAST_NUMBER)
        query.end()
        found = await self._ledger.entries(named(request, "session", NAME), after=after, limit=limit + 1)
        return page("entries", [readable(stored) for stored in found], limit, cursor="version")


def page(plural: str, found: list[Any], limit: int, *, cursor: str) -> web.Response:
    """A page of at most `limit` of what was found; `next` is where the next one goes on, null if there is none."""
    more = len(found) > limit
    shown = found[:limit]
    return answer({plural: shown, "next": shown[-1][cursor] if more else None})


def archive_reply(record: ArchiveRecord) -> ArchiveRecordReply:
    """An archive record without its content."""
    return {
        "id": record.id,
        "kind": record.kind,
        "component": record.component,
        "step": record.step,
        "reason": record.reason,
        "tokens_before": record.tokens_before,
        "tokens_after": record.tokens_after,
        "archived_at": rfc3339(record.archived_at),
    }


def _restore(body: Restore, *, item: str) -> RestoreItem:
    return RestoreItem(item=item, **{field.name: getattr(body, field.name) for field in fields(Restore)})
