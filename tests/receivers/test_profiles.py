"""What is known of agents, over HTTP (SPEC 3.4, 3.8): shown, taken along as a file, forgotten."""

import pytest

from sidecar.app import make_app
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import Profile
from sidecar.config.profiles import profiles as read_file
from sidecar.receivers.profiles import profile_reply, written
from tests.receivers.conftest import config

AGENT = 'a "b"/ü\\𝄞'
PATH = "/v1/profiles/a%20%22b%22%2F%C3%BC%5C%F0%9D%84%9E"


async def live(call, session, agent="coder"):
    """A session that teaches: it is short of agent context, finishes tasks, and is billed for calls."""
    path = f"/v1/sessions/{session}"
    shares = (await call("PUT", path, {"agent": agent, "model": "m", "time": 1.0})).body["shares"]
    await call("POST", f"{path}/allocations", {"component": "agent_context", "tokens": 29_000})
    for _ in range(5):
        refused = {"component": "agent_context", "tokens": 50_000, "all_or_nothing": True}
        await call("POST", f"{path}/allocations", refused)
    for task in "abcd":
        await call("POST", f"{path}/predictions", {"tasks": [{"id": task}]})
        done = {"type": "complete_task", "session": session, "task": task, "actual": {"working_memory": 5_000}}
        await call("POST", "/v1/events", [done])
    for total in range(30_000, 44_000, 2_000):
        await call("POST", "/v1/events", [{"type": "report_usage", "session": session, "total": total, "time": 60.0}])
    assert (await call("DELETE", path)).status == 200
    return shares


async def test_what_is_known_is_nothing_at_first(call):
    assert (await call("GET", "/v1/profiles")).body == {"profiles": [], "next": None}
    missing = await call("GET", "/v1/profiles/coder")
    assert (missing.status, missing.body["detail"]) == (404, "nothing is known of the agent 'coder'")
    assert (await call("DELETE", "/v1/profiles/coder")).status == 404


async def test_what_was_learned_is_shown_and_can_be_forgotten(call):
    """The next session starts from it; once it is forgotten, from the preset again."""
    assert await live(call, "one", AGENT) == STANDARD.shares
    known = (await call("GET", PATH)).body
    assert known["agent"] == AGENT
    assert known["shares"]["agent_context"] > 0.15
    assert known["calibration"]["working_memory"] == 0.5
    assert (known["tasks"], known["sessions"], known["preset"]) == (4, 1, "standard")
    assert known["provider_ratios"]["m"] == pytest.approx(36_000 / 29_000)  # the median of its bills
    assert known["tokens_per_call"] == pytest.approx(2_000)
    assert known["learned_at"].endswith("Z")
    assert (await call("GET", "/v1/profiles")).body == {"profiles": [known], "next": None}
    assert await live(call, "two", AGENT) == known["shares"]
    forgotten = await call("DELETE", PATH)
    assert (forgotten.status, forgotten.body["sessions"]) == (200, 2)
    assert (await call("GET", PATH)).status == 404
    assert await live(call, "three", AGENT) == STANDARD.shares


async def test_profiles_come_in_pages(call):
    for name in "bca":
        await live(call, name, name)
    first = (await call("GET", "/v1/profiles?limit=2")).body
    assert [each["agent"] for each in first["profiles"]] == ["a", "b"]
    rest = (await call("GET", f"/v1/profiles?after={first['next']}")).body
    assert ([each["agent"] for each in rest["profiles"]], rest["next"]) == (["c"], None)


async def test_what_was_learned_can_be_given_to_another_sidecar(call, tmp_path):
    """Exported as the file that the setting `profiles` reads; what it says is what was known."""
    await live(call, "one", AGENT)
    known = (await call("GET", PATH)).body
    file = tmp_path / "profiles.toml"
    exported = await call("GET", "/v1/profiles", Accept="application/toml")
    assert exported.headers["Content-Type"].startswith("application/toml")
    file.write_text(exported.body)
    given = read_file(file)
    shown = profile_reply(AGENT, given[AGENT])
    of_its_own = {"tasks", "sessions", "learned_at", "preset"}
    assert {key: value for key, value in shown.items() if key not in of_its_own} == {
        key: value for key, value in known.items() if key not in of_its_own
    }
    async with make_app(config(profiles=given)) as app:
        session = await app.ledger.profiles()
        assert session[AGENT].shares == pytest.approx(known["shares"]), "told with twelve digits, given on whole"


def test_an_empty_profile_is_an_empty_file(tmp_path):
    file = tmp_path / "profiles.toml"
    file.write_text(written({"a": Profile()}))
    assert read_file(file) == {}
