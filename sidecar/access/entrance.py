"""All that decides who comes in, made from the files that an operator names, and kept up with them."""

import asyncio
import contextlib
import errno
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sidecar.access.certificate import Certificate, CertificateError, Manners
from sidecar.access.files import look_again
from sidecar.access.guard import Guard
from sidecar.access.telemetry import TelemetryAccess
from sidecar.access.tokens import Scope, TokenFileError, Tokens
from sidecar.access.web_config import WebConfigError


class Entrance:
    """`guard` for the API and OTLP, `certificate` for what of them speaks TLS, `telemetry` for that port."""

    def __init__(
        self,
        *,
        tokens: Mapping[Scope, Sequence[str]],
        bound: Collection[str] = (),
        hosts: Collection[str] = (),
        public: Collection[str] = (),
        certificate: str | None = None,
        key: str | None = None,
        client_ca: str | None = None,
        web_config: str | None = None,
    ) -> None:
        """Read every file. Raises `OSError` with a sentence that names the one that cannot be used."""
        self._watching: asyncio.Task[None] | None = None
        try:
            asked = Tokens(tokens) if any(tokens.values()) else None
            self.guard = Guard(asked, bound=bound, hosts=hosts, public=public)
            self.certificate = None if certificate is None else _certificate(certificate, key, client_ca)
            self.telemetry = None if web_config is None else TelemetryAccess(Path(web_config))
        except (TokenFileError, CertificateError, WebConfigError) as error:
            raise OSError(errno.EINVAL, str(error)) from error
        read = (asked, self.certificate, self.telemetry)
        self._refreshing: Sequence[Callable[[], object]] = [each.refresh for each in read if each is not None]

    @property
    def context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with."""
        return None if self.certificate is None else self.certificate.context

    def start(self) -> None:
        """Look from now on whether the files change."""
        if self._refreshing:
            self._watching = asyncio.create_task(look_again(self._refreshing))

    async def stop(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching


def _certificate(certificate: str, key: str | None, client_ca: str | None) -> Certificate:
    manners = Manners(clients=None if client_ca is None else Path(client_ca))
    return Certificate(Path(certificate), Path(key or certificate), manners)
