"""The sessions of a journal, told as what their hosts did."""

import pytest

from sidecar.__main__ import main
from sidecar.budget.commands import (
    CompleteItem,
    ItemSpec,
    OpenSession,
    PutItem,
    ReleaseTokens,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    SyncWindow,
    TouchItem,
    WindowItem,
)
from sidecar.budget.decide import Defaults, decide
from sidecar.journal import Frame
from sidecar.journal.sqlite import SqliteJournal
from sidecar.lab.backtest.journals import of_journal
from sidecar.lab.recordings import RecordingError
from sidecar.lab.script import Compact, Complete, Gain, ModelCall, Use

NOW = 1_700_000_000.0


@pytest.fixture
def keep(tmp_path):
    """Decide commands for a session of 1,000 tokens, store what follows in a journal, and return its URL."""

    async def keep_them(*commands, name="agent__project-1"):
        path = tmp_path / "journal.db"
        journal = SqliteJournal(path)
        await journal.open()
        session, version = None, 1
        for at, command in enumerate((OpenSession(agent="agent", total_tokens=1_000), *commands)):
            decision = decide(session, command, id=name, now=NOW + at, defaults=Defaults())
            session = decision.session
            if decision.entries:
                await journal.append(
                    [Frame(session=name, first=version, written_at=NOW + at, entries=decision.entries)]
                )
                version += len(decision.entries)
        await journal.close()
        return f"sqlite:///{path}"

    return keep_them


def item(id, tokens, kind="file", **fields):
    return ItemSpec(id=id, kind=kind, tokens=tokens, **fields)


def moves(course):
    """Each move as its kind and what it is about."""
    told: list[tuple[object, ...]] = []
    for move in course.moves:
        match move:
            case Gain():
                told.append(("gain", move.item.id, move.item.tokens, move.declinable))
            case Use() | Complete():
                told.append((type(move).__name__.lower(), move.item))
            case Compact():
                told.append(("gone", *move.items))
            case ModelCall():
                told.append(("call", move.billed))
    return told


async def test_what_a_host_told_is_told_again_and_what_cleanup_did_about_it_is_not(keep):
    url = await keep(
        PutItem(item=item("said", 20, "interaction")),
        RequestAllocation(item=item("a", 120)),
        RequestAllocation(item=item("b", 120)),  # working memory: 240 of 300, inside its target
        RequestAllocation(item=item("c", 100)),  # evicts both
        RequestAllocation(item=item("d", 400)),  # refused
        TouchItem(item="c"),
        ReportUsage(total=240),
        PutItem(item=item("plan", 10, "plan")),
        CompleteItem(item="plan"),
        RemoveItem(item="c"),
    )
    (course,) = await of_journal(url)
    assert moves(course) == [
        ("gain", "said", 20, False),
        ("gain", "a", 120, True),
        ("gain", "b", 120, True),
        ("gain", "c", 100, True),
        ("gain", "d", 400, True),
        ("use", "c"),
        ("call", 240),
        ("gain", "plan", 10, False),
        ("complete", "plan"),
        ("gone", "c"),
    ]
    assert course.levels == ((120, 240),)  # as the window was: with `said` and `c` only
    assert course.opened.window_tokens == 1_000


async def test_tokens_without_an_item_are_there_until_an_item_claims_them_or_they_are_given_back(keep):
    url = await keep(
        RequestAllocation(component="working_memory", tokens=50, request_id="r-1"),
        PutItem(item=item("a", 50, claims="r-1")),
        RequestAllocation(component="working_memory", tokens=30, request_id="r-2"),
        ReleaseTokens(component="working_memory", tokens=30),
    )
    (course,) = await of_journal(url)
    assert moves(course) == [
        ("gain", "r-1", 50, True),
        ("gone", "r-1"),
        ("gain", "a", 50, False),
        ("gain", "r-2", 30, True),
        ("gone", "r-2"),
    ]


async def test_a_window_sync_is_a_model_call_after_what_it_shows(keep):
    url = await keep(SyncWindow(items=[WindowItem(id="a", tokens=5, kind="file")]), SyncWindow(items=[]))
    (course,) = await of_journal(url)
    assert moves(course) == [("gain", "a", 5, False), ("call", None), ("gone", "a"), ("call", None)]


async def test_a_journal_without_items_or_none_at_all_is_said_to_be_so(keep, tmp_path):
    with pytest.raises(RecordingError, match="no session of it has told an item"):
        await of_journal(await keep(ReportUsage(total=10)))
    with pytest.raises(RecordingError, match="there is no such journal"):
        await of_journal(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_journal_is_compared_like_recordings(tmp_path, capsys):
    assert main(["backtest", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert "there is no such journal" in capsys.readouterr().err


async def test_a_journals_session_runs_under_a_policy(keep):
    from sidecar.lab.backtest.running import Contest, compare

    courses = await of_journal(
        await keep(RequestAllocation(item=item("a", 200)), RequestAllocation(item=item("b", 200)))
    )
    outcome = await compare(courses, Contest(presets=("standard",)), jobs=1)
    (measures,) = outcome["standard"]
    assert (measures.requests, measures.refused_tokens, measures.project) == (2, 200, "project")
