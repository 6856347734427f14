"""Nobody listens beyond this machine without asking who calls."""

import argparse

import pytest

from sidecar.access.addresses import is_loopback
from sidecar.config.load import ConfigError, add_flags, load


def read(*argv, **environment):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return load(vars(parser.parse_args(argv)), environment)


BEYOND = ["0.0.0.0:1", "[::]:1", "10.1.2.3:1", "budget.example:1", "[::ffff:10.0.0.1]:1"]
HERE = ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/run/s"]


@pytest.mark.parametrize("address", BEYOND)
@pytest.mark.parametrize("flag", ["--listen", "--otlp"])
def test_an_address_beyond_this_machine_stops_the_start_where_nobody_asks_who_calls(flag, address):
    with pytest.raises(ConfigError) as caught:
        read(flag, address)
    (rule,) = caught.value.broken
    assert rule.startswith(f"{flag} must not listen on {address}, beyond this machine, where nobody asks who calls: ")
    for way_out in ("read_tokens", "write_tokens", "admin_tokens", "tls_client_ca", "allow_unauthenticated"):
        assert way_out in rule


@pytest.mark.parametrize("address", HERE)
def test_an_address_of_this_machine_needs_nothing(address):
    read("--listen", address)


@pytest.mark.parametrize("address", BEYOND)
@pytest.mark.parametrize(
    "asking",
    [("--write-tokens", __file__), ("--read-tokens", __file__), ("--allow-unauthenticated",)],
    ids=["write", "read", "allowed"],
)
def test_with_tokens_or_where_it_is_allowed_it_may_listen_anywhere(asking, address):
    read("--listen", address, "--otlp", address, *asking)


def test_certificates_of_clients_count_only_where_tls_is_spoken():
    tls = ("--tls-certificate", __file__, "--tls-client-ca", __file__)
    read("--listen", "https://0.0.0.0:1", *tls)
    with pytest.raises(ConfigError, match=r"must not listen on 0\.0\.0\.0:1"):
        read("--listen", "https://0.0.0.0:2", "--listen", "0.0.0.0:1", *tls)


def test_tls_without_a_certificate_is_told():
    told = r"--otlp listens on https://127\.0\.0\.1:1, which needs .*: --tls-certificate FILE \(.* tls_certificate\)"
    with pytest.raises(ConfigError, match=told):
        read("--otlp", "https://127.0.0.1:1")


@pytest.mark.parametrize("name", ["tls-certificate", "tls-key", "tls-client-ca"])
def test_a_certificate_that_nobody_would_be_shown_is_told(name):
    with pytest.raises(ConfigError, match=f"--{name} would do nothing"):
        read(f"--{name}", __file__)


def test_the_telemetry_port_has_no_api_and_may_listen_anywhere():
    read("--telemetry", "0.0.0.0:9464")


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("LOCALHOST", True),
        ("app.localhost.", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("0177.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - asked about, not bound
        ("", False),
    ],
)
def test_only_what_nobody_else_answers_for_is_loopback(host, here):
    assert is_loopback(host) is here
