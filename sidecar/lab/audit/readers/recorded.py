"""Recorded sessions (`sidecar/lab/recordings.py`): figures only, counted and named already."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sidecar.lab.audit.fields import name, obj, text, time, tokens
from sidecar.lab.audit.transcript import Bill, Cut, Notes, Piece, Thread, reckon_hidden_thinking
from sidecar.lab.mapping import STEP_KINDS


class Recorded:
    """Reads one recording."""

    agent = "recorded"

    def __init__(self, path: Path, notes: Notes) -> None:
        """A file begins."""
        self._path = path
        self._notes = notes
        self._threads: dict[tuple[str, str | None], Thread] = {}
        self._writing: dict[tuple[str, str | None], list[Piece]] = {}  # what a call has written so far

    @staticmethod
    def claims(line: Mapping[str, Any]) -> bool:
        """Each line names its session and its step."""
        return "session" in line and "step" in line and "kind" in line

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a step."""
        session, kind = name(line.get("session")) or self._path.stem, text(line.get("kind"))
        if kind not in STEP_KINDS:
            self._notes.add_unknown(self.agent, kind or "no kind")
            return
        window = text(line.get("ctx"))
        within = name(window.removeprefix("sub:")) if window.startswith("sub:") else None
        agent, _, project = session.partition("__")
        if (session, within) not in self._threads:
            self._threads[session, within] = Thread(
                agent=agent, session=session, within=within, root=project.rpartition("-")[0] or None
            )
        thread = self._threads[session, within]
        usage = obj(line.get("usage"))
        thread.limit = tokens(usage.get("context_window")) or thread.limit
        skill = "(unnamed)" if kind == "skill" else None
        piece = Piece(
            kind=kind,
            role=text(line.get("role")),
            counted=tokens(line.get("tokens")),
            time=time(line.get("ts")),
            name=name(line.get("name")),
            path=_path(session, line.get("path")),
            digest=name(line.get("fingerprint")),
            skill=skill,
            bill=_bill(usage),
            cut=None,
        )
        if kind == "compaction":
            piece.cut = Cut(trigger=name(usage.get("trigger")), before=tokens(usage.get("pre_tokens")) or None)
        thread.pieces.append(piece)
        self._reckon(thread, piece)

    def _reckon(self, thread: Thread, piece: Piece) -> None:
        key = (thread.session, thread.within)
        if piece.role == "assistant":
            self._writing.setdefault(key, []).append(piece)
        if piece.bill is not None:
            reckon_hidden_thinking(self._writing.pop(key, []), piece.bill.output)

    def threads(self) -> Iterable[Thread]:
        """The windows of its sessions; what they estimated of the hidden prompt is left to the bill."""
        for thread in self._threads.values():
            if any(piece.bill for piece in thread.pieces):  # what is hidden is learned from the bill, as everywhere
                thread.pieces = [piece for piece in thread.pieces if piece.kind != "system_hidden"]
            yield thread

    def labels(self) -> Mapping[str, str]:
        """Recordings do not name their sub-agents' types."""
        return {}


def _path(session: str, path: Any) -> str | None:
    """Stand-ins for paths are stable within their session only: its id tells them apart."""
    shown = name(path)
    return f"{session[-6:]}/{shown}" if shown else None


def _bill(usage: Mapping[str, Any]) -> Bill | None:
    prompt = tokens(usage.get("context_tokens"))
    if not prompt:
        return None
    cached = min(prompt, tokens(usage.get("cache_read_input_tokens")) or tokens(usage.get("cached_input_tokens")))
    written = min(prompt - cached, tokens(usage.get("cache_creation_input_tokens")))
    return Bill(
        fresh=prompt - cached - written,
        written=written,
        cached=cached,
        output=tokens(usage.get("output_tokens")),
        model=name(usage.get("model")),
    )
