"""The contract as an outsider would check it: a real program, plain JSON over HTTP, and the numbers written out again.

Nothing of the sidecar is imported, so that a number that is changed in the policy is noticed here.
"""

import itertools
import urllib.request

import pytest

from tests.test_main import Program

COMPONENTS = ("system_context", "working_memory", "knowledge_base", "agent_context", "interaction_buffer")
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
MINUTE, HOUR = 60.0, 3600.0
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def program():
    running = Program("--journal", "memory:")
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.communicate(timeout=30)


class Host:
    """A session of its own, on its own clock: `at` seconds after its start."""

    def __init__(self, call: Program, **opening) -> None:
        self.call, self.name = call, f"s{next(numbers)}"
        self.path = f"/v1/sessions/{self.name}"
        self.opened = self.write("", 0, method="PUT", **opening)

    def write(self, path, at, *, method="POST", **body):
        status, answer = self.call(method, self.path + path, {**body, "time": START + at})
        assert status in {200, 201}, answer
        return answer

    def put(self, id, kind, tokens, at=0.0, **more):
        item = {"id": id, "kind": kind, "tokens": tokens, **more}
        event = {"type": "put_item", "session": self.name, "time": START + at, "item": item}
        status, answer = self.call("POST", "/v1/events", [event])
        assert (status, answer["accepted"]) == (200, 1), answer

    def read(self, path=""):
        status, answer = self.call("GET", self.path + path)
        assert status == 200
        return answer

    def component(self, name):
        return self.read()["components"][name]


@pytest.fixture
def host(program):
    return Host(program)


def test_the_defaults_are_the_table(host):
    report = host.opened
    assert (report["agent"], report["mode"], report["state"]) == ("unknown", "managed", "active")
    assert [report["shares"][name] for name in COMPONENTS] == [0.10, 0.30, 0.20, 0.15, 0.25]
    budgets = [report["components"][name]["allocated_tokens"] for name in COMPONENTS]
    assert budgets == [20_000, 60_000, 40_000, 30_000, 50_000]
    targets = [tuple(report["components"][name]["target"].values()) for name in COMPONENTS]
    assert targets == [(0.95, 0.99), (0.70, 0.80), (0.60, 0.75), (0.70, 0.85), (0.60, 0.75)]
    assert report["overall"]["total_tokens"] == 200_000
    assert report["overall"]["target"] == {"low": 0.75, "high": 0.85}


def test_a_report_has_the_fields_of_the_contract(host):
    """`reclaimable_tokens` is there, for this session's items are known; nothing is known of its future."""
    report = host.read()
    assert set(report) == {
        "session", "agent", "parent", "mode", "model", "state", "timestamp", "components", "overall", "forecast",
        "shares", "provider_ratio", "source",
    }  # fmt: skip
    assert tuple(report["components"]) == COMPONENTS
    assert set(report["components"]["working_memory"]) == {
        "allocated_tokens", "used_tokens", "available_tokens", "pending_tokens", "borrowed_tokens",
        "reclaimable_tokens", "utilization_ratio", "status", "target", "exhaustions",
    }  # fmt: skip
    assert set(report["overall"]) == {
        "total_tokens", "used_tokens", "available_tokens", "pending_tokens", "unattributed_tokens",
        "utilization_ratio", "status", "target",
    }  # fmt: skip
    assert report["forecast"] == {}
    (listed,) = (
        row for row in host.call("GET", "/v1/sessions?limit=1000")[1]["sessions"] if row["session"] == host.name
    )
    assert set(listed) == {
        "session", "agent", "mode", "state", "model", "total_tokens", "used_tokens", "utilization_ratio", "status",
    }  # fmt: skip


KINDS = {
    "system_context": ("prompt", "tool_definition", "config"),
    "working_memory": ("context", "tool_result", "debug", "task", "file"),
    "knowledge_base": ("skill", "doc", "memory"),
    "agent_context": ("agent", "plan", "execution"),
    "interaction_buffer": ("interaction",),
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_kind_has_its_component(host, component):
    for number, kind in enumerate(KINDS[component], 1):
        host.put(kind, kind, 10)
        assert host.component(component)["used_tokens"] == 10 * number
    host.put("elsewhere", KINDS[component][0], 7, component="agent_context")
    assert host.component("agent_context")["used_tokens"] == 7 + 10 * len(KINDS[component]) * (
        component == "agent_context"
    )


# component, step, its action, what is there (kind, tokens, more), after how long, and the tokens left of each item
STEPS = [
    ("working_memory", "compress_inactive", "compress", ("tool_result", 20_001, {}), HOUR + 1, 8_001),
    ("working_memory", "remove_debug", "remove", ("debug", 500, {}), 2 * HOUR + 1, 0),
    ("working_memory", "archive_tasks", "archive", ("task", 500, {"completed": True}), 1, 0),
    ("working_memory", "evict_lru", "evict", ("file", 45_001, {}), 1, 0),
    ("knowledge_base", "unload_skills", "unload", ("skill", 1_000, {}), 3 * HOUR + 1, 0),
    ("knowledge_base", "cache_docs", "summarize", ("doc", 1_001, {"full": True}), 1, 201),
    ("knowledge_base", "compress_docs", "excerpt", ("skill", 5_000, {"doc_tokens": 3_000}), 1, 2_900),
    ("agent_context", "archive_completed", "archive", ("plan", 500, {"completed": True}), 1, 0),
    ("agent_context", "compress_idle", "compress", ("agent", 10_001, {}), HOUR + 1, 4_001),
    ("interaction_buffer", "summarize_old", "summarize", ("interaction", 1_000, {}), 2 * HOUR + 1, 200),
    ("interaction_buffer", "archive", "archive", ("interaction", 100, {}), 4 * HOUR + 1, 0),
]


@pytest.mark.parametrize(("component", "step", "action", "item", "after", "left"), STEPS, ids=[row[1] for row in STEPS])
def test_each_step_does_what_the_table_says(host, component, step, action, item, after, left):
    """And not a moment earlier, where it waits for an age; what it takes is in the archive, and can be read."""
    kind, tokens, more = item
    host.put("x", kind, tokens, **more, content="all of it")
    if after > 1:
        early = host.write("/cleanups", after - 1, component=component)
        assert (early["tokens_freed"], early["actions_taken"], early["steps"]) == (0, [], [])
    answer = host.write("/cleanups", after, component=component)
    assert (answer["component"], answer["trigger"], answer["actions_taken"]) == (component, "manual", [step])
    assert answer["steps"] == [{"step": step, "items": 1, "tokens_freed": tokens - left}]
    (directive,) = answer["directives"]
    assert (directive["number"], directive["action"], directive["item"]) == (1, action, "x")
    assert (directive["tokens_before"], directive["tokens_after"]) == (tokens, left)
    assert ("stub" in directive) == (left == 0)
    assert (host.component(component)["used_tokens"], host.component(component)["pending_tokens"]) == (
        left,
        tokens - left,
    )
    record = host.read("/archive/x")
    assert (record["step"], record["tokens_before"], record["tokens_after"]) == (step, tokens, left)
    assert record["content"] == "all of it"


@pytest.mark.parametrize(
    ("component", "kind", "step", "apart"),
    [
        ("knowledge_base", "memory", "remove_duplicates", 5 * HOUR),
        ("interaction_buffer", "interaction", "remove_redundant", 600),
    ],
)
def test_of_what_is_there_twice_the_newest_stays(host, component, kind, step, apart):
    host.put("old", kind, 10, fingerprint="00000000000000ff")
    host.put("new", kind, 10, at=apart, fingerprint="00000000000000ff")
    answer = host.write("/cleanups", apart + 31 * MINUTE, component=component)
    assert (answer["actions_taken"], [entry["item"] for entry in answer["directives"]]) == ([step], ["old"])


def test_the_fixed_component_answers_an_empty_result(host):
    host.put("x", "prompt", 25_000)
    answer = host.write("/cleanups", 0, component="system_context")
    assert (answer["tokens_freed"], answer["actions_taken"], answer["steps"], answer["directives"]) == (0, [], [], [])


@pytest.mark.parametrize(
    ("component", "bound", "kind", "due", "steps"),
    [
        ("working_memory", 48_000, "file", ("task", 500, {"completed": True}), {"archive_tasks", "evict_lru"}),
        ("knowledge_base", 30_000, "doc", ("skill", 500, {"doc_tokens": 400}), {"unload_skills"}),
        ("agent_context", 25_500, "agent", ("plan", 500, {"completed": True}), {"archive_completed"}),
        ("interaction_buffer", 37_500, "interaction", ("interaction", 500, {}), {"summarize_old"}),
    ],
)
def test_above_its_target_a_component_runs_what_the_table_says(host, component, bound, kind, due, steps):
    """Up to the bound nothing happens; a token more runs one step, or the whole strategy of the working memory."""
    old, tokens, more = due
    host.put("old", old, tokens, **more)
    host.put("filler", kind, bound - tokens, at=3 * HOUR + 1, full=kind == "doc")
    assert host.component(component)["used_tokens"] == bound
    assert host.read("/directives")["directives"] == []
    host.put("more", kind, 1, at=3 * HOUR + 2)
    assert {directive["step"] for directive in host.read("/directives")["directives"]} == steps
    assert host.component(component)["exhaustions"] == 0


def test_every_allocation_is_in_the_ledger(host):
    """With its time, component, tokens requested and granted, and outcome."""
    for tokens in (50_000, 20_000, 1):
        host.write("/allocations", 60, component="working_memory", tokens=tokens)
    entries = [entry for entry in host.read("/ledger")["entries"] if entry["type"] == "allocated"]
    told = [(entry["component"], entry["requested"], entry["granted"], entry["outcome"]) for entry in entries]
    assert told == [
        ("working_memory", 50_000, 50_000, "full"),
        ("working_memory", 20_000, 10_000, "partial"),
        ("working_memory", 1, 0, "denied"),
    ]
    assert {entry["time"] for entry in entries} == {"2026-01-01T00:01:00.000Z"}
    assert host.component("working_memory")["exhaustions"] == 2


@pytest.mark.parametrize(
    ("exhaustions", "averages", "after"),
    [
        ([0, 2, 0, 5, 0], [0.6, 0.98, 0.5, 0.98, 0.45], [0.10, 0.30, 0.20, 0.20, 0.20]),
        ([0, 5, 0, 0, 0], [0.6, 0.95, 0.6, 0.6, 0.6], [0.10, 0.3316, 0.1895, 0.1421, 0.2368]),
    ],
)
def test_the_worked_examples_of_adaptive_shares_hold(host, exhaustions, averages, after):
    given = {
        name: {"exhaustion_count": count, "avg_utilization": average}
        for name, count, average in zip(COMPONENTS, exhaustions, averages, strict=True)
    }
    answer = host.write("/adjustments", 0, history=given, dry_run=True)
    assert [round(answer["after"][name], 4) for name in COMPONENTS] == after
    assert host.read()["shares"] == answer["before"]
    host.write("/adjustments", 0, history=given)
    assert host.read()["shares"] == answer["after"]


def test_tasks_are_predicted_by_the_table(host):
    tasks = [
        {"id": "t1", "files": ["a", "b"], "agents": ["x"], "estimated_minutes": 4.5},
        {"id": "t2", "files": ["a", "b", "c", "d", "e"]},
        {"id": "t3", "agents": ["x"], "estimated_minutes": 65},
    ]
    answer = host.write("/predictions", 0, tasks=tasks)
    assert [(task["score"], task["complexity"]) for task in answer["tasks"]] == [
        (49, "simple"), (50, "moderate"), (150, "complex"),
    ]  # fmt: skip
    assert [answer["prior"][name] for name in COMPONENTS] == [0, 100_000, 30_000, 50_000, 0]
    assert answer["predicted"] == answer["prior"]
    assert [answer["shortfall"][name] for name in COMPONENTS] == [0, 40_000, 0, 20_000, 0]
    assert answer["suggested_shares"] is None, "the others need or use what they have"


def test_a_host_that_ignores_its_directives_drifts(host):
    """From the tenth answer on that carried its oldest directive."""
    host.put("x", "task", 50, completed=True)
    host.write("/cleanups", 1, component="working_memory")
    for answers in range(2, 11):
        assert host.read()["state"] == "active"
        answer = host.write("/allocations", answers, component="knowledge_base", tokens=1)
        assert [directive["number"] for directive in answer["directives"]] == [1]
    assert host.read()["state"] == "drifted"
    host.write("/directives/acknowledgements", 20, through=1)
    assert host.read()["state"] == "active"


def test_errors_have_the_statuses_of_the_contract(host):
    call, path = host.call, host.path
    allocation = {"component": "working_memory", "tokens": 5, "request_id": "r"}
    host.write("/allocations", 0, **allocation)
    expected = [
        (200, "PUT", path, {"time": START}),
        (409, "PUT", path, {"agent": "another"}),
        (400, "PUT", "/v1/sessions/new", {"agent": 1}),
        (400, "PUT", "/v1/sessions/new", {"unknown": 1}),
        (400, "POST", f"{path}/allocations", {"component": "nowhere", "tokens": 1}),
        (400, "POST", f"{path}/allocations", {"component": "working_memory", "tokens": 0}),
        (409, "POST", f"{path}/allocations", {**allocation, "tokens": 6}),
        (409, "POST", f"{path}/releases", {"component": "working_memory", "tokens": 6}),
        (404, "POST", f"{path}/releases", {"item": "nothing"}),
        (404, "POST", "/v1/sessions/nowhere/allocations", allocation),
        (404, "GET", "/v1/sessions/nowhere", None),
        (404, "GET", f"{path}/archive/nothing", None),
        (405, "POST", path, {}),
        (400, "GET", "/v1/sessions?limit=1001", None),
    ]
    for status, method, where, body in expected:
        got, answer = call(method, where, body)
        assert got == status, (method, where, body, answer)
        if status != 200:
            assert answer["status"] == status
            assert answer["detail"]
        if status == 400:
            assert answer["errors"]
            assert all(set(error) == {"path", "detail"} for error in answer["errors"])


def test_every_write_answers_what_the_contract_says(host):
    """A session's report where it is opened, changed or closed; whatever else was done, with its directives."""
    done: list[tuple[str, dict[str, object], set[str]]] = [
        ("/allocations", {"component": "working_memory", "tokens": 5},
         {"requested", "granted", "outcome", "available_tokens", "cleanup"}),
        ("/releases", {"component": "working_memory", "tokens": 5}, set()),
        ("/cleanups", {"component": "working_memory"},
         {"component", "trigger", "tokens_freed", "duration_ms", "actions_taken", "steps"}),
        ("/predictions", {"tasks": [{"id": "t"}]},
         {"tasks", "prior", "predicted", "available", "shortfall", "suggested_shares", "cleanups"}),
        ("/adjustments", {"dry_run": True}, {"before", "after", "reasons"}),
        ("/directives/acknowledgements", {"through": 0}, set()),
    ]  # fmt: skip
    for path, body, fields in done:
        assert fields | {"directives"} <= set(host.write(path, 0, **body)), path
    assert set(host.write("/window", 0, method="PUT", items=[])) == {"report", "directives"}
    assert host.write("", 0, method="PATCH", total_tokens=100_000)["overall"]["total_tokens"] == 100_000
    closed = host.write("", 0, method="DELETE")
    assert closed["state"] == "closed"
    assert host.write("", 0, method="DELETE") == closed
    assert host.call("POST", f"{host.path}/allocations", {"component": "working_memory", "tokens": 5})[0] == 409


def test_an_event_opens_a_managed_session(program):
    event = {"type": "put_item", "session": "by-event", "item": {"id": "x", "kind": "file", "tokens": 5}}
    assert program("POST", "/v1/events", [event])[1]["accepted"] == 1
    report = program("GET", "/v1/sessions/by-event")[1]
    assert (report["mode"], report["components"]["working_memory"]["used_tokens"]) == ("managed", 5)


def test_metrics_of_the_process_are_there(program):
    with urllib.request.urlopen(f"{program.urls['telemetry']}/metrics", timeout=20) as answer:
        shown = answer.read().decode()
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"):
        assert f"\n{name} " in shown
