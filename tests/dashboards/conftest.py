"""A sidecar that agents have worked with, and Prometheus and Alertmanager that have watched it."""

import pytest

from tests.dashboards.stack import Stack

SESSIONS = "sidecar/lab/sessions/"
MANAGED = SESSIONS + "claude-code__entire-cli-15833058f9e6.jsonl.gz"  # exhausted, cleaned up, refused
OBSERVED = SESSIONS + "claude-code__cipher-box-fd1d2325c3f4.jsonl.gz"  # compacted by its host, with sub-agents
PLANNED = 3


@pytest.fixture(scope="session")
def watched(tmp_path_factory, need_program):
    """Recorded sessions were replayed, and what no recording has was told by hand; all of it was scraped."""
    stack = Stack(tmp_path_factory.mktemp("watched"), need_program)
    try:
        plan(stack)
        stack.scraped()
        stack.replay(MANAGED)
        stack.replay(OBSERVED, "--mode", "observed", "--as", "window", "--prefix", "seen-", "--close")
        overflow(stack)
        complete(stack)
        stack.scraped()
        yield stack
    finally:
        stack.stop()


def plan(stack):
    """Tasks are planned, and a host says more than its components explain."""
    tasks = [{"id": f"task-{n}", "files": ["a", "b"], "agents": ["c"], "estimated_minutes": 20} for n in range(PLANNED)]
    stack.tell(
        {"type": "open_session", "session": "planned", "agent": "claude-code"},
        {"type": "plan_tasks", "session": "planned", "tasks": tasks},
        {"type": "report_usage", "session": "planned", "total": 30_000},
    )


def complete(stack):
    """They need other things than was predicted."""
    needed = {"working_memory": 25_000, "agent_context": 12_000, "knowledge_base": 2_000}
    stack.tell(
        *(
            {"type": "complete_task", "session": "planned", "task": f"task-{n}", "actual": needed}
            for n in range(PLANNED)
        )
    )


def overflow(stack):
    """Many windows of one agent are as good as full, so that seconds add up to a minute in no time."""
    full = {"id": "everything", "kind": "file", "tokens": 190_000}
    stack.tell(
        *(
            event
            for n in range(60)
            for event in (
                {"type": "open_session", "session": f"full-{n}", "agent": "overflowing & co"},
                {"type": "put_item", "session": f"full-{n}", "item": full},
            )
        )
    )
