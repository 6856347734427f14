"""What a start leaves out, because no sidecar that was told nothing needs it."""

import json
import os
import subprocess
import sys

import pytest

from sidecar.sparing import leave_out_plugins, leaving_out_authorities

# Traces of our own, a shared journal, passwords, tools, the webhook, and what host agents import.
OF_OTHERS = frozenset(
    {
        "asyncpg",
        "bcrypt",
        "opentelemetry.exporter.otlp",
        "opentelemetry.sdk",
        "requests",
        "sidecar.client",
        "sidecar.journal.postgres",
        "sidecar.kubernetes",
        "sidecar.lab",
        "yaml",
    }
)
# Serves as told, and at the end says what it had: modules, authorities, plugins that pydantic looked for.
SERVE = """
import atexit, json, sys
from sidecar.__main__ import main

def tell():
    from aiohttp.connector import _SSL_CONTEXT_VERIFIED
    from pydantic.plugin import _loader
    authorities = _SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"]
    print(json.dumps({"modules": sorted(sys.modules), "authorities": authorities, "plugins": _loader._plugins}))

atexit.register(tell)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def had(tmp_path_factory):
    """What a sidecar had when it ended that was told where to listen, and nothing else."""
    journal = f"--journal=sqlite:///{tmp_path_factory.mktemp('sparing')}/journal.db"
    flags = ("serve", "--listen=127.0.0.1:0", "--telemetry=127.0.0.1:0", "--otlp=127.0.0.1:0", journal)
    told = ("TOKEN_BUDGET_", "OTEL_", "SSL_CERT_", "PYDANTIC_")
    process = subprocess.Popen(
        (sys.executable, "-c", SERVE, *flags),
        env={name: value for name, value in os.environ.items() if not name.startswith(told)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline(), "it did not start"
        process.terminate()
        return json.loads(process.communicate(timeout=30)[0])
    finally:
        process.kill()
        process.communicate()


def test_a_start_imports_nothing_that_only_others_need(had):
    assert "sidecar.receivers.otlp" in had["modules"], "what it had is told"
    imported = {".".join(name.split(".")[:depth]) for name in had["modules"] for depth in (1, 2, 3)}
    assert imported & OF_OTHERS == set()


def test_a_start_reads_neither_the_systems_authorities_nor_what_distributions_say_of_plugins(had):
    assert (had["authorities"], had["plugins"]) == (0, None)


def test_the_environment_is_as_before_once_aiohttp_is_imported(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "ours.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)

    def fail():
        with leaving_out_authorities():
            raise ImportError(os.environ["SSL_CERT_FILE"])

    with pytest.raises(ImportError, match=f"^{os.devnull}$"):
        fail()
    assert (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")) == ("ours.pem", None)


@pytest.mark.parametrize(("said", "stands"), [(None, "__all__"), ("logfire", "logfire")])
def test_plugins_are_left_out_unless_the_environment_says_which(monkeypatch, said, stands):
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", said or "")
    if said is None:
        monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS")
    leave_out_plugins()
    assert os.environ["PYDANTIC_DISABLE_PLUGINS"] == stands
