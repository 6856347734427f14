"""TLS and mutual TLS of the API and of OTLP: real handshakes with a real sidecar."""

import asyncio
import contextlib
import shutil
import socket
import ssl

import aiohttp
import pytest
import trustme

from sidecar.app import make_app
from tests.access.conftest import LOOPBACK, TLS_LOOPBACK, config, write_pair


@pytest.fixture
def tls(certificate_files):
    """The settings of a sidecar that speaks TLS on the API and OTLP."""
    certificate, key = certificate_files
    return {
        "listen": (TLS_LOOPBACK, LOOPBACK),
        "otlp": TLS_LOOPBACK,
        "tls_certificate": str(certificate),
        "tls_key": str(key),
    }


async def get(url, context):
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/sessions", ssl=context) as answer:
        return answer.status


async def test_https_is_spoken_where_it_is_asked_for_and_http_elsewhere(tls, trusting):
    async with make_app(config(**tls)) as app:
        secure, plain = app.urls["api"]
        assert (secure.partition(":")[0], plain.partition(":")[0]) == ("https", "http")
        assert await get(secure, trusting()) == 200
        assert await get(plain, None) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await get(secure, ssl.create_default_context())
        async with aiohttp.ClientSession() as http:
            url = f"{app.urls['otlp'][0]}/v1/traces"
            async with http.post(url, json={}, ssl=trusting()) as answer:
                assert answer.status == 200


async def test_only_modern_tls_is_spoken(tls, trusting):
    def old(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    def rsa(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256")

    def block(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256")

    async with make_app(config(**tls)) as app:
        for change in (rsa, block, old):
            context = trusting()
            if change is old:
                with pytest.warns(DeprecationWarning, match="TLS"):
                    change(context)
            else:
                change(context)
            with pytest.raises(aiohttp.ClientConnectorError):
                await get(app.urls["api"][0], context)


async def test_with_an_authority_of_clients_each_must_show_a_certificate_of_it(
    tls, authority, authority_file, trusting, tmp_path
):
    ours = write_pair(authority, tmp_path, "ours", "agent.example")
    theirs = write_pair(trustme.CA(), tmp_path, "theirs", "agent.example")
    async with make_app(config(**tls, tls_client_ca=str(authority_file))) as app:
        secure, plain = app.urls["api"]
        assert await get(secure, trusting(*ours)) == 200
        for context in (trusting(), trusting(*theirs)):
            with pytest.raises(aiohttp.ClientError):
                await get(secure, context)
        assert await get(plain, None) == 200  # on loopback


async def shown(url, context):
    """The serial number of the certificate that a server shows, in a connection of its own."""
    host, port = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    number = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return number


async def test_certificate_and_authority_are_rotated_without_a_restart(
    tls, authority, authority_file, certificate_files, trusting, tmp_path
):
    other = trustme.CA()
    ours, theirs = write_pair(authority, tmp_path, "ours"), write_pair(other, tmp_path, "theirs")
    async with make_app(config(**tls, tls_client_ca=str(authority_file))) as app:
        secure = app.urls["api"][0]
        before = await shown(secure, trusting(*ours))
        kept = aiohttp.ClientSession()
        async with kept, kept.get(f"{secure}/v1/sessions", ssl=trusting(*ours)) as answer:
            assert answer.status == 200
            fresh = write_pair(authority, tmp_path, "fresh")
            for new, old in zip(fresh, certificate_files, strict=True):
                shutil.move(new, old)
            other.cert_pem.write_to_path(authority_file)
            async with asyncio.timeout(10):  # within a second
                while True:
                    try:
                        assert await get(secure, trusting(*theirs)) == 200
                        break
                    except (aiohttp.ClientError, ssl.SSLError):
                        await asyncio.sleep(0.02)
            assert await shown(secure, trusting(*theirs)) != before
            with pytest.raises(aiohttp.ClientError):
                await get(secure, trusting(*ours))


def resumed(url, context, session=None):
    """Whether a session was resumed, the connection's own, and what the answer begins with; "" where there is none."""
    host, port = url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host, session=session) as connection,
    ):
        connection.sendall(b"GET /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return connection.session_reused, connection.session, connection.recv(12)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_was_let_in_before_its_authority_was_withdrawn_does_not_resume(
    tls, authority, authority_file, trusting, tmp_path, version
):
    ours = trusting(*write_pair(authority, tmp_path, "ours"))
    ours.maximum_version = version
    async with make_app(config(**tls, tls_client_ca=str(authority_file))) as app:
        secure = app.urls["api"][0]
        _, session, answer = await asyncio.to_thread(resumed, secure, ours)
        assert answer == b"HTTP/1.1 200"
        trustme.CA().cert_pem.write_to_path(authority_file)
        assert app.entrance.certificate is not None
        assert app.entrance.certificate.refresh()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert (await asyncio.to_thread(resumed, secure, ours, session))[::2] == (False, b"")


@pytest.mark.parametrize("wrong", ["tls_certificate", "tls_key", "tls_client_ca"])
async def test_a_file_that_is_no_certificate_stops_the_start_by_name(tls, tmp_path, wrong):
    path = tmp_path / "wrong.pem"
    path.write_text("-----BEGIN NONSENSE-----\n")
    with pytest.raises(OSError, match=r"wrong\.pem") as caught:
        make_app(config(**{**tls, wrong: str(path)}))
    assert "NONSENSE" not in str(caught.value)


async def test_where_nobody_asks_who_calls_even_a_sidecar_made_by_a_program_does_not_start():
    from sidecar.config.forms import HostPort

    app = make_app(config(listen=(HostPort("0.0.0.0", 0),)))  # noqa: S104 - that is what is refused
    with pytest.raises(OSError, match="nobody asks who calls"):
        await app.start()
    assert not any(app.urls.values())
