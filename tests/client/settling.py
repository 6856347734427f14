"""What the next prompt would hold, as the window of an adapter has it, and what the sidecar holds of it."""

from sidecar.client.driving import adrive, drive
from sidecar.client.pieces import NOTES


def _settling(session, window, pieces):
    before = -1
    while before != window.through:
        before = window.through
        yield from window.turn(session, pieces)
    plan = yield from window.turn(session, pieces)
    shown = {each.piece.id: each.tokens for each in plan.shown if each.stub is None}
    return shown | ({NOTES: plan.note_tokens} if plan.note_tokens else {})


def settled(thread, pieces):
    """The prompt that would come next, once the sidecar has nothing more to say: sizes by id."""
    return drive(thread.session, _settling(thread.session, thread.window, pieces))


async def asettled(thread, pieces):
    """The same, of a thread whose session is awaited."""
    return await adrive(thread.awaited, _settling(thread.awaited, thread.window, pieces))


def items(asks, session="t1"):
    """What the ledger holds of the thread: sizes by id."""
    found, after = {}, None
    while True:
        page = asks(session, "items", limit=1000, after=after)
        found.update({item["id"]: item["tokens"] for item in page["items"]})
        after = page["next"]
        if after is None:
            return found
