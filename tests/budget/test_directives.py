"""Directives (SPEC 3.6): the ledger is ahead of the window until the host confirms, fails or overtakes each of them."""

import pytest

from sidecar.budget.commands import (
    Acknowledge,
    CleanUp,
    CompleteItem,
    Failure,
    ItemSpec,
    PutItem,
    RemoveItem,
    TouchItem,
)
from sidecar.budget.entries import DirectivesConfirmed, DirectivesUndone, ItemRemoved
from sidecar.budget.errors import Invalid
from tests.budget.desk import HOUR, NOW, Desk


@pytest.fixture
def desk():
    return Desk()


def finish(desk, *ids, tokens=100):
    """Completed tasks of so many tokens each, cleaned up by hand."""
    for id in ids:
        desk.put(id, "task", tokens, completed=True)
    return desk.do(CleanUp(component="working_memory"))


def compressed(desk, id="c", tokens=20_000):
    """A context of 20,000 tokens that a cleanup compressed to 8,000."""
    desk.put(id, "context", tokens)
    desk.wait(HOUR + 1)
    return desk.do(CleanUp(component="working_memory"))


def archived_after_compression(desk):
    """An interaction of 1,000 tokens: 1 summarizes it to 200, 2 archives it."""
    desk.put("i", "interaction", 1_000, content="text")
    desk.wait(2 * HOUR + 1)
    desk.do(CleanUp(component="interaction_buffer"))
    desk.wait(2 * HOUR)
    desk.do(CleanUp(component="interaction_buffer"))
    assert [(each.number, each.tokens_before, each.tokens_after) for each in desk.session.directives.values()] == [
        (1, 1_000, 200),
        (2, 200, 0),
    ]


def numbers(reply):
    return [each["number"] for each in reply["directives"]]


def test_directives_are_numbered_from_1_and_travel_in_the_same_answer(desk):
    """A directive: number (from 1, per session), action, item, component, sizes, step, reason, and a stub."""
    reply = finish(desk, "a", "b")
    assert numbers(reply) == [1, 2]
    first = reply["directives"][0]
    assert {key: first[key] for key in ("action", "item", "component", "tokens_before", "tokens_after", "step")} == {
        "action": "archive",
        "item": "a",
        "component": "working_memory",
        "tokens_before": 100,
        "tokens_after": 0,
        "step": "archive_tasks",
    }
    assert first["reason"]
    assert "'a'" in first["stub"]
    assert "\n" not in first["stub"]


def test_only_a_removed_item_leaves_a_stub(desk):
    """For a removed item a stub; what is compressed stays, smaller."""
    (directive,) = compressed(desk)["directives"]
    assert (directive["action"], directive["tokens_before"], directive["tokens_after"]) == ("compress", 20_000, 8_000)
    assert "stub" not in directive


def test_a_stub_is_one_line_whatever_the_path(desk):
    """A stub is one line of text."""
    desk.put("a", "task", 100, completed=True, path="two\nlines")
    (directive,) = desk.do(CleanUp(component="working_memory"))["directives"]
    assert "\n" not in directive["stub"]


def test_directives_come_again_until_confirmed(desk):
    """They travel again in later answers, oldest first; after `through` only the later ones."""
    finish(desk, "a", "b", "c")
    assert numbers(desk.put("x")) == [1, 2, 3]
    reply = desk.do(Acknowledge(through=2))
    assert (reply["confirmed"], reply["failed"], reply["confirmed_tokens"]) == (2, 0, 200)
    assert numbers(reply) == [3]
    assert numbers(desk.put("x")) == [3]


def test_an_answer_carries_at_most_100(desk):
    """Oldest first, at most 100."""
    finish(desk, *[f"t{number}" for number in range(130)])
    assert numbers(desk.put("x")) == list(range(1, 101))
    assert numbers(desk.do(Acknowledge(through=100))) == list(range(101, 131))


def test_pending_tokens_are_what_was_freed_and_not_confirmed(desk):
    """Until confirmed its tokens are reported as pending, per component and in sum."""
    finish(desk, "a")
    compressed(desk)
    assert desk.session.components["working_memory"].pending == 100 + 12_000
    assert desk.session.pending == 12_100
    desk.do(Acknowledge(through=1))
    assert desk.session.pending == 12_000
    assert desk.used() == 8_000


def test_a_confirmation_tells_what_each_step_freed(desk):
    """The confirmed counter is by component and step."""
    finish(desk, "a", "b")
    desk.do(Acknowledge(through=2))
    (entry,) = desk.made(DirectivesConfirmed)
    assert entry.numbers == (1, 2)
    assert entry.tokens == {"working_memory": {"archive_tasks": 200}}


def test_actual_sizes_are_followed(desk):
    """`sizes`: actual tokens per item where they differ."""
    compressed(desk)
    desk.do(Acknowledge(through=1, sizes={"c": 9_500, "nobody": 5}))
    assert desk.used() == 9_500
    assert desk.session.pending == 0


def test_what_failed_returns_to_the_ledger(desk):
    """`failed`: could not be applied, the item returns to the ledger as it was."""
    desk.put("t", "task", 100, completed=True, group="g", path="p")
    desk.do(CleanUp(component="working_memory"))
    assert desk.session.find("t") is None
    reply = desk.do(Acknowledge(through=1, failed=[Failure(number=1, reason="no such message")]))
    assert (reply["confirmed"], reply["failed"]) == (0, 1)
    item = desk.session.find("t")
    assert (item.tokens, item.completed, item.group, item.path, item.created_at) == (100, True, "g", "p", NOW)
    assert desk.made(DirectivesUndone)[0].reasons == {"1": "no such message"}
    assert desk.session.pending == 0


def test_a_failed_compression_gives_the_tokens_back_and_may_be_tried_again(desk):
    """The item returns at its size; not compressed, it may be compressed by a later cleanup."""
    compressed(desk)
    desk.do(Acknowledge(through=0, failed=[Failure(number=1)]))
    assert desk.used() == 20_000
    assert desk.session.find("c").original_tokens is None
    reply = desk.do(CleanUp(component="working_memory"))
    assert numbers(reply) == [2]


@pytest.mark.parametrize("command", [Acknowledge(through=1), Acknowledge(through=0, failed=[Failure(number=1)])])
def test_what_was_never_sent_cannot_be_acknowledged(desk, command):
    """`through` and `failed` speak of directives that exist."""
    with pytest.raises(Invalid):
        desk.do(command)


def test_an_acknowledgement_may_be_repeated(desk):
    """A late repetition confirms nothing twice and is no error."""
    finish(desk, "a")
    desk.do(Acknowledge(through=1))
    assert desk.do(Acknowledge(through=1, failed=[Failure(number=1)]))["confirmed"] == 0
    assert desk.session.find("a") is None


def test_a_session_drifts_when_a_directive_was_sent_in_10_answers(desk):
    """A session whose oldest pending directive was sent in 10 answers is `drifted`, until it is confirmed."""
    finish(desk, "a")  # the first answer
    for number in range(8):
        desk.put(f"x{number}")
    assert not desk.session.drifted
    desk.put("tenth")
    assert desk.session.drifted
    desk.restart()
    assert desk.session.drifted
    desk.do(Acknowledge(through=1))
    assert not desk.session.drifted


def test_an_answer_without_directives_is_none_that_was_sent(desk):
    """Only answers that carry directives count."""
    finish(desk, "a")
    for number in range(30):
        desk.do(TouchItem(item="x"), answered=False) if number else desk.put("x")
        desk.wait(1)
    assert not desk.session.drifted


def test_directives_of_an_event_count_from_the_first_answer_that_carries_them(desk):
    """An event of a batch is answered without directives: what its cleanup made is sent for the first time later."""
    for number in range(14):
        desk.do(PutItem(item=ItemSpec(id=f"f{number}", kind="file", tokens=4_000)), answered=False)
    assert desk.session.directives
    for number in range(9):
        desk.put(f"x{number}")
    assert not desk.session.drifted
    desk.put("tenth")
    assert desk.session.drifted


def test_a_host_that_confirms_what_each_answer_has_room_for_never_drifts():
    """An answer carries 100 directives: those behind them were not sent yet, however many answers there were."""
    desk = Desk(laws=False)  # which cost more with each of so many items
    for number in range(1_500):
        desk.put(f"d{number}", "debug", 1)
    desk.wait(3 * HOUR)
    sent = desk.do(CleanUp(component="working_memory"))["directives"]
    while sent:
        assert not desk.session.drifted
        sent = desk.do(Acknowledge(through=sent[-1]["number"]))["directives"]
    assert desk.session.issued == 1_500


def test_a_directive_behind_the_first_100_drifts_when_it_was_sent_in_10_answers(desk):
    """Its turn begins with the answer after those before it were confirmed."""
    for number in range(101):
        desk.put(f"d{number}", "debug", 1)
    desk.wait(3 * HOUR)
    desk.do(CleanUp(component="working_memory"))
    for number in range(7):
        desk.put(f"x{number}")
    desk.do(Acknowledge(through=100))
    for number in range(9):
        desk.put(f"y{number}")
    assert not desk.session.drifted
    desk.put("tenth")
    assert desk.session.drifted


def test_a_put_overtakes_the_directives_of_its_item(desk):
    """A host that puts the item anew has it as it says: the directive is void, nothing is pending."""
    compressed(desk)
    desk.put("c", "context", 20_000)
    assert [(entry.numbers, entry.why) for entry in desk.made(DirectivesUndone)] == [((1,), "superseded")]
    assert (desk.used(), desk.session.pending, desk.session.directives) == (20_000, 0, {})


def test_an_archived_item_that_comes_back_was_readmitted(desk):
    """Archived, then needed again: the put says so."""
    finish(desk, "a")
    desk.do(Acknowledge(through=1))
    desk.put("a", "task", 80)
    assert desk.last.entries[0].readmitted == 80
    desk.put("a", "task", 90)
    assert desk.last.entries[0].readmitted == 0


def test_removing_what_a_directive_removes_confirms_it(desk):
    """A host that says it removed the item did what it was asked."""
    finish(desk, "a")
    desk.do(RemoveItem(item="a"))
    assert desk.made(DirectivesConfirmed)
    assert not desk.made(ItemRemoved)
    assert desk.session.pending == 0


def test_removing_a_compressed_item_ends_its_directive(desk):
    """What is gone need not be compressed; the archive has its first size."""
    compressed(desk)
    desk.do(RemoveItem(item="c"))
    (entry,) = desk.made(ItemRemoved)
    assert (entry.tokens, entry.original_tokens) == (8_000, 20_000)
    assert desk.session.pending == 0


@pytest.mark.parametrize(
    ("failed", "through", "used", "pending"),
    [
        ((2,), 2, 200, 0),  # summarized, but still there
        ((1,), 1, 0, 1_000),  # not summarized; that it is to go still waits, and brings back all of it
        ((1, 2), 2, 1_000, 0),  # nothing happened
        ((2, 1), 2, 1_000, 0),
        ((), 1, 0, 200),
        ((), 2, 0, 0),
        ((1,), 2, 0, 0),
    ],
)
def test_directives_for_one_item_end_in_any_order(desk, failed, through, used, pending):
    """Summarized by 1, archived by 2: whatever of it failed, the ledger ends with what the window holds."""
    archived_after_compression(desk)
    desk.do(Acknowledge(through=through, failed=[Failure(number=number) for number in failed]))
    assert desk.used("interaction_buffer") == used
    assert desk.session.pending == pending


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_both_directives_undone_one_by_one_bring_the_whole_item_back(desk, order):
    """Undone in two acknowledgements, in either order, the item is as it was before the first."""
    archived_after_compression(desk)
    for number in order:
        desk.do(Acknowledge(through=0, failed=[Failure(number=number)]))
    item = desk.session.find("i")
    assert (item.tokens, item.original_tokens) == (1_000, None)
    assert desk.contents[item.content] == "text"


def test_what_was_archived_twice_keeps_its_first_size_and_content(desk):
    """3.5: an item archived twice keeps its first size and content."""
    archived_after_compression(desk)
    record = desk.archive["i"]
    assert (record.tokens_before, record.tokens_after, record.content) == (1_000, 0, "text")


def test_numbers_go_on_after_a_restart(desk):
    """Numbers are per session, not per process."""
    finish(desk, "a")
    desk.do(Acknowledge(through=1))
    desk.restart()
    assert numbers(finish(desk, "b")) == [2]


def test_a_completed_member_takes_its_group_along_as_actions_of_their_own(desk):
    """3.5: items that share a group go together, each as its own action, and its own directive."""
    desk.put("call", "task", 100, group="g")
    desk.put("answer", "doc", 300, group="g")
    desk.do(CompleteItem(item="call"))
    reply = desk.do(CleanUp(component="working_memory"))
    assert [(each["item"], each["component"]) for each in reply["directives"]] == [
        ("call", "working_memory"),
        ("answer", "knowledge_base"),
    ]
    assert (desk.used(), desk.used("knowledge_base"), desk.session.pending) == (0, 0, 400)
    desk.do(Acknowledge(through=2, failed=[Failure(number=2)]))
    assert desk.used("knowledge_base") == 300


def test_an_answer_that_nobody_reads_carries_none(desk):
    """A batch's event without a result is answered without directives; the next answer has them."""
    desk.put("t", "task", 100, completed=True)
    reply = desk.do(CleanUp(component="working_memory"), answered=False)
    assert reply["directives"] == []
    assert numbers(desk.put("x")) == [1]
