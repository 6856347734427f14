"""Names and ids as the budget takes them: no control characters, at most 256 characters."""

import hashlib

LONGEST = 256
LONGEST_ID = 200  # leaves room for what is added to it
LONGEST_TOLD = 4_096  # of any name or id that telemetry tells and that is remembered


def id_of(text: str) -> str:
    """A command's id: readable where it fits."""
    return text if len(text) <= LONGEST_ID and text.isprintable() else hashlib.sha256(text.encode()).hexdigest()


def bounded(text: str) -> str:
    """A name or an id as it may be remembered; one that is too long is cut, and told apart by its digest."""
    if len(text) <= LONGEST_TOLD:
        return text
    return f"{text[:LONGEST_ID]}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def clean_name(text: str | None) -> str | None:
    """A name as the budget takes it: no control characters, at most 256."""
    if text is None:
        return None
    clean = text if text.isprintable() else "".join(char for char in text if char.isprintable())
    return clean[:LONGEST] or None


def session_name(text: str) -> str:
    """A session's id as the API takes it; one that is too long is cut, and told apart by its digest."""
    if 0 < len(text) <= LONGEST and text.isprintable():
        return text
    clean = "".join(char for char in text if char.isprintable())
    return f"{clean[:LONGEST_ID]}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"
