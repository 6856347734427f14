"""The three sentences that somebody who has read all the tables would say first."""

import re
from collections.abc import Iterator, Sequence

from sidecar.lab.audit.findings import Audit, Cost, Verdict, Window, total
from sidecar.lab.style import count

MILLION = 1_000_000
UNIT = re.compile(r"(?<=\d) (?=%|[kMG]\b)")
JOINED = "\N{NO-BREAK SPACE}"
ONE_DIGIT = 9.95  # what is less is told with a digit after the point
NEAR = 0.9  # of the limit


def summary(audit: Audit) -> list[str]:
    """What filled the windows; what compactions and repetition cost; what a policy would have changed."""
    return [sentence for sentence in (_filled(audit), _wasted(audit), _changed(audit)) if sentence]


def sum_cost(windows: Sequence[Window]) -> Cost:
    """What was billed over all windows."""
    whole = Cost()
    for window in windows:
        for name in ("calls", "fresh", "written", "cached", "output"):
            setattr(whole, name, getattr(whole, name) + getattr(window.cost, name))
    return whole


def short(tokens: float) -> str:
    """A number of tokens in three digits or so: 950, 41 k, 3.2 M, 1.4 G."""
    for size, unit in ((1_000_000_000, "G"), (MILLION, "M"), (1_000, "k")):
        # What would be rounded up to the next unit is told in it.
        if tokens >= size * 0.9995:
            scaled = tokens / size
            return f"{scaled:.1f} {unit}" if scaled < ONE_DIGIT else f"{scaled:.0f} {unit}"
    return f"{tokens:.0f}"


def percent(part: float, whole: float) -> str:
    """A part of a whole, in percent; of nothing it is 0."""
    ratio = 100 * part / whole if whole else 0.0
    return f"{ratio:.1f} %" if 0 < ratio < ONE_DIGIT else f"{ratio:.0f} %"


def joined(sentence: str) -> str:
    """The sentence with each number joined to its unit, so that no line ends between them."""
    return UNIT.sub(JOINED, sentence)


def carried(audit: Audit) -> int:
    """Everything that all model calls carried, piece by piece."""
    return sum(tally.carried for window in audit.windows for tally in window.origins.values())


def _filled(audit: Audit) -> str:
    origins = total(audit.windows, "origins")
    whole = sum(tally.carried for tally in origins.values()) or sum(tally.tokens for tally in origins.values())
    parts = [(name, tally.carried or tally.tokens) for name, tally in origins.items()][:3]
    named = _listed(f"{name}{' was' * (at == 0)} {percent(part, whole)}" for at, (name, part) in enumerate(parts))
    fullest = max(audit.windows, key=lambda window: window.fill)
    over = sum(window.fill >= NEAR for window in audit.windows)
    crowd = (
        f"{over:,} of {count(len(audit.windows), 'window')} came within a tenth of the limit"
        if over
        else f"the fullest of {count(len(audit.windows), 'window')} reached {percent(fullest.peak, fullest.limit)}"
    )
    return f"Of all that your model calls carried, {named}; {crowd}."


def _wasted(audit: Audit) -> str:
    cuts = [cut for window in audit.windows for cut in window.compactions]
    told = [cut for cut in cuts if not cut.silent]
    again = sum(reread.tokens for window in audit.windows for reread in window.rereads.values())
    same = sum(reread.same_tokens for window in audit.windows for reread in window.rereads.values())
    parts = []
    if told:
        dropped, repaid = sum(cut.dropped for cut in told), sum(cut.repaid for cut in told)
        after = sum(cut.reread_tokens for cut in told)
        cost = f"{count(len(told), 'compaction')} threw out {short(dropped)} tokens"
        cost += f", made the provider read {short(repaid)} anew" if repaid else ""
        cost += f", and {short(after)} of files were read again afterwards" if after else ""
        parts.append(cost)
    else:
        parts.append("No window was compacted")
    if again:
        exactly = f", {short(same)} of it word for word" if same else ""
        parts.append(f"files still in the window were read again for {short(again)} tokens{exactly}")
    return "; ".join(parts) + "."


def _changed(audit: Audit) -> str:
    if not audit.verdicts:
        return ""
    best = _best(audit.verdicts)
    cuts = sum(cut.sparable for window in audit.windows for cut in window.compactions)
    freed = (
        f"would have freed {short(best.freed_tokens)} tokens in {count(best.cleanups, 'cleanup')}"
        if best.freed_tokens
        else "would have found nothing to free"
    )
    needed = f", {percent(best.readmitted_tokens, best.freed_tokens)} of them needed again" if best.freed_tokens else ""
    spared = f", and spared {best.spared:,} of {count(cuts, 'compaction')}" if cuts else ""
    refused = (
        f"refused something in {best.refused_windows:,} of {count(best.windows, 'window')}"
        if best.refused_windows
        else "refused nothing"
    )
    return f"The policy {best.policy} {freed}{needed}{spared}; it would have {refused}."


def _best(verdicts: Sequence[Verdict]) -> Verdict:
    """The last that was asked for: presets are told from the plainest to the most apt."""
    return verdicts[-1]


def _listed(parts: Iterator[str] | Sequence[str]) -> str:
    words = list(parts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
