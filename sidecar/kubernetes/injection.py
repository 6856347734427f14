"""What is injected: one document, which the chart renders from the template that other charts include.

    {"native": true,                              an init container that stays, first in the list; else a plain one
     "container": {...}, "volumes": [...],        as Kubernetes writes them in a pod
     "defaults": {"preset": "coding-agent"},      wishes of pods that have none of their own (see `annotations`)
     "namespaces": {"team-a": {"inject": "false"}}}

Without a document it is `injection.json` beside this module: what the chart renders from its default values.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from sidecar.kubernetes import CONTAINER, annotations


class InjectionError(Exception):
    """The document breaks a rule: one sentence that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """The container and its volumes, and what is settled for pods that do not say."""

    native: bool
    container: Mapping[str, Any]
    volumes: Sequence[Mapping[str, Any]]
    defaults: Mapping[str, str] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def ports(self) -> frozenset[int]:
        """Ports of the pod that the sidecar listens on: those it declares, and those on loopback."""
        declared = {port["containerPort"] for port in self.container.get("ports", ())}
        return frozenset(declared | {8321, 4318})


def load(path: Path | None) -> Injection:
    """Read the document; None is the one that is shipped.

    Raises:
        InjectionError: if it cannot be read, or breaks a rule.
    """
    label = str(path or "injection.json")
    try:
        text = (path or files(__package__) / "injection.json").read_text("utf-8")
    except OSError as error:
        raise InjectionError(f"{label} cannot be read: {error.strerror or error}") from error
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InjectionError(f"{label} is not JSON: {error}") from error
    return _checked(document, label)


def _checked(document: Any, label: str) -> Injection:
    def rule(holds: bool, sentence: str) -> None:
        if not holds:
            raise InjectionError(f"{label}: {sentence}")

    rule(isinstance(document, dict), "must be an object")
    unknown = document.keys() - Injection.__dataclass_fields__.keys()
    rule(not unknown, f"{', '.join(sorted(unknown))} is not known")
    native, container = document.get("native", True), document.get("container")
    volumes = document.get("volumes", [])
    rule(isinstance(native, bool), "native must be true or false")
    rule(isinstance(container, dict) and bool(container.get("image")), "container must be an object with an image")
    rule(container["name"] == CONTAINER if "name" in container else False, f"container.name must be {CONTAINER}")
    rule(
        isinstance(volumes, list) and all(isinstance(volume, dict) for volume in volumes),
        "volumes must be a list of objects",
    )
    defaults, namespaces = document.get("defaults", {}), document.get("namespaces", {})
    for name, wishes in {
        "defaults": defaults,
        **{f"namespaces.{space}": each for space, each in namespaces.items()},
    }.items():
        rule(isinstance(wishes, dict), f"{name} must be an object")
        _, wrong = annotations.read(wishes)
        rule(not wrong, "; ".join(f"{name}.{sentence}" for sentence in wrong))
    return Injection(native=native, container=container, volumes=volumes, defaults=defaults, namespaces=namespaces)
