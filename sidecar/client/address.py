"""Where the sidecar listens: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`."""

import os
from typing import NamedTuple, Self
from urllib.parse import urlsplit

DEFAULT = "http://127.0.0.1:8321"
VARIABLE = "TOKEN_BUDGET_URL"


class Address(NamedTuple):
    """A host and port, by TLS or not, or a path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Read an address; None takes `TOKEN_BUDGET_URL`, or where a sidecar listens by default.

        Raises:
            ValueError: it has none of the three forms.
        """
        text = text or os.environ.get(VARIABLE) or DEFAULT
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").removeprefix("//")
            if path:
                return cls(path=path)
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(
                f"the sidecar's address must be http://HOST:PORT, https://HOST:PORT or unix:PATH, and not {text!r}"
            )
        tls = parts.scheme == "https"
        return cls(host=parts.hostname, port=parts.port or (443 if tls else 80), tls=tls)

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
