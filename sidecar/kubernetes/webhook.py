"""The server that Kubernetes asks about each new pod, at `POST /mutate` over TLS.

It has no state and asks nobody: what it needs to know is in the review, in the document of what is injected, and in the
pod's annotations. Health and metrics are on a listener of their own, as the sidecar's are.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from sidecar.access.certificate import Certificate
from sidecar.config.forms import HostPort
from sidecar.exporters.endpoint import telemetry_app
from sidecar.kubernetes.admission import Answer, NotAReview, answer
from sidecar.kubernetes.injection import Injection
from sidecar.kubernetes.measures import Measures
from sidecar.receivers.handshakes import TlsSite

log = logging.getLogger(__name__)

# The API server takes requests of 3 MiB; a review carries a pod once, and some more.
LARGEST_REVIEW = 8 << 20
# What answers under way may take when it ends, in seconds.
PATIENCE = 2.0


class Webhook:
    """The webhook: what it injects, and the certificate that it serves with."""

    def __init__(self, injection: Injection, certificate: Certificate) -> None:
        self.injection = injection
        self.certificate = certificate
        self.measures = Measures()
        self.measures.certificate(certificate.expires)
        self.started = False
        self.ready = False

    @contextlib.asynccontextmanager
    async def serving(
        self, listen: HostPort, telemetry: HostPort, *, look_every: float
    ) -> AsyncIterator[Mapping[str, str]]:
        """Serve, looking for a new certificate every so many seconds; gives the URLs of what listens.

        Raises `OSError` where an address cannot be listened on.
        """
        reviews = web.Application(client_max_size=LARGEST_REVIEW)
        reviews.router.add_post("/mutate", self.mutate)
        watching = asyncio.create_task(self.certificate.watch(self._reloaded, interval=look_every))
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(watching.cancel)
            webhook = await _listen(stack, reviews, listen, self.certificate.context)
            health = await _listen(stack, telemetry_app(self.measures.render, self), telemetry)
            self.started = self.ready = True
            yield {"webhook": f"https://{webhook}/mutate", "telemetry": f"http://{health}"}
            self.ready = False

    async def mutate(self, request: web.Request) -> web.Response:
        """Answer an admission review."""
        body = await request.read()
        begun = time.perf_counter()
        try:
            told = answer(body, self.injection)
        except NotAReview as error:
            self.measures.rejected()
            log.warning("a request that is no admission review: %s", error)
            return web.Response(status=400, text=f"{error}\n")
        self.measures.admitted(told.result, told.reason, time.perf_counter() - begun)
        log.log(logging.WARNING if told.result == "failed" else logging.INFO, "%s", _line(told))
        return web.Response(body=told.body, content_type="application/json")

    def _reloaded(self, usable: bool) -> None:
        self.measures.reloaded(usable)
        self.measures.certificate(self.certificate.expires)


def _line(told: Answer) -> str:
    reason = f" ({told.reason})" if told.reason else ""
    return "; ".join((f"{told.subject}: {told.result}{reason}", *told.notes))


async def _listen(
    stack: contextlib.AsyncExitStack, app: web.Application, address: HostPort, tls: ssl.SSLContext | None = None
) -> str:
    """Serve an application until the stack ends; gives the address that it listens on."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=PATIENCE)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    host, port = address.host, address.port
    await (web.TCPSite(runner, host, port) if tls is None else TlsSite(runner, host, port, tls=tls)).start()
    return HostPort(*runner.addresses[0][:2]).text
