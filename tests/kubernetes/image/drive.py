"""What an agent does, from another container of the same network namespace: the main calls, one after another."""

import json
import urllib.request
from typing import Any

API = "http://127.0.0.1:8321"


def call(method: str, path: str, body: object = None, base: str = API) -> Any:
    """One call; the answer's JSON, or its text."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text


session = "/v1/sessions/pod"
opened = call("PUT", session, {"agent": "pod-agent"})
assert opened["overall"]["total_tokens"] == 200_000, opened
item = {"id": "a", "kind": "file", "tokens": 500}
granted = call("POST", f"{session}/allocations", {"component": "working_memory", "tokens": 500, "item": item})
assert granted["outcome"] == "full", granted
told = call("POST", "/v1/events", [{"type": "touch_item", "session": "pod", "item": "a"}])
assert told["accepted"] == 1, told
synced = call("PUT", f"{session}/window", {"items": [{"id": "a", "kind": "file", "tokens": 400}]})
assert synced["report"]["overall"]["used_tokens"] == 400, synced
cleaned = call("POST", f"{session}/cleanups", {"component": "working_memory"})
assert cleaned["component"] == "working_memory", cleaned
assert call("DELETE", session)["state"] == "closed"
metrics = call("GET", "/metrics", base="http://127.0.0.1:9464")
assert 'token_budget_sessions{agent="pod-agent"' in metrics, metrics
print("all calls answered")
