"""A backup as the README of the journal tells it."""

import sqlite3

from sidecar.app import make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.lab.connection import connect

LOOPBACK = HostPort("127.0.0.1", 0)
SHOWN = ("overall", "components", "shares", "state")


async def test_a_copy_taken_while_it_serves_shows_what_was_acknowledged_by_then(tmp_path):
    """And nothing that came after it."""

    def on(name):
        return Config(listen=(LOOPBACK,), telemetry=LOOPBACK, otlp=None, journal=f"sqlite:///{tmp_path / name}")

    async with make_app(on("journal.db")) as app, connect(app.urls["api"][0]) as connection:
        await connection.call("PUT", "/v1/sessions/a", {}, expect=(201,))
        item = {"id": "x", "kind": "file", "tokens": 52_000, "content": "import this"}
        await connection.call("POST", "/v1/sessions/a/allocations", {"item": item}, expect=(200,))
        await connection.call("POST", "/v1/sessions/a/cleanups", {"component": "working_memory"}, expect=(200,))
        before = (await connection.call("GET", "/v1/sessions/a", expect=(200,))).body
        database = sqlite3.connect(tmp_path / "journal.db")
        database.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
        database.close()
        await connection.call("DELETE", "/v1/sessions/a", expect=(200,))
    async with make_app(on("copy.db")) as app, connect(app.urls["api"][0]) as connection:
        after = (await connection.call("GET", "/v1/sessions/a", expect=(200,))).body
        assert {name: after[name] for name in SHOWN} == {name: before[name] for name in SHOWN}
        archived = (await connection.call("GET", "/v1/sessions/a/archive/x", expect=(200,))).body
        assert archived["content"] == "import this"
