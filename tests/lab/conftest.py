"""Recordings for the tests of the lab: made by hand, bundled, and the full set where it is at hand."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "sidecar" / "lab" / "sessions"


@pytest.fixture
def record(tmp_path):
    """Write lines (dicts, or text as it stands) as a recording and return its path."""

    def write(*lines, name="agent__project-1.jsonl"):
        path = tmp_path / name
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    return write


@pytest.fixture
def line():
    """One line of a recording, with what does not matter filled in."""

    def make(step, kind="user_message", tokens=10, **fields):
        return {"session": "agent__project-1", "step": step, "kind": kind, "tokens": tokens, "ctx": "main", **fields}

    return make


@pytest.fixture
def transcript(tmp_path):
    """Write lines (dicts, or text as it stands) as a tool's transcript and return its path."""

    def write(*lines, name="session.jsonl"):
        path = tmp_path / name
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    return write


@pytest.fixture(scope="session")
def full_set():
    """The folder of all recorded sessions: TOKEN_BUDGET_RECORDINGS, or beside the checkout."""
    folder = Path(os.environ.get("TOKEN_BUDGET_RECORDINGS") or ROOT.parent / "shared" / "data" / "sessions")
    if not folder.is_dir():
        pytest.skip(f"the full set of recorded sessions is not at {folder}; set TOKEN_BUDGET_RECORDINGS to its folder")
    return folder
