"""The tee (SPEC 5): what it sends, what it tries again, what it gives up, and that it counts every payload once."""

import asyncio
import gzip
import itertools
import logging
import os
import socket
import ssl
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme
from multidict import CIMultiDict

from sidecar.exporters.forward import Downstream, Tee, endpoints
from sidecar.exporters.forward.lane import PAYLOADS, SENDERS
from sidecar.exporters.forward.retry import Patience, retry_after
from tests.exporters.collector import collecting

FAST = Patience(first=0.01, last=0.02, attempt=5.0, payload=60.0)
SIGNALS = ("traces", "logs", "metrics")


class Counters:
    """What the tee counts."""

    def __init__(self):
        self.begun = False
        self.results: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.changed = asyncio.Condition()

    def begin_forwarding(self):
        self.begun = True

    def forwarded(self, signal, result, count=1):
        self.results[signal, result] += count
        asyncio.get_running_loop().create_task(self._tell())

    def dropped(self, what, reason, count=1):
        assert what == "forward"
        self.reasons[reason] += count

    async def _tell(self):
        async with self.changed:
            self.changed.notify_all()

    async def until(self, payloads):
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: self.results.total() >= payloads)


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
async def tee(counters):
    """Begins to forward to an endpoint; stopped in the end."""
    tees = []

    async def start(base=None, *, size=1 << 20, patience=FAST, listeners=(), own=None, **settings):
        made = Tee(
            Downstream(endpoints=endpoints(base, **(own or {})), **settings), counters, size=size, patience=patience
        )
        tees.append(made)
        await made.start(listeners)
        return made

    yield start
    for each in tees:
        await each.stop(patience=0)


@pytest.fixture
async def collector():
    async with collecting() as made:
        yield made


@pytest.fixture
async def hanging():
    async with collecting(hanging=True) as made:
        yield made


def send(tee, signal="traces", body=b"payload", content_type="application/x-protobuf", encoding=None, **headers):
    tee(signal, body, content_type, encoding, CIMultiDict(headers))


@pytest.fixture
def free_port():
    """A port where nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


# What is sent, and where


async def test_a_payload_goes_on_byte_for_byte_in_the_compression_it_came_in(tee, collector):
    body = gzip.compress(os.urandom(3 << 20))
    made = await tee(collector.url, size=8 << 20)
    send(made, body=body, content_type="application/json; charset=utf-8", encoding="gzip")
    (received,) = await collector.until(1)
    assert received.body == body
    assert received.path == "/v1/traces"
    assert received.headers["Content-Type"] == "application/json; charset=utf-8"
    assert received.headers["Content-Encoding"] == "gzip"


async def test_the_agents_headers_go_along_ours_win_and_nothing_else_is_added(tee, collector):
    made = await tee(collector.url, headers=(("X-Tenant", "ours"), ("X-Key", "secret")))
    agent = {
        "Authorization": "Bearer agent",
        "User-Agent": "OTel-OTLP-Exporter-Python/1.45",
        "X-TENANT": "agents",
        "Host": "127.0.0.1:4318",
        "Content-Length": "7",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "by hop",
        "Transfer-Encoding": "chunked",
        "Expect": "100-continue",
        "Content-Type": "application/x-protobuf",
    }
    send(made, **agent)
    (received,) = await collector.until(1)
    assert dict(received.headers) == {
        "Host": collector.url.removeprefix("http://"),
        "Authorization": "Bearer agent",
        "User-Agent": "OTel-OTLP-Exporter-Python/1.45",
        "Content-Type": "application/x-protobuf",
        "Content-Length": "7",
        "X-Tenant": "ours",
        "X-Key": "secret",
    }


@pytest.mark.parametrize(
    ("base", "own", "found"),
    [
        (None, {}, {}),
        ("http://c:4318", {}, {signal: f"http://c:4318/v1/{signal}" for signal in SIGNALS}),
        ("http://c:4318/", {}, {signal: f"http://c:4318/v1/{signal}" for signal in SIGNALS}),
        ("https://c/otlp/?k=v", {}, {signal: f"https://c/otlp/v1/{signal}?k=v" for signal in SIGNALS}),
        (None, {"logs": "http://c/"}, {"logs": "http://c/"}),
        (
            "http://c",
            {"traces": "http://t/in"},
            {"traces": "http://t/in", "logs": "http://c/v1/logs", "metrics": "http://c/v1/metrics"},
        ),
    ],
)
def test_endpoints_follow_the_rules_of_the_otlp_exporter(base, own, found):
    assert endpoints(base, **own) == found


async def test_each_signal_goes_to_its_own_endpoint_and_one_without_goes_nowhere(tee, collector, counters):
    made = await tee(own={"traces": f"{collector.url}/in/traces?x=1", "logs": f"{collector.url}/in/logs"})
    for signal in SIGNALS:
        send(made, signal)
    await counters.until(2)
    assert sorted(request.path for request in collector.requests) == ["/in/logs", "/in/traces"]
    assert counters.results == {("traces", "delivered"): 1, ("logs", "delivered"): 1}


async def test_without_a_downstream_nothing_is_forwarded_or_counted(tee, counters):
    send(await tee())
    assert not counters.begun
    assert not counters.results


async def test_the_downstream_may_ask_for_a_client_certificate_and_is_checked(tee, counters, tmp_path):
    ours, theirs = trustme.CA(), trustme.CA()
    client, trusted = tmp_path / "client.pem", tmp_path / "ca.pem"
    ours.issue_cert("sidecar").private_key_and_cert_chain_pem.write_to_path(client)
    theirs.cert_pem.write_to_path(trusted)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    theirs.issue_cert("127.0.0.1").configure_cert(context)
    ours.configure_trust(context)
    async with collecting(tls=context) as collector:
        send(await tee(collector.url, certificate=str(trusted), client_certificate=str(client)), "logs")
        await counters.until(1)
        assert counters.results == {("logs", "delivered"): 1}
        doubtful = await tee(collector.url, client_certificate=str(client), patience=Patience(payload=0))
        send(doubtful, "traces")
        await counters.until(2)
        assert counters.results["traces", "failed"] == 1, "its certificate is by nobody we trust"
        assert len(collector.requests) == 1


async def test_a_file_without_a_certificate_is_named(tee, tmp_path):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(OSError, match=f"downstream_certificate {wrong} cannot be used"):
        await tee("https://127.0.0.1:1", certificate=str(wrong))
    with pytest.raises(OSError, match=f"downstream_client_certificate {wrong} cannot be used"):
        await tee("https://127.0.0.1:1", client_certificate=str(wrong))


# What is tried again


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_may_pass_is_tried_until_it_has(tee, collector, counters, status):
    collector.answers = [(status, {})] * 3
    send(await tee(collector.url))
    await counters.until(1)
    assert len(collector.requests) == 4
    assert {request.body for request in collector.requests} == {b"payload"}
    assert counters.results == {("traces", "delivered"): 1}
    assert not counters.reasons


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413, 500])
async def test_what_will_not_pass_is_given_up_at_once_and_no_redirect_is_followed(tee, collector, counters, status):
    collector.answers = [(status, {"Location": f"{collector.url}/elsewhere"})]
    send(await tee(collector.url))
    await counters.until(1)
    assert len(collector.requests) == 1
    assert counters.results == {("traces", "failed"): 1}
    assert counters.reasons == {"failed": 1}


async def test_a_downstream_that_comes_back_gets_what_waited(tee, counters, free_port, caplog):
    caplog.set_level(logging.INFO, "sidecar")
    made = await tee(f"http://127.0.0.1:{free_port}")
    for number in range(10):
        send(made, body=b"%d" % number)
    async with collecting(port=free_port) as collector:
        await counters.until(10)
        assert {request.body for request in collector.requests} == {b"%d" % number for number in range(10)}
    assert counters.results == {("traces", "delivered"): 10}
    said = [record.getMessage() for record in caplog.records if "forwarded" in record.getMessage()]
    assert [line.partition(" to ")[0] for line in said] in (
        [],  # it came back before the first attempt
        ["traces cannot be forwarded", "traces are forwarded"],
    )


async def test_a_retry_waits_for_as_long_as_the_downstream_asks(tee, collector, counters):
    collector.answers = [(503, {"Retry-After": "1"})]
    begun = time.monotonic()
    send(await tee(collector.url))
    await counters.until(1)
    assert time.monotonic() - begun >= 1
    assert counters.results == {("traces", "delivered"): 1}


def test_pauses_double_up_to_a_bound_with_jitter_and_at_least_what_is_asked():
    patience = Patience(first=1, last=30, jitter=0.2)
    for attempts, middle in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (1_000_000, 30)]:
        pauses = [patience.pause(attempts) for _ in range(200)]
        assert all(0.8 * middle <= pause <= 1.2 * middle for pause in pauses)
        assert len(set(pauses)) > 100
    assert patience.pause(1, asked=45) == 45
    assert patience.pause(1, asked=0) >= 0.8


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0", 0),
        ("-3", 0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(header, seconds):
    assert retry_after(header) == seconds


def test_a_date_to_come_is_so_many_seconds_away():
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < (retry_after(header) or 0) <= 60


async def test_a_payload_is_given_up_when_its_time_is_over(tee, counters, free_port):
    send(await tee(f"http://127.0.0.1:{free_port}", patience=Patience(first=0.01, last=0.02, payload=0.2)))
    await counters.until(1)
    assert counters.results == {("traces", "failed"): 1}
    assert counters.reasons == {"failed": 1}


async def test_an_answer_that_does_not_come_is_not_waited_for(tee, hanging, counters):
    send(await tee(hanging.url, patience=Patience(first=0.01, attempt=0.1, payload=0.25)))
    await counters.until(1)
    assert len(hanging.requests) >= 2
    assert counters.reasons == {"failed": 1}


# What is dropped


async def test_the_queue_is_bounded_in_bytes_and_the_newest_goes(tee, hanging, counters):
    made = await tee(hanging.url, size=10_000)
    for number in range(15):
        send(made, body=bytes([number]) * 1_000)
    assert counters.results == {("traces", "failed"): 5}
    assert counters.reasons == {"queue_full": 5}
    hanging.gate.set()
    await counters.until(15)
    assert {request.body[0] for request in hanging.requests} == set(range(10))
    send(made, body=bytes(10_000))
    await counters.until(16)
    assert counters.results == {("traces", "failed"): 5, ("traces", "delivered"): 11}, "what is gone makes room"


async def test_the_queue_is_bounded_in_number(tee, hanging, counters):
    made = await tee(hanging.url)
    for _ in range(SENDERS):
        send(made, body=b"")
    await hanging.until(SENDERS)
    for _ in range(PAYLOADS + 3):
        send(made, body=b"")
    assert counters.reasons == {"queue_full": 3}


async def test_an_endpoint_that_hangs_holds_up_no_other_signal(tee, hanging, collector, counters):
    made = await tee(collector.url, own={"traces": hanging.url})
    for signal, _ in itertools.product(SIGNALS, range(20)):
        send(made, signal)
    await counters.until(40)
    assert counters.results == {("logs", "delivered"): 20, ("metrics", "delivered"): 20}


# The end


async def test_what_waits_at_the_end_is_still_delivered(tee, hanging, counters):
    made = await tee(hanging.url)
    for number in range(50):
        send(made, body=b"%d" % number)
    await hanging.until(SENDERS)
    stopping = asyncio.create_task(made.stop(patience=20))
    await asyncio.sleep(0)
    hanging.gate.set()
    await stopping
    assert counters.results == {("traces", "delivered"): 50}
    assert len({request.body for request in hanging.requests}) == 50
    send(made)
    assert counters.reasons == {"shutdown": 1}, "later ones are lost"


async def test_what_pauses_at_the_end_is_tried_once_more(tee, collector, counters):
    collector.answers = [(503, {"Retry-After": "100"})]
    made = await tee(collector.url, patience=Patience())
    send(made)
    await collector.until(1)
    await made.stop(patience=20)
    assert counters.results == {("traces", "delivered"): 1}


async def test_a_downstream_that_hangs_or_is_away_delays_the_end_no_longer_than_allowed(
    tee, hanging, counters, free_port
):
    made = await tee(hanging.url, own={"logs": f"http://127.0.0.1:{free_port}"})
    for signal, _ in itertools.product(SIGNALS, range(10)):
        send(made, signal)
    begun = time.monotonic()
    await made.stop(patience=0.5)
    assert time.monotonic() - begun < 1.5
    assert counters.results == {(signal, "failed"): 10 for signal in SIGNALS}
    assert counters.reasons == {"shutdown": 30}


async def test_it_never_forwards_to_where_it_receives(tee, counters, caplog):
    made = await tee("http://localhost:4318", own={"logs": "http://127.0.0.1:9/x"}, listeners=[("127.0.0.1", 4318)])
    for signal in SIGNALS:
        send(made, signal)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"{signal} are not forwarded: http://localhost:4318/v1/{signal} is where they are received"
        for signal in ("traces", "metrics")
    ]
    await made.stop(patience=5)
    assert counters.results == {("logs", "failed"): 1}
