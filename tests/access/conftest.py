"""An authority, certificates, and a sidecar that asks who calls."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from sidecar.config import Config
from sidecar.config.forms import HostPort

LOOPBACK = HostPort("127.0.0.1", 0)
TLS_LOOPBACK = HostPort("127.0.0.1", 0, tls=True)
READ, WRITE, ADMIN = "read-0123456789abcdef", "write-0123456789abcdef", "admin-0123456789abcdef"


def config(**settings: Any) -> Config:
    """Settings for a test: free ports, a journal in memory."""
    return Config(**{"listen": (LOOPBACK,), "telemetry": LOOPBACK, "otlp": None, "journal": "memory:", **settings})


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that signs certificates for loopback, and for clients."""
    return trustme.CA()


@pytest.fixture
def certificate_files(authority: trustme.CA, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for loopback and its key: their paths."""
    return write_pair(authority, tmp_path, "tls")


def write_pair(authority: trustme.CA, folder: Path, name: str, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """Write a certificate and its key into a folder."""
    issued = authority.issue_cert(host)
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    return paths


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate."""
    path = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def trusting(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Make a client's context that trusts the authority, with a certificate of its own or none."""

    def make(*pair: Path) -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if pair:
            context.load_cert_chain(pair[0], pair[1])
        return context

    return make


@pytest.fixture
def token_files(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """A file for each scope; as settings."""
    settings: dict[str, tuple[str, ...]] = {}
    for scope, token in (("read", READ), ("write", WRITE), ("admin", ADMIN)):
        path = tmp_path / f"{scope}.tokens"
        path.write_text(f"# {scope}\n{token}\n")
        settings[f"{scope}_tokens"] = (str(path),)
    return settings
