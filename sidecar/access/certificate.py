"""A certificate that changes while it serves: read again when its files do, used from the next handshake on.

Each reading makes a context of its own, and only one that a certificate and its key were loaded into together takes the
place of the last. Half-written files, or a certificate without its key, therefore change nothing but a counter.

With the certificates of an authority, clients are asked for theirs (mutual TLS): the authority may change too.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typing_extensions import override

from sidecar.access.files import signature

log = logging.getLogger(__name__)

# Of TLS 1.2 only what has forward secrecy and authenticates what it encrypts (RFC 9325, section 4.2); 1.3 has no other.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateError(Exception):
    """The files are no certificate with its key: a sentence that names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How TLS is spoken. `clients`: the certificates (PEM) of the authority of our clients; None asks for none."""

    clients: Path | None = None
    demanding: bool = True  # clients without a certificate are turned away
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    ciphers: str = CIPHERS

    def apply(self, context: ssl.SSLContext) -> None:
        """Give them to a server's context. Raises `OSError` where the authority's file cannot be used."""
        context.minimum_version = self.least
        context.maximum_version = self.most
        context.set_ciphers(self.ciphers)
        # Nobody is let in by a ticket from before a certificate was changed or its authority withdrawn.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        if self.clients is None:
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(self.clients)
            context.verify_mode = ssl.CERT_REQUIRED if self.demanding else ssl.CERT_OPTIONAL


PLAIN = Manners()


class _Newest(ssl.SSLContext):
    """A context of which each connection gets the `current` one.

    Thus what a client may resume by (TLS 1.2 keeps sessions with the context that they began in) ends with the files
    that it was let in by: OpenSSL would else ask it for no certificate again, whatever became of its authority.
    """

    current: ssl.SSLContext

    @override
    def wrap_bio(self, *args: Any, **settings: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*args, **settings)

    @override
    def wrap_socket(self, *args: Any, **settings: Any) -> ssl.SSLSocket:
        return self.current.wrap_socket(*args, **settings)


class Certificate:
    """A certificate file and its key's, both PEM. `context` is for a server; it always serves the newest pair."""

    def __init__(self, certificate: Path, key: Path, manners: Manners = PLAIN) -> None:
        """Load the pair. Raises `CertificateError` if it cannot be."""
        self._choose_files(certificate, key, manners)
        self._seen = signature(self._files)
        self._context = _Newest(ssl.PROTOCOL_TLS_SERVER)
        self._context.current, self.expires = self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """What a server listens with."""
        return self._context

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in each handshake before a certificate is chosen: the files may have changed since it connected."""
        connection.context = self._context.current

    def _choose_files(self, certificate: Path, key: Path, manners: Manners) -> None:
        self._pair = (certificate, key)
        self._manners = manners
        self._files = [*self._pair, *([] if manners.clients is None else [manners.clients])]

    def change(self, certificate: Path, key: Path, manners: Manners) -> None:
        """Serve other files, or in another manner, from now on. Raises `CertificateError` and changes nothing."""
        former = (*self._pair, self._manners)
        self._choose_files(certificate, key, manners)
        try:
            self._context.current, self.expires = self._load()
        except CertificateError:
            self._choose_files(*former)
            raise
        self._seen = signature(self._files)

    def refresh(self) -> bool | None:
        """Read the files again if they have changed: True if the new pair is served, False if it is not usable."""
        now = signature(self._files)
        if now == self._seen:
            return None
        self._seen = now  # taken before reading: whatever is written from now on is another change
        try:
            self._context.current, self.expires = self._load()
        except CertificateError as error:
            log.warning("%s; the former certificate is served on", error)
            return False
        log.info("a new certificate is served; it is valid until %s", self.expires.isoformat())
        return True

    async def watch(self, told: Callable[[bool], None], *, interval: float) -> None:
        """Look every `interval` seconds, for ever. `told`: whether a change was usable."""
        while True:
            await asyncio.sleep(interval)
            changed = self.refresh()
            if changed is not None:
                told(changed)

    def _load(self) -> tuple[ssl.SSLContext, datetime]:
        certificate, key = self._pair
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Never asks for a passphrase: there is nobody to answer.
            context.load_cert_chain(certificate, key, password="")
            expires = not_after(ssl.PEM_cert_to_DER_cert(_first_certificate(certificate.read_text("ascii"))))
        except (OSError, ValueError, IndexError) as error:  # ssl.SSLError is an OSError
            raise CertificateError(f"{certificate} and {key} are no certificate with its key: {error}") from error
        try:
            self._manners.apply(context)
        except OSError as error:
            raise CertificateError(f"{self._manners.clients} has no certificate of an authority: {error}") from error
        context.sni_callback = self._choose
        return context, expires


def not_after(certificate: bytes) -> datetime:
    """When a certificate (DER, RFC 5280 section 4.1) ends. Raises `ValueError` or `IndexError` if it is none."""
    _, body, _ = _element(certificate)
    _, rest, _ = _element(body)
    for _ in range(64):
        tag, content, rest = _element(rest)
        # The first sequence in it that begins with a time is its validity: two times.
        if tag == SEQUENCE and content[:1] in (UTC_TIME, GENERALIZED_TIME):
            _, _, last = _element(content)
            kind, text, _ = _element(last)
            form = "%y%m%d%H%M%SZ" if bytes([kind]) == UTC_TIME else "%Y%m%d%H%M%SZ"
            return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)
    raise ValueError("no time of validity in it")


SEQUENCE, UTC_TIME, GENERALIZED_TIME = 0x30, b"\x17", b"\x18"
LONG_FORM = 0x80


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Split the first element off DER: its tag, its content, and what follows."""
    tag, length, start = data[0], data[1], 2
    if length & LONG_FORM:
        size = length & ~LONG_FORM
        length, start = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
    return tag, data[start : start + length], data[start + length :]


def _first_certificate(pem: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return pem[pem.index(begin) : pem.index(end) + len(end)] + "\n"
