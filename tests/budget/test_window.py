"""Window sync (SPEC 3.7): the ledger takes the difference, and whatever went wrong heals with the next one."""

from dataclasses import fields
from typing import Any

import pytest

from sidecar.budget.commands import CleanUp, ReportUsage, WindowItem
from sidecar.budget.entries import DirectivesUndone, ItemPut, ItemRemoved, ItemResized, WindowSynced
from sidecar.budget.errors import Invalid
from sidecar.budget.window import _compare
from tests.budget.desk import HOUR, NOW, Desk


@pytest.fixture
def desk():
    return Desk()


def compressed(desk, tokens=20_000):
    desk.sync(("c", tokens, "context"))
    desk.wait(HOUR + 1)
    desk.do(CleanUp(component="working_memory"))
    assert desk.used() == 8_000


def archived(desk):
    desk.put("t", "task", 100, completed=True)
    desk.do(CleanUp(component="working_memory"))


def test_new_items_are_put_missing_ones_removed_and_sizes_followed(desk):
    """New items put, missing ones removed by the host (archived with that reason), sizes followed."""
    desk.sync(("a", 100, "file"), ("b", 200, "context"))
    reply = desk.sync(("b", 250), ("c", 300, "doc"))
    assert [entry.item.id for entry in desk.made(ItemPut)] == ["c"]
    assert [(entry.item, entry.reason) for entry in desk.made(ItemRemoved)] == [
        ("a", "not in the host's window any more")
    ]
    assert [(entry.tokens_before, entry.tokens) for entry in desk.made(ItemResized)] == [(200, 250)]
    assert (desk.used(), desk.used("knowledge_base")) == (250, 300)
    assert reply["report"]["overall"]["used_tokens"] == 550
    assert reply["directives"] == []


def test_the_same_window_again_changes_nothing(desk):
    """A sync of what the ledger holds makes one entry: that it was shown."""
    window = [("a", 100, "file"), ("b", 200, "doc")]
    desk.sync(*window)
    desk.sync(*window)
    assert [type(entry) for entry in desk.last.entries] == [WindowSynced]


def test_an_id_twice_is_an_error_that_names_it(desk):
    """A window holds each item once; nothing of a window that does not is taken."""
    with pytest.raises(Invalid) as error:
        desk.sync(("a", 100, "file"), ("b", 1, "file"), ("a", 100, "file"))
    assert error.value.path == "items[2].id"


def test_an_item_that_is_new_needs_a_kind(desk):
    """For new ones kinds; for known ones an id and a size are enough."""
    desk.sync(("a", 100, "file"))
    with pytest.raises(Invalid) as error:
        desk.sync(("a", 100), ("b", 1))
    assert error.value.path == "items[1].kind"


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (WindowItem(id="a", tokens=1, kind="file", created_at="noon"), "items[0].created_at"),
        (WindowItem(id="a", tokens=1, kind="file", last_accessed_at=-1.0), "items[0].last_accessed_at"),
        (WindowItem(id="a", tokens=1, kind="doc", doc_tokens=2), "items[0].doc_tokens"),
    ],
)
def test_a_bad_field_is_named_by_its_index(desk, item, path):
    """Errors name the field, before anything has changed."""
    with pytest.raises(Invalid) as error:
        desk.sync(item)
    assert error.value.path == path


@pytest.mark.parametrize("window", [[], [("a", 5, "file")], [("x", 1_000, "interaction")]])
def test_after_a_sync_the_level_is_what_was_shown(desk, window):
    """Crash, resume, reset and forgotten events all heal: tokens that no shown item holds are gone."""
    desk.put("a", "file", 500)
    desk.ask(tokens=1_000, request_id="r")
    desk.do(ReportUsage(components={"knowledge_base": 4_000}, total=90_000))
    desk.sync(*window)
    assert desk.session.used == sum(item[1] for item in window)
    assert desk.session.unattributed == 0


def test_totals_below_the_items_heal_too(desk):
    """What a report once took off the items is forgotten when the window shows them."""
    desk.put("a", "file", 500)
    desk.do(ReportUsage(components={"working_memory": 100}))
    desk.sync(("a", 500))
    assert desk.used() == 500


def test_a_lease_that_runs_outlives_a_sync(desk):
    """Leased tokens are promised to something that is not in the window yet."""
    desk.ask(tokens=1_000, request_id="r", lease_seconds=60.0)
    desk.sync(("a", 10, "file"))
    assert desk.used() == 1_010
    desk.sync(("a", 10), WindowItem(id="b", tokens=900, kind="file", claims="r"))
    assert desk.used() == 910
    desk.wait(61)
    desk.sync(("a", 10), ("b", 900))
    assert desk.used() == 910


def test_a_directive_that_the_window_shows_applied_is_confirmed(desk):
    """Directives up to `through` confirmed: the size shown is followed."""
    compressed(desk)
    desk.sync(("c", 7_500), through=1)
    assert (desk.used(), desk.session.pending, desk.session.directives) == (7_500, 0, {})
    assert not desk.made(DirectivesUndone)


def test_a_directive_that_the_window_contradicts_is_undone(desk):
    """Up to `through` undone where the window shows so: the item is as it was."""
    compressed(desk)
    desk.sync(("c", 20_000), through=1)
    assert [entry.why for entry in desk.made(DirectivesUndone)] == ["shown"]
    assert (desk.used(), desk.session.pending) == (20_000, 0)
    assert desk.session.find("c").original_tokens is None


def test_later_directives_are_left_pending(desk):
    """Later ones left pending: the host has not come to them, and its window shows that."""
    compressed(desk)
    reply = desk.sync(("c", 20_000), through=0)
    assert (desk.used(), desk.session.pending) == (8_000, 12_000)
    assert [each["number"] for each in reply["directives"]] == [1]


def test_a_removal_that_waits_and_is_still_shown_stays_pending(desk):
    """The item in the window is the one that is to go, not a new one: no kind is asked for, nothing is put."""
    archived(desk)
    desk.sync(("t", 100), through=0)
    assert not desk.made(ItemPut)
    assert (desk.used(), desk.session.pending) == (0, 100)


def test_a_removal_that_was_tried_and_is_still_shown_is_undone(desk):
    """The item returns, whole."""
    archived(desk)
    desk.sync(("t", 100), through=1)
    assert (desk.used(), desk.session.pending) == (100, 0)
    assert desk.session.find("t").completed


def test_a_removal_that_is_not_shown_any_more_is_confirmed(desk):
    """Its tokens are confirmed, and nothing is archived a second time."""
    archived(desk)
    desk.sync(through=1)
    assert not desk.made(ItemRemoved)
    assert desk.session.pending == 0


def two_directives(desk):
    desk.put("i", "interaction", 1_000)
    for hours in (2, 4):
        desk.now = NOW + hours * HOUR + 1
        desk.do(CleanUp(component="interaction_buffer"))
    assert list(desk.session.directives) == [1, 2]


@pytest.mark.parametrize(
    ("shown", "through", "used", "pending"),
    [
        (None, 2, 0, 0),  # both happened
        (200, 1, 0, 200),  # summarized; the removal is still to come
        (200, 2, 200, 0),  # summarized; the removal did not happen
        (1_000, 2, 1_000, 0),  # neither happened
        (1_000, 1, 0, 1_000),  # not summarized; the removal is still to come
        (1_000, 0, 0, 1_000),  # both still to come
        (200, 0, 0, 1_000),
    ],
)
def test_two_directives_of_one_item_are_settled_by_what_is_shown(desk, shown, through, used, pending):
    """Summarize (1), then archive (2), partly confirmed: the window decides."""
    two_directives(desk)
    desk.sync(*([] if shown is None else [("i", shown)]), through=through)
    assert desk.used("interaction_buffer") == used
    assert desk.session.pending == pending


def test_another_size_than_both_overtakes_the_directive(desk):
    """A size that is neither the former nor the directed one is the host's own doing."""
    compressed(desk)
    desk.sync(("c", 15_000), through=0)
    assert [entry.why for entry in desk.made(DirectivesUndone)] == ["superseded"]
    assert (desk.used(), desk.session.pending) == (15_000, 0)


def test_more_said_of_an_item_whose_directive_waits_does_not_hide_its_size(desk):
    """The window shows the item as it was, and pinned now: the ledger holds it at that size, with nothing pending."""
    compressed(desk)
    desk.sync(WindowItem(id="c", tokens=20_000, pinned=True), through=0)
    item = desk.session.find("c")
    assert (item.tokens, item.pinned, item.original_tokens) == (20_000, True, None)
    assert (desk.used(), desk.session.pending) == (20_000, 0)


def test_through_must_have_been_sent(desk):
    """`through` beyond the highest directive is an error."""
    with pytest.raises(Invalid) as error:
        desk.sync(through=1)
    assert error.value.path == "through"


def test_another_fingerprint_is_another_text(desk):
    """An item put again may be compressed again, and its former text is not its content any more."""
    desk.sync(WindowItem(id="c", tokens=20_000, kind="context", fingerprint="x", content="old"))
    desk.wait(HOUR + 1)
    desk.do(CleanUp(component="working_memory"))
    desk.sync(WindowItem(id="c", tokens=20_000, fingerprint="y"), through=1)
    item = desk.session.find("c")
    assert (item.tokens, item.original_tokens, item.content) == (20_000, None, None)


def test_content_that_comes_later_is_kept(desk):
    """Content is archived where the agent supplied it, with the first sync or with a later one."""
    desk.sync(("c", 10, "context"))
    desk.sync(WindowItem(id="c", tokens=10, content="text"))
    assert desk.contents[desk.session.find("c").content] == "text"
    desk.sync(WindowItem(id="c", tokens=10, content="text"))
    assert len(desk.made(ItemPut)) == 0


def test_fields_left_out_stay_as_the_ledger_has_them(desk):
    """None stays: a sync with ids and sizes alone forgets nothing."""
    desk.put("a", "file", 100, path="p", group="g", pinned=True, created_at=NOW - 50)
    desk.sync(("a", 120))
    item = desk.session.find("a")
    assert (item.path, item.group, item.pinned, item.created_at, item.tokens) == ("p", "g", True, NOW - 50, 120)


def test_a_window_is_never_counted_together_with_the_one_it_replaces(desk):
    """The peak is what the window held, not the old and the new at once."""
    desk.sync(("a", 40_000, "file"))
    desk.sync(("b", 30_000, "file"))
    assert desk.session.peak == 40_000


def test_an_access_shown_is_followed_and_never_goes_back(desk):
    """`last_accessed_at` of a known item moves forward only."""
    desk.sync(("a", 10, "file"))
    desk.sync(WindowItem(id="a", tokens=10, last_accessed_at=NOW + 50))
    desk.sync(WindowItem(id="a", tokens=10, last_accessed_at=NOW + 20))
    assert desk.session.find("a").last_accessed_at == NOW + 50


@pytest.mark.parametrize("field", [each.name for each in fields(WindowItem) if each.name not in ("id", "tokens")])
def test_whatever_a_window_says_beyond_sizes_is_seen(desk, field):
    desk.put("a", tokens=1)
    said: dict[str, Any] = {field: "something else"}
    window_item = WindowItem(id="a", tokens=1, **said)
    assert _compare(desk.session, [window_item]) == ([], [(window_item, desk.session.find("a"))])


def test_an_item_shown_as_it_is_held_is_not_looked_at_again(desk):
    said: dict[str, Any] = {"path": "a.py", "fingerprint": "f", "group": "g", "doc_tokens": 1}
    said |= {"full": True, "completed": True, "pinned": True}
    desk.put("a", "file", 1, **said)
    same = WindowItem(id="a", tokens=1, kind="file", component="working_memory", **said)
    assert _compare(desk.session, [same]) == ([], [])
