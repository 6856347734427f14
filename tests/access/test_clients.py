"""Our own clients against a sidecar that asks who calls: the agent's, blocking and awaited, and the lab's tools."""

import argparse
import asyncio
import logging
import re
import shutil
from typing import Any

import pytest

from sidecar.app import make_app
from sidecar.client import AsyncClient, Away, Client, Refused
from sidecar.client.credentials import VARIABLES, Credentials
from sidecar.lab import replay, top
from sidecar.lab.recordings import bundled
from tests.access.conftest import LOOPBACK, READ, TLS_LOOPBACK, WRITE, config, write_pair

ITEMS: Any = [{"id": "a", "kind": "file", "tokens": 10}]


@pytest.fixture
def both(tmp_path):
    """A token that may read and write; its file."""
    path = tmp_path / "agent.token"
    path.write_text(f"# the agent's\n{WRITE}\n")
    return path


@pytest.fixture
async def app(token_files, both, certificate_files, authority_file):
    """A sidecar with tokens, TLS and client certificates."""
    tokens = {**token_files, "read_tokens": (*token_files["read_tokens"], str(both))}
    tls = {"tls_certificate": str(certificate_files[0]), "tls_key": str(certificate_files[1])}
    async with make_app(config(listen=(TLS_LOOPBACK,), **tokens, **tls, tls_client_ca=str(authority_file))) as app:
        yield app


@pytest.fixture
def shown(both, authority, authority_file, tmp_path):
    """All that a client shows and trusts, as settings."""
    certificate, key = write_pair(authority, tmp_path, "agent", "agent.example")
    return {
        "token_file": str(both),
        "ca_file": str(authority_file),
        "certificate_file": str(certificate),
        "key_file": str(key),
    }


async def test_the_blocking_client_shows_its_token_and_certificate(app, shown):
    def use():
        with Client(app.urls["api"][0], timeout=20, fail="closed", **shown) as client:
            session = client.session("s1", agent="tester")
            return [session.sync(ITEMS)["report"]["overall"]["used_tokens"] for _ in range(3)]

    assert await asyncio.to_thread(use) == [10, 10, 10]


async def test_the_awaited_client_does_too_and_carries_large_bodies_over_tls(app, shown):
    async with AsyncClient(app.urls["api"][0], timeout=20, fail="closed", **shown) as client:
        session = client.session("s1", agent="tester")
        many: Any = [{"id": f"i{number}", "kind": "file", "tokens": 1, "content": "x" * 2000} for number in range(500)]
        assert (await session.sync(many))["report"]["overall"]["used_tokens"] == 500
        assert (await session.sync(ITEMS))["report"]["overall"]["used_tokens"] == 10


async def test_the_environment_says_it_where_the_program_does_not(app, shown, monkeypatch):
    for name, variable in VARIABLES.items():
        monkeypatch.setenv(variable, shown[name])
    async with AsyncClient(app.urls["api"][0], timeout=20, fail="closed") as client:
        await client.session("s1").sync(ITEMS)


@pytest.mark.parametrize("without", ["token_file", "ca_file", "certificate_file"])
async def test_what_is_not_shown_or_not_trusted_leaves_the_agent_alone_but_says_so(app, shown, without, caplog):
    del shown[without]
    if without == "certificate_file":
        del shown["key_file"]
    async with AsyncClient(app.urls["api"][0], timeout=1.0, fail="closed", **shown) as client:
        with pytest.raises(Away):
            await client.session("s1").sync(ITEMS)
    async with AsyncClient(app.urls["api"][0], timeout=1.0, **shown) as client:
        assert (await client.session("s1").sync(ITEMS))["directives"] == []
        assert client.courses.absences == 1
    if without == "token_file":
        assert "the sidecar does not know this client" in caplog.text
        assert WRITE not in caplog.text


async def test_a_client_takes_up_a_token_that_changed(app, shown, both, token_files, tmp_path):
    async with AsyncClient(app.urls["api"][0], timeout=20, fail="closed", **shown) as client:
        session = client.session("s1")
        await session.sync(ITEMS)
        new = tmp_path / "new"
        new.write_text("a-token-that-is-newer\n")
        for path in (token_files["write_tokens"][0], both):
            shutil.copy(new, path)
        await session.sync(ITEMS)


async def test_a_token_that_may_not_is_a_mistake_and_not_an_absence(app, shown, both):
    both.write_text(READ)
    async with AsyncClient(app.urls["api"][0], timeout=20, **shown) as client:
        with pytest.raises(Refused, match="it would need the scope write"):
            await client.session("s1").sync(ITEMS)


def arguments(tool, *argv):
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    return parser.parse_args(argv)


@pytest.fixture
def flags(shown):
    return [
        f"--token-file={shown['token_file']}",
        f"--ca-file={shown['ca_file']}",
        f"--client-certificate={shown['certificate_file']}",
        f"--client-key={shown['key_file']}",
    ]


async def test_replay_and_top_show_what_they_are_given(app, flags, capsys):
    recording = min(bundled().glob("*.gz"), key=lambda path: path.stat().st_size)
    url = app.urls["api"][0]
    assert await replay.run(arguments(replay, str(recording), "--to", url, *flags)) == 0
    assert await top.run(arguments(top, "--url", url, "--once", *flags)) == 0
    assert "managed" in capsys.readouterr().out


async def test_replay_and_top_say_what_is_missing(app, flags, capsys, caplog):
    caplog.set_level(logging.CRITICAL)
    recording = str(min(bundled().glob("*.gz"), key=lambda path: path.stat().st_size))
    url = app.urls["api"][0]
    for tool, argv in ((replay, (recording, "--to", url)), (top, ("--url", url, "--once"))):
        assert await tool.run(arguments(tool, *argv, *flags[1:])) == 1
        assert "a token is asked for" in capsys.readouterr().err
        assert await tool.run(arguments(tool, *argv, flags[0])) == 1
        assert re.search(
            r"its certificate is not trusted: [-\w ,]+ \(--ca-file names whom to trust\)", capsys.readouterr().err
        )


async def test_https_where_none_is_spoken_is_told_with_what_to_write_instead(capsys):
    async with make_app(config(listen=(LOOPBACK,))) as app:
        url = app.urls["api"][0].replace("http://", "https://")
        assert await top.run(arguments(top, "--url", url, "--once")) == 1
        assert "TLS is not spoken there: write http:// instead of https://" in capsys.readouterr().err
        with Client(url, timeout=20, fail="closed") as client, pytest.raises(Away, match="write http:// instead"):
            await asyncio.to_thread(client.session("s1").sync, ITEMS)
        async with AsyncClient(url, timeout=20, fail="closed") as awaited:
            with pytest.raises(Away, match="write http:// instead"):
                await awaited.session("s1").sync(ITEMS)


@pytest.mark.parametrize(
    ("flag", "content", "why"),
    [
        ("--ca-file", None, "No such file or directory"),
        ("--ca-file", "nonsense", "certificates"),
        ("--client-certificate", None, "No such file or directory"),
        ("--client-certificate", "nonsense", "a certificate with its key"),
        ("--client-key", None, "No such file or directory"),
        ("--token-file", None, "No such file or directory"),
        ("--token-file", "töken", "plain ASCII"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_with_its_flag(tmp_path, capsys, flag, content, why):
    path = tmp_path / "shown"
    if content is not None:
        path.write_text(content)
    assert await top.run(arguments(top, "--url", "https://127.0.0.1:1", "--once", flag, str(path))) == 1
    told = capsys.readouterr().err
    assert f"{flag} {path} cannot be used" in told
    assert why in told


async def test_the_client_names_a_file_that_holds_no_certificate(tmp_path):
    path = tmp_path / "nonsense.pem"
    path.write_text("nonsense")
    with pytest.raises(OSError, match=rf"ca_file {path} cannot be used: NO_CERTIFICATE"):
        Credentials(ca_file=str(path)).tls()
