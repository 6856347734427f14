"""What is measured of one window under one policy: plain sums, so that any number of windows add up."""

from dataclasses import dataclass, field
from typing import Any

RECENT = 3  # model calls: what was read in the last three must stay
HORIZON = 10  # model calls ahead that the forecast is held against


@dataclass(slots=True, kw_only=True)
class Measures:
    """One window under one policy. Sizes in counted tokens unless they say otherwise.

    Args:
        session: the window's session in the recording; `project` and `part` are whose it is, and what it serves for.
        policy: the name of the policy.
        limit: the window's size, in the provider's tokens.
        total_tokens: all that ever came in. `fits`: it is no more than the limit; `fits_billed`: nor is it in the
            provider's tokens.
        calls: model calls.
        requests: what the host asked for; `refusals` and `refused_tokens` what it was not granted.
        exhaustions: requests and facts that did not fit their component.
        emergencies: cleanups triggered by an exhaustion, those that freed nothing included.
        cleanups: those that freed something, whatever triggered them; `freed_tokens`: what they freed.
        overflows: model calls whose window was over the limit, in the provider's tokens.
        peak_billed: the fullest window at a model call, in the provider's tokens.
        readmitted_tokens: freed, then needed again: read again or used while no other copy was there, or freed in the
            call after they were read.
        recent_actions: items removed or shrunk that came in or were used in the last three calls.
        cache_lost_tokens: cached tokens that had to be sent anew, because something before them had changed.
        calls_in_target: model calls whose window stood inside the overall target; `calls_above`: above it.
        errors: of each forecast of the whole window's utilization ten calls ahead, the absolute error in points;
            where nothing was cleaned up in between, which is what a forecast supposes.
    """

    session: str
    project: str
    part: str
    policy: str
    limit: int
    total_tokens: int = 0
    fits: bool = True
    fits_billed: bool = True
    calls: int = 0
    requests: int = 0
    refusals: int = 0
    refused_tokens: int = 0
    exhaustions: int = 0
    emergencies: int = 0
    cleanups: int = 0
    freed_tokens: int = 0
    overflows: int = 0
    peak_billed: int = 0
    readmitted_tokens: int = 0
    recent_actions: int = 0
    cache_lost_tokens: int = 0
    calls_in_target: int = 0
    calls_above: int = 0
    errors: list[float] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON has it: every number, the forecast's errors as their median."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name != "errors"}
        shown["forecast_error_points"] = quantile(self.errors, 0.5)
        return shown


def quantile(values: list[float], at: float) -> float | None:
    """The value below which the part `at` of the values lies, the nearest of them; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(at * len(ordered)), len(ordered) - 1)]
