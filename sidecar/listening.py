"""Listening: from an address in the settings to a socket that answers, and what to say where that fails."""

import asyncio
import errno
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from sidecar.config.forms import Address, HostPort, UnixPath
from sidecar.receivers.connections import Runner
from sidecar.receivers.handshakes import TlsSite


async def listen(runner: Runner, address: Address, *, flag: str, tls: ssl.SSLContext | None) -> Sequence[str]:
    """Listen there; the URLs of what was bound, more than one where a name has several addresses."""
    before = len(runner.addresses)
    site: web.BaseSite
    match address:
        case HostPort(host, port):
            site = (
                web.TCPSite(runner, host, port)
                if tls is None
                else TlsSite(runner, host, port, tls=tls, told=runner.malformed)
            )
        case UnixPath(path):
            site = web.UnixSite(runner, path)
    try:
        if isinstance(address, UnixPath):
            await _check_unused(address.path)
        await site.start()
        if isinstance(address, UnixPath):
            # As on loopback, who can get there may speak: the agent's container has another user than this one. Its
            # folder says who gets there.
            await asyncio.to_thread(Path(address.path).chmod, 0o666)
    except OSError as error:
        # The event loop's own text repeats the address.
        number = error.errno or 0
        reason = os.strerror(number) if number in errno.errorcode else error.strerror or error
        advice = f"; {flag} takes another address, port 0 a free one" if number == errno.EADDRINUSE else ""
        raise OSError(error.errno, f"cannot listen on {address.text}: {reason}{advice}") from error
    scheme = "http" if tls is None else "https"
    return [_url(bound, scheme) for bound in runner.addresses[before:]]


async def _check_unused(path: str) -> None:
    """Raise `OSError` where somebody listens on the socket; one that nobody listens on was left behind."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return
    writer.close()
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def sockets(runner: web.AppRunner) -> list[Path]:
    """The Unix sockets that are listened on."""
    return [Path(bound) for bound in runner.addresses if isinstance(bound, str)]


def _url(bound: Any, scheme: str) -> str:
    return f"{scheme}://{HostPort(*bound[:2]).text}" if isinstance(bound, tuple) else UnixPath(bound).text
