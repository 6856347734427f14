"""Passwords of the telemetry port (RFC 7617), as Prometheus' exporters check them.

A bcrypt hash takes tens of milliseconds on purpose: it is made in a thread, one at a time, and what was found is
remembered under a digest, so that a scrape costs that once. A name that nobody has takes as long as any other.
"""

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping

REMEMBERED = 100
_LONGEST = 72  # bytes: bcrypt leaves the rest of a password out, and its library refuses it
# The hash of a password that nobody knows, of the cost that tools choose by default.
_NOBODY = b"$2b$10$" + b"X" * 21 + b"O" + b"u" * 31


class BasicAuth:
    """The passwords of some users; `users` may be changed at any time."""

    def __init__(self, users: Mapping[str, bytes]) -> None:
        self.users = users
        self._key = secrets.token_bytes(32)
        # Apart, so that guessing does not have the right ones forgotten.
        self._found: Mapping[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._turn = asyncio.Lock()

    async def admits(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header shows the name and password of a user; always where there are no users."""
        if not self.users:
            return True
        kind, _, encoded = (authorization or "").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
            hashed = self.users.get(name.decode(), _NOBODY)
        except (binascii.Error, UnicodeDecodeError):
            return False
        if not colon:
            return False
        digest = hashlib.blake2b(b"\0".join((name, hashed, password)), key=self._key).digest()
        if (known := self._known(digest)) is not None:
            return known
        async with self._turn:
            if (known := self._known(digest)) is not None:
                return known
            right = await asyncio.to_thread(_check, password, hashed) and hashed is not _NOBODY
            self._found[right][digest] = None
            if len(self._found[right]) > REMEMBERED:
                self._found[right].popitem(last=False)
            return right

    def _known(self, digest: bytes) -> bool | None:
        return next((right for right, found in self._found.items() if digest in found), None)


def _check(password: bytes, hashed: bytes) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password[:_LONGEST], hashed)
    except ValueError:
        return False
