"""Which files are transcripts, and whose: folders are walked, each file is known by its first lines."""

import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from sidecar.lab.audit.lines import lines
from sidecar.lab.audit.readers import READERS
from sidecar.lab.audit.transcript import Notes, Piece, Reader, Thread

SUFFIXES = (".jsonl", ".jsonl.gz")
FIRST = 20  # lines within which a file must show whose it is


class AuditError(Exception):
    """There is nothing to audit: the text names what was looked at and what was expected."""


@dataclass(slots=True, kw_only=True)
class Source:
    """All windows of one session: of its own file, and of those that its sub-agents wrote."""

    agent: str
    session: str
    project: str | None
    threads: list[Thread] = field(default_factory=list)


def usual_folders() -> list[Path]:
    """Where the tools keep their transcripts, those that exist. Their own environment variables move them.

    Raises:
        AuditError: none of them exists.
    """
    home = Path.home()
    claude = Path(os.environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    codex = Path(os.environ.get("CODEX_HOME") or home / ".codex")
    pi = Path(os.environ.get("PI_CODING_AGENT_DIR") or home / ".pi" / "agent")
    copilot = Path(os.environ.get("COPILOT_HOME") or home / ".copilot")
    sessions = (codex / "sessions", codex / "archived_sessions", copilot / "session-state", pi / "sessions")
    folders = (claude / "projects", *sessions)
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise AuditError(f"none of the tools' own folders is there ({', '.join(map(str, folders))}): name a PATH")
    return found


def find(paths: Iterable[Path], *, newest: int | None = None) -> list[Path]:
    """List the files to read, each once: files as they are named, folders walked (links to folders are not followed).

    `newest` keeps that many, by when they were last written.

    Raises:
        AuditError: a path does not exist, or there is no file in any of the folders.
    """
    found: dict[Path, float] = {}
    for path in paths:
        if path.is_dir():
            files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
            # Regular files only: a pipe of that name would be waited for without end.
            for file in sorted(file for file in files if file.name.endswith(SUFFIXES) and file.is_file()):
                found.setdefault(file, _written(file))
        elif path.is_file():
            found.setdefault(path, _written(path))
        else:
            raise AuditError(f"{path}: {'neither a file nor a folder' if path.exists() else 'no such file or folder'}")
    if not found:
        raise AuditError(f"{', '.join(map(str, paths))}: no transcripts there ({' or '.join(SUFFIXES)})")
    if newest is not None:
        return sorted(sorted(found, key=lambda file: found[file])[-newest:])
    return list(found)


def read(files: Sequence[Path], notes: Notes, *, each: Callable[[], None] = lambda: None) -> list[Source]:
    """Read files into sessions, in the order in which they were found; `each` is called after every file."""
    sources: dict[tuple[str, str], Source] = {}
    labels: dict[str, str] = {}
    for file in files:
        try:
            reader = _read(file, notes)
        except (OSError, EOFError, zlib.error) as error:
            notes.add_foreign(file, getattr(error, "strerror", None) or str(error) or "cannot be read")
            reader = None
        if reader is not None:
            notes.files += 1
            labels.update(reader.labels())
            for thread in reader.threads():
                if thread.pieces:
                    _join(sources, thread)
        each()
    for source in sources.values():
        source.threads.sort(key=lambda thread: thread.within is not None)  # the session's own first
        for thread in source.threads:
            thread.label = thread.label or labels.get(thread.within or "")
    return _with_parents(sources)


def _read(file: Path, notes: Notes) -> Reader | None:
    with closing(lines(file, notes)) as stream:
        first = list(islice(stream, FIRST))
        chosen = next((reader for reader in READERS if any(reader.claims(line) for _, line in first)), None)
        if chosen is None:
            notes.add_foreign(file, "not a transcript of a known tool" if first else "holds no JSON lines")
            return None
        reader = chosen(file, notes)
        for number, line in chain(first, stream):
            try:
                reader.take(line)
            except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
                # Formats change without notice: what a reader was not made for costs this line, not the audit.
                notes.add_broken(file, number, f"of a shape that is not understood ({type(error).__name__})")
        return reader


def _join(sources: dict[tuple[str, str], Source], thread: Thread) -> None:
    key = (thread.agent, thread.session)
    source = sources.setdefault(key, Source(agent=thread.agent, session=thread.session, project=thread.project))
    source.project = source.project or thread.project
    for known in source.threads:
        if known.within == thread.within:  # one window, told in two files: a copy, or one that goes on
            told = {_same(piece) for piece in known.pieces}
            known.pieces += [piece for piece in thread.pieces if _same(piece) not in told]
            return
    source.threads.append(thread)


def _same(piece: Piece) -> tuple[object, ...]:
    """What two tellings of one piece share."""
    return (piece.time, piece.kind, piece.digest, piece.counted)


def _with_parents(sources: dict[tuple[str, str], Source]) -> list[Source]:
    """Put sub-agents that have sessions of their own among the windows of those that started them, where they are."""
    kept = []
    for (agent, session), source in sources.items():
        own = source.threads[0]
        parent = sources.get((agent, own.parent)) if own.parent and own.parent != session else None
        if parent is None or parent.threads[0].parent:  # only one level: a grandchild stands for itself
            kept.append(source)
            continue
        own.within = own.within or session
        parent.threads += source.threads
    return kept


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
