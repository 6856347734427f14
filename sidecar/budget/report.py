"""What a session looks like from outside: the report of SPEC section 4, and the small views beside it."""

from datetime import UTC, datetime
from itertools import islice

from sidecar.budget.allocation import shown
from sidecar.budget.cleanup import reasons
from sidecar.budget.items import Item
from sidecar.budget.policy import ComponentPolicy, Target
from sidecar.budget.replies import (
    ComponentReport,
    DirectiveReply,
    ItemReply,
    Report,
    SessionSummary,
    State,
    TargetRange,
)
from sidecar.budget.session import Directive, Session


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state(session: Session, *, idle: bool = False) -> State:
    """The word for where a session is in its life; `idle` is known to the server alone."""
    if session.closed:
        return "closed"
    if session.drifted:
        return "drifted"
    return "idle" if idle else "active"


def report(session: Session, *, idle: bool = False) -> Report:
    """The utilization report (SPEC section 4). `idle` is known to the server alone."""
    components = {}
    for name, held in session.components.items():
        one: ComponentReport = {
            "allocated_tokens": held.allocated,
            "used_tokens": held.used,
            "available_tokens": held.available,
            "pending_tokens": held.pending,
            "borrowed_tokens": held.borrowed,
            "utilization_ratio": held.utilization,
            "status": held.status,
            "target": _range(held.policy),
            "exhaustions": held.exhaustions,
        }
        reclaimable = session.reclaimable(name)
        if reclaimable is not None:
            one["reclaimable_tokens"] = reclaimable
        components[name] = one
    return {
        "session": session.id,
        "agent": session.agent,
        "parent": session.parent,
        "mode": session.mode,
        "model": session.model,
        "state": state(session, idle=idle),
        "timestamp": rfc3339(session.clock),
        "components": components,
        "overall": {
            "total_tokens": session.total,
            "used_tokens": session.used,
            "available_tokens": session.available,
            "pending_tokens": session.pending,
            "unattributed_tokens": session.unattributed,
            "utilization_ratio": session.utilization,
            "status": session.status,
            "target": _target(session.policy.overall_target),
        },
        "forecast": session.forecast(),
        "shares": shown(session.shares),
        "provider_ratio": session.believed_ratio,
        "source": session.source,
    }


def _range(policy: ComponentPolicy) -> TargetRange:
    return _target(policy.target)


def _target(target: Target) -> TargetRange:
    return {"low": target.low, "high": target.high}


def summary(session: Session, *, idle: bool = False) -> SessionSummary:
    """A session in a list."""
    return {
        "session": session.id,
        "agent": session.agent,
        "mode": session.mode,
        "state": state(session, idle=idle),
        "model": session.model,
        "total_tokens": session.total,
        "used_tokens": session.used,
        "utilization_ratio": session.utilization,
        "status": session.status,
    }


def item_reply(item: Item) -> ItemReply:
    """An item as the ledger holds it."""
    return {
        "id": item.id,
        "kind": item.kind,
        "component": item.component,
        "tokens": item.tokens,
        "created_at": rfc3339(item.created_at),
        "last_accessed_at": rfc3339(item.last_accessed_at),
        "completed": item.completed,
        "pinned": item.pinned,
        "full": item.full,
        "doc_tokens": item.doc_tokens,
        "group": item.group,
        "path": item.path,
        "fingerprint": item.fingerprint,
    }


def directive_replies(session: Session) -> list[DirectiveReply]:
    """The pending directives, oldest first, as many as one answer carries (SPEC 3.6)."""
    if not session.directives:
        return []
    why = reasons(session.policy.cleanup)
    return [
        _told(each, why[each.step])
        for each in islice(session.directives.values(), session.policy.directives_per_answer)
    ]


def directive_reply(session: Session, directive: Directive) -> DirectiveReply:
    """One directive; for a removed item with the stub that takes its place in the window."""
    return _told(directive, reasons(session.policy.cleanup)[directive.step])


def _told(directive: Directive, why: str) -> DirectiveReply:
    reply: DirectiveReply = {
        "number": directive.number,
        "action": directive.action.action,
        "item": directive.item,
        "component": directive.component,
        "tokens_before": directive.tokens_before,
        "tokens_after": directive.tokens_after,
        "step": directive.step,
        "reason": why,
    }
    if directive.former is not None:
        what = f"{directive.former.kind} {(directive.former.path or directive.item)!r}"
        reply["stub"] = (
            f"[{what} ({directive.tokens_before:,} tokens) was archived: {why}. "
            f"To get it back, restore item {directive.item!r} from the archive.]"
        )
    return reply
