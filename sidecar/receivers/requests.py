"""What a request says besides its body: the session and the item its path names, and its query parameters."""

from functools import lru_cache
from urllib.parse import unquote_to_bytes

from aiohttp import web

from sidecar.budget.errors import Invalid
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.receivers.shapes import Malformed, Shape

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
LAST_NUMBER = 2**63 - 1


def named(request: web.Request, part: str, shape: Shape[str]) -> str:
    """What the path has for `part`, percent-decoded. Raises `Invalid` where that is no name."""
    raw = request.raw_path
    if "%" in raw or not raw.isascii():
        try:
            unquote_to_bytes(request.rel_url.raw_path).decode()
        except UnicodeError:
            raise Invalid(f"{part} in the path must be UTF-8, percent-encoded", path=part) from None
    return _checked(request.match_info[part], part, shape)


@lru_cache(maxsize=4096)
def _checked(name: str, part: str, shape: Shape[str]) -> str:
    """The name, if it is one. The same few sessions are named again and again, so what was found is remembered."""
    try:
        return shape.check(name)
    except Malformed as error:
        raise Invalid(f"{part} {error.broken[0].rule}", path=part) from None


class Query:
    """The query parameters of a request, each read once; what is left then was not known."""

    def __init__(self, request: web.Request) -> None:
        self._given: dict[str, str] = {}
        for name, value in request.query.items():
            if name in self._given:
                raise Invalid(f"{name} must be given once", path=name)
            self._given[name] = value

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        text = self._given.pop(name, None)
        if text is None:
            return default
        # Longer than any number that is allowed: Python takes its time for thousands of digits.
        if (
            not (text.isascii() and text.isdigit() and len(text) <= len(str(LAST_NUMBER)))
            or not least <= int(text) <= most
        ):
            raise Invalid(f"{name} must be a whole number from {least:,} to {most:,}", path=name)
        return int(text)

    def text(self, name: str) -> str | None:
        """Text, or None where it is not given."""
        return self._given.pop(name, None)

    def component(self) -> Component | None:
        """One of the five components, or None where it is not given."""
        text = self._given.pop("component", None)
        if text is None:
            return None
        for component in COMPONENTS:
            if component == text:
                return component
        raise Invalid(f"component must be one of {', '.join(COMPONENTS)}", path="component")

    def limit(self) -> int:
        """How many a page may have."""
        return self.number("limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX)

    def end(self) -> None:
        """Nothing else may be asked: a parameter that is misspelt would otherwise do nothing, in silence."""
        for name in self._given:
            raise Invalid(f"{name} is not a query parameter of this call", path=name)
