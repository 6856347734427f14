"""Commands as JSON."""

import json

from pydantic import TypeAdapter

from sidecar.budget.commands import ItemSpec, PutItem, ReportUsage, SyncWindow, WindowItem
from sidecar.lab.wire import body, event


def test_defaults_are_left_out_and_the_rest_stays_as_it_is():
    item = ItemSpec(id="a", kind="file", tokens=0, full=True)
    assert event(PutItem(item=item, time=7.0)) == {
        "type": "put_item",
        "item": {"id": "a", "kind": "file", "tokens": 0, "full": True},
        "time": 7.0,
    }
    assert body(ReportUsage(total=5, components={"agent_context": 3})) == {
        "total": 5,
        "components": {"agent_context": 3},
    }


def test_an_empty_window_is_shown_as_empty():
    assert body(SyncWindow(items=[])) == {"items": []}


def test_what_is_written_is_read_back_as_the_same_command():
    command = SyncWindow(items=[WindowItem(id="a", tokens=1, completed=True)], through=3, time=1.5)
    assert TypeAdapter(SyncWindow).validate_json(json.dumps(body(command))) == command
