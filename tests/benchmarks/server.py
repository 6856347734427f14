"""Servers as processes of their own: the sidecar, and the bare handler that it is held against."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BARE = Path(__file__).with_name("bare.py")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process id, and its addresses by what answers there."""

    pid: int
    urls: dict[str, str]

    @property
    def port(self) -> int:
        """Where the calls go."""
        return int(self.urls["api"].rpartition(":")[2])

    def worked(self) -> float:
        """Processor time so far, in seconds, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE


@contextlib.contextmanager
def running(command: Sequence[str | Path], *, lines: int) -> Iterator[Server]:
    """A server that prints `lines` lines of `name url` once it listens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPATH"] = str(ROOT)  # this checkout, whatever is installed
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        urls = {match[1]: match[2] for line in said if (match := re.match(r"(\w+) +(\S+)", line))}
        assert len(urls) == lines, f"it did not start: {said}"
        yield Server(process.pid, urls)
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def sidecar(folder: Path, *more: str) -> contextlib.AbstractContextManager[Server]:
    """The sidecar on its embedded journal, as an operator starts it."""
    flags = ["--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--journal", f"sqlite:///{folder}/journal.db"]
    otlp = [] if "--otlp" in more else ["--otlp", "off"]
    return running(["-m", "sidecar", "serve", *flags, *otlp, *more], lines=3 if "--otlp" in more else 2)


def bare() -> contextlib.AbstractContextManager[Server]:
    """The bare handler."""
    return running([BARE], lines=1)
