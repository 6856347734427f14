"""`demo`: a sidecar with an embedded journal, recorded sessions replayed to it, and where to look at the outcome.

Everything is real but the clock: the sidecar, its journal, its metrics, and the sizes, kinds and times of real agents'
sessions. Only their pauses are cut short.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import fill

from sidecar.app import make_app
from sidecar.config import Config
from sidecar.config.load import ConfigError, add_flags, load
from sidecar.lab.connection import Connection, Shown, SidecarError, connect
from sidecar.lab.player import Options, Played
from sidecar.lab.recordings import bundled, read
from sidecar.lab.replay import add_pace, replay, show
from sidecar.lab.style import Style, width_of
from sidecar.lab.table import WIDTH

SPEED = "100"  # with pauses of at most IDLE recorded seconds, the longest bundled recording takes about 40 s
IDLE = 10.0
FACTS = (
    "A component above 100 % is no mistake: what users and the model write, and system text, are facts, and a fact "
    "stands whatever the budget. Refused is only what the agent could still leave out: results of tools, files, "
    "documents, skills."
)
OK, NOT_FOUND = 200, 404
EVERYWHERE, LOOPBACK = "//0.0.0.0:", "//127.0.0.1:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `demo` takes: its own few options, and every setting of the sidecar."""
    parser.add_argument("--once", action="store_true", help="end after the replay instead of serving on")
    add_pace(parser, speed=SPEED, idle=IDLE)
    add_flags(parser)


async def run(args: argparse.Namespace) -> int:
    """Carry out `demo`; the exit status is 1 where the sidecar failed, 2 where a setting is wrong.

    Serving on ends by being interrupted, so that is status 0; nothing is left behind either way.
    """
    try:
        config = load(vars(args), os.environ).config
    except ConfigError as error:
        for rule in error.broken:
            print(f"demo: {rule}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="token-budget-demo-") as folder:
        if not config.journal:
            config = replace(config, journal=f"sqlite:///{folder}/journal.db")
        try:
            return await _show(config, args)
        except (OSError, SidecarError) as error:
            print(f"demo: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            return 1


async def _show(config: Config, args: argparse.Namespace) -> int:
    recordings = read([bundled()])
    options = Options(speed=args.speed, skip_idle=args.skip_idle)
    async with make_app(config) as sidecar:
        api, telemetry = sidecar.urls["api"][0], sidecar.urls["telemetry"][0]
        print(f"A sidecar listens on {api}; replaying {len(recordings)} recorded sessions to it.", file=sys.stderr)
        shown = Shown(token_file=Path(config.admin_tokens[0]) if config.admin_tokens else None)
        async with connect(api, shown=shown) as connection:
            replayed = await replay(recordings, connection, options)
            show(replayed)
            facts = fill(FACTS, min(width_of(sys.stdout), WIDTH))
            print(f"\n{facts}\n\n{await where_to_look(connection, api, telemetry, replayed.sessions)}", flush=True)
        if not args.once:
            print("\nServing until interrupted (Ctrl-C).", flush=True)
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    return 1 if replayed.errors else 0


async def where_to_look(connection: Connection, api: str, telemetry: str, sessions: Sequence[Played]) -> str:
    """Tell the addresses at which the outcome can be looked at."""
    style = Style.of(sys.stdout)
    rows = [
        ("all sessions", f"{api}/v1/sessions"),
        ("metrics", f"{telemetry.replace(EVERYWHERE, LOOPBACK)}/metrics"),
        ("the API", f"{api}/openapi.json"),
    ]
    if sessions:
        busiest = max(sessions, key=lambda played: played.account.freed.total())
        session = f"{api}/v1/sessions/{busiest.session}"
        rows[1:1] = [
            ("one of them", session),
            ("its archive", f"{session}/archive"),
            ("its ledger", f"{session}/ledger"),
        ]
    if (await connection.call("GET", "/", expect=(OK, NOT_FOUND))).status == OK:
        rows.insert(0, ("live page", f"{api}/"))
    return "\n".join([style.paint("Where to look", "bold"), *(f"  {name:<14}{address}" for name, address in rows)])
