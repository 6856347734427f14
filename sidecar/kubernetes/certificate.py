"""A certificate that changes while it serves: read again when its files do, used from the next handshake on.

Each reading makes a context of its own, and only one that a certificate and its key were loaded into together takes the
place of the last. Half-written files, or a certificate without its key, therefore change nothing but a counter.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)


class CertificateError(Exception):
    """The files are no certificate with its key: a sentence that names them."""


class Certificate:
    """A certificate file and its key's, both PEM. `context` is for a server; it always serves the newest pair."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load the pair. Raises `CertificateError` if it cannot be."""
        self._files = (certificate, key)
        self._seen = self._signature()
        self._current, self.expires = self._load()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_cert_chain(*self._files)
        # Called in each handshake, with or without a server name, before a certificate is chosen.
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def refresh(self) -> bool | None:
        """Read the files again if they have changed: True if the new pair is served, False if it is not usable."""
        signature = self._signature()
        if signature == self._seen:
            return None
        self._seen = signature  # taken before reading: whatever is written from now on is another change
        try:
            self._current, self.expires = self._load()
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
        certificate, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, key)
            expires = not_after(ssl.PEM_cert_to_DER_cert(_first_certificate(certificate.read_text("ascii"))))
        except (OSError, ValueError, IndexError) as error:  # ssl.SSLError is an OSError
            raise CertificateError(f"{certificate} and {key} are no certificate with its key: {error}") from error
        return context, expires

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes when a file does, also where a symbolic link is turned, as Kubernetes does with its volumes."""

        def of(path: Path) -> tuple[int, int, int] | None:
            try:
                status = path.stat()
            except OSError:
                return None
            return status.st_ino, status.st_mtime_ns, status.st_size

        return tuple(of(path) for path in self._files)


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
