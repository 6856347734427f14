"""The OpenAPI 3.1 document, made from the table of calls, the commands that check bodies and the replies that answer.

Bodies are described by pydantic, which checks them, and answers by msgspec, which encodes them: what is documented is
what runs.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from functools import cache
from inspect import cleandoc
from typing import Any, TypeAlias, get_type_hints

import msgspec
from aiohttp import web
from pydantic import TypeAdapter

import sidecar
from sidecar.access.tokens import Scope
from sidecar.budget import replies
from sidecar.budget.commands import Name
from sidecar.budget.policy import Component
from sidecar.receivers import pages, problems
from sidecar.receivers.bodies import JSON, NDJSON, NO_GUESSING
from sidecar.receivers.events import event_type
from sidecar.receivers.operation import Operation
from sidecar.receivers.operations import OPERATIONS
from sidecar.receivers.problems import ProblemReply

Schema: TypeAlias = dict[str, Any]

ABOUT = """\
Watches, grants and cleans up the context window of an LLM agent, from beside it.

A *fact* (an item put, a window shown) always stands; only a *request* for tokens can be refused, and a refusal is an
answer, not an error. A write that is answered is durable. A command whose `id` was seen before changes nothing, and
its answer says `duplicate`. Errors are problem details (RFC 9457).
"""
TOKENS = """\
Asked for only where the sidecar is given files with tokens. Each token has scopes: `read`, `write` and `admin`, which
has the others in it; the roles that a call names are the scopes that it takes.
"""
RETRY_AFTER = {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}}
CHALLENGE = {"description": "What is asked for, where a token would help (RFC 6750).", "schema": {"type": "string"}}
REF = "#/components/schemas/"
STREAM = """\
Each message is an entry as the ledger's pages show it, with its `session`. The event `reset` says that entries are
missing from here on, because the place that was asked for is not at hand or the reader was too slow: read anew what you
show. The stream of one session never misses an entry: its ids are versions.
"""
STREAM_EXAMPLE = """\
id: 7
data: {"session":"s1","version":7,"type":"item_completed","time":"2026-01-31T08:00:00.000Z","item":"t1"}

"""


@cache
def document() -> Schema:
    """The whole document."""
    bodies, schemas = _bodies()
    schemas |= _replies()
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, _parameters(operation.path))[operation.method.lower()] = _call(
            operation, bodies
        )
    paths["/v1/stream"] = {"get": _stream()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Token budget sidecar",
            "version": sidecar.__version__,
            "summary": "A budget for each agent's context window.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8321"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {name: _tidy(schema) for name, schema in sorted(schemas.items())},
            "parameters": {
                "session": _path_parameter("session", "The session's id, percent-encoded."),
                "item": _path_parameter("item", "The item's id, percent-encoded."),
                "agent": _path_parameter("agent", "The agent's name, percent-encoded."),
            },
            "responses": {kind.name: _problem(kind) for kind in problems.documented().values()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": TOKENS}},
        },
    }


def routes() -> Iterable[web.RouteDef]:
    """`GET /openapi.json`. The document is made for the first who asks: it would take a fifth of the start."""

    @cache
    def encoded() -> bytes:
        return msgspec.json.encode(document())

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(encoded), content_type=JSON, headers=NO_GUESSING)

    return [web.get("/openapi.json", openapi)]


def _bodies() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """A schema for each call's body, by the call's id, and those that they refer to, by name."""
    commands = [(operation.id, operation.body) for operation in OPERATIONS if operation.body is not None]
    inputs = [*commands, ("send_events", event_type()), ("Component", Component)]
    found, definitions = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter[Any](type_)) for name, type_ in inputs], ref_template=REF + "{model}"
    )
    bodies = {name: schema for (name, _), schema in found.items()}
    schemas: dict[str, Schema] = definitions["$defs"]
    schemas["Event"] = bodies["send_events"]
    schemas["Component"] = bodies.pop("Component")
    bodies["send_events"] = {"type": "array", "items": {"$ref": f"{REF}Event"}}
    return bodies, schemas


def _replies() -> dict[str, Schema]:
    """The schemas of all answers, by name, each with its properties in the order in which they are written."""
    types = [operation.reply for operation in OPERATIONS] + [ProblemReply, pages.Duplicate]
    _, schemas = msgspec.json.schema_components(types, ref_template=REF + "{name}")
    known = {name: type_ for module in (replies, pages, problems) for name, type_ in vars(module).items()}
    for name, schema in schemas.items():
        for listed in ("properties", "required"):
            order = [field for field in get_type_hints(known[name]) if field in schema.get(listed, ())]
            was = schema.get(listed)
            schema[listed] = {field: was[field] for field in order} if isinstance(was, dict) else order
    return schemas


def _tidy(schema: Any) -> Any:
    """The schema without the titles that only repeat a field's name, and with descriptions free of indentation."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidied: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            tidied[key] = {name: _tidy(part) for name, part in value.items()}
        elif key == "description":
            tidied[key] = cleandoc(value)
        elif key not in ("title", "default") or (key == "default" and value is not None):
            tidied[key] = _tidy(value)
    return tidied


def _parameters(path: str) -> Schema:
    names = re.findall(r"{(\w+)}", path)
    return {"parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names]} if names else {}


def _path_parameter(name: str, meaning: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": meaning,
        "schema": TypeAdapter(Name).json_schema(),
    }


def _call(operation: Operation, bodies: dict[str, Schema]) -> Schema:
    schema: Schema = {"$ref": REF + operation.reply.__name__}
    if operation.answers_directives:
        schema = {"anyOf": [schema, {"$ref": f"{REF}Duplicate"}]}
    reply: Schema = {"content": {JSON: {"schema": schema}}}
    responses: Schema = {"200": {"description": "Done." if operation.method != "GET" else "Here it is.", **reply}}
    if operation.creates:
        responses["200"]["description"] = "It was open already, and the same."
        responses["201"] = {"description": "Opened.", **reply}
    described = problems.documented()
    responses |= {
        str(status): {"$ref": f"#/components/responses/{described[status].name}"} for status in _statuses(operation)
    }
    call: Schema = {"operationId": operation.id, "summary": operation.summary, "security": _security(operation.scope)}
    text = " ".join(filter(None, (cleandoc(operation.body.__doc__ or "") if operation.body else "", operation.notes)))
    if text:
        call["description"] = text
    if operation.query:
        call["parameters"] = [
            _query_parameter(query.name, query.meaning, dict(query.schema)) for query in operation.query
        ]
    if operation.id in bodies:
        media: Schema = {"schema": bodies[operation.id], "example": operation.example}
        content: Schema = {JSON: media}
        if operation.events:
            lines = "".join(msgspec.json.encode(event).decode() + "\n" for event in operation.example)
            content[NDJSON] = {"schema": {"type": "string", "description": "An event a line."}, "example": lines}
        call["requestBody"] = {"required": not operation.optional_body, "content": content}
    return call | {"responses": responses}


def _stream() -> Schema:
    """The one call that does not end: it is served by an exporter, so it is not in the table."""
    flag = {"type": "boolean", "default": False}
    described = problems.documented()
    return {
        "operationId": "stream_entries",
        "summary": "Entries as they become durable",
        "security": _security("read"),
        "description": STREAM,
        "parameters": [
            _query_parameter("session", "Only this session.", {"type": "string"}),
            _query_parameter("reports", "Also send each changed session's report, as the event `report`.", flag),
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Go on after this event. Of one session, 0 is its beginning.",
                "schema": {"type": "string"},
            },
        ],
        "responses": {
            "200": {
                "description": "Server-sent events, until either side ends them.",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": STREAM_EXAMPLE}},
            },
            **{
                str(status): {"$ref": f"#/components/responses/{described[status].name}"}
                for status in (400, 401, 403, 404, 429, 500, 503)
            },
        },
    }


def _security(scope: Scope) -> list[Schema]:
    """A token of this scope, or none where none is asked for."""
    return [{"token": [scope]}, {}]


def _query_parameter(name: str, meaning: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _statuses(operation: Operation) -> Sequence[int]:
    """The problems that a call may answer."""
    found = {400, 401, 403, 500, 503}
    if operation.body is not None or operation.events:
        found |= {408, 413, 415, 429}
    if "{session}" in operation.path:
        if operation.body is not None:
            found.add(409)
        if not operation.creates:
            found.add(404)
    if "{agent}" in operation.path:
        found.add(404)
    return sorted(found)


def _problem(kind: problems.Kind) -> Schema:
    example = problems.Problem(kind, "A sentence that says what is wrong.").body
    response: Schema = {
        "description": f"{kind.title}.",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": f"{REF}ProblemReply"}, "example": example}},
    }
    if kind.status in problems.RETRYABLE:
        response["headers"] = {"Retry-After": RETRY_AFTER}
    if kind in problems.REFUSALS:
        response["headers"] = {"WWW-Authenticate": CHALLENGE}
    return response
