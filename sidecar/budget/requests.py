"""Requests and what becomes of their grants (SPEC 3.2): the only commands that can be refused."""

from hashlib import blake2b

from sidecar.budget.commands import ItemSpec, ReleaseTokens, RequestAllocation
from sidecar.budget.entries import Allocated, LeaseLapsed, Outcome, Released
from sidecar.budget.errors import Conflict, Invalid, NotFound
from sidecar.budget.facts import claimable, described, put, remove
from sidecar.budget.items import COMPONENT_OF
from sidecar.budget.lending import missing, own_room, room
from sidecar.budget.policy import Component
from sidecar.budget.replies import AllocationReply, Cleanup, ReleaseReply
from sidecar.budget.session import Session
from sidecar.budget.turn import Turn, cleanup_reply, named
from sidecar.budget.whole import make_room


def request(turn: Turn, command: RequestAllocation, *, restoring: str | None = None) -> AllocationReply:
    """Decide a request: grant it, or clean up and try again, or grant what is left, or nothing.

    `restoring`: the digest by which the restore of an item is recognized, where this is one.
    """
    component, tokens = _asked(command)
    session = turn.session
    digest = restoring
    if digest is None and command.request_id is not None:
        digest = _digest(command, component, tokens)
    if command.request_id is not None and digest is not None:
        first = answered_before(session, command.request_id, digest)
        if first is not None:
            return first

    item = described(turn, command.item) if command.item is not None else None
    need = tokens - _brought(session, command.item, component)
    held = session.components[component]
    if item is not None:
        turn.protected.add(item.id)
    outcome, cleanup = _tried(turn, component, tokens, need)
    granted = tokens
    if outcome != "full" and need > (left := room(session, component)):
        whole = item is not None or command.all_or_nothing
        granted = 0 if whole else left
        if granted < (command.min_tokens or 0):
            granted = 0
        outcome = "partial" if granted else "denied"

    holds = item is not None and granted > 0
    after = held.used + (need if granted == tokens else granted)
    entry = Allocated(
        time=turn.at,
        host=turn.host,
        component=component,
        requested=tokens,
        granted=granted,
        outcome=outcome,
        available_tokens=max(0, held.allocated - max(0, after)),
        item=item.id if item is not None else None,
        request_id=command.request_id,
        digest=digest,
        lease_until=turn.at + command.lease_seconds
        if command.lease_seconds is not None and granted and not holds
        else None,
        cleanup=cleanup,
    )
    turn.emit(entry)
    if granted and command.item is not None and item is not None:
        put(turn, command.item, item, granted=True, restored=restoring is not None)
    if outcome == "borrowed" and session.mode == "managed" and held.budget_mark is None:
        turn.note(component, "budget", held.due, held.due_call)
    turn.check_targets()
    return _reply(entry)


def _tried(turn: Turn, component: Component, tokens: int, need: int) -> tuple[Outcome, Cleanup | None]:
    """What a request of `tokens` comes to if there is room for the `need` of them: cleans up where there is none."""
    session = turn.session
    held = session.components[component]
    own = own_room(session, component)
    outcome: Outcome = "full"
    cleanup: Cleanup | None = None
    if need > own or (session.policy.elastic.on and missing(session, component, need)):
        if need > own and need > held.available:
            turn.exhaust(component, tokens=tokens, available=held.available, by_request=True)
            outcome = "after_cleanup"
        run = make_room(turn, component, need) if session.mode == "managed" else None
        if run is not None:
            outcome, cleanup = "after_cleanup", cleanup_reply(run)
        if need > own_room(session, component):
            outcome = "borrowed"
    return outcome, cleanup


def answered_before(session: Session, request_id: str, digest: str) -> AllocationReply | None:
    """The first answer to a repeated request; `Conflict` if the id stands for another one."""
    first = session.requests.get(request_id)
    if first is None:
        return None
    if first.digest != digest:
        raise Conflict(f"request_id {request_id!r} was used before for another request", path="request_id")
    return _reply(first)


def _asked(command: RequestAllocation) -> tuple[Component, int]:
    item = command.item
    if item is None:
        if command.tokens is None:
            raise Invalid(
                "tokens is required: a whole number of 1 or more (or an item, which brings its own)", path="tokens"
            )
        component, tokens = named(command.component), command.tokens
    else:
        component = item.component or COMPONENT_OF[item.kind]
        tokens = item.tokens
        if tokens < 1:
            raise Invalid("item.tokens must be 1 or more in a request", path="item.tokens")
        if command.component not in (None, component):
            raise Invalid(f"component must be the item's, {component}, or be left out", path="component")
        if command.tokens not in (None, tokens):
            raise Invalid(f"tokens must be the item's, {tokens}, or be left out", path="tokens")
    if command.min_tokens is not None and command.min_tokens > tokens:
        raise Invalid(f"min_tokens must not be more than the {tokens} tokens asked for", path="min_tokens")
    if command.lease_seconds is not None and command.request_id is None:
        raise Invalid("lease_seconds needs a request_id, by which an item can claim the grant", path="lease_seconds")
    return component, tokens


def _digest(command: RequestAllocation, component: Component, tokens: int) -> str:
    """What makes two requests the same: everything asked, but not when or in which event."""
    if command.min_tokens is None and command.lease_seconds is None and not command.all_or_nothing:
        asked = f"{component}|{tokens}|None|False|None"  # mostly; to write what is not there takes as long as the rest
    else:
        asked = f"{component}|{tokens}|{command.min_tokens}|{command.all_or_nothing}|{command.lease_seconds}"
    return asked if command.item is None else f"{asked}|{_described(command.item)}"


def _described(item: ItemSpec) -> str:
    return "|".join(
        repr(each)
        for each in (
            item.id,
            item.kind,
            item.created_at,
            item.last_accessed_at,
            item.completed,
            item.pinned,
            item.group,
            item.path,
            item.fingerprint,
            item.full,
            item.doc_tokens,
            item.claims,
            None
            if item.content is None
            else blake2b(item.content.encode("utf-8", "replace"), digest_size=8).hexdigest(),
        )
    )


def _brought(session: Session, item: ItemSpec | None, component: Component) -> int:
    """Tokens of the component that an item does not need anew: its own former size, and the grant it claims."""
    if item is None:
        return 0
    brought = 0
    before = session.components[component].items.get(item.id)
    if before is not None:
        brought += before.tokens
    if item.claims is not None:
        grant = session.grants.get(item.claims)
        if grant is not None and grant.component == component:
            brought += claimable(session, grant)
    return brought


def _reply(entry: Allocated) -> AllocationReply:
    return {
        "component": entry.component,
        "requested": entry.requested,
        "granted": entry.granted,
        "outcome": entry.outcome,
        "available_tokens": entry.available_tokens,
        "cleanup": entry.cleanup,  # type: ignore[typeddict-item]  # it is one, in general terms
        "directives": [],
    }


def lapse(turn: Turn) -> None:
    """Free the grants whose lease ran out before now (SPEC 3.2)."""
    session = turn.session
    if session.next_lapse is None or turn.at < session.next_lapse:
        return
    due = [
        (grant.lease_until, request_id, grant)
        for request_id, grant in session.grants.items()
        if grant.lease_until is not None and grant.lease_until <= turn.at
    ]
    for _, request_id, grant in sorted(due, key=lambda each: each[:2]):
        free = min(grant.tokens, max(0, session.components[grant.component].unheld))
        turn.emit(
            LeaseLapsed(time=turn.at, host=turn.host, request_id=request_id, component=grant.component, tokens=free)
        )


def release(turn: Turn, command: ReleaseTokens) -> ReleaseReply:
    """Give back tokens that no item holds, or an item."""
    session = turn.session
    if command.item is not None:
        if command.tokens is not None:
            raise Invalid("tokens cannot be combined with item: the item is released whole", path="tokens")
        item = session.find(command.item)
        if item is None:
            raise NotFound(f"item {command.item!r} is not held by this session", path="item")
        if command.component not in (None, item.component):
            raise Invalid(f"component must be the item's, {item.component}, or be left out", path="component")
        component, tokens = item.component, item.tokens
        remove(turn, command.item, reason="released by the host")
    else:
        component = named(command.component)
        if command.tokens is None:
            raise Invalid("tokens is required: a whole number of 1 or more (or an item)", path="tokens")
        tokens = command.tokens
        free = max(0, session.components[component].unheld)
        if tokens > free:
            raise Conflict(
                f"tokens must be at most {free}: that is what {component} holds outside its items", path="tokens"
            )
        turn.emit(Released(time=turn.at, host=turn.host, component=component, tokens=tokens))
    reply: ReleaseReply = {
        "component": component,
        "released_tokens": tokens,
        "available_tokens": session.components[component].available,
        "directives": [],
    }
    if command.item is not None:
        reply["item"] = command.item
    return reply
