"""The calls of the HTTP API (SPEC section 4), as data: routes and OpenAPI document are both made from this table."""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.budget import commands, replies
from sidecar.budget.commands import Name
from sidecar.receivers.operation import Operation, Query
from sidecar.receivers.pages import (
    ArchivePage,
    BatchReply,
    DirectivePage,
    EntryPage,
    ItemPage,
    ProfilePage,
    SessionPage,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(commands.Command):
    """The body of a restore; the item is named by the path."""

    request_id: Name | None = None


LIMIT = Query(
    name="limit",
    meaning="How many to answer at most.",
    schema={"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
)
AFTER = Query(
    name="after", meaning="Answer what comes after this; `next` of the page before.", schema={"type": "string"}
)
AFTER_NUMBER = Query(
    name="after",
    meaning="Answer what comes after this number; `next` of the page before.",
    schema={"type": "integer", "minimum": 0, "default": 0},
)
COMPONENT = Query(name="component", meaning="Only this component.", schema={"$ref": "#/components/schemas/Component"})
SEARCH = Query(
    name="q", meaning="Only what has this text in its id, kind, reason or content.", schema={"type": "string"}
)

SESSION = "/v1/sessions/{session}"

# Allocations come first because the router looks in this order, and they are asked for most.
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="request_allocation",
        method="POST",
        path=f"{SESSION}/allocations",
        summary="Ask for tokens",
        body=commands.RequestAllocation,
        reply=replies.AllocationReply,
        example={"component": "working_memory", "tokens": 12000, "request_id": "read-main.py"},
        notes="A refusal is a result: the answer is 200, with the outcome `partial` or `denied`.",
    ),
    Operation(
        id="release_tokens",
        method="POST",
        path=f"{SESSION}/releases",
        summary="Give tokens back",
        body=commands.ReleaseTokens,
        reply=replies.ReleaseReply,
        example={"component": "working_memory", "tokens": 4000},
    ),
    Operation(
        id="clean_up",
        method="POST",
        path=f"{SESSION}/cleanups",
        summary="Clean a component up",
        body=commands.CleanUp,
        reply=replies.CleanupReply,
        example={"component": "interaction_buffer"},
    ),
    Operation(
        id="plan_tasks",
        method="POST",
        path=f"{SESSION}/predictions",
        summary="Predict what tasks will need",
        body=commands.PlanTasks,
        reply=replies.PredictionReply,
        example={
            "tasks": [{"id": "t1", "files": ["a.py", "b.py"], "agents": ["reviewer"], "estimated_minutes": 30}],
            "preempt": True,
        },
    ),
    Operation(
        id="adjust_shares",
        method="POST",
        path=f"{SESSION}/adjustments",
        summary="Adapt the shares to what was used",
        body=commands.AdjustShares,
        optional_body=True,
        reply=replies.AdjustmentReply,
        example={"dry_run": True},
    ),
    Operation(
        id="sync_window",
        method="PUT",
        path=f"{SESSION}/window",
        summary="Show the whole next prompt",
        body=commands.SyncWindow,
        reply=replies.WindowReply,
        example={
            "items": [
                {"id": "system", "kind": "prompt", "tokens": 1800},
                {"id": "m1", "kind": "interaction", "tokens": 240},
            ],
            "through": 0,
        },
    ),
    Operation(
        id="acknowledge",
        method="POST",
        path=f"{SESSION}/directives/acknowledgements",
        summary="Tell which directives were applied",
        body=commands.Acknowledge,
        reply=replies.AcknowledgeReply,
        example={"through": 3, "failed": [{"number": 2, "reason": "the file is open"}]},
    ),
    Operation(
        id="list_directives",
        method="GET",
        path=f"{SESSION}/directives",
        summary="The directives that are not confirmed yet",
        reply=DirectivePage,
        query=(LIMIT, AFTER_NUMBER),
    ),
    Operation(
        id="list_items",
        method="GET",
        path=f"{SESSION}/items",
        summary="What the window holds",
        reply=ItemPage,
        query=(LIMIT, AFTER, COMPONENT),
    ),
    Operation(
        id="list_archive",
        method="GET",
        path=f"{SESSION}/archive",
        summary="What was archived",
        reply=ArchivePage,
        query=(LIMIT, AFTER, COMPONENT, SEARCH),
    ),
    Operation(
        id="erase_archive",
        method="DELETE",
        path=f"{SESSION}/archive",
        summary="Erase archived items and their content",
        body=commands.EraseArchive,
        optional_body=True,
        admin=True,
        reply=replies.ErasureReply,
        example={"item": "m1"},
    ),
    Operation(
        id="read_archived",
        method="GET",
        path=f"{SESSION}/archive/{{item}}",
        summary="One archived item with its content",
        reply=replies.ArchiveRecordReply,
    ),
    Operation(
        id="restore_item",
        method="POST",
        path=f"{SESSION}/archive/{{item}}/restore",
        summary="Bring an archived item back",
        body=Restore,
        optional_body=True,
        reply=replies.RestoreReply,
        example={"request_id": "restore-m1"},
    ),
    Operation(
        id="list_entries",
        method="GET",
        path=f"{SESSION}/ledger",
        summary="The entries of the ledger after a version",
        reply=EntryPage,
        query=(LIMIT, AFTER_NUMBER),
    ),
    Operation(
        id="open_session",
        method="PUT",
        path=SESSION,
        summary="Open a session",
        body=commands.OpenSession,
        optional_body=True,
        creates=True,
        reply=replies.Report,
        example={"agent": "reviewer", "total_tokens": 200000, "model": "claude-sonnet-4-5"},
        notes="200 if it is already open and the same as it was opened; 409 if it is different.",
    ),
    Operation(
        id="change_session",
        method="PATCH",
        path=SESSION,
        summary="Change a session",
        body=commands.ChangeSession,
        reply=replies.Report,
        example={"total_tokens": 1000000, "model": "claude-sonnet-4-5"},
    ),
    Operation(
        id="read_report",
        method="GET",
        path=SESSION,
        summary="The utilization report",
        reply=replies.Report,
    ),
    Operation(
        id="close_session",
        method="DELETE",
        path=SESSION,
        summary="Close a session with a final report",
        body=commands.CloseSession,
        optional_body=True,
        reply=replies.Report,
        example={"time": "2026-01-31T08:00:00Z"},
        notes="Closing again answers the same report.",
    ),
    Operation(
        id="list_profiles",
        method="GET",
        path="/v1/profiles",
        summary="What is known of agents",
        of_agent=True,
        reply=ProfilePage,
        query=(LIMIT, AFTER),
        notes="With `Accept: application/toml`: all of it, as the file that the setting `profiles` reads.",
    ),
    Operation(
        id="read_profile",
        method="GET",
        path="/v1/profiles/{agent}",
        summary="What is known of an agent",
        of_agent=True,
        reply=replies.ProfileReply,
    ),
    Operation(
        id="forget_profile",
        method="DELETE",
        path="/v1/profiles/{agent}",
        summary="Forget what was learned of an agent",
        of_agent=True,
        admin=True,
        reply=replies.ProfileReply,
        notes="Answers what was forgotten. What the operator gave in a file stands again.",
    ),
    Operation(
        id="list_sessions",
        method="GET",
        path="/v1/sessions",
        summary="All sessions",
        reply=SessionPage,
        query=(LIMIT, AFTER),
    ),
    Operation(
        id="send_events",
        method="POST",
        path="/v1/events",
        summary="Send a batch of events",
        events=True,
        reply=BatchReply,
        example=[
            {
                "type": "put_item",
                "session": "s1",
                "id": "e1",
                "item": {"id": "main.py", "kind": "file", "tokens": 3200, "path": "src/main.py"},
            },
            {"type": "request_allocation", "session": "s1", "component": "working_memory", "tokens": 8000},
        ],
        notes="A JSON array, or a line for each event (application/x-ndjson). A bad event never blocks the good ones.",
    ),
)

BY_ID: Mapping[str, Operation] = {operation.id: operation for operation in OPERATIONS}
