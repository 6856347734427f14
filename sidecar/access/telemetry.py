"""Who may scrape: the telemetry port under a web configuration file, which is read again when it changes.

Health needs no password: it says nothing, and the kubelet has none. Whether TLS is spoken is settled at the start; all
else follows the file within a second. A file that cannot be used changes nothing.
"""

import logging
import ssl
from pathlib import Path

from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION
from aiohttp.typedefs import Handler, Middleware

from sidecar.access.basic_auth import BasicAuth
from sidecar.access.certificate import Certificate, CertificateError
from sidecar.access.files import signature
from sidecar.access.web_config import WebConfig, WebConfigError, read_web_config

log = logging.getLogger(__name__)

HEALTH = frozenset({"/healthz", "/readyz", "/startupz"})


class TelemetryAccess:
    """What a web configuration file lets in."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `WebConfigError` or `CertificateError`."""
        self._path = path
        self._seen = signature([path])
        self._config = read_web_config(path)
        self._auth = BasicAuth(self._config.users)
        tls = self._config.tls
        self._certificate = None if tls is None else Certificate(tls.certificate, tls.key, tls.manners)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with; None where it is not."""
        return None if self._certificate is None else self._certificate.context

    def refresh(self) -> None:
        """Read the file, and the certificates that it names, again if they changed."""
        now = signature([self._path])
        if now != self._seen:
            self._seen = now
            try:
                self._follow(read_web_config(self._path))
            except (WebConfigError, CertificateError) as error:
                log.error("%s; what it said before still holds", error)  # noqa: TRY400 - the sentence says it all
        if self._certificate is not None:
            self._certificate.refresh()

    def _follow(self, config: WebConfig) -> None:
        if (config.tls is None) != (self._certificate is None):
            raise WebConfigError(f"{self._path}: to begin or end TLS on the telemetry port takes a restart")
        if config.tls is not None and self._certificate is not None and config.tls != self._config.tls:
            self._certificate.change(config.tls.certificate, config.tls.key, config.tls.manners)
        self._config = config
        self._auth.users = config.users
        log.info("%s was read again", self._path)

    def middleware(self) -> Middleware:
        """Ask for a password, and add the headers."""

        @web.middleware
        async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.raw_path not in HEALTH and not await self._auth.admits(request.headers.get(AUTHORIZATION)):
                return web.Response(
                    status=401, text="Unauthorized\n", headers={"WWW-Authenticate": "Basic", **self._config.headers}
                )
            try:
                response = await handler(request)
            except web.HTTPException as error:
                error.headers.update(self._config.headers)
                raise
            response.headers.update(self._config.headers)
            return response

        return ask
