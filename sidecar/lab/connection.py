"""A replayer's connection to a sidecar: JSON over HTTP, patient where the sidecar asks for patience."""

import argparse
import asyncio
import errno
import json
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp

BUSY = frozenset({429, 503})  # SPEC section 4: overloaded, or the journal is away; both say when to come again
NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
)  # what OpenSSL says, by version, to an answer in HTTP
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
            except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
                trouble, wait, retry = _distrust(error), None, False
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Files (PEM but for the token's) with what is shown to a sidecar that asks who calls, and with whom to trust."""

    token_file: Path | None = None
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """As `add_credentials` declared them."""
        return cls(
            token_file=args.token_file, ca_file=args.ca_file, certificate=args.client_certificate, key=args.client_key
        )

    def headers(self) -> Mapping[str, str]:
        """The header with the token. Raises `SidecarError`."""
        if self.token_file is None:
            return {}
        with _naming("--token-file", self.token_file):
            lines = (line.strip() for line in self.token_file.read_text("ascii").splitlines())
        token = next((line for line in lines if line and not line.startswith("#")), "")
        return {"Authorization": f"Bearer {token}"}

    def tls(self) -> ssl.SSLContext:
        """What TLS is spoken with. Raises `SidecarError`."""
        with _naming("--ca-file", self.ca_file):
            context = ssl.create_default_context(cafile=self.ca_file)
        if self.key is not None:
            with _naming("--client-key", self.key):
                self.key.open("rb").close()  # where it cannot be opened, what follows would not say which file it is
        if self.certificate is not None:
            with _naming("--client-certificate", self.certificate):
                context.load_cert_chain(self.certificate, self.key, password="")
        return context


@contextmanager
def _naming(flag: str, path: Path | None) -> Iterator[None]:
    """Make what fails with a file a `SidecarError` that says which file and which flag named it."""
    try:
        yield
    except ssl.SSLError as error:
        why = (error.reason or "unreadable").lower().replace("_", " ")
        what = "certificates" if flag == "--ca-file" else "a certificate with its key"
        raise SidecarError(f"{flag} {path} cannot be used as {what} (PEM): {why}") from None
    except UnicodeDecodeError:
        raise SidecarError(f"{flag} {path} cannot be used: a token is plain ASCII") from None
    except OSError as error:
        raise SidecarError(f"{flag} {path} cannot be used: {_reason(error)}") from None


NOTHING = Shown()


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of what is shown."""
    for flag, meaning in (
        ("--token-file", "a file with the token to show"),
        ("--ca-file", "the certificates (PEM) to trust instead of the system's"),
        ("--client-certificate", "the certificate (PEM) to show"),
        ("--client-key", "its key (PEM); not needed if the same file has it"),
    ):
        parser.add_argument(flag, type=Path, metavar="FILE", help=meaning)


@asynccontextmanager
async def connect(to: str, *, patience: float = 30.0, shown: Shown = NOTHING) -> AsyncIterator[Connection]:
    """Connect to `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`; nothing is sent yet.

    Raises:
        SidecarError: `to` is none of them, or a file of `shown` cannot be used.
    """
    tls, headers = shown.tls(), shown.headers()
    if to.startswith(UNIX):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=to.removeprefix(UNIX), limit=16)
        base = "http://localhost"
    else:
        if not _is_web_address(to):
            raise SidecarError(
                f"{to!r} is no address of a sidecar: write http://HOST:PORT, https://HOST:PORT or unix:PATH"
            )
        connector, base = aiohttp.TCPConnector(limit=16, ssl=tls), to
    async with aiohttp.ClientSession(base_url=base, connector=connector, headers=headers) as client:
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


def _distrust(error: aiohttp.ClientConnectorError) -> str:
    """Tell why there is no connection by TLS."""
    cause = error.__cause__
    if getattr(cause, "reason", None) in NO_TLS:
        return "TLS is not spoken there: write http:// instead of https://"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message} (--ca-file names whom to trust)"
    return f"TLS could not be agreed upon: {getattr(cause, 'reason', None) or error}"


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
