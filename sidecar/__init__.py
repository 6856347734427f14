"""Token budget sidecar: watches, grants and cleans up the context window of an LLM agent.

The package is an application first: `token-budget-sidecar serve`, or `sidecar.app.make_app` inside another program.
What a host agent imports is `sidecar.client`. Nothing is loaded before it is used, so importing the package is free.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look up `__version__` in the installed distribution, so that it is written in one place: pyproject.toml."""
    if name == "__version__":
        from importlib.metadata import version

        return version("token-budget-sidecar")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """List the lazy names beside those that are here."""
    return sorted({*globals(), *__all__})
