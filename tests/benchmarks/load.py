"""Load from outside: wrk with a script that asks for one token after the other, and how the sessions are opened."""

import json
import re
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.server import Server

SESSIONS = 4
CONNECTIONS = 16

# Each connection's next request, with an id that no other has, to one session after the other.
ALLOCATIONS = """
local number = 0
local headers = { ["Content-Type"] = "application/json" }
request = function()
  number = number + 1
  local body = '{"component": "working_memory", "tokens": 1, "request_id": "%s-' .. number .. '"}'
  return wrk.format("POST", "/v1/sessions/bench-" .. number %% SESSIONS .. "/allocations", headers, body)
end
""".replace("SESSIONS", str(SESSIONS))

POSTS = """
local file = io.open("%s", "rb")
local body, all = file:read("*a"), nil
init = function() all = wrk.format("POST", "%s", { ["Content-Type"] = "application/json" }, body) end
request = function() return all end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run came to: requests a second, and the server's processor time for one request, in seconds."""

    rate: float
    work: float


def open_sessions(server: Server, *, total: int = 1_000_000_000_000) -> None:
    """Open the sessions, so large that every request fits."""
    for number in range(SESSIONS):
        call(server, "PUT", f"/v1/sessions/bench-{number}", {"agent": "bench", "total_tokens": total})


def call(server: Server, method: str, path: str, body: object = None) -> bytes:
    """One call of the API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        server.urls["api"] + path, data=data, method=method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def allocate(server: Server, run: str, *, seconds: int) -> Load:
    """Allocations for so long; `run` keeps their request ids apart from those of other runs."""
    return _load(server, ALLOCATIONS % run, seconds=seconds, connections=CONNECTIONS)


def post(server: Server, path: str, body: bytes, *, seconds: int, connections: int) -> Load:
    """The same request again and again."""
    with tempfile.NamedTemporaryFile("wb", suffix=".body") as kept:
        kept.write(body)
        kept.flush()
        return _load(server, POSTS % (kept.name, path), seconds=seconds, connections=connections)


def _load(server: Server, script: str, *, seconds: int, connections: int) -> Load:
    """Run wrk. Fails where an answer was no success."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as kept:
        Path(kept.name).write_text(script)
        before = server.worked()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", kept.name, server.urls["api"]]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        worked = server.worked() - before
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    count = int(_found(r"(\d+) requests in", said))
    return Load(rate=float(_found(r"Requests/sec: +([\d.]+)", said)), work=worked / count)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]
