"""The image's health check: `python -m sidecar.kubernetes.health` leaves with 0 if the sidecar here answers.

Kubernetes asks `/healthz` itself; this is for engines that run a command, in an image without a shell's tools. A web
configuration may have the port speak TLS, for a name that is not this one's: nothing secret is asked.
"""

import contextlib
import os
import ssl
import sys
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection


def ask(port: int) -> int:
    """The status of `/healthz`. Raises `OSError`, `HTTPException`."""
    ways: list[Callable[[], HTTPConnection]] = [lambda: HTTPConnection("127.0.0.1", port, timeout=2)]
    if os.environ.get("TOKEN_BUDGET_TELEMETRY_WEB_CONFIG"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        ways.insert(0, lambda: HTTPSConnection("127.0.0.1", port, timeout=2, context=tls))
    for way in ways[:-1]:
        with contextlib.suppress(OSError, HTTPException):
            return _status(way())
    return _status(ways[-1]())


def _status(connection: HTTPConnection) -> int:
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status


def main() -> int:
    """Ask the telemetry listener, on loopback; give the exit code."""
    listens = os.environ.get("TOKEN_BUDGET_TELEMETRY", "0.0.0.0:9464")
    try:
        status = ask(int(listens.rpartition(":")[2]))
    except (OSError, ValueError, HTTPException) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    print(f"/healthz answers {status}")
    return 0 if status == 200 else 1  # noqa: PLR2004 - OK


if __name__ == "__main__":
    sys.exit(main())
