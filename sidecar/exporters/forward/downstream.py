"""Where payloads go on to, and which headers go with them.

The agent's own headers go along: its credentials for the backend are among them, and nobody but the agent has them.
What belongs to its connection with us (RFC 9110, section 7.6.1) does not.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

from multidict import CIMultiDict

SIGNALS = ("traces", "logs", "metrics")
# About one connection, or written anew for the next one.
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downstream:
    """`endpoints`: a URL for each signal that is forwarded. `headers` are added, and win over those of the agent.

    `withheld`: headers of the agent that were meant for us.
    """

    endpoints: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    headers: tuple[tuple[str, str], ...] = ()
    withheld: tuple[str, ...] = ()
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    def tls(self) -> ssl.SSLContext:
        """What https is spoken with. Raises `OSError` where a file holds no certificate or key."""
        name, file = "downstream_certificate", self.certificate
        try:
            context = ssl.create_default_context(cafile=file)
            if self.client_certificate is not None:
                name, file = "downstream_client_certificate", self.client_certificate
                # Never asks for a passphrase: there is nobody to answer.
                context.load_cert_chain(file, self.client_key, password="")
        except OSError as error:
            raise OSError(error.errno, f"{name} {file} cannot be used: {error.strerror or error}") from error
        return context

    def passed_on(self, headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
        """The headers that a payload goes on with."""
        sent = CIMultiDict(headers)
        named = ",".join(sent.getall("Connection", ())).lower().split(",")
        for name in (*_OURS, *self.withheld, *(each.strip() for each in named)):
            sent.popall(name, None)
        for name, _ in self.headers:
            sent.popall(name, None)
        sent.extend(self.headers)
        return sent


def endpoints(base: str | None, **own: str | None) -> Mapping[str, str]:
    """The URL of each signal: its own as it is, else the base with /v1/<signal> appended to its path.

    Those are the rules of OTEL_EXPORTER_OTLP_ENDPOINT and its kin (OpenTelemetry specification, "OTLP Exporter").
    """
    found = {}
    for signal in SIGNALS:
        url = own.get(signal)
        if url is None and base is not None:
            parts = urlsplit(base)
            url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}"))
        if url is not None:
            found[signal] = url
    return found
