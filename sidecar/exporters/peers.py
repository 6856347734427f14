"""The other programs that telemetry goes to: whether one of them is ourselves, and how it is named in a log."""

import asyncio
import socket
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

Listener: TypeAlias = tuple[str, int]  # host and port

_PORTS = {"http": 80, "https": 443}
_LOOKUP = 2.0  # seconds; a name that takes longer is taken for somebody else's
_ANY = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound


async def leads_to(url: str, listeners: Iterable[Listener]) -> bool:
    """Whether one of `listeners`, which are ours, answers at the URL: telemetry sent there would come back for ever."""
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    hosts = [host for host, listened in listeners if listened == port]
    if not hosts:
        return False
    ours = set()
    for host in hosts:
        ours |= await _addresses(host)
    there = await _addresses(parts.hostname or "")
    return bool(there & ours) or (any(host in _ANY for host in hosts) and any(_is_local(each) for each in there))


async def _addresses(host: str) -> set[str]:
    try:
        async with asyncio.timeout(_LOOKUP):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return set()
    return {str(address[0]) for *_, address in found}


def _is_local(address: str) -> bool:
    """Whether the address is one of this machine's: only then can it be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def shown(url: str) -> str:
    """The URL without what may be secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
