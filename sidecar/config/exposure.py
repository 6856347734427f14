"""What settings say together about who can call: nobody listens beyond this machine without asking who is there."""

from collections.abc import Callable, Iterator

from sidecar.access.addresses import is_loopback
from sidecar.config import Config
from sidecar.config.forms import HostPort


def listeners(config: Config) -> Iterator[tuple[str, HostPort]]:
    """The TCP addresses of the API and of OTLP, each with the name of its setting."""
    for address in config.listen:
        if isinstance(address, HostPort):
            yield "listen", address
    if config.otlp is not None:
        yield "otlp", config.otlp


def exposed(config: Config) -> Iterator[tuple[str, HostPort]]:
    """Those that others than this machine reach, and where nothing asks who calls."""
    for name, address in listeners(config):
        asked = config.asks_for_tokens or (address.tls and config.tls_client_ca is not None)
        if not (is_loopback(address.host) or asked or config.allow_unauthenticated):
            yield name, address


def unencrypted(config: Config) -> Iterator[HostPort]:
    """Those where tokens come over a network as they are."""
    for _, address in listeners(config):
        if config.asks_for_tokens and not (address.tls or is_loopback(address.host)):
            yield address


def broken(config: Config, label: Callable[[str], str]) -> Iterator[str]:
    """Every rule that is broken, as a sentence. `label`: where a setting was written."""
    for name, address in exposed(config):
        yield (
            f"{label(name)} must not listen on {address.text}, beyond this machine, where nobody asks who calls: name "
            "files with tokens (read_tokens, write_tokens, admin_tokens), or listen on https:// with tls_client_ca, or "
            "set allow_unauthenticated if something else lets only the right ones through"
        )
    tls = [(name, address) for name, address in listeners(config) if address.tls]
    if config.tls_certificate is None:
        for name, address in tls:
            yield (
                f"{label(name)} listens on {address.text}, which needs a certificate to show: "
                "--tls-certificate FILE (the setting tls_certificate)"
            )
    for name in ("tls_certificate", "tls_key", "tls_client_ca"):
        if getattr(config, name) is not None and not tls:
            yield f"{label(name)} would do nothing: neither listen nor otlp has an address with https://"
