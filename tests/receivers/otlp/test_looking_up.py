"""How often the journal is asked while a payload is read."""

import time

from typing_extensions import override

from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Ledger
from sidecar.receivers.otlp.observations import Call
from sidecar.receivers.otlp.reader import Reader

MANY = 40


class Asked(MemoryJournal):
    """A journal that counts what it is asked about sessions which are not in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.heads_asked = self.snapshots_asked = self.reads = 0

    @override
    async def heads(self, sessions):
        self.heads_asked += 1
        return await super().heads(sessions)

    @override
    async def snapshots(self, sessions):
        self.snapshots_asked += len(sessions)
        return await super().snapshots(sessions)

    @override
    def read(self, session=None, *, after=0, limit=None):
        self.reads += 1
        return super().read(session, after=after, limit=limit)


def calls(level: int) -> list[Call]:
    now = time.time()
    return [
        Call(
            emitter="genai", signal="traces", at=now, start=now - 1, session=f"s-{number}", span=f"{level}", input=level
        )
        for number in range(MANY)
    ]


async def test_of_new_conversations_the_journal_is_asked_together_and_none_is_read():
    journal = Asked()
    ledger = Ledger(journal)
    await ledger.start()
    journal.snapshots_asked = journal.reads = journal.heads_asked = 0
    await Reader(ledger, auto_open=True, clock=time.time).take(calls(100))
    assert (journal.reads, journal.snapshots_asked) == (0, 0)
    # Once before anything is decided; and once in each turn that decides.
    assert journal.heads_asked < MANY // 2
    assert [(await ledger.view(f"s-{number}")).session.used for number in range(MANY)] == [100] * MANY
    await ledger.stop()


async def test_conversations_that_only_the_journal_has_go_on_from_there():
    journal = Asked()
    for level in (100, 200):
        ledger = Ledger(journal)
        await ledger.start()
        for number in range(MANY):
            ledger._residents.drop(f"s-{number}")
        await Reader(ledger, auto_open=True, clock=time.time).take(calls(level))
        found = [(await ledger.view(f"s-{number}")).session for number in range(MANY)]
        assert [(session.used, session.calls) for session in found] == [(level, level // 100)] * MANY
        await ledger.stop()
