"""Schemathesis over the whole OpenAPI document, against a sidecar that runs.

It is run as a program: the document that it is given is our own, with links that show it how to reach what a call
needs (a session that was opened, an item that was archived), so that stateful sequences go deep.
"""

import copy
import json
import os
import re
import sys
from asyncio import create_subprocess_exec, subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.receivers.openapi import document

HERE = Path(__file__).parent
STREAM = "/v1/stream"  # it does not end, and so is tried by tests of its own

# Rules that a schema cannot say are answered 400 as well, so "valid for the schema" need not be accepted. What breaks
# the schema must be refused; of a batch each event is, within a 200.
CONFIG = """\
hooks = "{hooks}"
continue-on-failure = true
request-timeout = 20
suppress-health-check = ["all"]

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = ["400", "404", "405", "409", "413", "415"]

[[operations]]
include-operation-id = "send_events"
checks.negative_data_rejection.enabled = false
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `said` is all that the program printed."""

    code: int
    cases: int
    said: str


def linked() -> dict[str, Any]:
    """The document, with links from what opens or lists things to the calls that need them."""
    linked = copy.deepcopy(document())
    del linked["paths"][STREAM]
    opened: dict[str, Any] = {}
    archived: dict[str, Any] = {}
    for path, calls in linked["paths"].items():
        for method, call in calls.items():
            if method == "parameters" or "{session}" not in path:
                continue
            if "{item}" in path:
                at = {"session": "$request.path.session", "item": "$response.body#/items/0/id"}
                archived[call["operationId"]] = {"operationId": call["operationId"], "parameters": at}
            else:
                at = {"session": "$request.path.session"}
                opened[call["operationId"]] = {"operationId": call["operationId"], "parameters": at}
    calls = linked["paths"]["/v1/sessions/{session}"]
    for status in ("200", "201"):
        calls["put"]["responses"][status]["links"] = opened
    for path in ("items", "archive"):
        linked["paths"][f"/v1/sessions/{{session}}/{path}"]["get"]["responses"]["200"]["links"] = archived
    return linked


async def run(folder: Path, url: str, *flags: str) -> Outcome:
    """Run it against the API at `url`; `folder` takes its files."""
    (folder / "openapi.json").write_text(json.dumps(linked()))
    (folder / "schemathesis.toml").write_text(CONFIG.format(hooks=HERE / "hooks.py"))
    command: tuple[str | Path, ...] = (
        Path(sys.executable).with_name("schemathesis"), "--config-file", "schemathesis.toml",
        "run", "openapi.json", "--url", url, *flags,
    )  # fmt: skip
    process = await create_subprocess_exec(
        *command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"NO_COLOR": "1"}
    )
    try:
        said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    generated = re.search(r"^ +([\d,]+) generated", said, re.MULTILINE)
    return Outcome(process.returncode or 0, int(generated[1].replace(",", "")) if generated else 0, said)
