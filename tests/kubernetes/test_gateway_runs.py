"""Real replicas of the gateway on a real PostgreSQL, with exactly the settings that the chart renders."""

import asyncio
import base64
import random
import ssl

import aiohttp
import pytest
import trustme

from tests.crash.account import Account, Client, open_sessions, settle
from tests.crash.process import Process
from tests.kubernetes.gateway import (
    AGENT,
    BOARD,
    HOST,
    OPERATOR,
    PASSWORD,
    Secrets,
    container_of,
    environment_of,
)


@pytest.fixture
async def replicas_of(rendered, one, authority, tmp_path, postgres):
    """Start two replicas as the chart would in a way, but for the ports, which are free ones of loopback."""
    started: list[Process] = []
    (tmp_path / "secrets").mkdir()
    secrets = Secrets(tmp_path / "secrets", authority, postgres)

    async def start(way: str) -> list[Process]:
        for pod in ("gateway-1", "gateway-2"):
            variables = environment_of(rendered(way), one, secrets, pod)
            for name in ("TOKEN_BUDGET_LISTEN", "TOKEN_BUDGET_OTLP"):
                variables[name] = (
                    variables[name].replace("0.0.0.0:8321", "127.0.0.1:0").replace("0.0.0.0:4318", "127.0.0.1:0")
                )
            variables["TOKEN_BUDGET_TELEMETRY"] = "127.0.0.1:0"
            variables.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)  # nothing listens there
            args = container_of(rendered(way), one)["args"]
            assert args == ["serve"], "what the process is started with here"
            process = Process(log=tmp_path / f"{pod}.log", environment=variables)
            started.append(process)
        await asyncio.gather(*(process.start() for process in started))
        return started

    yield start
    for process in started:
        await process.stop()


def trusting(authority: trustme.CA, *, certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate:
        authority.issue_cert("agent.example").configure_cert(context)
    return context


def session_of(context: ssl.SSLContext, token: str | None) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return aiohttp.ClientSession(
        headers=headers, connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(total=30)
    )


async def test_two_replicas_with_what_the_chart_renders_lose_nothing_when_one_is_killed(replicas_of, authority):
    """Clients write through both by TLS and with the agents' token; one is killed, another takes its place."""
    replicas = await replicas_of("gateway")
    chance = random.Random(8)
    async with session_of(trusting(authority), AGENT) as http:
        await open_sessions(http, replicas[0])
        account, stopping = Account(chance), asyncio.Event()
        running = [asyncio.create_task(Client(f"c{n}", account, http, replicas).run(stopping)) for n in range(4)]
        for killed in replicas:
            before = account.writes
            while account.writes < before + 60:  # noqa: ASYNC110 - what is waited for is the clients' work
                await asyncio.sleep(0.02)
            await killed.kill()
            before = account.writes
            while account.writes < before + 30:  # noqa: ASYNC110 - the other goes on alone
                await asyncio.sleep(0.02)
            await killed.start()
        stopping.set()
        await asyncio.gather(*running)
        for replica in replicas:
            await settle(http, replica, account)
        url = f"{replicas[0].api}/v1/sessions"
        async with http.get(url, server_hostname=HOST, headers={"Host": HOST}) as answer:
            assert answer.status == 200, "the certificate is the service's, and so is the name"
        async with http.delete(f"{replicas[0].api}/v1/sessions/s0/archive") as answer:
            assert answer.status == 403, "an agent's token is not an operator's"
    async with session_of(trusting(authority), None) as http:
        for path in ("/v1/sessions", "/v1/sessions/s0"):
            async with http.get(replicas[0].api + path) as answer:
                assert answer.status == 401


async def test_client_certificates_scopes_and_the_web_configuration_hold_as_rendered(replicas_of, authority):
    replicas = await replicas_of("gateway-everything")
    api, telemetry = replicas[0].api, replicas[0].telemetry
    async with session_of(trusting(authority), OPERATOR) as http:
        with pytest.raises(aiohttp.ClientError):  # no certificate of the clients' authority
            async with http.get(f"{api}/v1/sessions"):
                pass
    statuses = {}
    for name, token in (("agent", AGENT), ("board", BOARD), ("operator", OPERATOR)):
        async with session_of(trusting(authority, certificate=True), token) as http:
            async with http.put(f"{api}/v1/sessions/{name}", json={}) as written:
                pass
            async with http.get(f"{replicas[1].api}/v1/sessions") as read:
                pass
            statuses[name] = written.status, read.status
    assert statuses == {"agent": (201, 200), "board": (403, 200), "operator": (201, 200)}
    async with session_of(trusting(authority), None) as http:
        for probe in ("startupz", "healthz", "readyz"):
            async with http.get(f"{telemetry}/{probe}") as answer:
                assert answer.status == 200, "the kubelet has no password"
        async with http.get(f"{telemetry}/metrics") as answer:
            assert answer.status == 401
        basic = base64.b64encode(f"scraper:{PASSWORD}".encode()).decode()
        async with http.get(f"{telemetry}/metrics", headers={"Authorization": f"Basic {basic}"}) as answer:
            assert (answer.status, "token_budget_journal_up 1\n" in await answer.text()) == (200, True)


async def test_telemetry_is_served_by_the_gateways_own_certificate_as_rendered(replicas_of, authority):
    replicas = await replicas_of("gateway-telemetry")
    async with (
        session_of(trusting(authority), None) as http,
        http.get(f"{replicas[0].telemetry}/metrics", server_hostname=HOST) as answer,
    ):
        assert answer.status == 200
