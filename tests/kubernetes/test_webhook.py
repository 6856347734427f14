"""The injector as the cluster runs it: a program that answers over TLS, takes new certificates, and ends in order."""

import asyncio
import io
import json
import signal
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families


def trusting(*authorities):
    """A client's context that trusts these and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for authority in authorities:
        authority.configure_trust(context)
    return context


def issue(authority, files, **more):
    """Write a new certificate for loopback over the old one, its parts one after the other."""
    issued = authority.issue_cert("127.0.0.1", **more)
    files[0].write_bytes(issued.cert_chain_pems[0].bytes())
    files[1].write_bytes(issued.private_key_pem.bytes())


async def samples(client, urls):
    async with client.get(f"{urls['telemetry']}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


async def post_on_a_new_connection(url, body, context):
    """One request over a connection of its own: the serial number of the certificate served, and the answer's JSON."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port, ssl=context, server_hostname=parts.hostname
    )
    serial = writer.get_extra_info("peercert")["serialNumber"]
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    status, _, rest = (await reader.read()).partition(b"\r\n")
    assert status == b"HTTP/1.1 200 OK"
    writer.close()
    await writer.wait_closed()
    return serial, json.loads(rest.partition(b"\r\n\r\n")[2])


async def eventually(condition, seconds=20):
    """Ask until it is so; each question awaits something real."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it never came to be so"
        await asyncio.sleep(0.005)


async def test_a_review_is_answered_over_tls_and_counted(start_injector, authority, review):
    _, urls = start_injector()
    async with aiohttp.ClientSession() as client:
        for name in ("deployment", "opt-out", "injected", "malformed"):
            async with client.post(urls["webhook"], json=review(name), ssl=trusting(authority)) as answer:
                assert answer.status == 200
                assert answer.content_type == "application/json"
                told = await answer.json()
                assert told["response"]["allowed"] is True
                assert ("patch" in told["response"]) == (name == "deployment")
        counted = await samples(client, urls)
    for reason, result in (("", "injected"), ("opted_out", "skipped"), ("present", "skipped"), ("malformed", "failed")):
        assert counted["token_budget_injector_admissions_total", reason, result] == 1
    assert counted["token_budget_injector_admission_duration_seconds_count",] == 4


async def test_what_is_no_review_is_refused_and_counted(start_injector, authority):
    _, urls = start_injector()
    async with aiohttp.ClientSession() as client:
        async with client.post(urls["webhook"], data=b"{}", ssl=trusting(authority)) as answer:
            assert (answer.status, await answer.text()) == (400, "the body is no AdmissionReview\n")
        assert (await samples(client, urls))["token_budget_injector_requests_rejected_total",] == 1


async def test_a_review_as_large_as_the_api_server_sends_is_answered_and_a_larger_body_refused(
    start_injector, authority, review
):
    _, urls = start_injector()
    asked = review("pod")
    asked["request"]["object"]["metadata"]["annotations"] = {"big": "x" * (3 << 20)}
    async with aiohttp.ClientSession() as client:
        large, larger = (io.BytesIO(body) for body in (json.dumps(asked).encode(), b"x" * (9 << 20)))
        async with client.post(urls["webhook"], data=large, ssl=trusting(authority)) as answer:
            assert "patch" in (await answer.json())["response"]
        async with client.post(urls["webhook"], data=larger, ssl=trusting(authority)) as answer:
            assert answer.status == 413


async def test_the_chart_says_what_is_injected(start_injector, authority, review, rendered, one, tmp_path):
    document = one(rendered("injector-wishes"), "ConfigMap", "-injector")["data"]["injection.json"]
    (tmp_path / "injection.json").write_text(document)
    _, urls = start_injector(f"--injection={tmp_path / 'injection.json'}")
    asked = review("pod")
    asked["request"]["namespace"] = "team-b"
    async with aiohttp.ClientSession() as client:
        async with client.post(urls["webhook"], json=asked, ssl=trusting(authority)) as answer:
            assert "patch" not in (await answer.json())["response"]
        asked["request"]["namespace"] = "team-a"
        async with client.post(urls["webhook"], json=asked, ssl=trusting(authority)) as answer:
            assert "patch" in (await answer.json())["response"]


async def test_certificates_change_under_load_without_a_failed_request(
    start_injector, authority, certificate_files, review
):
    """Every request opens a connection of its own, so each sees the certificate of its moment."""
    _, urls = start_injector()
    other = type(authority)()
    trusted, body = trusting(authority, other), json.dumps(review("deployment")).encode()
    served: set[str] = set()
    stop = asyncio.Event()

    async def load():
        answered = 0
        while not stop.is_set():
            serial, answer = await post_on_a_new_connection(urls["webhook"], body, trusted)
            assert answer["response"]["allowed"] is True
            served.add(serial)
            answered += 1
        return answered

    loads = [asyncio.create_task(load()) for _ in range(4)]

    async def seen(count):
        await asyncio.wait(loads, timeout=0.005)
        for task in loads:
            if task.done():
                task.result()
        return len(served) >= count

    await eventually(lambda: seen(1))
    for count, signer in enumerate((other, authority, other, authority, other), start=2):
        issue(signer, certificate_files)
        await eventually(lambda count=count: seen(count))
    stop.set()
    assert all(count > 0 for count in await asyncio.gather(*loads))
    async with aiohttp.ClientSession() as client:
        counted = await samples(client, urls)
    assert counted["token_budget_injector_certificate_reloads_total", "loaded"] >= 5


async def test_a_file_that_is_no_certificate_changes_nothing_but_a_counter(
    start_injector, authority, certificate_files, review
):
    _, urls = start_injector()
    async with aiohttp.ClientSession() as client:
        before = await samples(client, urls)
        certificate_files[0].write_text("half a certif")

        async def failed():
            counted = await samples(client, urls)
            return counted["token_budget_injector_certificate_reloads_total", "failed"] == 1

        await eventually(failed)
        async with client.post(urls["webhook"], json=review("pod"), ssl=trusting(authority)) as answer:
            assert answer.status == 200
        after = await samples(client, urls)
    expiry = ("token_budget_injector_certificate_expiry_timestamp_seconds",)
    assert after[expiry] == before[expiry]


async def test_the_end_of_the_certificate_that_is_served_is_a_metric(start_injector, authority, certificate_files):
    ends = (datetime.now(UTC) + timedelta(days=5)).replace(microsecond=0)
    issue(authority, certificate_files, not_after=ends)
    _, urls = start_injector()
    async with aiohttp.ClientSession() as client:
        counted = await samples(client, urls)
    assert counted["token_budget_injector_certificate_expiry_timestamp_seconds",] == ends.timestamp()


async def test_told_to_end_it_turns_unready_first_and_still_answers(start_injector, authority, review):
    process, urls = start_injector("--drain=60s")
    async with aiohttp.ClientSession() as client:

        async def status():
            async with client.get(f"{urls['telemetry']}/readyz") as answer:
                return answer.status

        assert await status() == 200
        process.send_signal(signal.SIGTERM)

        async def unready():
            return await status() == 503

        await eventually(unready)
        async with client.post(urls["webhook"], json=review("pod"), ssl=trusting(authority)) as answer:
            assert answer.status == 200
    process.send_signal(signal.SIGTERM)  # a second time: at once
    assert process.wait(timeout=10) == -signal.SIGTERM


def test_it_ends_with_0_in_under_5_s(start_injector):
    process, _ = start_injector()
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--injection=/nowhere.json",), "/nowhere.json cannot be read: No such file or directory"),
        (("--listen=8443",), 'argument --listen: must be HOST:PORT, with a port of 0 to 65535, not "8443"'),
        (("--drain=soon",), "argument --drain: must be a duration"),
        (("--key=/nowhere.key",), "/nowhere.key are no certificate with its key: "),
    ],
)
def test_a_wrong_flag_names_itself_and_stops_the_start(flags, complaint, certificate_files):
    certificate, key = certificate_files
    words = (f"--certificate={certificate}", f"--key={key}", "--listen=127.0.0.1:0", "--telemetry=127.0.0.1:0")
    told = subprocess.run(
        (sys.executable, "-m", "sidecar", "inject", *words, *flags),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert told.returncode == 2
    assert complaint in told.stderr
