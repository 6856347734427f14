import pytest

from sidecar.journal.memory import MemoryJournal
from tests.journal.contract import JournalContract


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> MemoryJournal:
        return MemoryJournal()
