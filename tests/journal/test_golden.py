"""A journal that an older version wrote loads, and shows what it showed then (DESIGN section 3)."""

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from sidecar.journal import codec
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger
from tests.journal.golden.shown import shown

GOLDEN = sorted(Path(__file__).with_name("golden").glob("v*.journal"))


def differences(was: Any, now: Any, place: str = "") -> list[str]:
    """Where something that was shown is shown differently; what is shown in addition does not count."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [each for key in was for each in differences(was[key], now.get(key), f"{place}/{key}")]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = enumerate(zip(was, now, strict=True))
        return [each for number, (old, new) in pairs for each in differences(old, new, f"{place}/{number}")]
    if isinstance(was, float) and isinstance(now, float) and math.isclose(was, now, rel_tol=1e-9):
        return []  # told with fewer digits
    return [] if was == now else [f"{place}: {was!r} became {now!r}"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
async def test_a_golden_journal_shows_what_it_showed_when_it_was_written(golden, tmp_path):
    path = shutil.copy(golden, tmp_path / "journal.db")
    ledger = Ledger(SqliteJournal(path))
    await ledger.start()
    try:
        now = json.loads(json.dumps(await shown(ledger)))
        assert differences(json.loads(golden.with_suffix(".json").read_text("utf-8")), now) == []
    finally:
        await ledger.stop()


async def test_that_a_journal_was_brought_up_to_date_is_told_once(tmp_path, caplog):
    path = shutil.copy(GOLDEN[0], tmp_path / "journal.db")
    with caplog.at_level(logging.INFO, logger="sidecar.journal"):
        for _ in range(2):
            journal = SqliteJournal(path)
            await journal.open()
            await journal.close()
    assert [record.getMessage() for record in caplog.records] == [f"journal {path} was brought from schema 1 to 3"]


def test_the_first_golden_journal_has_an_entry_of_every_kind_that_its_version_knew():
    sessions = json.loads(GOLDEN[0].with_suffix(".json").read_text("utf-8")).values()
    types = {entry["type"] for session in sessions for entry in session["entries"]}
    assert len(types) == 24
    assert types <= set(codec.ENTRIES)


def test_the_golden_journal_of_coding_agents_has_what_the_dimensions_beyond_fixed_quotas_do():
    golden = next(path for path in GOLDEN if path.stem.endswith("coding_agent"))
    told = json.loads(golden.with_suffix(".json").read_text("utf-8"))
    (profile,) = told.pop("profiles").values()
    assert profile["shares"] is not None
    assert profile["provider_ratios"] == {"m": 1.25}
    entries = [entry for session in told.values() for entry in session["entries"]]
    assert {entry["outcome"] for entry in entries if entry["type"] == "allocated"} >= {"full", "borrowed", "partial"}
    assert {entry["bound"] for entry in entries if entry["type"] == "bound_exceeded"} == {"budget", "window"}
    assert {"calibrated", "cleaned_up", "learned", "shares_adjusted", "task_completed"} <= {e["type"] for e in entries}
    parts = [part for session in told.values() for part in session["report"]["components"].values()]
    assert any(part["borrowed_tokens"] for part in parts), "no loan is open when it ends"
