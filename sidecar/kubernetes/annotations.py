"""What a pod may ask for: the annotations, each with its form.

The same names, without the prefix, are what the operator settles for every namespace and for one. The later of
defaults, namespace and pod wins, but for `inject`: a "false" anywhere wins. A value that breaks its rule is left out,
and said so: a pod is better off with a sidecar by default settings than with none, or not started at all.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from sidecar.budget.policy import MODES
from sidecar.budget.presets import PRESETS
from sidecar.config import forms
from sidecar.kubernetes import PREFIX
from sidecar.kubernetes.quantities import QUANTITY, amount

# What the injector itself writes; a pod that is made from another one's manifest may carry them.
OWN = ("injected", "ignored")

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(\.{LABEL.pattern})*")
IMAGE = re.compile(
    r"(?=.{1,512}$)[a-z0-9][\w.-]*(:[0-9]{1,5}(?=/))?(/[a-z0-9][\w.-]*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is to be injected into one pod. None: as the template has it."""

    inject: bool = True
    container: str | None = None
    mode: str | None = None
    agent: str | None = None
    preset: str | None = None
    total_tokens: int | None = None
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config: str | None = None
    image: str | None = None
    otlp: bool = False


def read(*layers: Mapping[str, str]) -> tuple[Wishes, Sequence[str]]:
    """Read wishes from layers, the strongest last, and say what had to be left out: a sentence each."""
    values: dict[str, Any] = {}
    ignored: list[str] = []
    for layer in layers:
        for name, text in layer.items():
            if name not in FORMS:
                close = get_close_matches(name, FORMS, n=1)
                ignored.append(f"{name} is not known" + (f" (did you mean {close[0]}?)" if close else ""))
                continue
            try:
                value = FORMS[name](text)
            except ValueError as error:
                ignored.append(f"{name} {error}")
                continue
            if name == "inject":
                value = value and values.get("inject", True)
            values[name.replace("-", "_")] = value
    return Wishes(**values), ignored


def of(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    """The wishes that a pod's metadata carry. `inject` may be a label too, which the webhook's selectors can see."""
    wishes = {
        name.removeprefix(PREFIX): value
        for name, value in (metadata.get("annotations") or {}).items()
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in OWN
    }
    label = (metadata.get("labels") or {}).get(f"{PREFIX}inject")
    if label is not None and wishes.get("inject") != "false":
        wishes["inject"] = label
    return wishes


def _yes_or_no(value: Any) -> bool:
    if value not in ("true", "false"):
        raise ValueError('must be "true" or "false"')
    return bool(value == "true")


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"must be {what}")
        return value

    return read


def _resources(value: Any) -> Mapping[str, Mapping[str, str]]:
    rule = 'must be JSON such as {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}}'
    try:
        asked = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(rule) from None
    if not isinstance(asked, dict) or not asked.keys() <= {"requests", "limits"}:
        raise ValueError(rule)
    for amounts in asked.values():
        if not isinstance(amounts, dict) or not amounts.keys() <= set(RESOURCES):
            raise ValueError(rule)
        if not all(isinstance(text, str) and QUANTITY.fullmatch(text) for text in amounts.values()):
            raise ValueError(rule)
    requests, limits = asked.get("requests", {}), asked.get("limits", {})
    for name in requests.keys() & limits.keys():
        if amount(requests[name]) > amount(limits[name]):
            raise ValueError(f"must not request more {name} than it limits")
    return asked


FORMS: Mapping[str, Callable[[Any], Any]] = {
    "inject": _yes_or_no,
    "container": _matching(LABEL, "the name of a container"),
    "mode": forms.choice(*MODES),
    "agent": forms.name,
    "preset": forms.choice(*PRESETS),
    "total-tokens": forms.whole(at_least=1),
    "resources": _resources,
    "config": _matching(SUBDOMAIN, "the name of a ConfigMap"),
    "image": _matching(IMAGE, "the name of an image"),
    "otlp": _yes_or_no,
}
