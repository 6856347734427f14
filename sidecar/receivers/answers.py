"""JSON answers, written in one piece.

aiohttp gathers an answer's headers in a case-insensitive multidict, looks through them, prints them, and joins them
with the body; for an allocation that is a tenth of all that it costs (tests/benchmarks). But all our answers have the
same headers, so their head is printed here, once a second for the date in it. Whatever is not plainly HTTP/1.1 on a
connection that stays open goes aiohttp's way.
"""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.hdrs import CONTENT_TYPE
from aiohttp.http import SERVER_SOFTWARE
from typing_extensions import override

from sidecar.receivers.bodies import JSON, NO_GUESSING

HEADERS = {CONTENT_TYPE: JSON, **NO_GUESSING}
encode = msgspec.json.Encoder().encode


class Answer(web.Response):
    """An answer of ours. It is not to be changed: its headers are made when it goes aiohttp's way, or is looked at."""

    # What aiohttp's constructor would set takes as long as all else here, and nobody asks for it.
    def __init__(self, body: bytes, status: int) -> None:
        self._encoded = body
        self._code = status
        self._whole: web.Response | None = None

    @property
    def whole(self) -> web.Response:
        """The same answer as aiohttp has it."""
        if self._whole is None:
            self._whole = web.Response(body=self._encoded, status=self._code, headers=HEADERS)
        return self._whole

    @property
    @override
    def status(self) -> int:
        return self._code

    @property
    @override
    def headers(self) -> Any:
        return self.whole.headers

    @property
    @override
    def keep_alive(self) -> bool | None:
        return True if self._whole is None else self._whole.keep_alive

    @override
    def force_close(self) -> None:
        self.whole.force_close()

    @override
    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        plain = request.version == HttpVersion11 and request.keep_alive and request.method != "HEAD"
        if self._whole is not None or not plain:
            return await self.whole.prepare(request)
        writer = request.writer
        body = self._encoded
        await writer.write(_head(self._code, int(time.time())) % len(body) + body)
        await writer.drain()  # where the caller does not read, no more of its calls are read
        return writer

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        if self._whole is not None:
            await self._whole.write_eof(data)


def answer(body: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return Answer(encode(body), status)


@lru_cache(maxsize=4)
def _head(status: int, second: int) -> bytes:
    """The head of an answer in this second, with a place for the length of its body."""
    headers = {**HEADERS, "Content-Length": "%d", "Date": formatdate(second, usegmt=True), "Server": SERVER_SOFTWARE}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
