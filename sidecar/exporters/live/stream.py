"""`GET /v1/stream`: server-sent events of entries as they become durable (SPEC section 4).

Each message is an entry as `GET .../ledger` shows it, with its `session`; `?session=` keeps to one. `Last-Event-ID`
goes on where a stream was left. Where that cannot be done, or a reader is too slow, the event `reset` says so: read
what you show anew. With `?reports=true` the event `report` brings each changed session's report, with its `version`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Literal

from aiohttp import web

from sidecar.budget.errors import Invalid
from sidecar.exporters.live.feed import Feed
from sidecar.exporters.live.followers import AllSessions, Follower, OneSession
from sidecar.exporters.live.reports import Reports
from sidecar.exporters.live.sse import BEAT, EventWriter, Gone
from sidecar.journal import JournalError
from sidecar.ledger import Ledger, Overloaded

PATH = "/v1/stream"
STREAMS = 64  # read at a time, unless told
HEARTBEAT = 15.0  # seconds without an event, after which a comment shows that the stream lives
PATIENCE = 30.0  # seconds that a client may leave what was written untaken


class StreamApi:
    """The streams that are read now. `dropped` counts what a reader was too slow for.

    `admits`: whether who reads may still do so, asked before each write; a stream outlives a token that was withdrawn.
    """

    def __init__(
        self,
        ledger: Ledger,
        feed: Feed,
        *,
        dropped: Callable[[Literal["stream_event"], Literal["queue_full"], int], None],
        most: int = STREAMS,
        heartbeat: float = HEARTBEAT,
        patience: float = PATIENCE,
        admits: Callable[[web.Request], bool] = lambda _: True,
    ) -> None:
        self._ledger = ledger
        self._feed = feed
        self._dropped = dropped
        self._most = most
        self._heartbeat = heartbeat
        self._patience = patience
        self._admits = admits
        self._writers: set[EventWriter] = set()

    def routes(self) -> Iterable[web.RouteDef]:
        """The one call."""
        return [web.get(PATH, self.stream, allow_head=False)]

    def close(self) -> None:
        """End all streams at once, those of clients that do not read too."""
        self._feed.close()
        for writer in self._writers:
            if writer.stuck:
                writer.abort()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send events until the client goes, or the sidecar stops."""
        session, with_reports = _query(request)
        if sum(not writer.gone for writer in self._writers) >= self._most:
            detail = f"{self._most} streams are read at a time, which is the limit (the setting max_streams)"
            raise Overloaded(detail, retry_after=5)
        response = web.StreamResponse()
        writer = EventWriter(response, request, patience=self._patience)
        self._writers.add(writer)
        try:
            follower = await self._follow(session, request.headers.get("Last-Event-ID"))
            reports = Reports(self._ledger, follower.touched) if with_reports else None
            if reports is not None and session is None:
                await reports.begin()
            await writer.begin(follower.id)
            await self._send(request, writer, follower, reports)
        except Gone:
            pass
        except JournalError:
            if not response.prepared:
                raise  # the answer can still say so; later the stream just ends, and is resumed
        finally:
            self._writers.discard(writer)
        return response

    async def _follow(self, session: str | None, last: str | None) -> Follower:
        if session is None:
            return AllSessions(self._feed, last, missed=self._missed)
        place = self._feed.last
        view = await self._ledger.view(session)
        follower = OneSession(self._ledger, self._feed, session, place, view.session.version)
        if last is not None:
            follower.resume(last)
        return follower

    def _missed(self, count: int) -> None:
        self._dropped("stream_event", "queue_full", count)

    async def _send(
        self, request: web.Request, writer: EventWriter, follower: Follower, reports: Reports | None
    ) -> None:
        now = asyncio.get_running_loop().time
        beat = now() + self._heartbeat
        while not self._feed.closed:
            data = b"".join(await follower.news())
            if reports is not None:
                data += await reports.next()
            if not self._admits(request):
                return
            if data:
                await writer.write(data)
                beat = now() + self._heartbeat
            elif now() >= beat:
                await writer.write(BEAT)
                beat = now() + self._heartbeat
                follower.look_again()
            else:
                pause = None if reports is None else reports.pause
                rest = beat - now()
                await self._feed.wait(follower.place, rest if pause is None else min(pause, rest))


def _query(request: web.Request) -> tuple[str | None, bool]:
    """The session that is asked for, and whether reports are."""
    given = dict(request.query)
    session = given.pop("session", None)
    reports = given.pop("reports", "false")
    for name in given:
        raise Invalid(f"{name} is not a query parameter of this call", path=name)
    if reports not in ("true", "false"):
        raise Invalid("reports must be true or false", path="reports")
    return session, reports == "true"
