"""A request's body: its media type, its size, its compression. Unpacked within a bound, never trusted before that."""

import zlib
from collections.abc import Collection

from aiohttp import web
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TYPE

JSON = "application/json"
NO_GUESSING = {"X-Content-Type-Options": "nosniff"}  # of our answers: no browser takes data for a page or a script
NDJSON = "application/x-ndjson"
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MEMBERS = 16  # each costs a copy of what follows it


class TooLarge(Exception):
    """The body is larger than this sidecar reads."""


class UnsupportedMedia(Exception):
    """The body is in a form that is not read here. `accept` and `encoding` are what would be."""

    def __init__(self, detail: str, *, accept: Collection[str] = (), encoding: str | None = None) -> None:
        super().__init__(detail)
        self.accept = accept
        self.encoding = encoding


class Undecodable(Exception):
    """The body is not what its headers say."""


async def read_body(request: web.Request, limit: int, accept: Collection[str] = (JSON,)) -> bytes:
    """The body, unpacked. Empty where the request has none.

    A body must say what it is: without a Content-Type, any page could have a browser send it here unasked.

    Raises:
        UnsupportedMedia: its Content-Type is missing or none of `accept`, or it is packed otherwise than by gzip.
        TooLarge: it is over `limit` bytes, packed or unpacked.
        Undecodable: it is no gzip although its headers say so, or it ended early.
    """
    headers = request.headers
    if not request.body_exists:
        return b""
    kind = headers.get(CONTENT_TYPE)
    # Said as it mostly is, it need not be parsed.
    if kind not in accept and (kind is None or request.content_type not in accept):
        given = "does not say what it is" if kind is None else f"is {request.content_type}"
        raise UnsupportedMedia(f"the body {given}; send it with `Content-Type: {' or '.join(accept)}`", accept=accept)
    coding = headers.get(CONTENT_ENCODING, "identity").strip().lower()
    if coding not in ("gzip", "x-gzip", "identity"):
        raise UnsupportedMedia(f"the body is encoded as {coding}; send it as it is, or as gzip", encoding="gzip")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        # A small body is all there when its headers are, and then need not be waited for.
        body = request.content.read_nowait() if request.content.is_eof() else await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    except web.RequestPayloadError as error:
        raise Undecodable(f"the body is broken: {error}") from None
    if len(body) > limit:
        raise _too_large(limit)
    return gunzip(body, limit) if coding != "identity" and body else body


def gunzip(packed: bytes, limit: int) -> bytes:
    """Unpack gzip (also several members after one another), but never more than `limit` bytes."""
    unpacked = b""
    try:
        for _ in range(_GZIP_MEMBERS):
            member = zlib.decompressobj(_GZIP)
            unpacked += member.decompress(packed, limit - len(unpacked) + 1)
            if len(unpacked) > limit:
                raise _too_large(limit)
            if not member.eof:
                raise Undecodable("the body is gzip that ends too early")
            packed = member.unused_data
            if not packed:
                return unpacked
    except zlib.error as error:
        raise Undecodable(f"the body is not gzip: {error}") from None
    raise Undecodable(f"the body is gzip of more than {_GZIP_MEMBERS} members")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit:,} bytes (the setting max_body_bytes)")
