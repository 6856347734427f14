"""Requests (SPEC 3.2): the only commands that can be refused, and a refusal is a result."""

from typing import Any

import pytest

from sidecar.budget.commands import ItemSpec, ReleaseTokens, RemoveItem, ReportUsage, RequestAllocation, RestoreItem
from sidecar.budget.entries import Allocated, BoundExceeded, CleanedUp, Exhausted, LeaseLapsed
from sidecar.budget.errors import Conflict, Invalid, NotFound
from tests.budget.desk import HOUR, NOW, Desk

# working_memory of the default window has 60,000 tokens, interaction_buffer 50,000 (SPEC 3.1).


@pytest.fixture
def desk():
    return Desk()


def test_a_request_that_fits_exactly_is_granted_in_full(desk):
    """1. It fits: grant it (`full`); exactly the budget fits."""
    reply = desk.ask(tokens=60_000)
    assert (reply["requested"], reply["granted"], reply["outcome"]) == (60_000, 60_000, "full")
    assert reply["available_tokens"] == 0
    assert reply["cleanup"] is None
    assert not desk.all(Exhausted)


def test_one_token_more_than_fits_is_an_exhaustion_and_a_partial_grant(desk):
    """2, 3. It does not fit: an exhaustion, a cleanup, then what is left."""
    reply = desk.ask(tokens=60_001)
    assert (reply["granted"], reply["outcome"], reply["available_tokens"]) == (60_000, "partial", 0)
    assert reply["cleanup"]["trigger"] == "allocation"
    assert reply["cleanup"]["tokens_freed"] == 0
    assert [(entry.component, entry.by) for entry in desk.all(Exhausted)] == [("working_memory", "request")]


def test_nothing_left_is_denied_and_grants_nothing(desk):
    """A grant is never negative: a full component, and one that facts took over its budget, grant 0."""
    desk.put("f", tokens=60_000)
    assert desk.ask(tokens=1)["outcome"] == "denied"
    desk.put("g", tokens=30_000)
    reply = desk.ask(tokens=1)
    assert (reply["granted"], reply["outcome"], reply["available_tokens"]) == (0, "denied", 0)


def test_what_cleanup_makes_room_for_is_granted_after_cleanup(desk):
    """2. After the cleanup it fits: `after_cleanup`."""
    desk.put("t", "task", 59_000, completed=True, pinned=True)
    desk.put("d", "task", 500, completed=False)
    desk.put("u", "task", 500, completed=True, pinned=True)
    desk.do(RemoveItem(item="d"))
    desk.put("c", "task", 500, completed=True, created_at=NOW)
    reply = desk.ask(tokens=400)
    assert (reply["granted"], reply["outcome"]) == (400, "after_cleanup")
    assert reply["cleanup"]["actions_taken"] == ["archive_tasks"]
    assert reply["cleanup"]["tokens_freed"] == 500
    assert reply["directives"][0]["item"] == "c"
    assert reply["available_tokens"] == 60_000 - 59_000 - 500 - 400


@pytest.mark.parametrize(
    ("more", "granted", "outcome"),
    [
        ({"min_tokens": 10_000}, 10_000, "partial"),
        ({"min_tokens": 10_001}, 0, "denied"),
        ({"all_or_nothing": True}, 0, "denied"),
        ({"min_tokens": 0}, 10_000, "partial"),
    ],
)
def test_a_partial_grant_below_the_least_that_helps_is_denied(desk, more, granted, outcome):
    """`min_tokens` (or `all_or_nothing`) turns a partial below it into `denied`."""
    desk.put("f", tokens=50_000)
    reply = desk.ask(tokens=20_000, **more)
    assert (reply["granted"], reply["outcome"]) == (granted, outcome)
    assert desk.used() == 50_000 + granted


def test_an_item_is_granted_whole_or_not_at_all(desk):
    """A request with an item is granted whole, and the item held, or denied."""
    desk.put("f", tokens=50_000)
    assert desk.ask_item("big", tokens=10_001)["outcome"] == "denied"
    assert desk.session.find("big") is None
    reply = desk.ask_item("fits", tokens=10_000)
    assert (reply["outcome"], reply["requested"]) == ("full", 10_000)
    assert desk.session.find("fits").tokens == 10_000
    assert desk.used() == 60_000


def test_an_item_put_anew_needs_only_what_it_grows_by(desk):
    """An item that the component holds brings its own tokens."""
    desk.put("f", tokens=60_000)
    assert desk.ask_item("f", tokens=60_000)["outcome"] == "full"
    assert desk.ask_item("f", tokens=59_000)["available_tokens"] == 1_000
    assert desk.ask_item("f", tokens=60_001)["outcome"] == "denied"
    assert desk.used() == 59_000


def test_shrinking_an_item_of_an_overfull_component_leaves_nothing_available(desk):
    """Available is allocated minus used, at least 0: also in the answer to a request that needs nothing."""
    desk.put("f", tokens=80_000, pinned=True)
    desk.put("g", tokens=20_000, pinned=True)
    reply = desk.ask_item("g", tokens=10_000, item={"pinned": True})
    assert (reply["outcome"], reply["available_tokens"]) == ("full", 0)


def test_an_item_of_the_request_is_not_touched_by_its_cleanup(desk):
    """Items of the current command are never touched by the cleanups it causes."""
    desk.put("t", "task", 40_000, completed=True, pinned=True)
    reply = desk.ask_item("t", "task", 70_000, item={"completed": True})
    assert reply["outcome"] == "denied"
    assert desk.session.find("t").tokens == 40_000


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"component": "working_memory"}, "tokens"),
        ({"tokens": 5}, "component"),
        ({"component": "working_memory", "tokens": 5, "min_tokens": 6}, "min_tokens"),
        ({"component": "working_memory", "tokens": 5, "lease_seconds": 6.0}, "lease_seconds"),
        ({"item": ItemSpec(id="a", kind="file", tokens=0)}, "item.tokens"),
        ({"item": ItemSpec(id="a", kind="file", tokens=2), "tokens": 3}, "tokens"),
        ({"item": ItemSpec(id="a", kind="file", tokens=2), "component": "agent_context"}, "component"),
        ({"item": ItemSpec(id="a", kind="file", tokens=2, doc_tokens=3)}, "item.doc_tokens"),
        ({"item": ItemSpec(id="a", kind="file", tokens=90_000, created_at="noon")}, "item.created_at"),
    ],
)
def test_an_unsound_request_names_its_field_and_changes_nothing(desk, fields, path):
    """A request is for 1 token or more; what contradicts itself is an error before anything happens."""
    with pytest.raises(Invalid) as error:
        desk.do(RequestAllocation(**fields))
    assert error.value.path == path
    assert len(desk.entries) == 1


def test_a_repeated_request_returns_the_first_answer_and_changes_nothing(desk):
    """A repeated `request_id` returns the first answer and changes nothing, later and after a restart too."""
    first = desk.ask(tokens=50_000, request_id="r")
    desk.ask(tokens=5_000)
    before = len(desk.entries)
    desk.restart()
    again = desk.ask(tokens=50_000, request_id="r", time=NOW + 100)
    assert again == first
    assert len(desk.entries) == before
    assert desk.used() == 55_000


@pytest.mark.parametrize(
    "other",
    [
        {"tokens": 101},
        {"component": "agent_context"},
        {"min_tokens": 1},
        {"all_or_nothing": True},
        {"lease_seconds": 1.0},
    ],
)
def test_the_same_request_id_with_another_body_is_a_conflict(desk, other):
    """The same `request_id` with another body is 409."""
    asked: Any = {"component": "working_memory", "tokens": 100, "request_id": "r"}
    desk.do(RequestAllocation(**asked))
    with pytest.raises(Conflict) as error:
        desk.do(RequestAllocation(**{**asked, **other}))
    assert error.value.path == "request_id"


@pytest.mark.parametrize(
    "other", [{"kind": "debug"}, {"content": "other"}, {"path": "b"}, {"group": "g"}, {"pinned": True}, {"id": "z"}]
)
def test_the_same_request_id_with_another_item_is_a_conflict(desk, other):
    """The item is part of a request's body, its content too."""
    body: Any = {"id": "a", "kind": "file", "tokens": 5, "path": "a", "content": "text"}
    desk.do(RequestAllocation(item=ItemSpec(**body), request_id="r"))
    desk.do(RequestAllocation(item=ItemSpec(**body), request_id="r"))
    with pytest.raises(Conflict):
        desk.do(RequestAllocation(item=ItemSpec(**{**body, **other}), request_id="r"))
    assert len(desk.all(Allocated)) == 1


def test_a_lease_lapses_unless_it_is_claimed(desk):
    """`lease_seconds` makes a grant lapse, before the command that comes at that time is decided."""
    desk.ask(tokens=60_000, request_id="r", lease_seconds=60.0)
    desk.wait(59)
    assert desk.ask(tokens=1)["outcome"] == "denied"
    desk.wait(1)
    reply = desk.ask(tokens=60_000)
    assert reply["outcome"] == "full"
    assert [(entry.request_id, entry.tokens) for entry in desk.all(LeaseLapsed)] == [("r", 60_000)]


def test_a_claimed_lease_becomes_the_item_and_does_not_lapse(desk):
    """A later item claims a grant: its tokens are the item's then, and nothing lapses."""
    desk.ask(tokens=1_000, request_id="r", lease_seconds=60.0)
    desk.put("f", tokens=900, claims="r")
    assert desk.used() == 900
    desk.wait(HOUR)
    desk.put("g", tokens=100)
    assert not desk.all(LeaseLapsed)
    assert desk.used() == 1_000


def test_a_grant_without_lease_stays_and_can_be_claimed(desk):
    """Without `lease_seconds` a grant stays; an item may still claim it, in a request too."""
    desk.ask(tokens=60_000, request_id="r")
    desk.wait(24 * HOUR)
    reply = desk.ask_item("f", tokens=60_000, item={"claims": "r"})
    assert reply["outcome"] == "full"
    assert desk.used() == 60_000


def test_a_grant_that_was_released_brings_nothing_to_a_claim(desk):
    """Tokens are counted once: what was given back cannot be claimed, nor lapse a second time."""
    desk.ask(tokens=1_000, request_id="r", lease_seconds=60.0)
    desk.ask(tokens=400, request_id="q")
    desk.do(ReleaseTokens(component="working_memory", tokens=1_000))
    desk.wait(61)
    desk.put("f", tokens=10)
    assert desk.used() == 410
    desk.put("g", tokens=59_000, pinned=True)
    assert desk.ask_item("h", tokens=900, item={"claims": "r"})["outcome"] == "denied"


def test_only_tokens_that_no_item_holds_can_be_released(desk):
    """`releases`: only tokens held by no item; more is 409."""
    desk.put("f", tokens=500)
    desk.ask(tokens=100)
    with pytest.raises(Conflict):
        desk.do(ReleaseTokens(component="working_memory", tokens=101))
    reply = desk.do(ReleaseTokens(component="working_memory", tokens=100))
    assert (reply["released_tokens"], reply["available_tokens"]) == (100, 59_500)
    reply = desk.do(ReleaseTokens(item="f"))
    assert (reply["item"], reply["released_tokens"], reply["available_tokens"]) == ("f", 500, 60_000)
    with pytest.raises(NotFound):
        desk.do(ReleaseTokens(item="f"))


def test_every_request_cleans_up_again_though_nothing_has_grown(desk):
    """Step 2 has no exception: each request that does not fit is an exhaustion and a cleanup of its own."""
    desk.put("f", tokens=60_000, pinned=True)
    for _ in range(3):
        assert desk.ask(tokens=10)["cleanup"] is not None
    assert len(desk.all(Exhausted)) == 3
    assert not desk.all(CleanedUp)
    assert len(desk.all(BoundExceeded)) == 1


def test_a_restore_repeated_with_its_request_id_returns_the_first_answer(desk):
    """A restore is a request: repeated it changes nothing, though the item is back already."""
    desk.put("f", tokens=500, content="text")
    desk.do(RemoveItem(item="f"))
    record = desk.archive["f"]
    first = desk.do(RestoreItem(item="f", request_id="r"), archived=record)
    assert (first["outcome"], first["item"]["content"]) == ("full", "text")
    assert desk.session.find("f").tokens == 500
    before = len(desk.entries)
    assert desk.do(RestoreItem(item="f", request_id="r"), archived=record) == first
    assert len(desk.entries) == before
    with pytest.raises(Conflict):
        desk.do(RestoreItem(item="f"), archived=record)


def test_a_restore_that_does_not_fit_is_denied(desk):
    """3.5: back through an allocation."""
    desk.put("f", tokens=50_000)
    desk.do(RemoveItem(item="f"))
    desk.put("g", tokens=20_000)
    assert desk.do(RestoreItem(item="f"), archived=desk.archive["f"])["outcome"] == "denied"
    assert desk.session.find("f") is None


def test_a_partial_grant_after_the_host_reported_less_than_its_items(desk):
    """Used is never below 0, and what the host's totals say counts for requests too."""
    desk.put("f", tokens=50_000)
    desk.do(ReportUsage(components={"working_memory": 10_000}))
    assert desk.ask(tokens=50_000)["outcome"] == "full"


def test_a_grant_that_the_hosts_totals_say_is_gone_brings_nothing(desk):
    """Tokens that a report of levels has taken away cannot be claimed, so nothing is granted twice."""
    desk.ask(tokens=1_000, request_id="r")
    desk.do(ReportUsage(components={"working_memory": 0}))
    desk.put("f", tokens=60_000)
    assert desk.ask_item("g", tokens=900, item={"claims": "r"})["outcome"] == "denied"
