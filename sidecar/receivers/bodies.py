"""What a request's body can be: its media type, its compression, and what is wrong with it."""

import zlib
from collections.abc import Collection

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


class TooSlow(Exception):
    """The body did not arrive in time."""


class Undecodable(Exception):
    """The body is not what its headers say."""


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
