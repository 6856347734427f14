"""The total in the host's own tokens: divided by what one of them is billed as (SPEC 3.9).

One call may mislead: a prompt holds what the host has not counted, or its answer came late. So the ratio is the median
of several, and the total follows only when it has clearly moved, so that budgets do not swing with each call.
"""

from statistics import median

from sidecar.budget.entries import Calibrated
from sidecar.budget.holding import billed_ratio
from sidecar.budget.turn import Turn


def calibrate(turn: Turn, total: int, counted: int) -> None:
    """A model call of `counted` tokens was billed as `total`: divide the window by another ratio if that says so."""
    session = turn.session
    rules = session.policy.calibrate
    told = billed_ratio(session, total, counted)
    if told is None:
        return
    ratio = min(max(median([*session.ratios, told][-rules.calls :]), rules.low), rules.high)
    if abs(ratio - session.calibration) > rules.hysteresis * session.calibration:
        turn.emit(Calibrated(time=turn.at, host=turn.host, before=session.calibration, ratio=ratio))
