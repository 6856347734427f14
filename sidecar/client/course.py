"""How a call goes, without doing it: what to send, when to wait, when to give up, and what then stands for an answer.

`Courses.run` is a generator: it yields `Send` and `Pause`, is sent answers, or thrown what went wrong on the way
(`OSError`, `BadAnswer`). A blocking and an asynchronous driver do what it says, so all rules stand here once.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from sidecar.client.calls import TOLD, Call
from sidecar.client.errors import Away, BadAnswer, Refused
from sidecar.client.replies import Report
from sidecar.client.wire import Answer, Request

if TYPE_CHECKING:
    import logging

R = TypeVar("R")

BUSY = frozenset({429, 502, 503, 504})  # SPEC section 4: overloaded, or the journal is away; what proxies say likewise
CREATED, WRONG, UNAUTHENTICATED, UNKNOWN, CONFLICT, FAULT = 201, 400, 401, 404, 409, 500
BATCH, BATCH_TEXT = 500, 1_000_000  # events told at once, and characters in them: a body has 8 MiB at most
FIRST_PAUSE, FIRST_REST = 0.05, 0.5  # seconds
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # what OpenSSL says, by version, to an answer in plain HTTP
NO_TLS_THERE = "TLS is not spoken there: write http:// instead of https://"


class Send(NamedTuple):
    """Send this, and have the answer by the deadline (in `Courses.clock`'s seconds)."""

    request: Request
    deadline: float


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


Doing: TypeAlias = Generator[Send | Pause, Answer | None, R]


class Openable(Protocol):
    """A session as the course of its calls needs it."""

    id: str

    def opening_call(self) -> Call[Report]:
        """The call that opens it."""
        ...


def trace_headers() -> Mapping[str, str]:
    """The caller's W3C trace context, where this process traces with OpenTelemetry; nothing is imported for it."""
    propagate = sys.modules.get("opentelemetry.propagate")
    headers: dict[str, str] = {}
    if propagate is not None:
        propagate.inject(headers)
    return headers


class Courses:
    """The courses of all calls of one client, and what they share: whether the sidecar is there, and what it missed.

    `timeout`: seconds that a call may take in all, with its retries. `rest`: after a call that got no answer, none is
    tried for half a second, then for longer, up to this: an absent sidecar must not cost each turn its timeout.
    `buffer`: how many facts are kept for it; the oldest are dropped first, and counted in `dropped`.
    """

    def __init__(
        self,
        *,
        timeout: float = 2.0,
        fail: Literal["open", "closed"] = "open",
        buffer: int = 10_000,
        rest: float = 15.0,
        trace: Callable[[], Mapping[str, str]] = trace_headers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if fail not in ("open", "closed"):
            raise ValueError(f"fail must be 'open' or 'closed', and not {fail!r}")
        self.timeout = timeout
        self.fail_open = fail == "open"
        self.clock = clock
        self.dropped = 0
        self.rejected = 0
        self.absences = 0
        self.kept: deque[Mapping[str, Any]] = deque()
        self._size = buffer
        self._longest = rest
        self._rest = min(FIRST_REST, rest)
        self._resting_until = -1.0
        self._trace = trace
        self._opened: set[str] = set()

    def run(self, session: Openable, call: Call[R]) -> Doing[R]:
        """The course of one call.

        Raises:
            Refused: the call was wrong.
            Away: no answer in time, and nothing can stand in for it or the client fails closed.
        """
        try:
            self._check_rested()
            deadline = self.clock() + self.timeout
            if session.id not in self._opened and not call.opens:
                yield from self._open(session, deadline)
            if self.kept:
                yield from self._tell_kept(deadline)
            reply: R = _reply(call, (yield from self._reopening(session, call, deadline)))
            if call.opens:
                self._opened.add(session.id)
            return reply
        except Away as away:
            if not self.fail_open or call.offline is None:
                raise
            self.absences += 1
            _log().debug("going on without the sidecar: %s", away)
            self._keep(call.events)
            return call.offline()

    def _check_rested(self) -> None:
        left = self._resting_until - self.clock()
        if left > 0:
            raise Away(f"the sidecar did not answer; it is tried again in {left:.1f} s")

    def _open(self, session: Openable, deadline: float) -> Doing[bool]:
        """Open a session before its first call; whether that made it. One that is open as something else stays so."""
        try:
            created = (yield from self._exchange(session.opening_call(), deadline)).status == CREATED
        except Refused as refused:
            if refused.status != CONFLICT:
                raise
            created = False
            _log().debug("%s", refused)
        self._opened.add(session.id)
        return created

    def _reopening(self, session: Openable, call: Call[Any], deadline: float) -> Doing[Answer]:
        """Make the call; where the sidecar lost or closed the session meanwhile, open it again and repeat."""
        try:
            return (yield from self._exchange(call, deadline))
        except Refused as refused:
            closed = refused.status == CONFLICT and "closed" in refused.detail
            if call.opens or not (closed or refused.status == UNKNOWN):
                raise
            created = yield from self._open(session, deadline)
            if not (created or closed):
                raise
            return (yield from self._exchange(call, deadline))

    def _exchange(self, call: Call[Any], deadline: float) -> Doing[Answer]:
        """Send until there is an answer, or no time left for another try."""
        request = call.request(self._trace())
        pause = FIRST_PAUSE
        while True:
            wait: float | None = None
            try:
                answer = yield Send(request, deadline)
            except (OSError, BadAnswer) as error:
                trouble = str(error) or type(error).__name__
                if getattr(error, "reason", None) in NO_TLS:  # no better the next moment
                    self._rest_from_now()
                    _log().warning("%s", NO_TLS_THERE)
                    raise Away(f"{request.method} {request.path}: {NO_TLS_THERE}") from error
            else:
                assert answer is not None  # noqa: S101 - what a driver sends for `Send`
                if answer.status < 300:  # noqa: PLR2004 - no redirections here
                    self._rest, self._resting_until = min(FIRST_REST, self._longest), -1.0
                    return answer
                if answer.status == UNAUTHENTICATED:
                    self._rest_from_now()
                    _log().warning("the sidecar does not know this client: %s", _refusal(answer).detail)
                    raise Away(f"{request.method} {request.path}: {answer.status}")
                if WRONG <= answer.status < FAULT and answer.status not in BUSY:
                    raise _refusal(answer)
                if answer.status not in BUSY:  # a fault there, or no sidecar at all: no better the next moment
                    self._rest_from_now()
                    _log().warning("the sidecar fails: %s", _refusal(answer))
                    raise BadAnswer(f"{request.method} {request.path}: {answer.status}")
                trouble, wait = f"{answer.status}", _retry_after(answer.headers)
            wait = pause if wait is None else max(wait, pause)
            if self.clock() + wait >= deadline:
                self._rest_from_now()
                raise Away(f"{request.method} {request.path}: {trouble}")
            yield Pause(wait)
            pause *= 2

    def _rest_from_now(self) -> None:
        self._resting_until = self.clock() + self._rest
        self._rest = min(2 * self._rest, self._longest)

    # --- what the sidecar missed --------------------------------------------------------------------------------------

    def _keep(self, events: tuple[Mapping[str, Any], ...]) -> None:
        self.kept.extend(events)
        with contextlib.suppress(IndexError):  # another thread was faster
            while len(self.kept) > self._size:
                self.kept.popleft()
                self.dropped += 1

    def _next_batch(self) -> list[Mapping[str, Any]]:
        batch: list[Mapping[str, Any]] = []
        text = 0
        with contextlib.suppress(IndexError):  # none is left
            while len(batch) < BATCH and text < BATCH_TEXT:
                batch.append(self.kept.popleft())
                text += len(str(batch[-1].get("item", "")))
        return batch

    def _tell_kept(self, deadline: float) -> Doing[None]:
        """Tell what was kept, oldest first. Their ids make it harmless to tell a batch again."""
        while self.kept:
            batch = self._next_batch()
            if not batch:
                break
            call: Call[Any] = Call(method="POST", path="/v1/events", body=batch, fields=TOLD)
            try:
                reply = _reply(call, (yield from self._exchange(call, deadline)))
            except Refused as refused:  # telling it again would not make it better
                self.rejected += len(batch)
                _log().warning("the sidecar refused %d facts: %s", len(batch), refused)
            except BaseException:
                self.kept.extendleft(reversed(batch))
                raise
            else:
                self.rejected += int(reply["rejected"])


def _log() -> "logging.Logger":
    import logging  # as slow as the sockets: a hook that starts anew at each step seldom has a word to say

    return logging.getLogger(__name__)


def _reply(call: Call[Any], answer: Answer) -> Any:
    """What was answered. Raises `BadAnswer` where it is not what the sidecar answers to this call."""
    reply = answer.json()
    if call.fields and not (isinstance(reply, dict) and all(field in reply for field in call.fields)):
        raise BadAnswer(f"the answer to {call.method} {call.path} has no {' and '.join(call.fields)}")
    return reply


def _refusal(answer: Answer) -> Refused:
    try:
        problem = answer.json()
        return Refused(answer.status, str(problem["detail"]), tuple(problem.get("errors", ())))
    except (BadAnswer, LookupError, TypeError, AttributeError):
        return Refused(answer.status, answer.body[:200].decode(errors="replace") or "no reason was given")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
