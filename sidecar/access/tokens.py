"""Bearer tokens (RFC 6750), read from files: a token a line, blank lines and those that begin with `#` left out.

A file gives its tokens one scope; a token in several files has all of theirs. Only digests stay in memory, keyed by
chance anew in each process: to look one up says nothing about the tokens there are, however its time is measured.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from sidecar.access.files import signature

log = logging.getLogger(__name__)

Scope: TypeAlias = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")

LEAST = 16  # characters: shorter ones are guessed or chosen by hand
MOST = 4096
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_NOBODY: frozenset[Scope] = frozenset()


class TokenFileError(Exception):
    """A file with tokens that cannot be used: a sentence that names it and its line, but never a token."""


class Tokens:
    """The tokens of some files, by scope. `refresh` reads files that changed; a file that is gone has no tokens."""

    def __init__(self, files: Mapping[Scope, Sequence[str]]) -> None:
        """Read all of them. Raises `TokenFileError`."""
        self._files = [(Path(file), scope) for scope, paths in files.items() for file in paths]
        self._paths = [path for path, _ in self._files]
        self._key = secrets.token_bytes(32)
        self._seen = signature(self._paths)
        self._scopes = self._read()

    def scopes_of(self, token: str) -> frozenset[Scope]:
        """What a token may do; nothing where it is none of ours."""
        if len(token) > MOST:
            return _NOBODY
        scopes = self._find(token)
        if not scopes and self.refresh():  # it may have been written a moment ago
            scopes = self._find(token)
        return scopes

    def refresh(self) -> bool:
        """Read the files again if one changed; whether that was so. One that cannot be used gives no tokens."""
        now = signature(self._paths)
        if now == self._seen:
            return False
        self._seen = now  # taken before reading: whatever is written from now on is another change
        found: dict[bytes, frozenset[Scope]] = {}
        broken: dict[str, None] = {}  # a file may give several scopes, and is told once
        for path, scope in self._files:
            try:
                self._add(found, path, scope)
            except TokenFileError as error:
                broken[str(error)] = None
        for error_text in broken:
            log.error("%s; its tokens are not taken any more", error_text)
        self._scopes = found
        log.info("tokens were read again: %d are taken", len(found))
        return True

    def _read(self) -> dict[bytes, frozenset[Scope]]:
        found: dict[bytes, frozenset[Scope]] = {}
        for path, scope in self._files:
            self._add(found, path, scope)
        return found

    def _add(self, found: dict[bytes, frozenset[Scope]], path: Path, scope: Scope) -> None:
        scopes = frozenset(SCOPES) if scope == "admin" else frozenset({scope})
        for token in read_tokens(path):
            digest = self._digest(token)
            found[digest] = found.get(digest, _NOBODY) | scopes

    def _find(self, token: str) -> frozenset[Scope]:
        digest, scopes = self._digest(token), _NOBODY
        # Every one is compared, each in a time that does not depend on where it differs.
        for known, may in self._scopes.items():
            if hmac.compare_digest(known, digest):
                scopes = may
        return scopes

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode("utf-8", "surrogateescape"), key=self._key, digest_size=32).digest()


def read_tokens(path: Path) -> Iterable[str]:
    """The tokens of a file. Raises `TokenFileError` where it cannot be read, has none, or has a line that is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not LEAST <= len(token) <= MOST or not _TOKEN.fullmatch(token):
            raise TokenFileError(
                f"{path}: line {number} is no token: it must have {LEAST} to {MOST:,} letters, digits or -._~+/"
            )
        tokens.append(token)
    if not tokens:
        raise TokenFileError(f"{path} has no token: it must have one on each line")
    return tokens
