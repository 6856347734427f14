"""From an AdmissionReview's bytes to its answer's: pure, and always "allowed".

Whatever goes wrong with a pod, it is let in as it is, with a warning that kubectl shows: budgets are worth having, but
never worth a pod that does not start.
"""

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.kubernetes import PREFIX, annotations
from sidecar.kubernetes.injection import Injection
from sidecar.kubernetes.patch import REASONS, Unfit, has_sidecar, inject

log = logging.getLogger(__name__)

API_VERSION = "admission.k8s.io/v1"
# The API server cuts longer warnings, and drops them where there are too many.
LONGEST_WARNING = 250
# What can come of a request: (result, reason).
OUTCOMES = (
    ("injected", ""),
    ("skipped", "opted_out"),
    ("skipped", "present"),
    ("skipped", "not_a_new_pod"),
    *(("skipped", reason) for reason in REASONS),
    ("failed", "malformed"),
    ("failed", "internal_error"),
)


class NotAReview(Exception):
    """The bytes are no AdmissionReview that could be answered: how so, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The body to send back, what came of the request (one of `OUTCOMES`), and what it was about, for the log."""

    body: bytes
    result: str
    reason: str = ""
    subject: str = ""
    notes: Sequence[str] = ()


def answer(body: bytes, injection: Injection) -> Answer:
    """Answer a review.

    Raises:
        NotAReview: if there is nothing that could be answered.
    """
    request = _request(body)
    uid = request["uid"]
    pod: Any = request.get("object")
    if request.get("operation", "CREATE") != "CREATE" or (request.get("kind") or {}).get("kind", "Pod") != "Pod":
        return Answer(body=_allowed(uid), result="skipped", reason="not_a_new_pod")
    subject = _subject(request)
    try:
        _check_pod(pod)
        return _decide(uid, pod, request.get("namespace") or "", injection, subject)
    except Unfit as unfit:
        warning = f"token-budget-sidecar was not injected: the pod {unfit}"
        return Answer(
            body=_allowed(uid, warnings=[warning]),
            result="skipped",
            reason=unfit.reason,
            subject=subject,
            notes=[str(unfit)],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason, note = "malformed", f"the pod could not be read ({type(error).__name__}: {error})"
    except Exception:
        log.exception("a bug in the injector; the pod %s is let in as it is", subject)
        reason, note = "internal_error", "the injector failed; its log says how"
    warning = f"token-budget-sidecar was not injected: {note}"
    return Answer(body=_allowed(uid, warnings=[warning]), result="failed", reason=reason, subject=subject, notes=[note])


def _decide(uid: str, pod: Mapping[str, Any], namespace: str, injection: Injection, subject: str) -> Answer:
    if has_sidecar(pod):
        return Answer(body=_allowed(uid), result="skipped", reason="present", subject=subject)
    layers = (injection.defaults, injection.namespaces.get(namespace, {}), annotations.of(pod["metadata"]))
    wishes, ignored = annotations.read(*layers)
    if not wishes.inject:
        return Answer(body=_allowed(uid), result="skipped", reason="opted_out", subject=subject)
    patch = inject(pod, injection, wishes, ignored)
    warnings = [f"token-budget-sidecar: {PREFIX}{sentence}" for sentence in patch.ignored]
    return Answer(
        body=_allowed(uid, warnings=warnings, patch=patch.operations),
        result="injected",
        subject=subject,
        notes=patch.ignored,
    )


def _request(body: bytes) -> Mapping[str, Any]:
    try:
        review = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAReview(f"the body is not JSON: {error}") from error
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview":
        raise NotAReview("the body is no AdmissionReview")
    if review.get("apiVersion") != API_VERSION:
        raise NotAReview(f"apiVersion must be {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise NotAReview("request.uid must be a string")
    return request


def _check_pod(pod: Any) -> None:
    """What the rest relies on; anything else that a pod must be, the API server has checked or will."""
    if not isinstance(pod, dict):
        raise TypeError("object must be a pod")
    for field in ("metadata", "spec"):
        if not isinstance(pod.get(field), dict):
            raise TypeError(f"{field} must be an object")


def _subject(request: Mapping[str, Any]) -> str:
    pod = request.get("object")
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    name = request.get("name") or metadata.get("name") or f"{metadata.get('generateName', '')}*"
    return f"{request.get('namespace', '')}/{name}"


def _allowed(uid: str, *, warnings: Sequence[str] = (), patch: Sequence[Mapping[str, Any]] = ()) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(patch, separators=(",", ":")).encode()).decode()
    if warnings:
        response["warnings"] = [_printable(warning)[:LONGEST_WARNING] for warning in warnings]
    return json.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}).encode()


def _printable(text: str) -> str:
    """A warning travels in a header."""
    return "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in text)
