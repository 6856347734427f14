"""Agents' profiles from a file: read, refused by name and rule, and what sessions make of them."""

import json

import aiohttp
import pytest

from sidecar.app import make_app
from sidecar.config.load import ConfigError, load

FILE = """
[coder.shares]
system_context = 0.10
working_memory = 0.45
knowledge_base = 0.10
agent_context = 0.15
interaction_buffer = 0.20

[coder.calibration]
working_memory = 1.25
"""


def test_a_profile_is_read_and_shown_by_its_path(tmp_path):
    path = tmp_path / "profiles.toml"
    path.write_text(FILE)
    config = load({}, {"TOKEN_BUDGET_PROFILES": str(path)}).config
    assert config.profiles is not None
    shares = config.profiles["coder"].shares
    assert shares is not None
    assert shares["working_memory"] == 0.45
    assert config.profiles["coder"].calibration == {"working_memory": 1.25}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[coder.share]\nworking_memory = 1", "[coder.provider_ratios] and tokens_per_call"),
        ("[coder.calibration]\nmemory = 1", "name only components in [coder.calibration]"),
        ("[coder.calibration]\nworking_memory = -1", "coder.calibration.working_memory"),
        ("[coder.calibration]\nworking_memory = nan", "coder.calibration.working_memory"),
        ("[coder.shares]\nworking_memory = 1", "right shares for 'coder'"),
        ("coder = 1", "[coder.provider_ratios] and tokens_per_call"),
        ("[coder", "must be TOML"),
    ],
)
def test_a_wrong_profile_stops_the_start_and_names_the_rule(tmp_path, text, rule):
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load({"profiles": str(path)}, {})
    assert rule in str(error.value)


def test_a_missing_file_of_profiles_stops_the_start(tmp_path):
    with pytest.raises(ConfigError, match="--profiles must be a file that can be read"):
        load({"profiles": str(tmp_path / "none.toml")}, {})


async def test_a_session_starts_from_its_agents_profile_and_explicit_shares_win(tmp_path):
    """SPEC 3.4: a session starts from its agent's profile; 3.8: what is predicted is calibrated, the prior is not."""
    path = tmp_path / "profiles.toml"
    path.write_text(FILE)
    flags = {"journal": "memory:", "otlp": "off", "listen": ["127.0.0.1:0"], "telemetry": "127.0.0.1:0"}
    config = load({**flags, "profiles": str(path)}, {}).config
    async with make_app(config) as app:
        url = app.urls["api"][0]
        async with aiohttp.ClientSession() as call:

            async def ask(method, path, body):
                async with call.request(method, f"{url}{path}", json=body) as answer:
                    return json.loads(await answer.read())

            known = await ask("PUT", "/v1/sessions/a", {"agent": "coder"})
            assert known["components"]["working_memory"]["allocated_tokens"] == 90_000
            other = await ask("PUT", "/v1/sessions/b", {"agent": "other"})
            assert other["components"]["working_memory"]["allocated_tokens"] == 60_000
            shares = dict.fromkeys(known["shares"], 0.2)
            explicit = await ask("PUT", "/v1/sessions/c", {"agent": "coder", "shares": shares})
            assert explicit["shares"] == shares
            answer = await ask("POST", "/v1/sessions/a/predictions", {"tasks": [{"id": "t"}]})
            assert answer["prior"]["working_memory"] == 10_000
            assert answer["predicted"]["working_memory"] == 12_500
            assert answer["predicted"]["agent_context"] == answer["prior"]["agent_context"] == 5_000
