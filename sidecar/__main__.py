"""The command line: argv to a command. Signals end here, and exit codes come from here.

Only what the chosen command needs is loaded, so `--version` and `--help` answer at once.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import sidecar

if TYPE_CHECKING:
    from sidecar.config import Config

PROGRAM = "token-budget-sidecar"
ABOUT = "Watches, grants and cleans up the context window of an LLM agent, from beside it."
SIGNALS = (signal.SIGTERM, signal.SIGINT)
FAILED = 1
WRONG = 2  # settings or flags, as argparse exits for a wrong flag

COMMANDS: Mapping[str, str] = {
    "serve": "run the sidecar",
    "demo": "run it, replay recorded sessions to it, and show what became of them",
    "replay": "send recorded sessions to a sidecar",
    "backtest": "run recorded sessions under several policies, and compare them",
    "audit": "tell what filled the windows of coding agents, from their own transcripts, offline",
    "top": "watch the windows of a sidecar in the terminal",
    "inject": "run the Kubernetes admission webhook that puts the sidecar into pods",
    "openapi": "print the OpenAPI document of the HTTP API",
    "check-config": "print the settings as they would be used, or what is wrong with them",
}
# These have a module of their own.
TOOLS: Mapping[str, str] = {
    "demo": "sidecar.lab.demo",
    "replay": "sidecar.lab.replay",
    "backtest": "sidecar.lab.backtest",
    "audit": "sidecar.lab.audit",
    "top": "sidecar.lab.top",
    "inject": "sidecar.kubernetes.inject",
}
# These take every setting as a flag.
CONFIGURED = frozenset({"serve", "demo", "check-config"})


class Tool(Protocol):
    """The module of a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its flags."""
        ...

    async def run(self, args: argparse.Namespace) -> int:
        """Do it, and give the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0 done, 1 failed, 2 wrong flags or settings."""
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if not word.startswith("-")), None)
    top = parser(chosen)
    args, unknown = top.parse_known_args(argv)
    if unknown:
        top.error(f"unrecognized arguments: {' '.join(unknown)}{meant(unknown[0]) if chosen in CONFIGURED else ''}")
    try:
        return execute(args)
    except BrokenPipeError:  # `| head` has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser: every command is listed, but only the chosen one's flags are declared."""
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--help] [--version] COMMAND ...",
        description=ABOUT,
        epilog="commands:\n" + "\n".join(f"  {name:<14}{meaning}" for name, meaning in COMMANDS.items()),
        allow_abbrev=False,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=18),
    )
    # Finding the version out takes a moment, which a command need not wait for.
    version = "" if chosen else f"{PROGRAM} {sidecar.__version__}"
    top.add_argument("--version", action="version", version=version, help="print the version")
    commands = top.add_subparsers(
        dest="command", prog=PROGRAM, metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    for name, meaning in COMMANDS.items():
        sub = commands.add_parser(
            name,
            description=f"{meaning[0].upper()}{meaning[1:]}.",
            allow_abbrev=False,
            formatter_class=partial(argparse.HelpFormatter, max_help_position=32),
        )
        if name != chosen:
            continue
        if name in TOOLS:
            tool(name).add_arguments(sub)
        elif name in CONFIGURED:
            from sidecar.config.load import add_flags

            add_flags(sub)
    return top


def meant(flag: str) -> str:
    """Which flag of a setting may be meant by one that is not known, as an addition to what is said about it."""
    from difflib import get_close_matches

    from sidecar.config.load import SETTINGS

    close = get_close_matches(flag.partition("=")[0], [f"--{name.replace('_', '-')}" for name in SETTINGS], n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def tool(name: str) -> Tool:
    """The module of a command that has its own."""
    return cast("Tool", import_module(TOOLS[name]))


def execute(args: argparse.Namespace) -> int:
    """Run the command that was parsed."""
    match args.command:
        case "serve":
            return serve(args)
        case "check-config":
            return check_config(args)
        case "openapi":
            return print_openapi()
        case name:
            return run_loop(tool(name).run(args))


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run until it is done, on the fastest event loop there is."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None  # type: ignore[assignment]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(stoppable(work))


async def stoppable(work: Coroutine[Any, Any, int]) -> int:
    """Let SIGTERM and SIGINT end the work in order: it is cancelled. A second signal ends the process at once."""
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    received: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        received.append(number)
        task.cancel(number.name)

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]


# --- serve ----------------------------------------------------------------------------------------------------------


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from sidecar.config.load import ConfigError, load
    from sidecar.sparing import leave_out_plugins

    leave_out_plugins()
    collect_rarely()
    try:
        config, _ = load(vars(args), os.environ)
    except ConfigError as error:
        return report_wrong(error.broken)
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("urllib3").setLevel(logging.INFO)  # below it, it tells whole URLs, and what is secret in them
    try:
        return run_loop(serve_until_stopped(config))
    except OSError as error:
        print(f"{PROGRAM}: {error.strerror or error}", file=sys.stderr)
        return FAILED


async def serve_until_stopped(config: "Config") -> int:
    """Start, say where, and stop in order when cancelled."""
    from sidecar.sparing import leaving_out_authorities

    with leaving_out_authorities():
        from sidecar.app import make_app

    async with make_app(config) as app:
        gc.freeze()  # what was made by now stays, and need not be looked at again
        for name, urls in app.urls.items():
            for url in urls:
                print(f"{name:<10} {url}", flush=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as ended:  # a signal: that is how serving ends
            app.why = f"{ended}" or app.why
    return 0


def collect_rarely() -> None:
    """Let the garbage collector look at everything seldom: hardly anything is in cycles, and the loop stands still.

    For 100,000 held items that is 40 ms each time, and as much again while everything is loaded.
    """
    gc.set_threshold(10_000, 20, 100)


# --- openapi, check-config ------------------------------------------------------------------------------------------


def print_openapi() -> int:
    """Print the document."""
    import json

    from sidecar.receivers.openapi import document

    print(json.dumps(document(), indent=2, ensure_ascii=False))
    return 0


def check_config(args: argparse.Namespace) -> int:
    """Print each setting with where it comes from, or everything that is wrong."""
    from sidecar.config.load import ConfigError, load, table

    try:
        loaded = load(vars(args), os.environ)
    except ConfigError as error:
        return report_wrong(error.broken)
    print(table(loaded))
    return 0


def report_wrong(broken: Sequence[str]) -> int:
    """Say what is wrong with the settings, a line each."""
    for rule in broken:
        print(f"{PROGRAM}: {rule}", file=sys.stderr)
    return WRONG


if __name__ == "__main__":
    sys.exit(main())
