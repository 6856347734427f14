"""Which answers are worth another attempt, and when (OTLP specification 1.10, "OTLP/HTTP Response")."""

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite

RETRYABLE = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds. Pauses double from `first` to `last`, each give or take `jitter` of itself.

    An attempt may take `attempt`; a payload is given up `payload` after it was first tried.
    """

    first: float = 1.0
    last: float = 30.0
    jitter: float = 0.2
    attempt: float = 10.0
    payload: float = 300.0

    def pause(self, attempts: int, *, asked: float | None = None) -> float:
        """How long to wait after so many failed attempts; `asked`: what the other side wants at least."""
        pause = min(self.first * 2.0 ** min(attempts - 1, 32), self.last)
        pause *= 1 + self.jitter * (2 * random.random() - 1)  # noqa: S311 - spreads attempts, protects nothing
        return pause if asked is None else max(asked, pause)


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number of them, or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if isfinite(seconds) else None
