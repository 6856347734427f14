"""Everything that a ledger shows of a golden journal, as plain data."""

import json
from typing import Any

from sidecar.budget.report import item_reply, report
from sidecar.journal import codec
from sidecar.ledger import Ledger
from sidecar.receivers.profiles import profile_reply


async def shown(ledger: Ledger) -> Any:
    """Report, items, directives' numbers, archive with contents, remembered ids and entries, session by session.

    And what is known of agents.
    """
    everything: dict[str, Any] = {
        "profiles": {agent: profile_reply(agent, profile) for agent, profile in (await ledger.profiles()).items()}
    }
    for summary in await ledger.sessions():
        id = summary["session"]
        session = (await ledger.view(id)).session
        records = await ledger.archive(id)
        everything[id] = {
            "report": report(session),
            "version": session.version,
            "epoch": session.epoch,
            "items": [item_reply(item) for held in session.components.values() for item in held.items.values()],
            "directives": list(session.directives),
            "events": list(session.events),
            "requests": list(session.requests),
            "grants": {name: grant.tokens for name, grant in session.grants.items()},
            "archive": {
                record.id: [record.reason, record.tokens_before, (await ledger.archive_record(id, record.id)).content]
                for record in records
            },
            "entries": json.loads(codec.encode([each.entry for each in await ledger.entries(id, limit=1000)])),
        }
    return everything
