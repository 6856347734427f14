"""Kubernetes' amounts of a resource, as far as a sidecar needs them: "10m" of a processor, "64Mi" of memory."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)(m|k|Ki|M|Mi|G|Gi)?")
UNITS = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
}


def amount(text: str) -> Decimal:
    """The number that a quantity stands for. Raises `ValueError` if it is none."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is no quantity such as 10m or 64Mi')
    return Decimal(match[1]) * UNITS[match[2]]


def merged(resources: Mapping[str, Any], wished: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Resources with the wished ones in their place.

    A request above its limit would keep the pod from being made, so whichever was not wished for follows the other.
    """
    requests = {**resources.get("requests", {}), **wished.get("requests", {})}
    limits = {**resources.get("limits", {}), **wished.get("limits", {})}
    for name in requests.keys() & limits.keys():
        if amount(requests[name]) > amount(limits[name]):
            if name in wished.get("limits", {}):
                requests[name] = limits[name]
            else:
                limits[name] = requests[name]
    return {kind: amounts for kind, amounts in (("requests", requests), ("limits", limits)) if amounts}
