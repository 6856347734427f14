"""Settings from flags, environment and file: which one wins, and how all that is wrong is told at once."""

import argparse
import socket
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from sidecar.config import Config
from sidecar.config.forms import HostPort, UnixPath
from sidecar.config.load import SETTINGS, ConfigError, add_flags, load, shown, table

# A value for each setting, as it is written, that is not its default.
OTHER = {
    "listen": "unix:/run/budget.sock",
    "telemetry": "127.0.0.1:9999",
    "otlp": "off",
    "read_tokens": __file__,
    "write_tokens": f"{__file__},{Path(__file__).with_name('profiles.toml')}",
    "admin_tokens": __file__,
    "tls_certificate": __file__,
    "tls_key": __file__,
    "tls_client_ca": __file__,
    "hosts": "budget.example,192.0.2.1",
    "allow_unauthenticated": "true",
    "telemetry_web_config": __file__,
    "journal": "memory:",
    "replica": "sidecar-1",
    "observe_without_journal": "true",
    "keep_closed": "7d",
    "keep_entries": "2d",
    "keep_archive": "90d",
    "max_journal_bytes": "400Mi",
    "max_content_bytes": "64Ki",
    "durability": "full",
    "store_content": "false",
    "agent": "reviewer",
    "mode": "observed",
    "preset": "standard",
    "total_tokens": "1_000_000",
    "adjust_interval": "1h",
    "learn": "false",
    "auto_open": "false",
    "idle_after": "5m",
    "close_after": "2h",
    "max_sessions": "7",
    "max_items": "50",
    "max_connections": "9",
    "max_streams": "3",
    "max_waiting": "8",
    "max_wait": "2s",
    "max_body_bytes": "1Mi",
    "max_batch_events": "9",
    "downstream": "http://collector:4318",
    "downstream_traces": "https://traces.example.com/v1/traces",
    "downstream_logs": "https://user:s3cret@logs.example.com/in",
    "downstream_metrics": "http://[::1]:4318/v1/metrics",
    "downstream_headers": "api-key=s3cret,x-tenant=a%20b",
    "profiles": str(Path(__file__).with_name("profiles.toml")),
    "downstream_certificate": __file__,
    "downstream_client_certificate": __file__,
    "downstream_client_key": __file__,
    "downstream_queue": "1Mi",
    "max_agents": "3",
    "metrics_detail": "true",
    "log_level": "debug",
}
# What a setting needs beside it, or it would do nothing.
TLS = {"TOKEN_BUDGET_LISTEN": "https://127.0.0.1:1"}
BESIDE = {
    "tls_certificate": TLS,
    "tls_key": {**TLS, "TOKEN_BUDGET_TLS_CERTIFICATE": __file__},
    "tls_client_ca": {**TLS, "TOKEN_BUDGET_TLS_CERTIFICATE": __file__},
}


def flags(*argv):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(argv))


def broken(*argv, **environment):
    with pytest.raises(ConfigError) as caught:
        load(flags(*argv), environment)
    return caught.value.broken


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "sidecar.toml"
        path.write_text(text)
        return path

    return write


def test_without_a_word_the_defaults_hold():
    loaded = load(flags(), {"PATH": "/bin", "TOKEN": "x"})
    assert loaded.config == Config()
    assert loaded.written == {}
    assert loaded.config.listen == (HostPort("127.0.0.1", 8321),)
    assert loaded.config.telemetry == HostPort("0.0.0.0", 9464)  # noqa: S104 - read, not bound
    assert loaded.config.otlp == HostPort("127.0.0.1", 4318)
    assert (loaded.config.idle_after, loaded.config.close_after) == (900, 86400)


def test_settings_cannot_be_changed_once_they_are_read():
    with pytest.raises(FrozenInstanceError):
        Config().agent = "other"  # type: ignore[misc]


def test_every_setting_is_tried_here():
    assert set(OTHER) == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_written_as_a_flag_in_the_environment_and_in_the_file(name, file):
    beside = BESIDE.get(name, {})
    by_flag = load(flags(f"--{name.replace('_', '-')}", OTHER[name]), beside).config
    by_variable = load(flags(), {**beside, f"TOKEN_BUDGET_{name.upper()}": OTHER[name]}).config
    by_file = load(flags("--config", str(file(f"{name} = '{OTHER[name]}'"))), beside).config
    assert by_flag == by_variable == by_file
    if name != "preset":  # there is one so far
        assert getattr(by_flag, name) != getattr(Config(), name)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(file):
    path = file('agent = "file"\nmax_agents = 1\nmax_sessions = 1')
    loaded = load(
        flags("--config", str(path), "--agent", "flag"), {"TOKEN_BUDGET_AGENT": "env", "TOKEN_BUDGET_MAX_AGENTS": "2"}
    )
    assert (loaded.config.agent, loaded.config.max_agents, loaded.config.max_sessions) == ("flag", 2, 1)
    assert loaded.written == {
        "agent": "--agent",
        "max_agents": "TOKEN_BUDGET_MAX_AGENTS",
        "max_sessions": f"{path}: max_sessions",
    }


def test_the_file_may_be_named_by_the_environment(file):
    environment = {"TOKEN_BUDGET_CONFIG": str(file('agent = "file"'))}
    assert load(flags(), environment).config.agent == "file"


def test_the_file_takes_tomls_own_types(file):
    path = file('listen = ["[::1]:0", "unix:/s"]\nauto_open = false\nidle_after = 60\nmax_body_bytes = 1024')
    config = load(flags("--config", str(path)), {}).config
    assert config.listen == (HostPort("::1", 0), UnixPath("/s"))
    assert (config.auto_open, config.idle_after, config.max_body_bytes) == (False, 60, 1024)


def test_listen_may_be_repeated():
    config = load(flags("--listen", "127.0.0.1:0", "--listen", "unix:/s"), {}).config
    assert config.listen == (HostPort("127.0.0.1", 0), UnixPath("/s"))


def test_a_switch_needs_no_value():
    assert load(flags("--metrics-detail"), {}).config.metrics_detail is True
    assert load(flags("--auto-open", "false"), {}).config.auto_open is False


def test_everything_that_is_wrong_is_told_at_once_each_with_its_name_and_rule(file):
    path = file("idle_afer = 3\nmax_agents = 0")
    assert broken("--config", str(path), "--listen", "8321", TOKEN_BUDGET_AGENT="", TOKEN_BUDGET_AUTO_OPEN="maybe") == (
        f"{path}: idle_afer is not a setting (did you mean idle_after?)",
        f"{path}: max_agents must be a whole number from 1 to 1,000,000,000,000, not 0",
        'TOKEN_BUDGET_AGENT must be 1 to 256 characters, none of them a control character, not ""',
        'TOKEN_BUDGET_AUTO_OPEN must be true or false, not "maybe"',
        '--listen must be HOST:PORT, with a port of 0 to 65535, or unix:PATH, not "8321"',
    )


def test_an_unknown_variable_of_ours_is_wrong_and_one_like_it_suggested():
    assert broken(TOKEN_BUDGET_JOURNL="memory:") == (
        "TOKEN_BUDGET_JOURNL is not a setting (did you mean TOKEN_BUDGET_JOURNAL?)",
    )
    assert broken(TOKEN_BUDGET_XYZ="1") == ("TOKEN_BUDGET_XYZ is not a setting",)


def test_what_kubernetes_writes_into_a_pods_environment_for_a_service_of_our_name_is_not_ours():
    environment = {
        "TOKEN_BUDGET_SERVICE_HOST": "10.0.0.1",
        "TOKEN_BUDGET_SERVICE_PORT": "8321",
        "TOKEN_BUDGET_SERVICE_PORT_HTTP_API": "8321",
        "TOKEN_BUDGET_PORT": "tcp://10.0.0.1:8321",
        "TOKEN_BUDGET_PORT_8321_TCP": "tcp://10.0.0.1:8321",
        "TOKEN_BUDGET_PORT_8321_TCP_ADDR": "10.0.0.1",
        "TOKEN_BUDGET_SIDECAR_SERVICE_HOST": "10.0.0.1",
        "TOKEN_BUDGET_SIDECAR_PORT_9464_TCP_PROTO": "tcp",
    }
    assert load(flags(), environment).config == Config()


def test_a_file_that_cannot_be_read_is_told_beside_everything_else(tmp_path):
    missing = tmp_path / "no.toml"
    assert broken("--config", str(missing), "--agent", "") == (
        f"{missing} cannot be read: No such file or directory",
        '--agent must be 1 to 256 characters, none of them a control character, not ""',
    )


def test_a_file_that_is_no_toml_is_told_with_the_place(file):
    path = file("agent = \n")
    (rule,) = broken("--config", str(path))
    assert rule.startswith(f"{path} is not TOML: ")
    assert "line 1" in rule


def test_a_session_cannot_be_closed_before_it_is_idle():
    assert broken("--idle-after", "2h", "--close-after", "1h") == (
        "--idle-after must not be longer than close_after, 1h",
    )


def test_a_wrong_url_is_quoted_without_its_password():
    (rule,) = broken("--journal", "mysql://budget:s3cret@db/x")
    assert "s3cret" not in rule
    assert '"mysql://budget:***@db/x"' in rule


def test_secrets_are_not_shown():
    values = {name: SETTINGS[name].metadata["form"](text) for name, text in OTHER.items()}
    assert shown("downstream_headers", values["downstream_headers"]) == "api-key=***,x-tenant=***"
    assert shown("downstream_logs", values["downstream_logs"]) == "https://user:***@logs.example.com/in"
    assert broken("--downstream-headers", "s3cret") == (
        "--downstream-headers must be NAME=VALUE, several with commas between them, values percent-encoded",
    )


def test_the_replicas_default_is_the_hosts_name():
    assert shown("replica", SETTINGS["replica"].default) == "the host's name"
    assert f"replica {socket.gethostname()} default" in " ".join(table(load({}, {})).split())


def test_the_journals_default_is_in_the_users_state_folder(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Config().journal_url == "sqlite:////state/token-budget-sidecar/journal.db"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert Config().journal_url == "sqlite:////home/ada/.local/state/token-budget-sidecar/journal.db"


@pytest.mark.parametrize("name", [name for name in SETTINGS if "s3cret" not in OTHER[name]])
def test_what_is_shown_of_a_setting_can_be_written_again(name):
    value = SETTINGS[name].metadata["form"](OTHER[name])
    assert SETTINGS[name].metadata["form"](shown(name, value)) == value


def test_the_table_shows_each_setting_with_where_it_was_written():
    loaded = load(flags("--agent", "reviewer"), {"TOKEN_BUDGET_IDLE_AFTER": "90s"})
    lines = [line.split() for line in table(loaded).splitlines()]
    assert lines[0] == ["setting", "value", "from"]
    assert ["agent", "reviewer", "--agent"] in lines
    assert ["idle_after", "90s", "TOKEN_BUDGET_IDLE_AFTER"] in lines
    assert ["max_body_bytes", "8Mi", "default"] in lines
    assert [line[0] for line in lines[1:]] == [setting.name for setting in fields(Config)]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_says_what_it_means_in_a_sentence_without_a_full_stop(setting):
    meaning = setting.metadata["meaning"]
    assert meaning[0].islower()
    assert not meaning.endswith(".")
