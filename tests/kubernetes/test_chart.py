"""The chart against Helm, the schemas of Kubernetes and the operator, and what it promises."""

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from sidecar.config.load import load
from tests.kubernetes.ways import EXAMPLE_WAYS, GATEWAYS, WAYS, is_native, values_of

EVERY_WAY = [*WAYS, *EXAMPLE_WAYS]
GOLDEN = Path(__file__).parent / "golden"
# The first version that the chart speaks of, the first with native sidecars, the newest there is a schema of.
OLDEST, FIRST_NATIVE, NEWEST = "1.25", "1.29", "1.37"


def folder_of(way: str, chart_folder: Path, example_folder: Path) -> Path:
    return chart_folder if way in WAYS else example_folder


def pod_specs(manifests: list[Any]) -> Iterator[Any]:
    """Every pod among manifests, by itself or as a template."""
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield manifest["spec"]["template"]["spec"]


def is_dashboard(manifest: Mapping[str, Any]) -> bool:
    return "grafana_dashboard" in manifest["metadata"]["labels"]


def settled(manifest: Any) -> Any:
    """A manifest without what differs from run to run, and without copies of files that are held elsewhere."""
    copy: Any = deepcopy(manifest)
    kind = copy["kind"]
    if kind == "Secret":
        copy["data"] = dict.fromkeys(copy["data"], "generated")
    elif kind == "MutatingWebhookConfiguration":
        for webhook in copy["webhooks"]:
            if len(webhook["clientConfig"].get("caBundle", "")) > 200:
                webhook["clientConfig"]["caBundle"] = "generated"
    elif is_dashboard(copy):
        copy["data"] = dict.fromkeys(copy["data"], "a dashboard")
    elif kind == "PrometheusRule":
        copy["spec"]["groups"] = "the rules"
    elif kind == "Pod":
        copy["spec"]["containers"][0]["command"][-1] = "files/check.py"
    return copy


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_way_in_passes_helms_strict_lint_for_the_oldest_and_the_newest_version(way, chart_folder, example_folder):
    for version in (FIRST_NATIVE if is_native(way) else OLDEST, NEWEST):
        folder = folder_of(way, chart_folder, example_folder)
        report = helm.lint(folder, values_of(way), strict=True, namespace="agents", kube_version=f"v{version}.0")
        assert report["errors"] == []
        assert [each for each in report["messages"] if "icon is recommended" not in each["error"]] == []


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_way_in_renders_as_it_did(way, rendered):
    """UPDATE_GOLDEN=1 writes the golden files anew; look at what changed."""
    # One dashboard stands for all: they come and go without a change of the chart.
    manifests = [
        each for each in rendered(way) if not is_dashboard(each) or each["metadata"]["name"].endswith("-agent")
    ]
    text = yaml.safe_dump_all([settled(each) for each in manifests], sort_keys=True, width=1000)
    golden = GOLDEN / f"{way}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_manifest_is_valid_for_the_oldest_and_the_newest_version(way, rendered, validate):
    for manifest in rendered(way):
        if manifest["apiVersion"].startswith(("monitoring.coreos.com/", "cert-manager.io/")):
            continue
        for version in (FIRST_NATIVE if is_native(way) else OLDEST, NEWEST):
            validate(manifest, version, strict=True)


@pytest.mark.parametrize(
    "way", ["monitoring", "monitoring-injector", "gateway-everything", "gateway-telemetry", "included-settings"]
)
def test_the_operators_kinds_are_what_its_models_know(way, rendered, operator_kinds):
    seen = set()
    for manifest in rendered(way):
        model = operator_kinds.get(manifest["kind"])
        if model is not None:
            known = model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_none=True)
            assert missing(manifest, known) == []
            seen.add(manifest["kind"])
    assert "PodMonitor" in seen


def missing(written: Any, known: Any, path: str = "") -> list[str]:
    """The paths of what was written and is not in what a model made of it: fields that it does not know."""
    if isinstance(written, dict):
        lost = [f"{path}.{name}" for name in written if name not in known]
        kept = [name for name in written if name in known]
        return lost + [each for name in kept for each in missing(written[name], known[name], f"{path}.{name}")]
    if isinstance(written, list):
        return [
            each for i, pair in enumerate(zip(written, known, strict=True)) for each in missing(*pair, f"{path}[{i}]")
        ]
    return []


def test_a_field_that_the_operator_does_not_know_would_be_found(rendered, one, operator_kinds):
    monitor = one(rendered("included-settings"), "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["nonsense"] = 1
    known = (
        operator_kinds["PodMonitor"].model_validate(monitor).model_dump(mode="json", by_alias=True, exclude_none=True)
    )
    assert missing(monitor, known) == [".spec.podMetricsEndpoints[0].nonsense"]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_pod_meets_the_restricted_standard_and_cannot_write_its_root(way, rendered):
    specs = list(pod_specs(rendered(way)))
    for spec in specs:
        pod = spec.get("securityContext", {})
        assert not spec.get("hostNetwork")
        assert spec["automountServiceAccountToken"] is False
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {**pod, **own}["runAsNonRoot"] is True
            assert {**pod, **own}["seccompProfile"] == {"type": "RuntimeDefault"}
            if container["name"] != "agent":
                assert own["readOnlyRootFilesystem"] is True
                assert container["resources"]["requests"]
        assert {next(iter(volume.keys() - {"name"})) for volume in spec.get("volumes", ())} <= {
            "configMap",
            "emptyDir",
            "secret",
        }


@pytest.mark.parametrize("way", EVERY_WAY)
def test_nothing_gets_rights_in_the_cluster(way, rendered):
    manifests = rendered(way)
    assert not [each for each in manifests if "Role" in each["kind"]]
    for account in (each for each in manifests if each["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("way", EXAMPLE_WAYS)
def test_a_chart_that_includes_it_gets_no_injector_and_no_dashboards(way, rendered):
    kinds = {manifest["kind"] for manifest in rendered(way)}
    assert kinds <= {"ConfigMap", "Deployment", "NetworkPolicy", "Pod", "PodMonitor"}
    assert ("ConfigMap" in kinds) == (way == "included-files")


def test_a_native_sidecar_is_the_first_init_container_and_has_a_startup_probe(rendered, one):
    spec = one(rendered("included"), "Deployment")["spec"]["template"]["spec"]
    first = spec["initContainers"][0]
    assert (first["name"], first["restartPolicy"]) == ("token-budget-sidecar", "Always")
    assert first["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert [container["name"] for container in spec["containers"]] == ["agent"]


def test_a_plain_sidecar_is_a_container_beside_the_agent(rendered, one):
    spec = one(rendered("included-plain"), "Deployment")["spec"]["template"]["spec"]
    assert "initContainers" not in spec
    assert [container["name"] for container in spec["containers"]] == ["agent", "token-budget-sidecar"]
    assert "restartPolicy" not in spec["containers"][1]


def test_a_native_sidecar_on_a_cluster_without_them_is_refused_with_the_way_out(chart_folder, capfd):
    """Helm's lint, the only one that takes a version here, tells on standard error what a template refuses."""
    helm.lint(chart_folder, {"sidecar": {"native": False}}, strict=True, kube_version="v1.28.0")
    assert "sidecar.native" not in capfd.readouterr().err
    helm.lint(chart_folder, {}, strict=True, kube_version="v1.28.0")
    assert "this is v1.28.0: set sidecar.native=false" in capfd.readouterr().err


def test_the_metrics_port_is_the_only_one_that_the_container_declares(rendered, one):
    spec = one(rendered("included"), "Deployment")["spec"]["template"]["spec"]
    assert [port["containerPort"] for port in spec["initContainers"][0]["ports"]] == [9464]


def test_a_monitor_selects_the_pods_and_the_port_of_the_container(rendered, one):
    manifests = rendered("included-settings")
    monitor = one(manifests, "PodMonitor")["spec"]
    template = one(manifests, "Deployment")["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = [port["name"] for port in template["spec"]["initContainers"][0]["ports"]]
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == ports


def test_the_agent_and_the_sidecar_share_the_socket(rendered, one):
    spec = one(rendered("included-socket"), "Deployment")["spec"]["template"]["spec"]
    for container in (spec["initContainers"][0], spec["containers"][0]):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["token-budget-socket"] == "/run/token-budget"
    sidecar, agent = (
        {variable["name"]: variable.get("value") for variable in container["env"]}
        for container in (spec["initContainers"][0], spec["containers"][0])
    )
    assert agent["TOKEN_BUDGET_URL"] in sidecar["TOKEN_BUDGET_LISTEN"].split(",")


def test_settings_of_every_type_are_written_in_full(rendered, one):
    spec = one(rendered("included-settings"), "Deployment")["spec"]["template"]["spec"]
    settings = {variable["name"]: variable.get("value") for variable in spec["initContainers"][0]["env"]}
    assert settings["TOKEN_BUDGET_TOTAL_TOKENS"] == settings["TOKEN_BUDGET_MAX_SESSIONS"] == "1000000"
    assert settings["TOKEN_BUDGET_METRICS_DETAIL"] == "true"
    assert settings["TOKEN_BUDGET_IDLE_AFTER"] == "30m"


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_sidecar_would_start_with_what_the_chart_sets(way, rendered):
    """An unknown setting or a bad value stops it, and a pod with it."""
    containers = [
        container
        for spec in pod_specs(rendered(way))
        for container in (*spec.get("initContainers", ()), *spec["containers"])
        if container["name"] == "token-budget-sidecar"
    ]
    assert containers or way == "injector-placed" or way in GATEWAYS  # whose settings test_gateway.py tries
    for container in containers:
        environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        mounted = environment.pop("TOKEN_BUDGET_CONFIG", None)
        assert mounted in (None, "/etc/token-budget/config.toml")
        assert load({}, environment).config.journal == "sqlite:////data/journal.db"


def test_changed_files_make_new_pods(render, example_folder, one):
    def checksum(files: Mapping[str, str]) -> str:
        manifests = render(example_folder, {"token-budget-sidecar": {"sidecar": {"files": files}}})
        annotations = one(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/token-budget"])

    assert checksum({"config.toml": "a"}) != checksum({"config.toml": "b"})


def test_a_changed_injection_makes_new_injectors(render, chart_folder, one):
    def checksum(values: Mapping[str, Any]) -> str:
        template = one(render(chart_folder, values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/injection"])

    assert checksum({}) != checksum({"injector": {"defaults": {"mode": "observed"}}})


def test_the_webhook_lets_pods_in_when_it_does_not_answer_and_never_waits_for_itself(rendered, one):
    manifests = rendered("injector")
    webhooks = one(manifests, "MutatingWebhookConfiguration")["webhooks"]
    template = one(manifests, "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["token-budget.dev/inject"] == "false"
    for webhook in webhooks:
        assert webhook["failurePolicy"] == "Ignore"
        assert webhook["timeoutSeconds"] <= 5
        assert webhook["sideEffects"] == "None"
        (excluded,) = (
            each["values"]
            for each in webhook["namespaceSelector"]["matchExpressions"]
            if each["key"] == "kubernetes.io/metadata.name"
        )
        assert {"agents", "kube-system"} <= set(excluded)


def test_a_generated_certificate_is_for_the_service_and_signed_by_the_webhooks_authority(rendered, one):
    manifests = rendered("injector")
    secret, webhook = one(manifests, "Secret"), one(manifests, "MutatingWebhookConfiguration")["webhooks"][0]
    assert webhook["clientConfig"]["caBundle"] == secret["data"]["ca.crt"]
    service = webhook["clientConfig"]["service"]
    assert one(manifests, "Service")["metadata"]["name"] == service["name"]
    host = f"{service['name']}.{service['namespace']}.svc"
    assert host.encode() in base64.b64decode(
        "".join(base64.b64decode(secret["data"]["tls.crt"]).decode().splitlines()[1:-1])
    )


def test_every_committed_dashboard_is_in_a_config_map_of_its_own_word_for_word(rendered, checkout):
    carried = [each["data"] for each in rendered("monitoring") if each["kind"] == "ConfigMap" and is_dashboard(each)]
    committed = {path.name: path.read_text() for path in (checkout / "dashboards" / "grafana").glob("*.json")}
    assert committed
    assert all(len(data) == 1 for data in carried)
    assert {name: text for data in carried for name, text in data.items()} == committed


def test_the_rules_are_the_committed_ones_and_promtool_takes_them(rendered, one, checkout, need_program, tmp_path):
    groups = one(rendered("monitoring"), "PrometheusRule")["spec"]["groups"]
    files = sorted((checkout / "dashboards" / "prometheus").glob("*.yaml"))
    assert groups == [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    told = subprocess.run(
        (need_program("promtool"), "check", "rules", "rules.yaml"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{sum(len(group['rules']) for group in groups)} rules found" in told.stdout


def test_an_including_chart_may_give_the_dependency_another_name(chart_folder, example_folder, tmp_path, render, one):
    for path in example_folder.rglob("*"):
        if path.is_file() and "charts" not in path.parts:
            copy = tmp_path / "agent" / path.relative_to(example_folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text().replace('" . |', '" (index .Subcharts "budget") |')
            copy.write_text(text.replace('" . }}', '" (index .Subcharts "budget") }}'))
    chart = tmp_path / "agent" / "Chart.yaml"
    chart.write_text(chart.read_text() + "    alias: budget\n")
    (tmp_path / "agent" / "charts").mkdir()
    (tmp_path / "agent" / "charts" / "token-budget-sidecar").symlink_to(chart_folder)
    spec = one(render(tmp_path / "agent", {"budget": {"sidecar": {"mode": "observed"}}}), "Deployment")["spec"]
    variables = {each["name"]: each.get("value") for each in spec["template"]["spec"]["initContainers"][0]["env"]}
    assert variables["TOKEN_BUDGET_MODE"] == "observed"


def test_files_for_injected_pods_are_refused_with_the_way_out(render, chart_folder):
    with pytest.raises(helm.HelmRenderError, match="make a ConfigMap there"):
        render(chart_folder, {"sidecar": {"files": {"config.toml": ""}}})


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"sidecars": {}}, "sidecars"),
        ({"sidecar": {"totaltokens": 1}}, "totaltokens"),
        ({"sidecar": {"totalTokens": 0}}, "sidecar.totalTokens|sidecar/totalTokens"),
        ({"sidecar": {"preset": "nonsense"}}, "preset"),
        ({"sidecar": {"mode": "nonsense"}}, "mode"),
        ({"sidecar": {"settings": {"idle_aftr": "1m"}}}, "idle_aftr"),
        ({"sidecar": {"settings": {"listen": "0.0.0.0:1"}}}, "listen"),
        ({"injector": {"enabled": "sometimes"}}, "enabled"),
        ({"injector": {"defaults": {"presett": "x"}}}, "presett"),
        ({"injector": {"namespaces": {"a": {"inject": True}}}}, "inject"),
        ({"injector": {"failurePolicy": "ignore"}}, "failurePolicy"),
        ({"injector": {"timeoutSeconds": 31}}, "timeoutSeconds"),
        ({"injector": {"certificate": {"source": "certmanager"}}}, "source"),
        ({"podMonitor": {"interval": "soon"}}, "interval"),
        ({"image": {"digest": "sha256:abc"}}, "digest"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values, complaint, chart_folder):
    with pytest.raises(helm.HelmValuesError, match=complaint):
        helm.Chart.load(chart_folder).validate_schema(values)


def test_a_secret_that_exists_must_be_named_and_its_authority_given(render, chart_folder):
    certificate: dict[str, str] = {"source": "existingSecret"}
    with pytest.raises(helm.HelmRenderError, match=r"injector.certificate.secretName must name"):
        render(chart_folder, {"injector": {"certificate": certificate}})
    certificate["secretName"] = "mine"
    with pytest.raises(helm.HelmRenderError, match=r"injector.certificate.caBundle must be"):
        render(chart_folder, {"injector": {"certificate": certificate}})


def test_the_package_carries_all_that_the_folder_has(chart_folder, tmp_path):
    packed = helm.Chart.load(helm.package(chart_folder, destination=tmp_path))
    loose = helm.Chart.load(chart_folder)
    digests = [
        {file["name"]: hashlib.sha256(file["data"].encode()).hexdigest() for file in (*chart.files, *chart.templates)}
        for chart in (packed, loose)
    ]
    assert digests[0] == digests[1]
    assert "README.md" in digests[0]
