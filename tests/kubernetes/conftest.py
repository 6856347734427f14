"""Charts rendered by Helm itself, and the injector as it is started by the cluster."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import trustme
import yaml

from tests.kubernetes.ways import WAYS, values_of
from tests.postgres import postgres, postgres_server  # noqa: F401 - fixtures

pytest.register_assert_rewrite("tests.crash.account")

Manifest = Mapping[str, Any]
RELEASE = "budget"
NAMESPACE = "agents"
# The dashboards are long, and the loader in C ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="session", autouse=True)
def _quiet_helm():
    """Helm tells on standard error that it follows a link, for every link and every time."""
    helm.disable_logging()


@pytest.fixture(scope="session")
def validate() -> Callable[..., None]:
    """Hold a manifest against the schema of a version of Kubernetes. What takes seconds to import waits for its use."""
    import kubernetes_validate

    checked: Callable[..., None] = kubernetes_validate.validate
    return checked


@pytest.fixture(scope="session")
def operator_kinds() -> Mapping[str, Any]:
    """The Prometheus operator's own models, by kind; imported here as above."""
    from cloudcoil.models.prometheus_operator import v1

    return {"PodMonitor": v1.PodMonitor, "PrometheusRule": v1.PrometheusRule}


@pytest.fixture(scope="session")
def chart_folder(checkout):
    """Where the chart is."""
    return checkout / "helm" / "token-budget-sidecar"


@pytest.fixture(scope="session")
def example_folder(checkout):
    """A chart that includes it."""
    return checkout / "helm" / "examples" / "agent"


@pytest.fixture(scope="session")
def render() -> Callable[..., list[Any]]:
    """Render a chart with values; give its manifests, in the order of their kinds and names."""

    def manifests(folder: Path, values: Mapping[str, Any] | None = None, *, name: str = RELEASE) -> list[Any]:
        files = helm.Chart.load(folder).render(dict(values or {}), name=name, namespace=NAMESPACE)
        documents = [
            document
            for path, text in files.items()
            if not path.endswith("NOTES.txt")
            for document in yaml.load_all(text, LOADER)
            if document
        ]
        return sorted(documents, key=lambda document: (document["kind"], document["metadata"]["name"]))

    return manifests


@pytest.fixture(scope="session")
def one() -> Callable[..., Any]:
    """The one manifest of a kind, and of a name that ends so."""

    def find(manifests: list[Manifest], kind: str, suffix: str = "") -> Any:
        found = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"].endswith(suffix)]
        assert len(found) == 1, [(each["kind"], each["metadata"]["name"]) for each in manifests]
        return found[0]

    return find


@pytest.fixture(scope="session")
def rendered(render, chart_folder, example_folder):
    """The manifests of a way in (see `ways`), rendered once and read each time."""

    @functools.cache
    def text(way: str) -> str:
        return json.dumps(render(chart_folder if way in WAYS else example_folder, values_of(way)))

    return lambda way: json.loads(text(way))


@pytest.fixture
def review() -> Callable[[str], Any]:
    """A recorded admission review, by name."""

    def read(name: str) -> Any:
        return json.loads((Path(__file__).parent / "reviews" / f"{name}.json").read_text())

    return read


@pytest.fixture
def authority():
    """An authority that signs certificates for loopback."""
    return trustme.CA()


@pytest.fixture
def certificate_files(authority, tmp_path):
    """A certificate for loopback and its key: their paths."""
    issued = authority.issue_cert("127.0.0.1")
    paths = tmp_path / "tls.crt", tmp_path / "tls.key"
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    return paths


@pytest.fixture
def start_injector(certificate_files):
    """Start the injector's program with more flags; give its process and its URLs. It is stopped at the end."""
    started = []

    def start(*flags: str) -> tuple[subprocess.Popen[str], Mapping[str, str]]:
        certificate, key = certificate_files
        words = ("--listen=127.0.0.1:0", "--telemetry=127.0.0.1:0", "--drain=10ms", "--look-every=10ms")
        process = subprocess.Popen(
            (sys.executable, "-m", "sidecar", "inject", f"--certificate={certificate}", f"--key={key}", *words, *flags),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")},
        )
        started.append(process)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        urls = dict(re.fullmatch(r"(\w+) +(\S+)\n", line).groups() for line in lines)  # type: ignore[union-attr, misc]
        return process, urls

    yield start
    for process in started:
        process.kill()
        process.communicate()
