"""What `helm test` runs in a pod, run here against a real sidecar and a real injector; and the image's health check."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

from tests.kubernetes.gateway import HOST


@contextlib.contextmanager
def serving(*flags):
    """A sidecar that runs, on free ports: its addresses by what answers there."""
    words = (*flags, "--telemetry=127.0.0.1:0", "--otlp=off", "--journal=memory:")
    with subprocess.Popen(
        (sys.executable, "-m", "sidecar", "serve", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        urls = dict(re.findall(r"(\w+) +(\S+)", "".join(process.stdout.readline() for _ in range(2))))
        yield urls
        process.kill()


@pytest.fixture
def sidecar_urls():
    with serving("--listen=127.0.0.1:0") as urls:
        yield urls


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")}
    return {**kept, **more}


def check(chart_folder, *arguments, **variables):
    """Run the script as the pod does, its text as an argument of the interpreter."""
    script = (chart_folder / "files" / "check.py").read_text()
    return subprocess.run(
        (sys.executable, "-c", script, *arguments),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment(**variables),
    )


def test_the_pod_of_helm_test_runs_the_script(rendered, one, chart_folder):
    (container,) = one(rendered("injector"), "Pod")["spec"]["containers"]
    assert container["command"] == ["python", "-c", (chart_folder / "files" / "check.py").read_text()]


def test_it_finds_the_metric_of_the_event_it_posts(chart_folder, sidecar_urls):
    told = check(chart_folder, API=sidecar_urls["api"], METRICS=f"{sidecar_urls['telemetry']}/metrics")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "the sidecar took an event, and its metric shows it\n"


def test_it_gets_a_patch_from_the_injector(chart_folder, sidecar_urls, start_injector, authority, tmp_path):
    _, injector = start_injector()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    where = {"API": sidecar_urls["api"], "METRICS": f"{sidecar_urls['telemetry']}/metrics"}
    for arguments, more in (
        ((str(tmp_path / "ca.crt"),), {}),
        ((), {"AUTHORITY": authority.cert_pem.bytes().decode()}),
    ):
        told = check(chart_folder, injector["webhook"], *arguments, **where, **more)
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.endswith("the injector gives a patch\n")


def test_it_is_a_client_of_the_gateway_by_its_certificate_and_a_token(chart_folder, sidecar_urls, authority, tmp_path):
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")  # all that is mounted in the pod
    authority.issue_cert("127.0.0.1").cert_chain_pems[0].write_to_path(tmp_path / "other.crt")
    (tmp_path / "tokens").write_text("operator-0123456789abcdef\n")
    flags = (f"--tls-certificate={tmp_path}/pair.pem", f"--admin-tokens={tmp_path}/tokens")
    with serving("--listen=https://127.0.0.1:0", *flags) as gateway:
        where = {
            "API": sidecar_urls["api"],
            "METRICS": f"{sidecar_urls['telemetry']}/metrics",
            "GATEWAY": gateway["api"],
        }
        trusted = {**where, "GATEWAY_CERTIFICATE": str(tmp_path / "tls.crt")}
        told = check(chart_folder, **trusted, GATEWAY_TOKENS="\noperator-0123456789abcdef\nother\n")
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.endswith("the gateway answers\n")
        told = check(chart_folder, **trusted, GATEWAY_TOKENS="nobody")
        assert (told.returncode, "answered 401" in told.stderr) == (1, True)
        told = check(chart_folder, **where, GATEWAY_CERTIFICATE=str(tmp_path / "other.crt"), PATIENCE="0")
        assert (told.returncode, "does not answer" in told.stderr) == (1, True)


def test_the_pod_of_helm_test_gets_what_the_gateways_clients_have(rendered, one):
    """Its service's name, its certificate, and a token that may read."""
    pod = one(rendered("gateway-test"), "Pod")["spec"]
    told = {
        each["name"]: each.get("value") or each["valueFrom"]["secretKeyRef"] for each in pod["containers"][0]["env"]
    }
    assert told["GATEWAY"] == f"https://{HOST}:8321"
    assert told["GATEWAY_TOKENS"] == {"name": "tokens", "key": "operators"}
    (mount,) = [
        each
        for each in pod["containers"][0]["volumeMounts"]
        if told["GATEWAY_CERTIFICATE"].startswith(each["mountPath"])
    ]
    (volume,) = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "certificate", "items": [{"key": "tls.crt", "path": "tls.crt"}]}
    (container,) = one(rendered("injector"), "Pod")["spec"]["containers"]
    assert "env" not in container, "without a gateway there is none to ask"


def test_it_fails_and_says_why_where_the_metrics_do_not_show_the_event(chart_folder, sidecar_urls):
    told = check(chart_folder, API=sidecar_urls["api"], METRICS=f"{sidecar_urls['telemetry']}/healthz")
    assert told.returncode == 1
    assert "no metric counts the event" in told.stderr


def test_it_fails_where_something_else_answers(chart_folder, sidecar_urls):
    told = check(chart_folder, API=sidecar_urls["telemetry"])
    assert told.returncode == 1
    assert "answered 404" in told.stderr


def health(**variables):
    return subprocess.run(
        (sys.executable, "-m", "sidecar.kubernetes.health"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(**variables),
    )


def test_the_health_check_of_the_image_passes_while_a_sidecar_answers(sidecar_urls):
    told = health(TOKEN_BUDGET_TELEMETRY=sidecar_urls["telemetry"].removeprefix("http://"))
    assert (told.returncode, told.stdout) == (0, "/healthz answers 200\n")


def test_the_health_check_of_the_image_fails_where_nobody_answers(unused_tcp_port):
    told = health(TOKEN_BUDGET_TELEMETRY=f"0.0.0.0:{unused_tcp_port}")
    assert told.returncode == 1
    assert "no answer" in told.stderr
