"""Loading libraries without what they would load for others, which is a sixth of what a start takes.

Only a process that is nothing but a sidecar may do this: it is for the whole process.
"""

import contextlib
import os
from collections.abc import Iterator


def leave_out_plugins() -> None:
    """Let pydantic not read what every installed distribution says of itself to find plugins: we have none."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


@contextlib.contextmanager
def leaving_out_authorities() -> Iterator[None]:
    """While importing aiohttp: it reads all certificates of the system's authorities twice, for clients that name none.

    Whoever of us speaks TLS to others makes a context of its own, later, and from what the environment says then.
    """
    said = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}  # OpenSSL's variables
    os.environ.update(dict.fromkeys(said, os.devnull))
    try:
        yield
    finally:
        for name, value in said.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
