"""Bodies that are still arriving: how many bytes of them there may be at a time, and for how long each may take."""

import asyncio
from collections.abc import Collection

from aiohttp import web
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TYPE

from sidecar.ledger import Overloaded
from sidecar.receivers.bodies import JSON, TooLarge, TooSlow, Undecodable, UnsupportedMedia, gunzip

AT_ONCE = 8  # bodies of the largest size that may arrive together
PATIENCE = 30.0  # seconds that a body may take


class Arrivals:
    """Reads bodies of at most `limit` bytes as they come, packed as they are."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._arriving = 0

    async def read(self, request: web.Request) -> bytes:
        """The body. Raises `TooLarge`, `TooSlow`, `Undecodable`, or `Overloaded` where too much is arriving already."""
        size = request.content_length
        if size is None:
            size = self.limit
        elif size > self.limit:
            raise self.too_large()
        elif request.content.is_eof():  # a small body is all there when its headers are
            return request.content.read_nowait()
        if self._arriving and self._arriving + size > AT_ONCE * self.limit:
            raise Overloaded(f"{self._arriving:,} bytes of other bodies are arriving, and this one may be {size:,}")
        self._arriving += size
        try:
            async with asyncio.timeout(PATIENCE):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise self.too_large() from None
        except web.RequestPayloadError as error:
            raise Undecodable(f"the body is broken: {error}") from None
        except ConnectionError:
            raise Undecodable("the connection was closed before the body had arrived") from None
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {PATIENCE:g} seconds") from None
        finally:
            self._arriving -= size
        if len(body) > self.limit:
            raise self.too_large()
        return body

    def too_large(self) -> TooLarge:
        """The error of a body over the limit."""
        return TooLarge(f"the body is larger than {self.limit:,} bytes (the setting max_body_bytes)")


async def read_body(request: web.Request, arrivals: Arrivals, accept: Collection[str] = (JSON,)) -> bytes:
    """The body, unpacked. Empty where the request has none.

    A body must say what it is: without a Content-Type, any page could have a browser send it here unasked.

    Raises:
        UnsupportedMedia: its Content-Type is missing or none of `accept`, or it is packed otherwise than by gzip.
        TooLarge: it is over the limit, packed or unpacked.
        TooSlow: it did not arrive in time.
        Undecodable: it is no gzip although its headers say so, or it ended early.
        Overloaded: too much is arriving already.
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
    body = await arrivals.read(request)
    return gunzip(body, arrivals.limit) if coding != "identity" and body else body
