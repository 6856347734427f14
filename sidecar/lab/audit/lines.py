"""The lines of a transcript: one at a time, however large the file, and a bad line costs only itself."""

import gzip
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sidecar.lab.audit.transcript import Notes

LONGEST = 64 * 1024 * 1024  # bytes: no message is so long, and the line is held in memory
GZIP_MAGIC = b"\x1f\x8b"
_DECODER = msgspec.json.Decoder()


def lines(path: Path, notes: Notes) -> Generator[tuple[int, Mapping[str, Any]], None, None]:
    """Read the JSON objects of a file, gzip or plain, with their lines' numbers.

    What is none is named in `notes` and passed over.

    Raises:
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as raw:
        packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        number = 0
        while line := stream.readline(LONGEST):
            number += 1
            if len(line) == LONGEST:
                while not line.endswith(b"\n") and (line := stream.readline(LONGEST)):
                    pass
                notes.add_broken(path, number, f"longer than {LONGEST >> 20} MiB")
            elif line.strip():
                notes.lines += 1
                if (decoded := _decode(path, number, line, notes)) is not None:
                    yield number, decoded


def _decode(path: Path, number: int, line: bytes, notes: Notes) -> Mapping[str, Any] | None:
    try:
        decoded = _DECODER.decode(line)
    except RecursionError:
        notes.add_broken(path, number, "nested too deeply")
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The text itself is not shown, and the library's words tell of bytes that nobody can look for.
        reason = "not JSON" if line.endswith(b"\n") else "not JSON: the file ends within it"
        notes.add_broken(path, number, reason)
        return None
    if not isinstance(decoded, dict):
        notes.add_broken(path, number, "not an object")
        return None
    return decoded
