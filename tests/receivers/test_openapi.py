"""The OpenAPI document: valid, complete, and true of what the sidecar answers."""

import json

import pytest

from sidecar.receivers.bodies import JSON
from sidecar.receivers.openapi import document
from sidecar.receivers.operations import OPERATIONS

BASE = "/v1/sessions/{session}"

# SPEC section 4, the table: what there is, and nothing else.
CALLS = {
    "/v1/sessions": {"get"},
    "/v1/events": {"post"},
    BASE: {"put", "patch", "get", "delete"},
    f"{BASE}/window": {"put"},
    f"{BASE}/allocations": {"post"},
    f"{BASE}/releases": {"post"},
    f"{BASE}/cleanups": {"post"},
    f"{BASE}/predictions": {"post"},
    f"{BASE}/adjustments": {"post"},
    f"{BASE}/directives": {"get"},
    f"{BASE}/directives/acknowledgements": {"post"},
    f"{BASE}/items": {"get"},
    f"{BASE}/archive": {"get", "delete"},
    f"{BASE}/archive/{{item}}": {"get"},
    f"{BASE}/archive/{{item}}/restore": {"post"},
    f"{BASE}/ledger": {"get"},
    "/v1/profiles": {"get"},
    "/v1/profiles/{agent}": {"get", "delete"},
    "/v1/stream": {"get"},
}


def calls():
    return {
        (path, method): call
        for path, item in document()["paths"].items()
        for method, call in item.items()
        if method != "parameters"
    }


def check(instance, schema):
    """Hold a value against a schema of the document."""
    from openapi_schema_validator import OAS31Validator  # seconds to import: not in every process that collects tests

    whole = {**schema, "components": document()["components"]}
    OAS31Validator(whole).validate(instance)


def test_the_document_is_valid_openapi_31():
    from openapi_spec_validator import validate

    assert document()["openapi"] == "3.1.0"
    validate(document())


def test_it_has_every_call_of_the_contract_and_no_other():
    found: dict[str, set[str]] = {}
    for path, method in calls():
        found.setdefault(path, set()).add(method)
    assert found == CALLS


def test_every_call_has_words_of_its_own_and_tells_all_its_problems():
    ids = [call["operationId"] for call in calls().values()]
    assert len(set(ids)) == len(ids)
    for (path, method), call in calls().items():
        assert call["summary"]
        expected = {"400", "401", "403", "500", "503"}
        if "{session}" in path and call["operationId"] != "open_session":
            expected.add("404")
        if "{agent}" in path:
            expected.add("404")
        if path == "/v1/stream":
            expected |= {"404", "429"}
        if method != "get" and "{agent}" not in path:
            expected |= {"408", "413", "415", "429"}
            if "{session}" in path:
                expected.add("409")
        problems = {status for status in call["responses"] if not status.startswith("2")}
        assert problems == expected, call["operationId"]


def test_every_problem_is_problem_details_and_says_when_to_try_again():
    responses = document()["components"]["responses"]
    for response in responses.values():
        media = response["content"]["application/problem+json"]
        check(media["example"], media["schema"])
        assert media["example"]["type"].startswith("urn:token-budget:problem:")
    retry = {name for name, response in responses.items() if "Retry-After" in response.get("headers", {})}
    assert retry == {"overloaded", "unavailable"}


def test_every_example_fits_its_schema():
    for operation in OPERATIONS:
        call = calls()[operation.path, operation.method.lower()]
        assert ("requestBody" in call) == (operation.example is not None)
        if operation.example is not None:
            check(operation.example, call["requestBody"]["content"][JSON]["schema"])


def test_every_schema_is_described_where_it_is_a_model():
    for name, schema in document()["components"]["schemas"].items():
        if schema.get("type") == "object":
            assert schema["description"], name
            assert "\n    " not in schema["description"], name


async def test_it_is_served_as_it_is_printed(call):
    answer = await call("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == json.loads(json.dumps(document()))


@pytest.fixture
async def filled(call, session):
    """A session in which everything that answers can show has something to show."""
    task = {"id": "t1", "kind": "task", "tokens": 500, "completed": True, "content": "text", "group": "g"}
    events = [{"type": "put_item", "session": "s1", "item": {**task, "id": name}} for name in ("t1", "t2")]
    assert (await call("POST", "/v1/events", events)).body["accepted"] == 2
    assert (await call("POST", f"{session}/cleanups", {"component": "working_memory"})).body["directives"]
    assert (await call("POST", f"{session}/predictions", {"tasks": [{"id": "p"}]})).status == 200
    done = [{"type": "complete_task", "session": "s1", "task": "p"}]
    assert (await call("POST", "/v1/events", done)).body["accepted"] == 1
    return {"session": "s1", "item": "t1", "agent": (await call("GET", session)).body["agent"]}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
async def test_every_call_answers_what_the_document_says(call, filled, operation):
    bodies = {
        "open_session": {"agent": "tester"},
        "release_tokens": {"item": "main.py"},
        "acknowledge": {"through": 2},
        "erase_archive": {"item": "t1"},
    }
    body = bodies.get(operation.id, operation.example)
    answer = await call(operation.method, operation.path.format(**filled), body)
    described = calls()[operation.path, operation.method.lower()]["responses"]
    assert answer.status == 200, answer.body
    schema = described["200"]["content"][JSON]["schema"]
    check(answer.body, schema)
    reply = schema["anyOf"][0] if "anyOf" in schema else schema
    check(answer.body, reply)
    model = document()["components"]["schemas"][reply["$ref"].rpartition("/")[2]]
    assert set(answer.body) <= set(model["properties"])
