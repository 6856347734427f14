"""A replayer's connection to a sidecar: JSON over HTTP, patient where the sidecar asks for patience."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

BUSY = frozenset({429, 503})  # SPEC section 4: overloaded, or the journal is away; both say when to come again
UNIX = "unix:"
PAGE = 1000


class SidecarError(Exception):
    """The sidecar refused a call: the text tells which call and why."""


class SidecarAway(SidecarError):
    """The sidecar could not be reached, or was too busy, for longer than patience lasts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and decoded body of an answer."""

    status: int
    body: Any


@dataclass(slots=True, kw_only=True)
class Connection:
    """Calls to one sidecar. `patience` is how many seconds a call is repeated while the sidecar is busy or away."""

    client: aiohttp.ClientSession
    name: str
    patience: float = 30.0

    async def call(self, method: str, path: str, body: Any = None, *, expect: Iterable[int] = (200, 201)) -> Answer:
        """Make one call; every call of a replay may be repeated, so a lost answer is asked for again.

        Raises:
            SidecarError: any other status than expected.
            SidecarAway: no answer in time.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self.patience, 0.05
        data = None if body is None else json.dumps(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        while True:
            try:
                async with self.client.request(method, path, data=data, headers=headers) as response:
                    raw = await response.read()
                    answer = Answer(response.status, _decode(raw))
                    if answer.status in expect:
                        return answer
                    trouble, wait = _problem(answer), _retry_after(response.headers)
                    retry = answer.status in BUSY
            except aiohttp.ClientConnectorError as error:
                trouble, wait, retry = f"cannot be reached: {_reason(error.os_error)}", None, True
            except (aiohttp.ClientError, TimeoutError) as error:
                trouble, wait, retry = str(error) or type(error).__name__, None, True
            pause = min(2 * pause, 2.0)
            if not retry:
                raise SidecarError(f"{self.name}: {method} {path}: {trouble}")
            if loop.time() + (wait or pause) > deadline:
                raise SidecarAway(f"{self.name}: {method} {path}: {trouble}")
            await asyncio.sleep(pause if wait is None else wait)

    async def greet(self) -> None:
        """See whether there is a sidecar at all, before a long replay relies on it.

        Raises:
            SidecarError: there is none, or it is something else.
        """
        patient, self.patience = self.patience, 1.0
        await self.call("GET", "/v1/sessions?limit=1", expect=(200,))
        self.patience = patient

    async def pages(self, path: str, plural: str) -> AsyncIterator[dict[str, Any]]:
        """Read a list to its end, page by page."""
        after: str | int | None = None
        while True:
            cursor = "" if after is None else f"&after={quote(str(after), safe='')}"
            body = (await self.call("GET", f"{path}?limit={PAGE}{cursor}")).body
            for part in body[plural]:
                yield part
            after = body.get("next")
            if after is None:
                return


@asynccontextmanager
async def connect(to: str, *, patience: float = 30.0) -> AsyncIterator[Connection]:
    """Connect to `http://HOST:PORT` or `unix:PATH`; nothing is sent yet.

    Raises:
        SidecarError: `to` is neither.
    """
    if to.startswith(UNIX):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=to.removeprefix(UNIX), limit=16)
        base = "http://localhost"
    else:
        if not _is_web_address(to):
            raise SidecarError(f"{to!r} is no address of a sidecar: write http://HOST:PORT or unix:PATH")
        connector, base = aiohttp.TCPConnector(limit=16), to
    async with aiohttp.ClientSession(base_url=base, connector=connector) as client:
        yield Connection(client=client, name=to, patience=patience)


def session_path(session: str, *rest: str) -> str:
    """Build the path of a session, or of what belongs to it."""
    return "/".join(("/v1/sessions", quote(session, safe=""), *rest))


def _is_web_address(to: str) -> bool:
    try:
        parts = urlsplit(to)
        _ = parts.port  # raises where it is no number of a port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _reason(error: OSError) -> str:
    """Tell why there is no connection; the event loop's own text repeats the address."""
    number = error.errno or 0
    return os.strerror(number) if number in errno.errorcode else error.strerror or str(error)


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


def _problem(answer: Answer) -> str:
    """Tell a problem (RFC 9457) in one line."""
    if not isinstance(answer.body, Mapping):
        return f"{answer.status}: {answer.body}"
    told = [str(answer.body.get("detail") or answer.body.get("title") or "")]
    told += [f"{error.get('path')}: {error.get('detail')}" for error in answer.body.get("errors", ())]
    return f"{answer.status}: {'; '.join(told)}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
