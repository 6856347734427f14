"""How a setting is declared: a field of `Config` that says what it means, how it is read and how it is written."""

from dataclasses import field
from typing import Any

from sidecar.config import forms


def setting(
    default: Any, meaning: str, form: forms.Form[Any], written: str, *, repeat: bool = False, secret: bool = False
) -> Any:
    """One setting: its default, what it means, how it is read, and how it is written (in --help and the reference).

    `secret`: its value is never shown.
    """
    metadata = {"meaning": meaning, "form": form, "written": written, "repeat": repeat, "secret": secret}
    return field(default=default, metadata=metadata)


def optional_file(meaning: str) -> Any:
    """The setting of a file that there need not be."""
    return setting(None, meaning, forms.optional(forms.file), "FILE|off")


def optional_url(meaning: str) -> Any:
    """The setting of a URL that there need not be."""
    return setting(None, meaning, forms.optional(forms.http_url), "URL|off")


def files(meaning: str) -> Any:
    """The setting of any number of files."""
    return setting((), meaning, forms.any_number(forms.file), "FILE,...|off", repeat=True)
