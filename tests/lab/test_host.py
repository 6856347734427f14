"""The well-behaved host."""

import pytest

from sidecar.budget.commands import ItemSpec, WindowItem
from sidecar.lab.host import Host


@pytest.fixture
def host():
    """A host that holds a file and a message."""
    host = Host()
    host.gain(ItemSpec(id="f", kind="file", tokens=1000, created_at=1.0, last_accessed_at=1.0))
    host.gain(ItemSpec(id="m", kind="interaction", tokens=100, created_at=2.0, last_accessed_at=2.0))
    return host


def directive(number, action, item, after=0, **fields):
    return {"number": number, "action": action, "item": item, "tokens_after": after, "step": "s", **fields}


@pytest.mark.parametrize("action", ["compress", "summarize", "excerpt"])
def test_it_shrinks_what_it_is_told_to_shrink(host, action):
    host.apply([directive(1, action, "f", 400)])
    assert host.held["f"].tokens == 400
    assert host.tokens == {"working_memory": 400, "interaction_buffer": 100}


@pytest.mark.parametrize("action", ["unload", "evict", "archive", "remove"])
def test_it_takes_out_what_it_is_told_to_take_out_and_leaves_the_stub(host, action):
    host.apply([directive(1, action, "f", stub="file f was archived")])
    assert list(host.held) == ["m"]
    assert host.stubs == {"f": "file f was archived"}
    assert host.tokens.total() == 100


def test_it_applies_a_directive_once_though_it_is_sent_again(host):
    host.apply([directive(1, "compress", "f", 400)])
    host.gain(ItemSpec(id="f", kind="file", tokens=5000))
    host.apply([directive(1, "compress", "f", 400), directive(2, "evict", "m")])
    assert host.held["f"].tokens == 5000
    assert host.applied == 2


def test_a_directive_for_something_that_is_gone_counts_as_tried(host):
    host.drop("f")
    host.apply([directive(1, "evict", "f")])
    assert host.acknowledgement(5.0).through == 1


def test_it_acknowledges_only_what_is_new(host):
    assert host.acknowledgement(5.0) is None
    host.apply([directive(1, "evict", "f")])
    assert host.acknowledgement_due
    assert host.acknowledgement(5.0).through == 1
    assert host.acknowledgement(6.0) is None


def test_using_or_finishing_something_that_is_gone_is_no_event(host):
    assert host.use("f", 9.0)
    assert host.complete("m")
    assert not host.use("gone", 9.0)
    assert not host.complete("gone")
    assert not host.drop("gone")


def test_it_shows_everything_about_new_items_and_only_changes_of_the_others(host):
    first = host.window(3.0)
    assert [item.kind for item in first.items] == ["file", "interaction"]
    host.use("f", 9.0)
    host.apply([directive(4, "compress", "f", 400)])
    second = host.window(10.0)
    assert second.through == 4
    assert second.items == [WindowItem(id="f", tokens=400, last_accessed_at=9.0), WindowItem(id="m", tokens=100)]
    assert host.window(11.0).items == [WindowItem(id="f", tokens=400), WindowItem(id="m", tokens=100)]
    host.complete("m")
    assert host.window(12.0).items[1] == WindowItem(id="m", tokens=100, completed=True)
