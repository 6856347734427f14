"""The forms that a setting's value can have: each reads what was written and says its rule when it is not that.

A form takes text (flags, environment) as well as what TOML reads (numbers, booleans, lists), and raises `ValueError`
with a rule that completes the sentence "<name> ...": "must be a whole number from 1 to 10".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

T = TypeVar("T")
Form: TypeAlias = Callable[[Any], T]

HTTPS = "https://"
POSTGRES = ("postgresql://", "postgres://")
OFF = ("off", "none", "")
LAST_PORT = 65535
LONGEST_NAME = 256
WORDS = {
    True: ("true", "yes", "on", "1"),
    False: ("false", "no", "off", "0"),
}
SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*([^\x00-\x1f\x7f]*)")
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})")
# Several hosts may be named. Of a password with a / or a # that is not encoded, a part would be taken for a port.
_HOST = r"(?:\[[^\]/?#@]*\]|[^\[\]/?#@:,]*)(?::[0-9]*)?"
_POSTGRES_URL = re.compile(rf"[a-z]+://(?:[^/?#]*@)?{_HOST}(?:,{_HOST})*(?:/[^?#@]*)?(?:\?[^#]*)?")
_PASSWORD = re.compile(r"(//[^/?#@:]*:).*@")  # up to the last @, for what is before it may be a part of the password
_SECRET_IN_QUERY = re.compile(r"([?&][^=&]*(?:password|secret|token|api[-_]?key)[^=&]*=)[^&#]*", re.IGNORECASE)
_IN_QUERY = re.compile(r"((?:^|&)(?:[^=&#]*=)?)[^&#]+")
BYTES = {"": 1, "k": 1_000, "m": 1_000_000, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


@dataclass(frozen=True, slots=True)
class HostPort:
    """A TCP address; port 0 lets the system choose one. `tls`: TLS is spoken there."""

    host: str
    port: int
    tls: bool = False

    @property
    def text(self) -> str:
        """As it is written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{HTTPS if self.tls else ''}{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket."""

    path: str

    @property
    def text(self) -> str:
        """As it is written."""
        return f"unix:{self.path}"


Address: TypeAlias = HostPort | UnixPath


def host_port(value: Any) -> HostPort:
    """`127.0.0.1:8321`, `localhost:0`, `[::1]:8321`."""
    match = _HOST_PORT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[3]) > LAST_PORT:
        raise ValueError("must be HOST:PORT, with a port of 0 to 65535")
    return HostPort(match[1] or match[2], int(match[3]))


def web_address(value: Any) -> HostPort:
    """A TCP address, `https://` before it where TLS is to be spoken."""
    if isinstance(value, str) and value.startswith(HTTPS):
        return replace(host_port(value.removeprefix(HTTPS)), tls=True)
    return host_port(value)


def address(value: Any) -> Address:
    """As `web_address`, or `unix:/run/token-budget.sock`."""
    if isinstance(value, str) and value.startswith("unix:") and len(value) > len("unix:"):
        return UnixPath(value.removeprefix("unix:"))
    try:
        return web_address(value)
    except ValueError:
        raise ValueError("must be HOST:PORT, with a port of 0 to 65535, or unix:PATH") from None


def host(value: Any) -> str:
    """A name or an IP address, as URLs have it, without a port."""
    text = value.strip("[]").lower().rstrip(".") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-z_.-]{1,253}|[0-9a-f:.]{2,45}", text) or text.count(":") == 1:
        raise ValueError("must be names or IP addresses, without a port")
    return text


def journal_url(value: Any) -> str:
    """`sqlite:///PATH`, `postgresql://USER@HOST/DATABASE` or `memory:`."""
    if isinstance(value, str):
        if value == "memory:":
            return value
        for start in ("sqlite:///", *POSTGRES):
            if value.startswith(start) and len(value) > len(start):
                if start in POSTGRES and not _POSTGRES_URL.fullmatch(value):
                    raise ValueError("must have what is special in a name or a password percent-encoded (/ as %2F)")
                return value
    raise ValueError("must be sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory:")


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///PATH` names; `~` is the user's home."""
    return Path(url.removeprefix("sqlite:///")).expanduser()


def masked(url: str) -> str:
    """The URL as it may be shown: passwords replaced, in the query too, and where a `/` in one breaks the URL.

    What a journal's query is made of is known; of any other, each value may be a secret.
    """
    url = _PASSWORD.sub(r"\1***@", url)
    if url.startswith((*POSTGRES, "sqlite:")):
        return _SECRET_IN_QUERY.sub(r"\1***", url)
    place, mark, query = url.partition("?")
    return place + mark + _IN_QUERY.sub(r"\1***", query)


def http_url(value: Any) -> str:
    """`http://collector:4318`, `https://otlp.example.com/tenant`."""
    text = value if isinstance(value, str) and not re.search(r"[\x00-\x20\x7f#]", value) else ""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("must be a URL that begins with http:// or https://")
    return text


def headers(value: Any) -> tuple[tuple[str, str], ...]:
    """`api-key=secret,x-tenant=a%20b`: as OTEL_EXPORTER_OTLP_HEADERS is written, or a table of them."""
    pairs: list[tuple[str, str]]
    if isinstance(value, str) and value in OFF:
        return ()
    if isinstance(value, dict):
        pairs = [(name, str(each)) for name, each in value.items()]
    else:
        parts = [part.partition("=") for part in str(value).split(",") if part.strip()]
        pairs = [(name.strip() if equals else "", unquote(each.strip())) for name, equals, each in parts]
    if not all(_HEADER.fullmatch(f"{name}={each}") for name, each in pairs):
        raise ValueError("must be NAME=VALUE, several with commas between them, values percent-encoded")
    return tuple(pairs)


def file(value: Any) -> str:
    """A file that can be read."""
    path = Path(str(value)).expanduser()
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror or error})") from None
    return str(path)


def duration(value: Any) -> float:
    """Seconds: `900`, `90s`, `15m`, `24h`, `2d`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", str(value)) if not isinstance(value, bool) else None
    if match is None or match[2] not in SECONDS:
        raise ValueError("must be a duration such as 90s, 15m or 24h")
    seconds = float(match[1]) * SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError("must be longer than 0 seconds")
    return seconds


def size(value: Any) -> int:
    """Bytes: `8388608`, `8Mi`, `500k`."""
    match = re.fullmatch(r"([0-9]+) ?([a-z]*?)b?", str(value).lower()) if not isinstance(value, bool) else None
    if match is None or match[2] not in BYTES:
        raise ValueError("must be a size such as 8Mi")
    number = int(match[1]) * BYTES[match[2]]
    if number < 1:
        raise ValueError("must be 1 byte or more")
    return number


def flag(value: Any) -> bool:
    """`true` or `false`, in the usual words."""
    if isinstance(value, bool):
        return value
    for meant, words in WORDS.items():
        if isinstance(value, str) and value.lower() in words:
            return meant
    raise ValueError("must be true or false")


def name(value: Any) -> str:
    """A name as agents and models have: 1 to 256 characters, none of them a control character."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NAME or re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("must be 1 to 256 characters, none of them a control character")
    return value


def whole(*, at_least: int, at_most: int = 1_000_000_000_000) -> Form[int]:
    """A whole number within bounds; `_` may group its digits."""

    def read(value: Any) -> int:
        text = "" if isinstance(value, bool) else str(value)
        if not re.fullmatch(r"[0-9][0-9_]*", text) or not at_least <= int(text) <= at_most:
            raise ValueError(f"must be a whole number from {at_least:,} to {at_most:,}")
        return int(text)

    return read


def choice(*words: str) -> Form[str]:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return str(value)

    return read


def optional(form: Form[T]) -> Form[T | None]:
    """The form, or `off`."""

    def read(value: Any) -> T | None:
        if value in OFF:
            return None
        try:
            return form(value)
        except ValueError as error:
            raise ValueError(f"{error}, or off") from None

    return read


def several(form: Form[T]) -> Form[tuple[T, ...]]:
    """One or more of the form, each once: a list, or text with commas between them."""

    def read(value: Any) -> tuple[T, ...]:
        parts: Sequence[Any] = value if isinstance(value, list) else str(value).split(",")
        values = tuple(dict.fromkeys(form(part.strip() if isinstance(part, str) else part) for part in parts))
        if not values:
            raise ValueError("must name at least one")
        return values

    return read


def any_number(form: Form[T]) -> Form[tuple[T, ...]]:
    """None, one or more of the form: as `several`, or `off`."""
    read_several = several(form)

    def read(value: Any) -> tuple[T, ...]:
        text = ",".join(map(str, value)) if isinstance(value, list) else value  # repeated, with commas, or both
        if text in OFF:
            return ()
        try:
            return read_several(text)
        except ValueError as error:
            raise ValueError(f"{error}, or off") from None

    return read
