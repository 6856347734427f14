"""A real PostgreSQL server for the tests that need one, and an empty database for each of them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = os.geteuid() == 0


class Server:
    """A server of its own on loopback, as fast as one can be that need not survive the machine."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self, *options: str) -> None:
        """Start it, and wait until it takes connections."""
        options = (
            f"-p {self.port} -k {self._data} -c listen_addresses=127.0.0.1 -c fsync=off -c client_min_messages=error",
            *options,
        )
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self._data / "log", "-o", " ".join(options), "start")

    def stop(self, mode: str = "immediate") -> None:
        """End it: `immediate` is a crash."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def freeze(self) -> None:
        """Let all its processes stand still: it is there, and says nothing."""
        for process in self._processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for process in self._processes():
            os.kill(process, signal.SIGCONT)

    def _processes(self) -> list[int]:
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        return [first, *(process for process, parent in parents.items() if parent == first)]

    @property
    def url(self) -> str:
        """Its one database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/budget"

    def empty(self) -> str:
        """Empty the database; its URL. (To drop the tables takes a hundredth of what a new database does.)"""
        self.sql("DROP SCHEMA IF EXISTS token_budget CASCADE", "budget")
        return self.url

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; what it answers."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-tAqc", statement, database
        )

    @staticmethod
    def _run(*command: object) -> str:
        words = [str(word) for word in command]
        words[0] = shutil.which(words[0]) or _beside_initdb(words[0])
        if ROOT:
            words = ["runuser", "-u", "postgres", "--", *words]
        # The server that pg_ctl starts inherits its output: a pipe would never come to its end.
        output = subprocess.DEVNULL if "start" in words else subprocess.PIPE
        done = subprocess.run(
            words, check=False, text=True, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout or ""


def _beside_initdb(program: str) -> str:
    """Debian keeps most of PostgreSQL's programs out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(found[-1]) if found else program


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    if not (shutil.which("initdb") or Path(_beside_initdb("initdb")).exists()):
        pytest.skip("MISSING TOOL: initdb is not installed (`make tools` does it where it may)")
    with tempfile.TemporaryDirectory(prefix="token-budget-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if ROOT:
            shutil.chown(folder, "postgres", "postgres")
        server = Server(folder)
        server.start()
        server.sql("CREATE DATABASE budget")
        yield server
        server.stop()


@pytest.fixture
def postgres(postgres_server: Server) -> str:
    """The URL of an empty database."""
    return postgres_server.empty()
