"""An archive record says why in the numbers of the policy that the session was decided by (SPEC 3.5)."""

from sidecar.budget.commands import CleanUp
from sidecar.budget.entries import CleanedUp
from sidecar.journal import Frame
from sidecar.journal.archive import Archive, operations
from sidecar.journal.codec import decode, encode
from tests.budget.desk import HOUR, Desk
from tests.budget.variants import variant


def reason(desk: Desk) -> tuple[str, str]:
    """Why debug output of three hours was removed: as archived, read back from the journal's bytes, and as directed."""
    desk.put("old", "debug")
    desk.wait(3 * HOUR)
    reply = desk.do(CleanUp(component="working_memory"))
    entries = tuple(decode(encode(desk.made(CleanedUp))))
    [archived] = operations(Frame(session="s", first=1, entries=entries, written_at=0.0))
    assert isinstance(archived, Archive)
    return archived.record.reason, reply["directives"][0]["reason"]


def test_under_standard_the_numbers_are_those_of_standard():
    desk = Desk()
    assert set(reason(desk)) == {"debug output created over 2 hours ago"}
    assert not desk.made(CleanedUp)[0].reasons, "what everybody knows is not written"


def test_under_another_policy_they_are_its_own():
    desk = Desk(preset=variant(cleanup={"debug_after": 1 * HOUR, "debug_after_calls": 20}))
    assert set(reason(desk)) == {"debug output created over 1 hour or 20 model calls ago"}
