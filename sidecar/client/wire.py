"""HTTP/1.1, as much of it as two neighbours need, without a socket: bytes out, and an answer when enough came in.

The blocking and the asynchronous transport share it, so that neither can speak otherwise than the other. Here and in
`calls`, `course` and `address` are named tuples: a hook that starts anew at each step cannot wait for `dataclasses`.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sidecar.client.errors import BadAnswer

HEAD_END = b"\r\n\r\n"
MAX_HEAD = 64 << 10
MAX_BODY = 256 << 20


class Request(NamedTuple):
    """One request; the body is JSON already."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})

    def encode(self, host: str, more: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """The bytes of the request, with `more` headers. A header that would break out of its line is left out."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", "Accept: application/json"]
        if self.body or self.method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        headers = {**self.headers, **more}
        lines += [f"{name}: {value}" for name, value in headers.items() if (name + value).isprintable()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + self.body


class Answer(NamedTuple):
    """Status, headers (names in lower case) and body. `reusable`: the connection may carry another request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reusable: bool

    def json(self) -> Any:
        """The decoded body, None where it is empty. Raises `BadAnswer`."""
        try:
            return json.loads(self.body) if self.body else None
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"the answer ({self.status}) is no JSON: {error}") from None


class Reading:
    """An answer in the making: `feed` it what arrives until it gives the answer. An empty `feed` is the end."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._status = 0
        self._headers: dict[str, str] | None = None
        self._body = bytearray()

    @property
    def begun(self) -> bool:
        """Whether anything came at all: a reused connection may be closed before it."""
        return bool(self._bytes) or self._headers is not None

    def feed(self, data: bytes) -> Answer | None:
        """Take in what arrived; the answer once it is whole. Raises `BadAnswer`."""
        if not data:
            raise BadAnswer("the connection ended in the middle of an answer")
        self._bytes += data
        if self._headers is None and not self._read_head():
            return None
        headers = self._headers or {}
        if self._status == 204:  # noqa: PLR2004 - No Content
            return self._answer(headers, b"")
        if "chunked" in headers.get("transfer-encoding", ""):
            return self._answer(headers, bytes(self._body)) if self._read_chunks() else None
        length = _number(headers.get("content-length", ""), 10)
        return self._answer(headers, bytes(self._bytes[:length])) if len(self._bytes) >= length else None

    def _answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        reusable = headers.get("connection", "keep-alive").lower() != "close"
        return Answer(status=self._status, headers=headers, body=body, reusable=reusable)

    def _read_head(self) -> bool:
        end = self._bytes.find(HEAD_END)
        if end < 0:
            if len(self._bytes) > MAX_HEAD:
                raise BadAnswer("the head of the answer does not end")
            return False
        first, *lines = self._bytes[:end].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not (rest[:3].isascii() and rest[:3].isdigit()):
            raise BadAnswer(f"this is no answer of HTTP/1.1: {first[:80]!r}")
        self._status = int(rest[:3])
        split = (line.partition(":") for line in lines)
        self._headers = {name.strip().lower(): value.strip() for name, _, value in split}
        del self._bytes[: end + len(HEAD_END)]
        return True

    def _read_chunks(self) -> bool:
        while (end := self._bytes.find(b"\r\n")) >= 0:
            size = _number(self._bytes[:end].decode("latin-1").partition(";")[0], 16)
            if len(self._bytes) < end + 2 + size + 2:
                return False
            self._body += self._bytes[end + 2 : end + 2 + size]
            if len(self._body) > MAX_BODY:
                raise BadAnswer("the answer does not end")
            del self._bytes[: end + 2 + size + 2]
            if size == 0:
                return True
        return False


def _number(text: str, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError:
        raise BadAnswer(f"the answer does not say how long it is: {text[:20]!r}") from None
    if not 0 <= number <= MAX_BODY:
        raise BadAnswer(f"the answer is too long: {number:,} bytes")
    return number
