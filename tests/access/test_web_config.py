"""The telemetry port under a web configuration file: what `promtool` says of it, and what a real Prometheus can do."""

import asyncio
import base64
import os
import subprocess
import sys

import aiohttp
import bcrypt
import pytest
import trustme

from sidecar.access.basic_auth import BasicAuth
from sidecar.access.web_config import WebConfigError, read_web_config
from sidecar.app import make_app
from tests.access.conftest import config, write_pair

PASSWORD = "correct horse battery staple"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def login(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def web_config(tmp_path):
    """Write the file; give its path."""

    def write(text):
        path = tmp_path / "web.yml"
        path.write_text(text)
        return path

    return write


USERS = f"basic_auth_users:\n  prometheus: {HASH}\n"
TLS = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n"
GOOD = {
    "nothing": "",
    "users": USERS,
    "tls": TLS,
    "both, and more": TLS
    + "  min_version: TLS13\n  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n"
    + "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n"
    + USERS,
    "suites": TLS + "  cipher_suites:\n    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n    - TLS_AES_128_GCM_SHA256\n",
}
# What promtool refuses too, and the rule that we tell.
BAD = {
    "an unknown section": ("tls_config: {}\n", "tls_config is not a field"),
    "an unknown field": (TLS + "  cert: x\n", "tls_server_config.cert is not a field"),
    "no key": ("tls_server_config:\n  cert_file: tls.crt\n", "tls_server_config.key_file is required"),
    "authority for nothing": (TLS + "  client_ca_file: ca.crt\n", "client_ca_file"),
    "an unknown suite": (TLS + "  cipher_suites: [NONE]\n", "cipher_suites must be of TLS_ECDHE"),
    "no YAML": ("a: [", "is not YAML: line 1"),
    "a list": ("- a\n", "must be a mapping"),
}
# What Prometheus' exporters could do and we cannot, or will not.
OURS = {
    "no authority": (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", "client_ca_file"),
    "old TLS": (TLS + "  min_version: TLS10\n", "min_version must be one of TLS12, TLS13"),
    "any certificate": (TLS + "  client_auth_type: RequireAnyClientCert\n", "client_auth_type must be one of"),
    "a header of control characters": (
        'http_server_config:\n  headers:\n    X-XSS-Protection: "1\\0"\n',
        "http_server_config.headers.X-XSS-Protection must have no control characters",
    ),
    "a hash of a cost that there is not": (
        f"basic_auth_users:\n  prometheus: {HASH.replace('$04$', '$99$')}\n",
        "bcrypt",
    ),
    "a password as it is": (f"basic_auth_users:\n  prometheus: {PASSWORD}\n", "must be the bcrypt hash"),
    "upside down": (TLS + "  min_version: TLS13\n  max_version: TLS12\n", "must not be above"),
}


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_promtool_agrees_on_what_is_a_web_configuration(
    web_config, certificate_files, authority_file, need_program, name
):
    path = web_config(GOOD[name] if name in GOOD else BAD[name][0])
    told = subprocess.run(
        (need_program("promtool"), "check", "web-config", path), capture_output=True, text=True, check=False
    )
    assert (told.returncode == 0) == (name in GOOD), told.stderr
    if name in GOOD:
        read_web_config(path)
    else:
        with pytest.raises(WebConfigError):
            read_web_config(path)


@pytest.mark.parametrize("name", [*BAD, *OURS])
def test_what_cannot_be_used_is_named_with_the_rule_but_no_password_is_quoted(web_config, name):
    text, rule = {**BAD, **OURS}[name]
    path = web_config(text)
    with pytest.raises(WebConfigError) as caught:
        read_web_config(path)
    assert str(caught.value).startswith(str(path))
    assert rule in str(caught.value)
    assert PASSWORD not in str(caught.value)


def read_again(app):
    """What happens by itself within a second."""
    assert app.entrance.telemetry is not None
    app.entrance.telemetry.refresh()


async def scrape(app, context=None, path="/metrics", **headers):
    url = f"{app.urls['telemetry'][0]}{path}"
    async with aiohttp.ClientSession() as http, http.get(url, ssl=context or True, headers=headers) as answer:
        return answer.status, answer.headers, await answer.text()


async def test_who_has_no_password_scrapes_nothing_but_health_is_told(web_config):
    path = web_config(USERS + "http_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    async with make_app(config(telemetry_web_config=str(path))) as app:
        status, headers, text = await scrape(app)
        assert (status, headers["WWW-Authenticate"], text) == (401, "Basic", "Unauthorized\n")
        for name, password in (("prometheus", "wrong"), ("nobody", PASSWORD), ("", ""), ("prometheus", HASH)):
            assert (await scrape(app, **login(name, password)))[0] == 401
        for value in ("Basic", "Basic x", "Basic ====", "Bearer x", "Basic " + base64.b64encode(b"\xff:x").decode()):
            assert (await scrape(app, Authorization=value))[0] == 401
        status, headers, text = await scrape(app, **login("prometheus", PASSWORD))
        assert status == 200
        assert headers["X-Frame-Options"] == "deny"
        assert "token_budget_build_info" in text
        for health in ("/healthz", "/readyz", "/startupz"):
            assert (await scrape(app, path=health))[0] == 200
        assert (await scrape(app, path="/metrics?x"))[0] == (await scrape(app, path="/%6detrics"))[0] == 401


async def test_a_header_that_is_written_over_several_lines_is_one_line_on_every_answer(web_config):
    """As YAML's blocks have it; a line break within would let no answer out, health neither."""
    path = web_config(
        "http_server_config:\n  headers:\n    Content-Security-Policy: |\n      default-src\n      'none'\n"
    )
    async with make_app(config(telemetry_web_config=str(path))) as app, aiohttp.ClientSession() as http:
        for way, status in (("healthz", 200), ("metrics", 200), ("nothing", 404)):
            async with http.get(f"{app.urls['telemetry'][0]}/{way}") as answer:
                assert answer.status == status
                assert answer.headers["Content-Security-Policy"] == "default-src 'none'"


async def test_passwords_follow_the_file_and_a_broken_file_changes_nothing(web_config):
    path = web_config(USERS)
    async with make_app(config(telemetry_web_config=str(path))) as app:
        assert (await scrape(app, **login("prometheus", PASSWORD)))[0] == 200
        web_config("basic_auth_users: nonsense\n")
        read_again(app)
        assert (await scrape(app, **login("prometheus", PASSWORD)))[0] == 200
        other = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
        web_config(f"basic_auth_users:\n  prometheus: {other}\n")
        async with asyncio.timeout(10):  # by itself
            while (await scrape(app, **login("prometheus", "another")))[0] != 200:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.02)
        assert (await scrape(app, **login("prometheus", PASSWORD)))[0] == 401


async def test_tls_on_the_telemetry_port_follows_its_files_too(
    web_config, certificate_files, authority, authority_file, trusting, tmp_path
):
    ours = write_pair(authority, tmp_path, "ours")
    path = web_config(TLS)
    async with make_app(config(telemetry_web_config=str(path))) as app:
        assert app.urls["telemetry"][0].startswith("https://")
        assert (await scrape(app, trusting()))[0] == 200
        web_config(TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n")
        read_again(app)
        with pytest.raises(aiohttp.ClientError):
            await scrape(app, trusting())
        assert (await scrape(app, trusting(*ours)))[0] == 200
        trustme.CA().cert_pem.write_to_path(authority_file)
        read_again(app)
        with pytest.raises(aiohttp.ClientError):
            await scrape(app, trusting(*ours))
        web_config(USERS)
        read_again(app)
        with pytest.raises(aiohttp.ClientError):  # ending TLS takes a restart
            await scrape(app)


async def test_a_real_prometheus_scrapes_over_tls_with_its_password(
    web_config, certificate_files, authority_file, need_program, tmp_path, unused_tcp_port
):
    path = web_config(TLS + USERS)
    async with make_app(config(telemetry_web_config=str(path))) as app:
        target = app.urls["telemetry"][0].removeprefix("https://")
        settings = tmp_path / "prometheus.yml"
        settings.write_text(
            "scrape_configs:\n- job_name: sidecar\n  scheme: https\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n"
            f"  tls_config: {{ca_file: {authority_file}}}\n"
            f"  basic_auth: {{username: prometheus, password: {PASSWORD}}}\n"
            f"  static_configs: [{{targets: ['{target}']}}]\n"
        )
        process = await asyncio.create_subprocess_exec(
            need_program("prometheus"),
            f"--config.file={settings}",
            f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{unused_tcp_port}",
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession() as http, asyncio.timeout(30):
                while (found := await query(http, unused_tcp_port)) != "1":  # noqa: ASYNC110 - from outside
                    await asyncio.sleep(0.05)
            assert found == "1"
        finally:
            process.terminate()
            await process.wait()


async def query(http, port):
    try:
        async with http.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": "up"}) as answer:
            found = (await answer.json())["data"]["result"]
            return found[0]["value"][1] if found else None
    except (aiohttp.ClientError, KeyError):
        return None


async def test_a_password_is_hashed_once_and_not_on_the_loop(monkeypatch):
    checked = []
    real = bcrypt.checkpw

    def check(password, hashed):
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        checked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    auth = BasicAuth({"prometheus": HASH.encode()})
    right, wrong = login("prometheus", PASSWORD)["Authorization"], login("prometheus", "wrong")["Authorization"]
    assert all(await asyncio.gather(*(auth.admits(right) for _ in range(20))))
    assert not any(await asyncio.gather(*(auth.admits(wrong) for _ in range(20))))
    assert len(checked) == 2
    for number in range(300):  # guessing has nobody forgotten
        auth._found[False][b"%d" % number] = None
    assert await auth.admits(right)
    assert len(checked) == 2


@pytest.mark.parametrize("text", [TLS, USERS, TLS + USERS], ids=["TLS", "passwords", "both"])
async def test_the_images_health_check_finds_its_way(web_config, certificate_files, text):
    path = str(web_config(text))
    async with make_app(config(telemetry_web_config=path)) as app:
        place = app.urls["telemetry"][0].partition("://")[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sidecar.kubernetes.health",
            env={**os.environ, "TOKEN_BUDGET_TELEMETRY": place, "TOKEN_BUDGET_TELEMETRY_WEB_CONFIG": path},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"/healthz answers 200\n")
