"""What every journal promises. A journal's own tests subclass `JournalContract` and bring the fixture `journal`.

DESIGN: the key (session, first version) is the concurrency control; archive and contents share the frame's transaction.
"""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.budget.entries import AnyEntry, ItemPut
from sidecar.journal import ArchiveRecord, Head, Journal, Snapshot
from tests.journal.profile_contract import ProfileContract
from tests.journal.shapes import closed, compressed, erased, frame, noted, opened, put, removed


async def versions(journal: Journal, session: str | None = None, **range_: int) -> list[int]:
    return [stored.version async for stored in journal.read(session, **range_)]


async def archived(journal: Journal, session: str = "s", **query: Any) -> list[str]:
    asked: dict[str, Any] = {"component": None, "query": None, "after": None, "limit": 100, **query}
    return [record.id for record in await journal.archived(session, **asked)]


async def content(journal: Journal, item: str) -> str | None:
    record = await journal.archive_record("s", item)
    assert record is not None
    return record.content


def snapshot(version: int, session: str = "s", state: bytes = b"state") -> Snapshot:
    return Snapshot(session=session, version=version, written_at=1_000.0 + version, stamp="stamp", state=state)


class JournalContract(ProfileContract):
    # --- append and read

    async def test_what_is_appended_is_read_back_as_it_was(self, journal: Journal) -> None:
        entries: list[AnyEntry] = [opened(), put("i"), *noted(3), removed("i")]
        assert await journal.append([frame(1, *entries)]) == ["stored"]
        stored = [each async for each in journal.read("s")]
        assert [each.entry for each in stored] == entries
        assert [each.version for each in stored] == [1, 2, 3, 4, 5, 6]
        assert {each.session for each in stored} == {"s"}
        assert {each.written_at for each in stored} == {1_001.0}

    async def test_what_is_read_back_does_not_follow_what_becomes_of_the_item(self, journal: Journal) -> None:
        entry = put("i", tokens=100)
        await journal.append([frame(1, entry)])
        entry.item.tokens = 1
        (stored,) = [each async for each in journal.read("s")]
        assert isinstance(stored.entry, ItemPut)
        assert stored.entry.item.tokens == 100

    async def test_a_session_never_heard_of_has_no_entries(self, journal: Journal) -> None:
        assert await versions(journal, "nobody") == []

    @pytest.mark.parametrize("first", [1, 2, 4, 9])
    async def test_a_frame_that_does_not_come_next_is_a_conflict_and_stores_nothing(
        self, journal: Journal, first: int
    ) -> None:
        await journal.append([frame(1, *noted(2))])
        late = frame(first, put("i", content=first), removed("i", content=first), contents={first: "text"})
        assert await journal.append([late]) == ["conflict"]
        assert await versions(journal, "s") == [1, 2]
        assert await archived(journal) == []

    async def test_a_new_session_begins_at_version_1(self, journal: Journal) -> None:
        assert await journal.append([frame(2, *noted(1))]) == ["conflict"]
        assert await journal.sessions(after=None, limit=10) == []

    async def test_a_conflict_of_one_session_does_not_touch_the_others_of_the_same_append(
        self, journal: Journal
    ) -> None:
        await journal.append([frame(1, *noted(1), session="b")])
        frames = [frame(1, *noted(2), session=session) for session in ("a", "b", "c")]
        assert await journal.append(frames) == ["stored", "conflict", "stored"]
        assert [len(await versions(journal, session)) for session in ("a", "b", "c")] == [2, 1, 2]

    async def test_frames_of_one_session_may_follow_each_other_in_one_append(self, journal: Journal) -> None:
        assert await journal.append([frame(1, *noted(2)), frame(3, *noted(1))]) == ["stored", "stored"]
        assert await versions(journal, "s") == [1, 2, 3]

    async def test_an_append_of_nothing_stores_nothing(self, journal: Journal) -> None:
        assert await journal.append([]) == []
        assert await versions(journal) == []

    @pytest.mark.parametrize("after", range(8))
    @pytest.mark.parametrize("limit", [None, 0, 1, 3, 100])
    async def test_reading_begins_after_a_version_and_ends_at_a_limit(
        self, journal: Journal, after: int, limit: int | None
    ) -> None:
        for first, count in ((1, 1), (2, 3), (5, 2)):
            await journal.append([frame(first, *noted(count))])
        expected = [1, 2, 3, 4, 5, 6][after:][:limit]
        assert [stored.version async for stored in journal.read("s", after=after, limit=limit)] == expected

    async def test_there_is_nothing_after_the_largest_version_that_can_be_asked_for(self, journal: Journal) -> None:
        await journal.append([frame(1, *noted(2))])
        assert await versions(journal, "s", after=2**63 - 1, limit=10) == []

    async def test_reading_all_gives_each_session_in_order(self, journal: Journal) -> None:
        for first in (1, 3, 5):
            await journal.append([frame(first, *noted(2), session=session) for session in ("b", "a")])
        stored = [each async for each in journal.read()]
        for session in ("a", "b"):
            assert [each.version for each in stored if each.session == session] == [1, 2, 3, 4, 5, 6]

    async def test_a_long_session_is_read_whole(self, journal: Journal) -> None:
        for first in range(1, 1_201):
            await journal.append([frame(first, *noted(1))])
        assert await versions(journal, "s") == list(range(1, 1_201))
        assert await versions(journal, "s", after=700, limit=400) == list(range(701, 1_101))
        assert len(await versions(journal)) == 1_200

    async def test_sessions_are_listed_in_order_of_id_page_by_page(self, journal: Journal) -> None:
        ids = ["a", "b-2", "b/1", "ä", "Z", "😀"]
        for id in ids:
            await journal.append([frame(1, *noted(1), session=id), frame(2, *noted(1), session=id)])
        assert await journal.sessions(after=None, limit=100) == sorted(ids)
        assert await journal.sessions(after="b-2", limit=2) == ["b/1", "ä"]
        assert await journal.sessions(after="😀", limit=2) == []

    async def test_a_check_leaves_no_trace(self, journal: Journal) -> None:
        await journal.append([frame(1, *noted(1))])
        await journal.check()
        assert await versions(journal) == [1]
        assert await journal.append([frame(2, *noted(1))]) == ["stored"]

    # --- the archive (SPEC 3.5)

    async def test_a_removed_item_is_in_the_archive_with_its_size_and_content(self, journal: Journal) -> None:
        await journal.append(
            [frame(1, put("i", content=1), removed("i", tokens=70, content=1), contents={1: "the text"})]
        )
        assert await journal.archive_record("s", "i") == ArchiveRecord(
            id="i",
            kind="file",
            component="working_memory",
            step=None,
            reason="removed by the host",
            tokens_before=70,
            tokens_after=0,
            archived_at=5.0,
            content_version=1,
            content="the text",
        )

    async def test_a_shrunk_item_is_in_the_archive_with_its_first_size_and_content(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i", content=1), contents={1: "long"})])
        await journal.append([frame(2, compressed("i", before=20_000, after=8_000, content=1))])
        record = await journal.archive_record("s", "i")
        assert record is not None
        assert (record.step, record.tokens_before, record.tokens_after) == ("compress_inactive", 20_000, 8_000)
        assert (record.kind, record.content) == ("tool_result", "long")
        assert record.reason

    async def test_an_item_archived_again_has_its_newest_record(self, journal: Journal) -> None:
        await journal.append([frame(1, compressed("i", before=900, after=400)), frame(2, removed("i", tokens=900))])
        assert await archived(journal) == ["i"]
        record = await journal.archive_record("s", "i")
        assert record is not None
        assert (record.step, record.tokens_after) == (None, 0)

    async def test_an_item_that_is_not_archived_has_no_record(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i", content=1), contents={1: "text"})])
        assert await journal.archive_record("s", "i") is None
        assert await journal.archive_record("nobody", "i") is None

    async def test_an_item_without_content_is_archived_without(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i"), removed("i"))])
        assert await content(journal, "i") is None

    async def test_a_list_of_records_is_in_order_of_id_without_contents_and_by_session(self, journal: Journal) -> None:
        await journal.append([frame(1, *(removed(id) for id in "cab")), frame(1, removed("x"), session="other")])
        assert await archived(journal) == ["a", "b", "c"]
        assert await archived(journal, after="a", limit=1) == ["b"]
        assert await archived(journal, "other") == ["x"]
        records = await journal.archived("s", component=None, query=None, after=None, limit=10)
        assert {record.content for record in records} == {None}

    async def test_records_are_found_by_component(self, journal: Journal) -> None:
        await journal.append([frame(1, removed("i"))])
        assert await archived(journal, component="working_memory") == ["i"]
        assert await archived(journal, component="knowledge_base") == []

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("SRC/", ["src/a.py", "src/b_c.py"]),
            ("needle", ["src/a.py"]),
            ("Needle%", []),
            ("n__dle", []),
            ("100%", ["src/b_c.py"]),
            ("b_c", ["src/b_c.py"]),
            ("~", ["src/b_c.py"]),
            ("bored", ["z"]),
            ("file", ["src/a.py", "src/b_c.py", "z"]),
            ("'", []),
        ],
    )
    async def test_records_are_found_by_what_they_say(self, journal: Journal, query: str, found: list[str]) -> None:
        held = put("src/a.py", content=1), put("src/b_c.py", content=2), put("z")
        gone = removed("src/a.py", content=1), removed("src/b_c.py", content=2), removed("z", reason="bored of it")
        texts = {1: "hay hay NEEDLE hay", 2: "at 100% ~ all"}
        await journal.append([frame(1, *held, *gone, contents=texts)])
        assert await archived(journal, query=query) == found

    # --- contents

    async def test_the_content_of_an_item_put_anew_is_its_last(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i", content=1), contents={1: "old"})])
        await journal.append([frame(2, put("i", content=2, new=False), contents={2: "new"})])
        await journal.append([frame(3, removed("i", content=2))])
        assert await content(journal, "i") == "new"

    async def test_the_archived_content_outlives_a_new_put_of_the_item(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i", content=1), contents={1: "first"})])
        await journal.append([frame(2, compressed("i", before=900, after=360, content=1))])
        await journal.append([frame(3, put("i", content=3, new=False), contents={3: "second"})])
        assert await content(journal, "i") == "first"
        await journal.append([frame(4, removed("i", content=3))])
        assert await content(journal, "i") == "second"

    async def test_an_erased_item_and_its_content_are_gone(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i", content=1), put("j", content=2), contents={1: "secret", 2: "other"})])
        await journal.append([frame(3, removed("i", content=1), removed("j", content=2))])
        await journal.append([frame(5, erased("i"))])
        assert await archived(journal) == ["j"]
        assert await archived(journal, query="secret") == []
        # Nothing is left that a record could speak of again.
        await journal.append([frame(6, removed("i", content=1))])
        assert await content(journal, "i") is None
        assert await content(journal, "j") == "other"

    async def test_erasing_all_spares_what_is_held_and_was_never_archived(self, journal: Journal) -> None:
        await journal.append([frame(1, put("i", content=1), put("j", content=2), contents={1: "gone", 2: "held"})])
        await journal.append([frame(3, removed("i", content=1), erased(), removed("j", content=2))])
        assert await archived(journal) == ["j"]
        assert await content(journal, "j") == "held"

    async def test_erasing_in_one_session_leaves_the_others(self, journal: Journal) -> None:
        await journal.append([frame(1, removed("i"), erased()), frame(1, removed("i"), session="other")])
        assert await archived(journal) == []
        assert await archived(journal, "other") == ["i"]

    # --- where sessions stand

    async def test_a_head_tells_the_newest_version_and_when_and_by_whom_it_was_written(self, journal: Journal) -> None:
        await journal.append([frame(1, opened()), frame(2, *noted(3)), frame(1, opened(), closed(), session="t")])
        s = Head(session="s", version=4, written_at=1_002.0, writer=journal.writer, closed=False)
        t = Head(session="t", version=2, written_at=1_001.0, writer=journal.writer, closed=True)
        assert await journal.heads(["t", "nobody", "s"]) == {"s": s, "t": t}
        assert await journal.heads([]) == {}
        assert await journal.survey(after=None, limit=10) == [s, t]
        assert await journal.survey(after="s", limit=10) == [t]
        assert await journal.survey(after=None, limit=1) == [s]

    async def test_a_session_opened_again_is_not_closed(self, journal: Journal) -> None:
        await journal.append([frame(1, opened(), closed()), frame(3, opened())])
        assert [head.closed for head in await journal.survey(after=None, limit=10)] == [False]

    async def test_tails_are_what_follows_a_mark_in_each_session(self, journal: Journal) -> None:
        for first in (1, 3, 5):
            await journal.append([frame(first, *noted(2), session=session) for session in ("c", "a", "b")])
        found: dict[str, list[int]] = {}
        async for stored in journal.tails({"b": 2, "a": 0, "nobody": 7, "c": 6}):
            found.setdefault(stored.session, []).append(stored.version)
        assert found == {"b": [3, 4, 5, 6], "a": [1, 2, 3, 4, 5, 6]}

    async def test_long_tails_are_read_whole(self, journal: Journal) -> None:
        for first in range(1, 601):
            await journal.append([frame(first, *noted(1), session=session) for session in ("a", "b")])
        assert len([each async for each in journal.tails({"a": 100, "b": 0})]) == 500 + 600

    # --- snapshots

    async def test_the_newest_snapshot_of_a_session_is_kept(self, journal: Journal) -> None:
        await journal.append([frame(1, *noted(9), session=session) for session in ("s", "t")])
        await journal.keep_snapshots([snapshot(3), snapshot(2, "t")])
        await journal.keep_snapshots([snapshot(9, state=b"\x00newer"), snapshot(1, "t")])
        assert await journal.snapshots(["s", "t", "nobody"]) == {
            "s": snapshot(9, state=b"\x00newer"),
            "t": snapshot(2, "t"),
        }

    async def test_a_snapshot_of_a_session_that_is_not_there_is_not_kept(self, journal: Journal) -> None:
        await journal.keep_snapshots([snapshot(3)])
        assert await journal.snapshots(["s"]) == {}

    async def test_a_snapshot_of_a_former_session_is_not_kept_for_the_new_one_of_that_id(
        self, journal: Journal
    ) -> None:
        await journal.append([frame(1, opened(), *noted(7), closed())])
        assert await journal.forget_session((await journal.heads(["s"]))["s"])
        await journal.append([frame(1, opened()), frame(2, *noted(3))])
        await journal.keep_snapshots([snapshot(9)])
        assert await journal.snapshots(["s"]) == {}
        await journal.keep_snapshots([snapshot(4)])
        assert await journal.snapshots(["s"]) == {"s": snapshot(4)}

    # --- forgetting

    async def test_a_closed_session_is_forgotten_with_all_that_is_its_own(self, journal: Journal) -> None:
        for session in ("s", "other"):
            entries = opened(), put("i", content=2), removed("i", content=2), closed()
            await journal.append([frame(1, *entries, session=session, contents={2: "text"})])
            await journal.keep_snapshots([snapshot(4, session)])
        size = await journal.size()
        assert await journal.forget_session((await journal.heads(["s"]))["s"])
        assert await journal.size() <= size
        assert await journal.sessions(after=None, limit=10) == ["other"]
        assert await versions(journal) == [1, 2, 3, 4]
        assert await journal.snapshots(["s"]) == {}
        assert await archived(journal) == []
        # The id is as new: the same item and version, and nothing of the former.
        assert await journal.append([frame(1, opened(), put("i", content=2), removed("i", content=2))]) == ["stored"]
        assert await content(journal, "i") is None
        other = await journal.archive_record("other", "i")
        assert other is not None
        assert other.content == "text"

    async def test_a_session_that_is_open_or_has_moved_on_is_not_forgotten(self, journal: Journal) -> None:
        await journal.append([frame(1, opened(), closed())])
        head = (await journal.heads(["s"]))["s"]
        assert not await journal.forget_session(replace(head, session="nobody"))
        await journal.append([frame(3, opened())])
        assert not await journal.forget_session(head)
        assert not await journal.forget_session((await journal.heads(["s"]))["s"])
        assert await versions(journal) == [1, 2, 3]

    async def test_a_long_session_is_forgotten_whole(self, journal: Journal) -> None:
        for first in range(1, 1_201):
            await journal.append([frame(first, removed(f"i{first}"))])
        await journal.append([frame(1_201, closed())])
        assert await journal.forget_session((await journal.heads(["s"]))["s"])
        assert await versions(journal) == []
        assert await archived(journal) == []

    @pytest.mark.parametrize(
        ("covered", "before", "left"),
        [
            (None, 2_000.0, 1),  # no snapshot covers anything
            (7, 1_003.0, 3),  # frames 1 and 2-2 are older
            (4, 2_000.0, 5),  # the snapshot ends there
            (3, 2_000.0, 3),  # within a frame: all of it is still needed
            (7, 2_000.0, 7),  # the newest frame stays
            (7, 0.0, 1),
        ],
    )
    async def test_old_entries_that_a_snapshot_covers_are_forgotten_from_the_front(
        self, journal: Journal, covered: int | None, before: float, left: int
    ) -> None:
        for first, count in ((1, 1), (2, 1), (3, 2), (5, 2), (7, 1)):
            await journal.append([frame(first, *noted(count)), frame(first, *noted(count), session="other")])
        if covered is not None:
            await journal.keep_snapshots([snapshot(covered)])
        assert await journal.forget_entries("s", before=before) == left - 1
        assert await versions(journal, "s") == list(range(left, 8))
        assert await versions(journal, "s", after=5) == [6, 7][max(0, left - 6) :]
        assert await versions(journal, "other") == list(range(1, 8))
        assert await journal.append([frame(8, *noted(1))]) == ["stored"]

    async def test_old_records_are_forgotten_with_their_contents(self, journal: Journal) -> None:
        first = put("old", content=1), removed("old", content=1)
        await journal.append([frame(1, *first, contents={1: "old text"})])
        await journal.append([frame(3, put("new", content=3), removed("new", content=3), contents={3: "new text"})])
        assert await journal.forget_archive("s", before=1_002.0) == 1
        assert await archived(journal) == ["new"]
        assert await content(journal, "new") == "new text"
        await journal.append([frame(5, removed("old", content=1))])
        assert await content(journal, "old") is None
