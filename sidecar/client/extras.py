"""What an adapter says where its framework is missing: the extra that brings it."""

from types import TracebackType


class Extra:
    """Around the imports of a framework: `with Extra("langchain"): from langchain ...`.

    Raises:
        ImportError: it is not installed, or not as this adapter needs it; names the extra to install.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Tell what to install, where something could not be imported."""
        if isinstance(error, ImportError):
            install = f"pip install 'token-budget-sidecar[{self._name}]'"
            raise ImportError(f"this needs the extra {self._name!r}: {install} ({error})") from error  # noqa: TRY004
