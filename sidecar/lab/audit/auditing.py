"""The audit itself: files in, findings out. Nothing is printed here, and nothing leaves the machine."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.recorded import record
from sidecar.lab.audit.sources import AuditError, read
from sidecar.lab.audit.transcript import Notes
from sidecar.lab.audit.verdicts import judge
from sidecar.lab.audit.windows import windows
from sidecar.lab.backtest.arms import Arm


def audit(files: Sequence[Path], arms: Sequence[Arm], *, each: Callable[[str], None] = lambda _: None) -> Audit:
    """Read transcripts, follow their windows, and judge policies by them.

    `each` is called with the name of the part of the work (`files`, `sessions`) after each of its pieces: every file,
    every session under every policy.

    Raises:
        AuditError: no file told of any window.
    """
    notes = Notes()
    sources = read(files, notes, each=lambda: each("files"))
    recorded = [record(source) for source in sources]
    found = [window for session in recorded for window in windows(session)]
    if not found:
        raise AuditError(_nothing(notes))
    return Audit(
        windows=found,
        verdicts=judge([session.recording for session in recorded], arms, found, each=lambda: each("sessions")),
        files=notes.files,
        lines=notes.lines,
        unknown=dict(notes.unknown.most_common()),
        broken_lines=notes.broken_lines,
        broken=notes.broken,
        foreign_files=notes.foreign_files,
        foreign=notes.foreign,
    )


def _nothing(notes: Notes) -> str:
    """Why there is nothing to show, with the first example."""
    files = notes.files + notes.foreign_files
    looked = "the file holds no conversation" if files == 1 else f"none of {files:,} files holds a conversation"
    first = next(iter([*notes.foreign, *notes.broken]), None)
    return f"{looked} (first: {first})" if first else looked
