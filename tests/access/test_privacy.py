"""What agents say stays theirs: content of telemetry is kept nowhere, content of items only where that is wanted."""

import json
import time

import aiohttp
import pytest

from tests.crash.process import Process

SAID = "planted-5711-words-of-a-person"


@pytest.fixture
async def sidecar_of(tmp_path):
    """A sidecar on a file, which says all that it can say."""
    made = []

    async def make(*flags):
        flags = ("--journal", f"sqlite:///{tmp_path}/journal.db", "--log-level", "debug", *flags)
        process = Process(*flags, log=tmp_path / "log")
        made.append(process)
        await process.start()
        return process

    yield make
    for process in made:
        await process.stop()


async def told(sidecar, *paths):
    """All that the sidecar says of a session, and of itself."""
    texts = []
    async with aiohttp.ClientSession() as http:
        for url in (f"{sidecar.telemetry}/metrics", *(f"{sidecar.api}/v1/{path}" for path in paths)):
            async with http.get(url) as answer:
                assert answer.status == 200, url
                texts.append(await answer.text())
    return "".join(texts)


def on_disk(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()).decode("latin-1")


def attribute(key, value):
    return {"key": key, "value": {"stringValue": value}}


def spans():
    """A model call and a tool's, with words wherever the conventions have room for them."""
    message = json.dumps([{"role": "user", "parts": [{"type": "text", "content": SAID}]}])
    now = time.time_ns()
    common = [attribute("gen_ai.conversation.id", "c"), attribute("gen_ai.agent.name", "a")]
    call = [
        attribute("gen_ai.operation.name", "chat"),
        attribute("gen_ai.input.messages", message),
        attribute("gen_ai.output.messages", message),
        attribute("gen_ai.system_instructions", json.dumps([{"type": "text", "content": SAID}])),
        attribute("gen_ai.tool.definitions", json.dumps([{"name": "t", "description": SAID}])),
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "100"}},
    ]
    tool = [
        attribute("gen_ai.operation.name", "execute_tool"),
        attribute("gen_ai.tool.name", "read"),
        attribute("gen_ai.tool.call.arguments", SAID),
        attribute("gen_ai.tool.call.result", SAID),
    ]
    made = [
        {
            "traceId": "0" * 31 + "1",
            "spanId": f"{number:016x}",
            "name": name,
            "startTimeUnixNano": str(now - 10**9),
            "endTimeUnixNano": str(now),
            "attributes": [*common, *attributes],
            "events": [{"name": "gen_ai.choice", "timeUnixNano": str(now), "attributes": [attribute("content", SAID)]}],
        }
        for number, (name, attributes) in enumerate((("chat m", call), ("execute_tool read", tool)), 1)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": made}]}]}


def logs():
    """What coding agents log when they are told to log prompts."""
    records = [
        {
            "timeUnixNano": str(time.time_ns()),
            "body": {"stringValue": f"{agent}.{event}"},
            "attributes": [
                attribute("event.name", event),
                attribute(id, agent),
                *(attribute(key, SAID) for key in ("prompt", "tool_parameters", "arguments", "output")),
            ],
        }
        for agent, id in (("claude_code", "session.id"), ("codex", "conversation.id"), ("gemini_cli", "session.id"))
        for event in ("user_prompt", "tool_result", "api_request")
    ]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


async def test_content_of_telemetry_is_not_in_the_journal_the_log_or_anything_that_is_shown(sidecar_of, tmp_path):
    sidecar = await sidecar_of()
    async with aiohttp.ClientSession() as http:
        for signal, body in (("traces", spans()), ("logs", logs())):
            async with http.post(f"{sidecar.api}/v1/{signal}", json=body) as answer:
                assert answer.status == 200
        async with http.get(f"{sidecar.api}/v1/sessions") as answer:
            assert "c" in [each["session"] for each in (await answer.json())["sessions"]]
    shown = await told(sidecar, "sessions", "sessions/c", "sessions/c/ledger", "sessions/c/items", "sessions/c/archive")
    assert '"used_tokens":100' in shown.replace(" ", "")
    assert SAID not in shown
    await sidecar.terminate()
    assert SAID not in on_disk(tmp_path)


@pytest.mark.parametrize("kept", ["true", "false"])
async def test_content_of_items_is_kept_for_the_archive_unless_that_is_turned_off(kept, sidecar_of, tmp_path):
    sidecar = await sidecar_of("--store-content", kept)
    item = {"id": "i", "kind": "doc", "tokens": 9, "content": SAID}
    events = [{"type": "put_item", "session": "s", "item": item}, {"type": "remove_item", "session": "s", "item": "i"}]
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{sidecar.api}/v1/events", json=events) as answer:
            assert (await answer.json())["accepted"] == 2
        async with http.get(f"{sidecar.api}/v1/sessions/s/archive/i") as answer:
            assert ((await answer.json()).get("content") == SAID) == (kept == "true")
    assert SAID not in await told(sidecar, "sessions/s", "sessions/s/ledger", "sessions/s/items", "sessions/s/archive")
    assert SAID not in (tmp_path / "log").read_text()
    await sidecar.terminate()
    assert (SAID in on_disk(tmp_path)) == (kept == "true")
