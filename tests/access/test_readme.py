"""The reference of who may do what is true."""

import re
from pathlib import Path

import pytest

from sidecar.client.credentials import VARIABLES
from sidecar.config.load import NOT_SETTINGS, SETTINGS
from sidecar.receivers.operations import OPERATIONS


@pytest.fixture(scope="module")
def readme(checkout):
    return (checkout / "sidecar" / "access" / "README.md").read_text()


def calls_of(readme, scope):
    table = readme.partition("<!-- calls:begin -->")[2].partition("<!-- calls:end -->")[0]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| `{scope}` |"))
    return set(re.findall(r"`([A-Z]+ /[^`]*)`", row))


@pytest.mark.parametrize("scope", ["read", "admin"])
def test_every_call_is_told_with_its_scope(readme, scope):
    beside = {"GET /v1/stream", "GET /live/history/{session}"} if scope == "read" else set()
    assert (
        calls_of(readme, scope) == {f"{each.method} {each.path}" for each in OPERATIONS if each.scope == scope} | beside
    )


def test_every_setting_of_access_is_told(readme):
    names = ["allow_unauthenticated", "hosts", "telemetry_web_config", "tls_certificate", "tls_key", "tls_client_ca"]
    assert set(names) <= set(SETTINGS)
    assert [name for name in names if f"`{name}`" not in readme] == []
    assert [flag for flag in ("--read-tokens", "--write-tokens", "--admin-tokens") if flag not in readme] == []


def test_the_clients_variables_are_told_and_no_sidecar_takes_them_for_settings(readme):
    for variable in VARIABLES.values():
        assert variable in readme
        assert variable.removeprefix("TOKEN_BUDGET_") in NOT_SETTINGS


def test_the_security_policy_names_tests_that_there_are(checkout):
    text = (checkout / "SECURITY.md").read_text()
    named = re.findall(r"\]\((tests/[^)#]+|sidecar/[^)#]+)\)", text)
    assert len(named) > 8
    assert [path for path in named if not Path(checkout, path).exists()] == []
