"""What the client shows to a sidecar that asks who calls, and whom it trusts. All of it is in files, and may change.

`TOKEN_BUDGET_TOKEN_FILE`, `TOKEN_BUDGET_CA_FILE`, `TOKEN_BUDGET_CLIENT_CERTIFICATE` and `TOKEN_BUDGET_CLIENT_KEY` name
them where the caller does not.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

VARIABLES = {
    "token_file": "TOKEN_BUDGET_TOKEN_FILE",
    "ca_file": "TOKEN_BUDGET_CA_FILE",
    "certificate_file": "TOKEN_BUDGET_CLIENT_CERTIFICATE",
    "key_file": "TOKEN_BUDGET_CLIENT_KEY",
}


class Credentials:
    """`token_file`: its first line that is no comment is the token. `ca_file`: what is trusted instead of the system's.

    `certificate_file` and `key_file` are shown where the sidecar asks clients for a certificate.
    """

    def __init__(
        self,
        *,
        token_file: str | None = None,
        ca_file: str | None = None,
        certificate_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        given = {
            "token_file": token_file,
            "ca_file": ca_file,
            "certificate_file": certificate_file,
            "key_file": key_file,
        }
        files = {name: given[name] or os.environ.get(variable) for name, variable in VARIABLES.items()}
        self._token_file = files["token_file"]
        self._ca, self._certificate, self._key = files["ca_file"], files["certificate_file"], files["key_file"]
        self._token = ""
        self._seen: object = None
        self._context: ssl.SSLContext | None = None
        self._made_of: object = None

    def headers(self) -> Mapping[str, str]:
        """What goes with each request. Raises `OSError` where the file cannot be read."""
        if self._token_file is None:
            return {}
        now = _changes([self._token_file])
        if now != self._seen:
            lines = (line.strip() for line in Path(self._token_file).read_text("utf-8").splitlines())
            self._token = next((line for line in lines if line and not line.startswith("#")), "")
            self._seen = now
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def tls(self) -> "ssl.SSLContext":
        """What TLS is spoken with. Raises `OSError` where a file cannot be used."""
        import ssl  # as slow as all else together: a hook that starts anew at each step does without

        now = _changes([self._ca, self._certificate, self._key])
        if self._context is None or now != self._made_of:
            name, file = "ca_file", self._ca
            try:
                context = ssl.create_default_context(cafile=file)
                if self._certificate is not None:
                    name, file = "certificate_file", self._certificate
                    context.load_cert_chain(file, self._key, password="")
            except ssl.SSLError as error:  # where a file is not there, that was said above
                raise OSError(error.errno, f"{name} {file} cannot be used: {error.reason or error}") from error
            self._context, self._made_of = context, now
        return self._context


def _changes(files: Sequence[str | None]) -> object:
    """What is another when one of the files is."""
    found = [Path(file).stat() for file in files if file is not None]
    return [(each.st_ino, each.st_mtime_ns, each.st_size) for each in found]
