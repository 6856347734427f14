"""Session time: the host's where the host tells it, monotone, never far ahead of the server's (SPEC 3.9)."""

import re
from datetime import datetime

from sidecar.budget.commands import Time
from sidecar.budget.errors import Invalid
from sidecar.budget.session import Session

AHEAD = 300.0  # how far ahead of the server a host's clock may be, seconds
YEAR_10000 = 253_402_300_800.0  # which RFC 3339 cannot write any more

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_RULE = "must be RFC 3339 with an offset, as in 2026-01-31T08:00:00Z, or seconds since the epoch"


def parse_time(value: Time, *, path: str) -> float:
    """Seconds since the epoch; `Invalid` names `path` and the rule."""
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise Invalid(f"{path} {_RULE}", path=path)
        try:
            seconds = datetime.fromisoformat(value.upper().replace(" ", "T")).timestamp()
        except (ValueError, OverflowError):
            raise Invalid(f"{path} is no time that exists: {_RULE}", path=path) from None
    else:
        seconds = float(value)
    if not 0 <= seconds < YEAR_10000:
        raise Invalid(f"{path} must lie between the years 1970 and 9999", path=path)
    return seconds


def session_time(session: Session | None, time: Time | None, *, now: float) -> float:
    """When a command happens on the session's clock. `now` is the server's time, `time` the command's own.

    An earlier time counts as the last one; more than 5 minutes ahead of the server is `Invalid`.
    """
    if time is None:
        if session is None or (now > session.clock and not session.host_clock):
            return now if now > 0.0 else 0.0  # noqa: FURB136 - asked for each command; `max` costs three times as much
        return session.clock
    last = session.clock if session is not None else 0.0
    at = parse_time(time, path="time")
    if at > now + AHEAD:
        raise Invalid("time must not be more than 5 minutes ahead of the server's clock", path="time")
    return max(at, last)
