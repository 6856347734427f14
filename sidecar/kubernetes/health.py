"""The image's health check: `python -m sidecar.kubernetes.health` leaves with 0 if the sidecar here answers.

Kubernetes asks `/healthz` itself; this is for engines that run a command, in an image without a shell's tools.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException


def main() -> int:
    """Ask the telemetry listener, on loopback; give the exit code."""
    listens = os.environ.get("TOKEN_BUDGET_TELEMETRY", "0.0.0.0:9464")
    try:
        connection = HTTPConnection("127.0.0.1", int(listens.rpartition(":")[2]), timeout=2)
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, ValueError, HTTPException) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    print(f"/healthz answers {status}")
    return 0 if status == 200 else 1  # noqa: PLR2004 - OK


if __name__ == "__main__":
    sys.exit(main())
