"""What went wrong, as an answer: one table from error to status, and RFC 9457 problem details for all of them.

The status says what the sender should do: 4xx is wrong and stays wrong when it is sent again, but for 429, which like
503 says when to try again.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sidecar.access.errors import Forbidden, Unauthenticated
from sidecar.budget.errors import BudgetError, Conflict, Invalid, NotFound
from sidecar.journal import Damaged, JournalError
from sidecar.ledger import Overloaded, Tally
from sidecar.receivers.bodies import NO_GUESSING, TooLarge, TooSlow, Undecodable, UnsupportedMedia
from sidecar.receivers.shapes import Malformed, NotJson

log = logging.getLogger(__name__)

EVENTS_PATH = "/v1/events"
MEDIA_TYPE = "application/problem+json"
# How long a sender should wait for a journal that does not work. It is tried again all the time; that is our guess.
JOURNAL_RETRY = 2.0


class FieldProblem(TypedDict):
    """A field that breaks a rule, and the rule as a sentence."""

    path: str
    detail: str


class ProblemReply(TypedDict):
    """Problem details (RFC 9457). `errors` where fields of the body or the query are to blame."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[FieldProblem]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, its name (the end of its `type`, and the reason in metrics), its title."""

    status: int
    name: str
    title: str


MALFORMED = Kind(400, "malformed", "The body cannot be read")
INVALID = Kind(400, "invalid", "The request breaks a rule")
UNAUTHENTICATED = Kind(401, "unauthenticated", "Nobody known asks")
FORBIDDEN = Kind(403, "forbidden", "Who asks may not do this")
NOT_FOUND = Kind(404, "not_found", "There is no such thing")
NOT_ALLOWED = Kind(405, "method_not_allowed", "The method is not known here")
TOO_SLOW = Kind(408, "timeout", "The body did not arrive in time")
CONFLICT = Kind(409, "conflict", "The request contradicts what is already so")
TOO_LARGE = Kind(413, "too_large", "The body is too large")
UNSUPPORTED = Kind(415, "media_type", "The body is in a form that is not read here")
OVERLOADED = Kind(429, "overloaded", "There is too much to do")
FAILED = Kind(500, "failed", "The sidecar failed")
DAMAGED = Kind(500, "damaged", "What is stored of the session cannot be read")
UNAVAILABLE = Kind(503, "unavailable", "The journal does not work")

# The one table. An error that is not in it is a fault of the sidecar: it is logged, and answered 500.
KINDS: Mapping[type[Exception], Kind] = {
    NotJson: MALFORMED,
    Malformed: INVALID,
    Undecodable: MALFORMED,
    Invalid: INVALID,
    Unauthenticated: UNAUTHENTICATED,
    Forbidden: FORBIDDEN,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
    TooSlow: TOO_SLOW,
    TooLarge: TOO_LARGE,
    UnsupportedMedia: UNSUPPORTED,
    Overloaded: OVERLOADED,
    JournalError: UNAVAILABLE,
    Damaged: DAMAGED,
}
HTTP_KINDS: Mapping[int, Kind] = {kind.status: kind for kind in (NOT_FOUND, NOT_ALLOWED, TOO_LARGE)}
REFUSALS = (UNAUTHENTICATED, FORBIDDEN)
RETRYABLE = frozenset({OVERLOADED.status, UNAVAILABLE.status})


@dataclass(frozen=True, slots=True)
class Problem:
    """One error as it is answered."""

    kind: Kind
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> ProblemReply:
        """The problem details."""
        body: ProblemReply = {
            "type": f"urn:token-budget:problem:{self.kind.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return body

    def response(self) -> web.Response:
        """The HTTP answer."""
        return web.Response(
            status=self.kind.status,
            headers={**NO_GUESSING, **self.headers},
            body=msgspec.json.encode(self.body),
            content_type=MEDIA_TYPE,
        )


def explain(error: Exception) -> Problem:
    """The problem that an error is."""
    kind = next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), None)
    if kind is None:
        log.error("A request failed", exc_info=error)
        return Problem(FAILED, "this is a fault of the sidecar, and in its log")
    detail = str(error) or kind.title
    if isinstance(error, Malformed):
        return Problem(kind, detail, tuple(FieldProblem(path=rule.path, detail=rule.detail) for rule in error.broken))
    if isinstance(error, BudgetError) and error.path:
        return Problem(kind, detail, (FieldProblem(path=error.path, detail=detail),))
    if isinstance(error, Overloaded):
        return Problem(kind, detail, headers=_retry(error.retry_after))
    if isinstance(error, JournalError) and kind is UNAVAILABLE:
        return Problem(kind, detail, headers=_retry(JOURNAL_RETRY))
    if isinstance(error, Unauthenticated | Forbidden):
        return Problem(kind, detail, headers={"WWW-Authenticate": error.challenge} if error.challenge else {})
    if isinstance(error, UnsupportedMedia):
        accepted = {"Accept-Encoding": error.encoding} if error.encoding else {"Accept": ", ".join(error.accept)}
        return Problem(kind, detail, headers=accepted)
    return Problem(kind, detail)


def _retry(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _explain_http(error: web.HTTPException, request: web.Request) -> Problem:
    """What the router or aiohttp itself refused."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            NOT_ALLOWED, f"{request.path} does not know {request.method}, but {allowed}", headers={"Allow": allowed}
        )
    if error.status == NOT_FOUND.status:
        return Problem(NOT_FOUND, f"nothing answers at {request.path}; /openapi.json lists what does")
    kind = HTTP_KINDS.get(error.status, Kind(error.status, "http", error.reason))
    return Problem(kind, error.text or error.reason)


def answering_problems(tally: Tally) -> Middleware:
    """The middleware that answers every error as a problem, and OPTIONS with the methods that a path knows.

    What was refused is tallied, but for reads of whoever may read: they bring in nothing.
    """

    @web.middleware
    async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if isinstance(error, web.HTTPMethodNotAllowed) and request.method == "OPTIONS":
                allowed = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
                return web.Response(status=204, headers={"Allow": allowed})
            problem = _explain_http(error, request)
        except ConnectionError:
            raise  # the client is gone
        except Exception as error:  # noqa: BLE001 - `explain` logs what it does not know
            problem = explain(error)
        if request.method not in ("GET", "HEAD") or problem.kind in REFUSALS:
            tally.rejected("events" if request.path == EVENTS_PATH else "api", problem.kind.name)
        return problem.response()

    return answer_problems


def documented() -> Mapping[int, Kind]:
    """Status to kind, for the OpenAPI document."""
    kinds = (
        INVALID,
        UNAUTHENTICATED,
        FORBIDDEN,
        NOT_FOUND,
        NOT_ALLOWED,
        TOO_SLOW,
        CONFLICT,
        TOO_LARGE,
        UNSUPPORTED,
        OVERLOADED,
        FAILED,
        UNAVAILABLE,
    )
    return {kind.status: kind for kind in kinds}
