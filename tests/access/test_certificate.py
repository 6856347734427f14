"""A certificate that is read again: what counts as a change, what is served, and when it ends."""

import ssl
from datetime import UTC, datetime

import pytest
import trustme

from sidecar.access.certificate import Certificate, CertificateError, not_after


def handshake(server, client):
    """Shake hands in memory; give the certificate that the client was shown, DER."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = set()
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
        if len(done) == 2:
            return sides[0].getpeercert(binary_form=True)
    raise AssertionError("no handshake")


def shown(certificate):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return handshake(certificate.context, client)


def write(authority, files):
    issued = authority.issue_cert("127.0.0.1")
    pem = issued.cert_chain_pems[0].bytes()
    files[0].write_bytes(pem)
    files[1].write_bytes(issued.private_key_pem.bytes())
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def test_the_newest_pair_is_served_from_the_next_handshake_on(authority, certificate_files):
    certificate = Certificate(*certificate_files)
    assert certificate.refresh() is None
    renewed = write(authority, certificate_files)
    assert shown(certificate) != renewed
    assert certificate.refresh() is True
    assert shown(certificate) == renewed
    assert certificate.refresh() is None


def test_a_volume_that_kubernetes_turns_is_a_change(authority, tmp_path):
    """The files of a Secret are links to links: what turns is a folder between."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    pairs = [write(authority, (tmp_path / name / "tls.crt", tmp_path / name / "tls.key")) for name in ("one", "two")]
    (tmp_path / "..data").symlink_to("one")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    certificate = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert shown(certificate) == pairs[0]
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert certificate.refresh() is True
    assert shown(certificate) == pairs[1]


def test_a_certificate_without_its_key_is_not_served_until_the_key_is_there(authority, certificate_files):
    certificate = Certificate(*certificate_files)
    before = shown(certificate)
    issued = authority.issue_cert("127.0.0.1")
    certificate_files[0].write_bytes(issued.cert_chain_pems[0].bytes())
    assert certificate.refresh() is False
    assert certificate.refresh() is None
    assert shown(certificate) == before
    certificate_files[1].write_bytes(issued.private_key_pem.bytes())
    assert certificate.refresh() is True
    assert shown(certificate) != before


def test_files_that_go_away_change_nothing_that_is_served(certificate_files):
    certificate = Certificate(*certificate_files)
    before = shown(certificate)
    certificate_files[0].unlink()
    assert certificate.refresh() is False
    assert shown(certificate) == before


def test_old_versions_of_tls_are_refused(certificate_files):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        client.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.raises(ssl.SSLError):
        handshake(Certificate(*certificate_files).context, client)


@pytest.mark.parametrize("year", [2030, 2049, 2050, 2120])
def test_the_end_is_read_in_both_forms_that_certificates_have(year):
    """Until 2049 a UTCTime with two digits, from 2050 on a GeneralizedTime with four (RFC 5280, 4.1.2.5)."""
    ends = datetime(year, 5, 17, 8, 30, 59, tzinfo=UTC)
    pem = trustme.CA().issue_cert("x", not_after=ends).cert_chain_pems[0].bytes().decode()
    assert not_after(ssl.PEM_cert_to_DER_cert(pem)) == ends


@pytest.mark.parametrize("text", [b"", b"\x30", b"\x30\x03\x30\x01\x00", b"nonsense" * 10])
def test_what_is_no_certificate_has_no_end(text):
    with pytest.raises((ValueError, IndexError)):
        not_after(text)


def test_files_that_are_no_pair_are_named(certificate_files, tmp_path):
    with pytest.raises(CertificateError, match=r"tls.crt and .*nowhere are no certificate with its key"):
        Certificate(certificate_files[0], tmp_path / "nowhere")
