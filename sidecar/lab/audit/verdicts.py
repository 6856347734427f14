"""What a policy would have made of the audited windows: the same sessions through the same engine."""

from collections.abc import Callable, Mapping, Sequence

from sidecar.lab.audit.findings import Verdict, Window
from sidecar.lab.backtest.arms import Arm
from sidecar.lab.backtest.course import Course, courses
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.running import measured
from sidecar.lab.recordings import Recording


def judge(
    recordings: Sequence[Recording],
    arms: Sequence[Arm],
    windows: Sequence[Window],
    *,
    each: Callable[[], None] = lambda: None,
) -> list[Verdict]:
    """Run all windows under each policy; `each` is called after every recording and policy."""
    told = [courses(recording) for recording in recordings]
    found = {window.session: window for window in windows}
    return [_verdict(arm, _measure(told, arm, each), found) for arm in arms]


def _measure(told: Sequence[Sequence[Course]], arm: Arm, each: Callable[[], None]) -> list[Measures]:
    if arm.carries:  # what an agent's session taught goes on to its next one: all in one
        outcome = measured([course for courses in told for course in courses], arm)
        for _ in told:
            each()
        return outcome
    outcome = []
    for own in told:
        outcome += measured(own, arm)
        each()
    return outcome


def _verdict(arm: Arm, measures: Sequence[Measures], windows: Mapping[str, Window]) -> Verdict:
    known = [each for each in measures if each.session in windows]
    spared = [each for each in known if not each.overflows]
    return Verdict(
        policy=arm.name,
        windows=len(known),
        refused_windows=sum(each.refused_tokens > 0 for each in known),
        refused_tokens=sum(each.refused_tokens for each in known),
        overflowing_windows=sum(each.overflows > 0 for each in known),
        peak_ratio=max((each.peak_billed / each.limit for each in known), default=0.0),
        cleanups=sum(each.cleanups for each in known),
        emergencies=sum(each.emergencies for each in known),
        freed_tokens=sum(each.freed_tokens for each in known),
        readmitted_tokens=sum(each.readmitted_tokens for each in known),
        cache_lost_tokens=sum(each.cache_lost_tokens for each in known),
        spared=sum(cut.sparable for each in spared for cut in windows[each.session].compactions),
    )
