"""The ring that every watcher reads at its own pace."""

import asyncio
import json
from types import SimpleNamespace

from sidecar.budget.entries import Action, CleanedUp, Closed
from sidecar.journal import StoredEntry

NOW = 1_800_000_000.0


def publish(feed, *entries, session="s"):
    stored = tuple(
        StoredEntry(session=session, version=feed.last + at, written_at=NOW, entry=entry)
        for at, entry in enumerate(entries, 1)
    )
    feed.publish(SimpleNamespace(session=SimpleNamespace(id=session), entries=stored))


def versions(feed, place, limit=100):
    return [happening.entry.version for happening in feed.after(place, limit)]


def test_it_gives_what_happened_after_a_place_in_order_and_no_more_than_asked_for(feed):
    publish(feed, *[Closed(time=NOW)] * 4)
    assert versions(feed, 0) == [1, 2, 3, 4]
    assert versions(feed, 1, 2) == [2, 3]
    assert versions(feed, 3) == [4]
    assert versions(feed, 4) == []


def test_it_holds_no_more_than_its_capacity_and_knows_what_it_no_longer_has(feed):
    publish(feed, *[Closed(time=NOW)] * 6)
    assert feed.last == 6
    assert [place for place in range(8) if feed.has(place)] == [2, 3, 4, 5, 6]
    assert versions(feed, 2) == [3, 4, 5, 6]


def test_a_cleanup_takes_as_much_room_as_it_has_actions_but_the_latest_entry_always_stays(feed):
    action = Action(
        step="evict_lru",
        action="evict",
        item="a",
        kind="file",
        component="working_memory",
        tokens_before=9,
        tokens_after=0,
        original_tokens=9,
    )
    cleanup = CleanedUp(
        time=NOW, component="working_memory", trigger="manual", tokens_freed=27, actions=(action, action, action)
    )
    publish(feed, Closed(time=NOW), cleanup)
    assert versions(feed, 1) == [2]
    assert not feed.has(0)
    large = CleanedUp(time=NOW, component="working_memory", trigger="manual", tokens_freed=90, actions=(action,) * 10)
    publish(feed, large)
    assert versions(feed, 2) == [3]


def test_an_entry_is_encoded_once_for_all_watchers(feed):
    publish(feed, Closed(time=NOW), session="s 1")
    (happening,) = feed.after(0, 1)
    assert happening.data is happening.data
    assert json.loads(happening.data) == {
        "session": "s 1",
        "version": 1,
        "type": "closed",
        "time": "2027-01-15T08:00:00.000Z",
    }


async def test_waiting_ends_when_something_happens_for_everybody_who_waits(feed):
    waiting = [asyncio.create_task(feed.wait(0, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    publish(feed, Closed(time=NOW))
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_waiting_ends_at_its_time_and_at_once_where_there_is_news_or_no_more_to_come(feed):
    await asyncio.wait_for(feed.wait(0, 0.01), 10)
    publish(feed, Closed(time=NOW))
    await asyncio.wait_for(feed.wait(0, 60), 10)
    waiting = asyncio.create_task(feed.wait(1, 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.close()
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(feed.wait(1, 60), 10)
