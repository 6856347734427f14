"""The web configuration file of Prometheus' exporters (prometheus/exporter-toolkit, docs/web-configuration.md).

What it may say is what `promtool check web-config` takes; what of that cannot be done here is refused by name rather
than ignored. Paths are relative to the file's folder.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.access.certificate import CIPHERS, Manners

# Go's names of the suites of TLS 1.2 that are offered, and OpenSSL's.
SUITES: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
# TLS 1.3 has no other suites, and they are not chosen.
SUITES_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
# Whether a client must show a certificate; None: it is not asked for one.
CLIENTS: Mapping[str, bool | None] = {
    "": None,
    "NoClientCert": None,
    "VerifyClientCertIfGiven": False,
    "RequireAndVerifyClientCert": True,
}
HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class WebConfigError(Exception):
    """The file cannot be used: a sentence that names it, the field and the rule, but no password."""


@dataclass(frozen=True, slots=True)
class Tls:
    """`tls_server_config`."""

    certificate: Path
    key: Path
    manners: Manners


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says. `users`: the bcrypt hash of each one's password; nobody has to log in where there is none."""

    tls: Tls | None = None
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def read_web_config(path: Path) -> WebConfig:
    """Read the file. Raises `WebConfigError`."""
    try:
        import yaml
    except ImportError as error:
        raise WebConfigError(f"{path} needs PyYAML and bcrypt: install token-budget-sidecar[web-config]") from error
    try:
        said = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise WebConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f": line {mark.line + 1}"  # the rest would quote it
        raise WebConfigError(f"{path} is not YAML{place}") from None
    try:
        root = _Section(said, "", {"tls_server_config", "http_server_config", "basic_auth_users"})
        return WebConfig(_tls(root, path.parent), _users(root), _headers(root))
    except ValueError as error:
        raise WebConfigError(f"{path}: {error}") from None


class _Section:
    """A mapping of the file, and where it stands. Raises `ValueError` where it is none, or has what is not known."""

    def __init__(self, said: Any, where: str, known: set[str] | None) -> None:
        said = {} if said is None else said
        if not isinstance(said, dict):
            raise ValueError(f"{where or 'the file'} must be a mapping")  # noqa: TRY004 - of what was written
        for key in said:
            if known is not None and key not in known:
                raise ValueError(f"{where}{key} is not a field that is known here")
        self.said: Mapping[Any, Any] = said
        self.where = where

    def section(self, key: str, known: set[str] | None = None) -> "_Section | None":
        said = self.said.get(key)
        return None if said is None else _Section(said, f"{self.where}{key}.", known)

    def text(self, key: str) -> str:
        said = self.said.get(key)
        if said is not None and not isinstance(said, str):
            raise ValueError(f"{self.where}{key} must be text")
        return said or ""

    def one_of(self, key: str, choices: Mapping[str, Any], default: str) -> Any:
        text = self.text(key) or default
        if text not in choices:
            raise ValueError(f"{self.where}{key} must be one of {', '.join(filter(None, choices))} here")
        return choices[text]


def _tls(root: _Section, folder: Path) -> Tls | None:
    known = {
        "cert_file",
        "key_file",
        "client_auth_type",
        "client_ca_file",
        "min_version",
        "max_version",
        "cipher_suites",
        "prefer_server_cipher_suites",
    }
    section = root.section("tls_server_config", known)
    if section is None:
        return None
    files = {name: section.text(name) for name in ("cert_file", "key_file", "client_ca_file")}
    for name in ("cert_file", "key_file"):
        if not files[name]:
            raise ValueError(f"tls_server_config.{name} is required")
    demanding = section.one_of("client_auth_type", CLIENTS, "")
    if (demanding is None) != (not files["client_ca_file"]):
        raise ValueError("tls_server_config.client_ca_file and a client_auth_type that verifies belong together")
    least, most = section.one_of("min_version", VERSIONS, "TLS12"), section.one_of("max_version", VERSIONS, "TLS13")
    if least > most:
        raise ValueError("tls_server_config.min_version must not be above max_version")
    manners = Manners(
        clients=None if demanding is None else folder / files["client_ca_file"],
        demanding=bool(demanding),
        least=least,
        most=most,
        ciphers=_ciphers(section),
    )
    return Tls(folder / files["cert_file"], folder / files["key_file"], manners)


def _ciphers(section: _Section) -> str:
    names = section.said.get("cipher_suites") or []
    if not isinstance(names, list) or any(name not in SUITES and name not in SUITES_13 for name in names):
        raise ValueError(f"tls_server_config.cipher_suites must be of {', '.join(SUITES)}")
    return ":".join(SUITES[name] for name in names if name in SUITES) or CIPHERS


def _users(root: _Section) -> Mapping[str, bytes]:
    section = root.section("basic_auth_users")
    users = {} if section is None else section.said
    for name, hashed in users.items():
        if not isinstance(name, str) or not name or ":" in name:
            raise ValueError("basic_auth_users must have names of text without a colon")
        if not isinstance(hashed, str) or not _BCRYPT.fullmatch(hashed):
            raise ValueError(f"basic_auth_users.{name} must be the bcrypt hash of a password")
    return {name: hashed.encode() for name, hashed in users.items()}


def _headers(root: _Section) -> Mapping[str, str]:
    server = root.section("http_server_config", {"http2", "headers"})  # HTTP/2 is not spoken, whatever it says
    section = None if server is None else server.section("headers", set(HEADERS))
    return {} if section is None else {name: _header(section, name) for name in section.said}


def _header(section: _Section, name: str) -> str:
    """A header's value: YAML writes long ones over several lines, which become one, as Go makes them."""
    value = re.sub(r"[\r\n]", " ", section.text(name)).strip()
    if _CONTROL.search(value):
        raise ValueError(f"{section.where}{name} must have no control characters")
    return value
