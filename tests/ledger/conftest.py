"""Ledgers that start and stop with their test."""

import pytest

from sidecar.ledger import Ledger
from tests.postgres import postgres, postgres_server  # noqa: F401 - fixtures

pytest.register_assert_rewrite("tests.ledger.parts")


@pytest.fixture
async def start():
    """Start a ledger on a journal; it stops with the test."""
    started = []

    async def start(journal, **settings) -> Ledger:
        ledger = Ledger(journal, **settings)
        await ledger.start()
        started.append(ledger)
        return ledger

    yield start
    for ledger in started:
        await ledger.stop()
