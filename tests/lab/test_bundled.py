"""The recordings that come with the package, and the full set where it is at hand."""

import json
from collections import Counter

import pytest
from pydantic import TypeAdapter

from sidecar.budget.commands import OpenSession, PutItem, SyncWindow
from sidecar.budget.items import COMPONENT_OF
from sidecar.budget.policy import COMPONENTS
from sidecar.lab.host import Host
from sidecar.lab.recordings import bundled, read
from sidecar.lab.script import Close, Compact, Complete, Gain, ModelCall, Open, Use, moves
from sidecar.lab.wire import body

FILES = sorted(bundled().glob("*.jsonl.gz"))
PUT, SYNC, OPEN = (TypeAdapter(cls) for cls in (PutItem, SyncWindow, OpenSession))


@pytest.fixture(scope="module")
def recordings():
    return read([bundled()])


def check(recording):
    """Play a recording to hosts alone: every command is valid as JSON, and no move names what is not there."""
    hosts: dict[str, Host] = {}
    for move in moves(recording, start=1_700_000_000.0):
        host = hosts.setdefault(move.session, Host())
        match move:
            case Gain(item=item):
                host.gain(item)
                PUT.validate_json(json.dumps(body(PutItem(item=item, time=move.time))))
            case Use(item=item):
                assert host.use(item, move.time)
            case Complete(item=item):
                assert host.complete(item)
            case Compact(items=items):
                assert items
                assert all(host.drop(item) for item in items)
            case Open():
                OPEN.validate_json(json.dumps(body(OpenSession(agent=move.agent, model=move.model, time=move.time))))
            case Close() | ModelCall():
                pass
        if isinstance(move, Close):
            SYNC.validate_json(json.dumps(body(host.window(move.time))))
    for host in hosts.values():
        SYNC.validate_json(json.dumps(body(host.window(1e9))))
    return hosts


def expected_tokens(recording):
    """What each window holds at the end, added up from the lines themselves: what lasts, and all since a compaction."""
    lasting = {"system_prompt", "system_hidden", "tool_definitions", "project_instructions"}
    sums = dict.fromkeys(recording.windows.values(), 0)
    for window, session in recording.windows.items():
        steps = [step for step in recording.steps if step.window == window]
        last = max((at for at, step in enumerate(steps) if step.kind == "compaction"), default=0)
        sums[session] = sum(step.tokens for at, step in enumerate(steps) if at >= last or step.kind in lasting)
    return sums


def test_about_a_dozen_recordings_of_several_agents_in_under_a_megabyte(recordings):
    assert 10 <= len(recordings) <= 14
    assert {"claude-code", "codex", "pi", "copilot-cli", "swe-agent", "tau-bench"} == {r.agent for r in recordings}
    assert sum(file.stat().st_size for file in FILES) < 1_000_000


def test_together_they_show_every_component_sub_agents_and_a_compaction(recordings):
    told = [move for recording in recordings for move in moves(recording)]
    held = Counter(COMPONENT_OF[move.item.kind] for move in told if isinstance(move, Gain))
    assert set(held) == set(COMPONENTS)
    assert any(isinstance(move, Compact) for move in told)
    assert any(isinstance(move, Open) and move.parent for move in told)


def test_no_text_is_in_them(recordings):
    for step in (step for recording in recordings for step in recording.steps):
        assert step.fingerprint is None or (len(step.fingerprint) == 16 and int(step.fingerprint, 16) >= 0)
        assert step.path is None or step.path.startswith("file_")
        assert step.name is None or len(step.name) < 64


def test_their_sources_and_licences_are_told_beside_them():
    told = (bundled() / "PROVENANCE.md").read_text("utf-8")
    for file in FILES:
        assert f"`{file.name.rpartition('-')[0]}-…`" in told
    assert "MIT" in told


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_each_bundled_recording_maps_to_valid_commands_and_explains_every_token(file):
    (recording,) = read([file])
    hosts = check(recording)
    assert {session: host.tokens.total() for session, host in hosts.items()} == expected_tokens(recording)


def test_every_recording_of_the_full_set_maps_to_valid_commands_and_explains_every_token(full_set):
    recordings = read([full_set])
    assert len(recordings) > 100
    for recording in recordings:
        hosts = check(recording)
        assert {session: host.tokens.total() for session, host in hosts.items()} == expected_tokens(recording)
