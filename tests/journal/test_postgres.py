"""The shared journal on a real server: the contract, two writers at once, trouble, and healing."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from sidecar.journal import JournalError, postgres_store
from sidecar.journal.postgres import PostgresJournal
from sidecar.journal.postgres_archive import with_nul, without_nul
from tests.journal.contract import JournalContract
from tests.journal.shapes import closed, frame, noted, opened, put, removed


@pytest.fixture
async def open_journal(postgres):
    opened = []

    async def open_journal(writer: str = "one", **more) -> PostgresJournal:
        journal = PostgresJournal(postgres, writer=writer, **more)
        await journal.open()
        opened.append(journal)
        return journal

    yield open_journal
    for journal in opened:
        await journal.close()


class TestPostgresJournal(JournalContract):
    @pytest.fixture
    async def journal(self, open_journal):
        return await open_journal()


async def versions(journal: PostgresJournal, session: str = "s") -> list[int]:
    return [stored.version async for stored in journal.read(session)]


async def test_of_two_writers_who_are_both_next_one_is_first_and_the_other_is_told(open_journal):
    one, two = await open_journal("one"), await open_journal("two")
    for first in range(1, 60):
        outcomes = await asyncio.gather(*(each.append([frame(first, *noted(1))]) for each in (one, two, one, two)))
        assert sorted(outcomes) == [["conflict"], ["conflict"], ["conflict"], ["stored"]]
    assert await versions(one) == await versions(two) == list(range(1, 60))


async def test_many_sessions_of_one_append_each_have_their_own_outcome_and_transaction(open_journal):
    one, two = await open_journal("one"), await open_journal("two")
    await two.append([frame(1, *noted(1), session=f"s{n}") for n in range(0, 50, 5)])
    held = [
        frame(1, put("i", content=1), removed("i", content=1), session=f"s{n}", contents={1: "x"}) for n in range(50)
    ]
    assert await one.append(held) == ["conflict" if n % 5 == 0 else "stored" for n in range(50)]
    for n in range(50):
        assert len(await versions(two, f"s{n}")) == (1 if n % 5 == 0 else 2)
        assert (await two.archive_record(f"s{n}", "i") is None) == (n % 5 == 0)


async def test_replicas_that_start_at_once_migrate_an_empty_database_once(postgres):
    journals = [PostgresJournal(postgres, writer=f"r{n}") for n in range(6)]
    await asyncio.gather(*(journal.open() for journal in journals))
    assert await journals[5].append([frame(1, *noted(1))]) == ["stored"]
    for journal in journals:
        await journal.close()


async def test_a_database_of_a_newer_version_is_refused(open_journal, postgres):
    await open_journal()
    connection = await asyncpg.connect(postgres)
    await connection.execute("INSERT INTO token_budget.schema_versions VALUES (99, now())")
    await connection.close()
    with pytest.raises(JournalError, match=r"a newer version .* \(schema 99, known up to 2\)"):
        await PostgresJournal(postgres, writer="w").open()


async def test_a_server_that_is_not_there_is_named_without_its_password(postgres):
    port = urlsplit(postgres).port
    url = f"postgresql://postgres:hunter2@127.0.0.1:{port}/nowhere"
    rule = rf'journal 127\.0\.0\.1:{port}/nowhere cannot be opened: .*"nowhere"'
    with pytest.raises(JournalError, match=rule) as error:
        await PostgresJournal(url, writer="w").open()
    assert "hunter2" not in str(error.value)


async def test_lost_connections_are_an_error_and_the_next_check_heals(open_journal, postgres_server, postgres):
    journal = await open_journal()
    await journal.append([frame(1, *noted(1))])
    postgres_server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'token-budget-sidecar'"
    )
    with pytest.raises(JournalError, match="cannot store"):
        await journal.append([frame(2, *noted(1))])
    await journal.check()
    next_version = len(await versions(journal)) + 1
    assert await journal.append([frame(next_version, *noted(1))]) == ["stored"]


async def test_a_read_does_not_fail_because_the_connection_had_broken(open_journal, postgres_server):
    """As behind a pooler, or after a failover: that the last connection is gone says nothing about the next."""
    journal = await open_journal()
    await journal.append([frame(1, *noted(1), session=f"s{n}") for n in range(20)])
    postgres_server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'token-budget-sidecar'"
    )
    assert await versions(journal) == []
    assert [await versions(journal, f"s{n}") for n in range(20)] == [[1]] * 20


@pytest.fixture
def narrow(postgres_server, postgres):
    """The database for somebody who is given two connections at a time."""
    postgres_server.sql("DROP ROLE IF EXISTS narrow", "budget")
    postgres_server.sql("CREATE ROLE narrow LOGIN CONNECTION LIMIT 2")
    postgres_server.sql("GRANT CREATE ON DATABASE budget TO narrow")
    yield postgres.replace("postgres@", "narrow@")
    postgres_server.sql("DROP OWNED BY narrow CASCADE", "budget")
    postgres_server.sql("DROP ROLE narrow")


async def test_a_server_with_room_for_few_connections_is_worked_with_through_those(narrow):
    journal = PostgresJournal(narrow, writer="w")
    await journal.open()
    assert await journal.append([frame(1, *noted(1), session=f"s{n}") for n in range(50)]) == ["stored"] * 50
    appending = asyncio.ensure_future(journal.append([frame(2, *noted(1), session=f"s{n}") for n in range(50)]))
    assert await asyncio.gather(*(versions(journal, f"s{n}") for n in range(20)))
    assert await appending == ["stored"] * 50
    await journal.close()


async def test_a_server_with_no_room_at_all_is_an_error_until_there_is(narrow, monkeypatch):
    monkeypatch.setattr(postgres_store, "_CONNECT_SECONDS", 0.2)
    others = [await asyncpg.connect(narrow) for _ in range(2)]
    journal = PostgresJournal(narrow, writer="w")
    with pytest.raises(JournalError, match="cannot be opened: too many connections"):
        await journal.open()
    for other in others:
        await other.close()
    await journal.check()
    assert await journal.append([frame(1, *noted(1))]) == ["stored"]
    others = [await asyncpg.connect(narrow)]
    assert await journal.append([frame(2, *noted(1))]) == ["stored"]
    await others[0].close()
    await journal.close()


async def test_a_server_that_restarts_is_found_again(open_journal, postgres_server):
    journal = await open_journal()
    await journal.append([frame(1, *noted(1))])
    postgres_server.stop()
    with pytest.raises(JournalError):
        await journal.check()
    with pytest.raises(JournalError):
        await versions(journal)
    postgres_server.start()
    await journal.check()
    assert await versions(journal) == [1]


async def test_a_server_that_became_read_only_is_left_for_its_successor(open_journal, postgres_server, postgres):
    """As after a failover: what the name leads to is no longer the primary, and later it is again."""
    journal = await open_journal()
    name = urlsplit(postgres).path[1:]
    postgres_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres_server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name <> 'psql'"
    )
    for _ in range(2):
        with pytest.raises(JournalError):
            await journal.append([frame(1, *noted(1))])
    with pytest.raises(JournalError, match=r"takes no writes: .*read-only"):
        await journal.check()
    postgres_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    await journal.check()
    assert await journal.append([frame(1, *noted(1))]) == ["stored"]


async def test_a_store_that_does_not_answer_is_an_error_after_a_while(postgres, monkeypatch):
    monkeypatch.setattr(postgres_store, "_COMMAND_SECONDS", 0.2)
    journal = PostgresJournal(postgres, writer="w")
    await journal.open()
    other = await asyncpg.connect(postgres)
    async with other.transaction():
        await other.execute("LOCK TABLE token_budget.frames")
        with pytest.raises(JournalError, match="cannot store: no answer in time"):
            await journal.append([frame(1, *noted(1))])
    await other.close()
    await journal.check()
    assert await journal.append([frame(1, *noted(1))]) == ["stored"]
    await journal.close()


@pytest.mark.parametrize("text", ["", "\x00", "a\x00b\x1a", "\x1a0\x1a1\x00\x00", "plain"])
async def test_texts_with_characters_that_the_server_cannot_hold_come_back_as_they_were(open_journal, text):
    assert with_nul(without_nul(text)) == text
    journal = await open_journal()
    await journal.append([frame(1, put("i", content=1), removed("i", content=1), contents={1: text})])
    record = await journal.archive_record("s", "i")
    assert record is not None
    assert record.content == text


async def test_a_closed_session_is_not_forgotten_under_one_who_opens_it_again(open_journal):
    one, two = await open_journal("one"), await open_journal("two")
    for n in range(20):
        session = f"s{n}"
        await one.append([frame(1, opened(), closed(), session=session)])
        (head,) = (await one.heads([session])).values()
        forgotten, (outcome,) = await asyncio.gather(
            one.forget_session(head), two.append([frame(3, opened(), session=session)])
        )
        assert forgotten == (outcome == "conflict")
        assert await versions(one, session) == ([] if forgotten else [1, 2, 3])
