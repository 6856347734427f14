"""Forgetting in SQLite, in pieces: a small transaction each, so that no call waits for another session's many rows."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from sidecar.journal import Head, SessionId
from sidecar.journal import sqlite_history as history
from sidecar.journal.sqlite_access import Access


async def forget_session(access: Access, head: Head) -> bool:
    """Delete a closed session, unless it has moved on from `head`; whether it was."""
    values: dict[str, Any] = {"session": head.session, "version": head.version, "piece": history.PIECE}
    newest = await access.select(history.NEWEST, values)
    if not newest:
        return False
    values["newest"] = newest[0][0]
    for statement in history.FORGET_MANY:
        await _in_pieces(access, partial(_delete, access, statement, values))

    def last() -> bool:
        with access.transaction("cannot forget a session") as write:
            still = write(history.NEWEST, values).fetchone() is not None
            for statement in history.FORGET_LAST if still else ():
                write(statement, values)
        access.follows.pop(head.session, None)
        return still

    return await access.write(last)


async def forget_entries(access: Access, session: SessionId, before: float) -> int:
    """Delete old frames that the snapshot covers; the entries that were in them."""
    values = {"session": session, "before": before, "piece": history.PIECE}

    def some() -> tuple[int, int]:
        with access.transaction("cannot forget entries") as write:
            old = write(history.OLD_FRAMES, values).fetchall()
            for id, _ in old:
                write("DELETE FROM frames WHERE id = ?", (id,))
        return len(old), sum(count for _, count in old)

    return await _in_pieces(access, some)


async def forget_archive(access: Access, session: SessionId, before: float) -> int:
    """Delete old archive records with their contents; how many."""
    values = {"session": session, "before": before, "piece": history.PIECE}

    def some() -> tuple[int, int]:
        with access.transaction("cannot forget the archive") as write:
            old = write(history.OLD_RECORDS, values).fetchall()
            for (item,) in old:
                write(history.FORGET_CONTENTS, {"session": session, "item": item})
                write(history.FORGET_RECORD, {"session": session, "item": item})
        return len(old), len(old)

    return await _in_pieces(access, some)


def _delete(access: Access, statement: str, values: Any) -> tuple[int, int]:
    with access.transaction("cannot write") as write:
        rows = write(statement, values).rowcount
    return rows, rows


async def _in_pieces(access: Access, some: Callable[[], tuple[int, int]]) -> int:
    """Delete some rows again and again, until there are fewer than a piece; the sum of what each time counts."""
    total = 0
    while True:
        rows, count = await access.write(some)
        total += count
        if rows < history.PIECE:
            return total
        await asyncio.sleep(0)
