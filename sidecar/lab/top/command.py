"""The command: watch in a terminal until `q`, or print what there is once."""

import argparse
import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from shutil import get_terminal_size

from sidecar.lab.connection import Connection, Shown, SidecarError, add_credentials, connect
from sidecar.lab.style import Style
from sidecar.lab.top.drawing import View, census, legend, ordered, screen, scrolled, table
from sidecar.lab.top.terminal import Terminal
from sidecar.lab.top.watch import Watch

DRAW_EVERY = 0.2  # seconds between two drawings
AT_ONCE = 4  # sessions completed side by side
PRINTED = 1000  # sessions that are printed by --once at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `top` takes."""
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8321",
        metavar="URL",
        help="the sidecar: http://HOST:PORT, https://HOST:PORT or unix:PATH (default: %(default)s)",
    )
    parser.add_argument(
        "--once", action="store_true", help="print the windows once and end, as where there is no terminal"
    )
    add_credentials(parser)


async def run(args: argparse.Namespace) -> int:
    """Carry out `top`; the exit status is 1 where there is no sidecar."""
    live = not args.once and sys.stdout.isatty() and sys.stdin.isatty()
    try:
        async with connect(args.url, shown=Shown.of(args)) as connection:
            await connection.greet()
            if live:
                await Top(Watch(connection=connection)).run()
            else:
                await print_once(connection)
    except SidecarError as error:
        print(f"top: {error}", file=sys.stderr)
        return 1
    return 0


async def print_once(connection: Connection) -> None:
    """Print a line for each window."""
    watch = Watch(connection=connection)
    await watch.read()
    ids = ordered(watch.windows)[:PRINTED]
    await complete(watch, ids)
    style = Style.of(sys.stdout)
    print(f"{style.paint('Token budget', 'bold')}  {connection.name}  {census(watch.windows, style)}\n")
    width = max(80, get_terminal_size((120, 24)).columns)
    for line in table(watch.windows, ids, style, width, View()):
        print(line.rstrip())
    print(f"\n{legend(style)}")


async def complete(watch: Watch, ids: list[str]) -> None:
    """Read what the list of sessions leaves out, a few side by side."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(id: str) -> None:
        async with turns:
            await watch.complete(id)

    await asyncio.gather(*(one(id) for id in ids))


@dataclass(slots=True)
class Top:
    """The live view: the stream and the keys change what is shown, a few times a second it is drawn."""

    watch: Watch
    terminal: Terminal = field(default_factory=Terminal)
    style: Style = field(default_factory=lambda: Style.of(sys.stdout))
    view: View = field(default_factory=View)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: set[str] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Watch until `q`."""
        self.watch.changed = self._news.set
        with self.terminal.taken():
            following = asyncio.create_task(self.watch.follow())
            drawing = asyncio.create_task(self._draw())
            try:
                while (key := await self.terminal.keys.get()) != "quit":
                    self._press(key)
                    self._news.set()
            finally:
                tasks = [following, drawing, *self._tasks]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _draw(self) -> None:
        while True:
            self._news.clear()
            watch = self.watch
            if self.view.chosen not in watch.windows:
                self.view = replace(self.view, chosen=next(iter(ordered(watch.windows)), None), alone=False)
            self.view = replace(self.view, trouble=watch.trouble)
            self._learn()
            self.terminal.draw(screen(watch.windows, watch.connection.name, self.terminal.size, self.style, self.view))
            await asyncio.sleep(DRAW_EVERY)
            await self._news.wait()

    def _press(self, key: str) -> None:
        ids = ordered(self.watch.windows)
        if not ids:
            return
        at = ids.index(self.view.chosen) if self.view.chosen in ids else 0
        page = max(1, self.terminal.size.lines - 6)
        steps = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -len(ids), "end": len(ids)}
        if key in steps:
            self.view = replace(self.view, chosen=ids[min(max(at + steps[key], 0), len(ids) - 1)])
        elif key in ("enter", "back"):
            self.view = replace(self.view, alone=key == "enter")

    def _learn(self) -> None:
        """Ask for what the stream did not tell of the windows in sight."""
        ids = ordered(self.watch.windows)
        if self.view.alone and self.view.chosen and f"{self.view.chosen} entries" not in self._asked:
            self._asked.add(f"{self.view.chosen} entries")
            self._start(self.view.chosen, entries=True)
        for id in scrolled(ids, self.view.chosen, self.terminal.size.lines):
            if self.watch.windows[id].freed is None and len(self._tasks) < AT_ONCE and not self._is_asked(id):
                self._start(id)

    def _is_asked(self, id: str) -> bool:
        return any(task.get_name() == id for task in self._tasks)

    def _start(self, id: str, *, entries: bool = False) -> None:
        async def ask() -> None:
            with suppress(SidecarError, KeyError):
                await (self.watch.recall(id) if entries else self.watch.complete(id))

        task = asyncio.create_task(ask(), name=id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
