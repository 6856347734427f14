"""Measure overload: what is accepted, how late it is answered, and what is refused, at one, two and more times as much.

    .venv/bin/python -m tests.hostile.overload --seconds 8

wrk asks for tokens of 32 sessions as fast as it is answered, on as many connections as keep the sidecar just busy
(its capacity), then on twice as many and more. Meanwhile a few callers ask for tokens of the same sessions: theirs are
the times that are told. It does not wait when it is told to; they do.
"""

import argparse
import asyncio
import re
import sys
import tempfile
import time
from asyncio import create_subprocess_exec, subprocess
from pathlib import Path

import aiohttp

from tests.benchmarks.server import Server, sidecar
from tests.hostile.load import Calls, allocation, caller

SESSIONS = 32
BUSY = 16  # connections that keep it just busy
PROBES = 8
TOTAL = 1_000_000_000_000

ALLOCATIONS = """
local number = 0
local headers = { ["Content-Type"] = "application/json" }
request = function()
  number = number + 1
  local body = '{"component": "working_memory", "tokens": 1, "request_id": "%s-' .. number .. '"}'
  return wrk.format("POST", "/v1/sessions/s" .. number %% SESSIONS .. "/allocations", headers, body)
end
""".replace("SESSIONS", str(SESSIONS))


async def measure(server: Server, folder: Path, name: str, connections: int, seconds: int) -> None:
    """One line."""
    script = folder / "load.lua"
    script.write_text(ALLOCATIONS % name)
    command = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", script, server.urls["api"])
    load = await create_subprocess_exec(*command, stdout=subprocess.PIPE) if connections else None
    until = time.monotonic() + seconds
    calls, worked = Calls(), server.worked()
    await asyncio.gather(
        *(
            caller(
                server.urls["api"], f"/v1/sessions/s{number}/allocations", allocation(f"{name}-probe{number}"), calls,
                lambda: time.monotonic() > until, pause=0.02,
            )
            for number in range(PROBES)
        )
    )  # fmt: skip
    told = (await load.communicate())[0].decode() if load else ""
    worked = server.worked() - worked
    counts = [re.search(pattern, told) for pattern in (r"(\d+) requests in", r"Non-2xx or 3xx responses: (\d+)")]
    every, refused = (int(found[1]) if found else 0 for found in counts)
    print(
        f"{name:>9} {connections:5} connections: {(every - refused) / seconds:6,.0f} accepted/s,"
        f" {refused / seconds:6,.0f} refused/s, processor {worked / seconds:4.0%}; probes p50"
        f" {calls.quantile(0.5) * 1e3:6.1f} ms, p99 {calls.quantile(0.99) * 1e3:6.1f} ms, {dict(calls.statuses)}",
        flush=True,
    )


async def main(seconds: int, flags: list[str]) -> None:
    """Start a sidecar and measure it."""
    with tempfile.TemporaryDirectory() as name, sidecar(Path(name), *flags) as server:
        async with aiohttp.ClientSession() as http:
            for number in range(SESSIONS):
                url = f"{server.urls['api']}/v1/sessions/s{number}"
                async with http.put(url, json={"agent": f"agent-{number % 4}", "total_tokens": TOTAL}) as answer:
                    assert answer.status == 201
        for step, times in (
            ("idle", 0),
            ("capacity", 1),
            ("twice", 2),
            ("4 times", 4),
            ("16 times", 16),
            ("64 times", 64),
            ("after", 1),
        ):
            await measure(server, Path(name), step, times * BUSY, seconds)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=8)
    told, rest = arguments.parse_known_args()
    sys.exit(asyncio.run(main(told.seconds, rest)))
