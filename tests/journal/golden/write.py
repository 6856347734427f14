"""Write a golden journal of the present format, by hand, once: `python tests/journal/golden/write.py VERSION [STORY]`.

Each story has what a program must show of it beside it, now and in every later version. The first has an entry of every
kind; `coding_agent` is what the dimensions beyond fixed quotas do: loans, marks, calibration, and what is learned. A
golden file is never written again: what it holds is out there.
"""

import asyncio
import json
import sqlite3
import sys
from pathlib import Path

from sidecar.budget import commands as c
from sidecar.budget.errors import BudgetError
from sidecar.journal.codec import ENTRIES
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger

# Found from here also when the file is loaded by a test.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.journal.golden.shown import shown

NOW = 1_800_000_000.0
HOUR = 3600.0


def item(id: str, kind: str, tokens: int, **more: object) -> c.ItemSpec:
    return c.ItemSpec(id=id, kind=kind, tokens=tokens, **more)  # type: ignore[arg-type]


# What happens, hour by hour.
STORY: list[list[tuple[str, c.Command]]] = [
    [
        ("managed", c.OpenSession(agent="coder", total_tokens=100_000, reserve_tokens=4_000, model="m", id="open")),
        ("managed", c.PutItem(item=item("system", "prompt", 9_000, pinned=True, content="You are."), id="e1")),
        ("managed", c.PutItem(item=item("result", "tool_result", 14_000, group="g", content="ä long\nresult"))),
        ("managed", c.PutItem(item=item("call", "context", 12_000, group="g"))),
        ("managed", c.PutItem(item=item("file", "file", 500, path="src/a.py", fingerprint="f", content="print()"))),
        ("managed", c.PutItem(item=item("task", "task", 300))),
        ("managed", c.RequestAllocation(component="working_memory", tokens=2_000, request_id="r1", lease_seconds=60.0)),
        ("managed", c.RequestAllocation(component="working_memory", tokens=1_000, request_id="r2")),
        ("managed", c.PutItem(item=item("claimed", "debug", 900, claims="r2"))),
        ("managed", c.RequestAllocation(component="knowledge_base", tokens=700, request_id="r3")),
        ("managed", c.ReleaseTokens(component="knowledge_base", tokens=100)),
        ("managed", c.PlanTasks(tasks=[c.TaskSpec(id="t", files=["a"], agents=["b"], estimated_minutes=3.0)])),
        ("observed", c.OpenSession(agent="watched", mode="observed", parent="managed")),
        ("observed", c.ReportUsage(components={"working_memory": 30_000}, total=50_000, source="estimated")),
        ("observed", c.ReportUsage(total=20_000)),
        ("observed", c.ReportUsage(compaction=c.CompactionSpec(tokens_before=20_000, tokens_after=5_000))),
        ("closed", c.OpenSession(agent="coder")),
        ("closed", c.PutItem(item=item("old", "doc", 5_000, content="a document", full=True))),
        ("closed", c.RemoveItem(item="old")),
        ("closed", c.CloseSession()),
    ],
    [
        ("managed", c.CompleteItem(item="task", id="e2")),
        ("managed", c.TouchItem(item="claimed")),
        ("managed", c.TouchItem(item="claimed", id="e3")),
    ],
    [
        ("managed", c.RequestAllocation(component="working_memory", tokens=20_000, request_id="r4", id="e4")),
        ("managed", c.CompleteTask(task="t")),
        ("managed", c.ChangeSession(total_tokens=90_000, model="n")),
        ("managed", c.Acknowledge(through=1, sizes={"result": 5_000})),
        ("managed", c.Acknowledge(through=2, failed=[c.Failure(number=2, reason="busy")])),
        ("managed", c.AdjustShares()),
        ("managed", c.PutItem(item=item("big", "interaction", 60_000, content="words " * 20))),
        ("managed", c.CleanUp(component="agent_context")),
        ("managed", c.RestoreItem(item="task", request_id="r5")),
        ("managed", c.RemoveItem(item="claimed")),
        ("managed", c.EraseArchive(item="file")),
    ],
    [
        ("managed", c.OpenSession(agent="coder", id="noted", total_tokens=100_000, reserve_tokens=4_000, model="m")),
        (
            "managed",
            c.SyncWindow(items=[c.WindowItem(id="system", tokens=9_100), c.WindowItem(id="big", tokens=50_000)]),
        ),
        ("managed", c.RequestAllocation(component="agent_context", tokens=800, request_id="r6", lease_seconds=1e6)),
        ("closed", c.OpenSession(agent="coder", shares=None)),
        ("closed", c.PutItem(item=item("old", "doc", 5_000))),
        ("observed", c.CloseSession()),
    ],
]


def window(*items: tuple[str, str, int], **more: object) -> c.SyncWindow:
    return c.SyncWindow(items=[c.WindowItem(id=id, kind=kind, tokens=tokens) for id, kind, tokens in items], **more)  # type: ignore[arg-type]


READ = [(f"read-{number}", "tool_result", 9_000) for number in range(12)]
SYSTEM = ("system", "prompt", 18_000)


def turns(session: str, count: int) -> list[tuple[str, c.Command]]:
    """Model calls, each reading one thing more, billed a quarter above what is counted."""
    calls: list[tuple[str, c.Command]] = []
    for number in range(1, count + 1):
        shown = [SYSTEM, *READ[:number]]
        calls.append((session, window(*shown)))
        calls.append((session, c.ReportUsage(total=sum(tokens for *_, tokens in shown) * 5 // 4)))
    return calls


# Loans, marks and calibration; a session that learns, one that starts from that, one that is observed.
CODING_AGENT: list[list[tuple[str, c.Command]]] = [
    [
        ("learning", c.OpenSession(agent="coder", preset="coding-agent", model="m", id="open")),
        *turns("learning", 7),
        ("learning", c.PlanTasks(tasks=[c.TaskSpec(id="t", files=["a", "b"], agents=["c"], estimated_minutes=9.0)])),
        *[("learning", c.RequestAllocation(component="agent_context", tokens=2_800)) for _ in range(8)],
        ("learning", c.CompleteTask(task="t", actual={"working_memory": 6_000, "agent_context": 16_800})),
        ("learning", c.CloseSession()),
    ],
    [
        ("lending", c.OpenSession(agent="coder", preset="coding-agent", model="m")),
        *turns("lending", 10),
        ("lending", c.PutItem(item=item("plan", "plan", 4_000, content="First this, then that."))),
        ("lending", c.RequestAllocation(component="interaction_buffer", tokens=14_000, request_id="loan")),
        ("lending", c.ChangeSession(total_tokens=190_000)),
        ("marks", c.OpenSession(agent="coder", preset="coding-agent", model="n", total_tokens=120_000)),
        *turns("marks", 12),
        ("marks", c.Acknowledge(through=1)),
        ("marks", c.RestoreItem(item="read-0", request_id="again")),
        ("watched", c.OpenSession(agent="coder", preset="coding-agent", model="m", mode="observed")),
        ("watched", c.ReportUsage(components={"working_memory": 90_000}, total=120_000)),
    ],
    [
        ("lending", c.RequestAllocation(component="knowledge_base", tokens=6_000, request_id="own")),
        ("lending", c.RequestAllocation(component="agent_context", tokens=30_000, request_id="more")),
    ],
]
STORIES = {"": STORY, "coding_agent": CODING_AGENT}


async def write(path: Path, story: list[list[tuple[str, c.Command]]]) -> None:
    now = [NOW]
    ledger = Ledger(SqliteJournal(path), clock=lambda: now[0])
    await ledger.start()
    for hour in story:
        for session, command in hour:
            try:
                await ledger.handle(session, command)
            except BudgetError as error:
                print(f"{command}: {error}", file=sys.stderr)
        now[0] += HOUR
    sessions = {session for hour in story for session, _ in hour}
    types = {each.entry.type for s in sessions for each in await ledger.entries(s, limit=1000)}
    print("without:", *sorted(set(ENTRIES) - types), file=sys.stderr)
    expected = await shown(ledger)
    await ledger.stop()
    with sqlite3.connect(path) as file:
        file.execute("VACUUM")
        file.execute("PRAGMA journal_mode = DELETE")
    file.close()
    path.with_suffix(".json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    named = "_".join(sys.argv[1:])
    asyncio.run(write(Path(__file__).with_name(f"v{named}.journal"), STORIES["".join(sys.argv[2:])]))
