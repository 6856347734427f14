"""The gateway as rendered: what the chart refuses, and what belongs together in what it makes."""

from pathlib import Path

import helm_python as helm
import pytest

from sidecar.config.forms import HostPort
from sidecar.config.load import ConfigError, load
from tests.kubernetes.gateway import HOST, SERVICE, Secrets, container_of, environment_of
from tests.kubernetes.ways import GATEWAYS

SOUND = {"journal": {"secretName": "a"}, "tls": {"secretName": "b"}, "tokens": {"secretName": "c"}}


@pytest.fixture
def secrets(tmp_path, authority):
    (tmp_path / "secrets").mkdir()
    return Secrets(tmp_path / "secrets", authority, "postgresql://budget:hidden-password@database/budget")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"journal": {"secretName": ""}}, r"gateway.journal.secretName must name"),
        ({"tokens": {"secretName": ""}}, r"must know who may call"),
        ({"tls": {"secretName": ""}}, r"gateway.tls.secretName must name"),
        ({"allowUnauthenticated": True}, r"allowUnauthenticated contradicts"),
        ({"tokens": {"secretName": "c", "read": [], "write": []}}, r"gateway.tokens must name keys"),
        ({"autoscaling": {"minReplicas": 9}}, r"minReplicas must not be above"),
        (
            {"tls": {}, "tokens": {}, "allowUnauthenticated": True, "telemetry": {"tls": True}},
            r"gateway.telemetry.tls needs a certificate",
        ),
    ],
)
def test_what_nobody_should_run_is_not_rendered_and_the_way_out_is_told(values, complaint, render, chart_folder):
    with pytest.raises(helm.HelmRenderError, match=complaint):
        render(chart_folder, {"gateway": {"enabled": True, **SOUND, **values}})


@pytest.mark.parametrize("setting", ["journal", "listen", "read_tokens", "allow_unauthenticated", "nonsense"])
def test_settings_that_have_a_value_of_their_own_are_refused_among_the_others(setting, chart_folder):
    with pytest.raises(helm.HelmValuesError, match=setting):
        helm.Chart.load(chart_folder).validate_schema({"gateway": {"settings": {setting: "x"}}})


@pytest.mark.parametrize("way", GATEWAYS)
def test_it_would_start_with_what_the_chart_sets_and_listens_for_other_pods(way, rendered, one, secrets):
    variables = environment_of(rendered(way), one, secrets, "gateway-1")
    told = {name: value for name, value in variables.items() if name.startswith("TOKEN_BUDGET_")}
    config = load({}, told).config
    (api,) = config.listen
    assert isinstance(api, HostPort)
    assert api.host == "0.0.0.0"  # noqa: S104 - with tokens
    assert (config.replica, config.journal) == ("gateway-1", secrets.read({"name": "database", "key": "url"}))
    assert HOST in config.hosts
    ports = {port["name"]: port["containerPort"] for port in container_of(rendered(way), one)["ports"]}
    listening = {"api": api.port, "metrics": config.telemetry.port}
    assert ports == listening | ({"otlp": config.otlp.port} if config.otlp else {})


@pytest.mark.parametrize("lost", ["TOKEN_BUDGET_READ_TOKENS", "TOKEN_BUDGET_WRITE_TOKENS"])
def test_without_one_of_its_token_files_it_would_not_start(lost, rendered, one, secrets):
    """So a Secret without a key stops the first pod of a rollout, and not the last."""
    variables = environment_of(rendered("gateway"), one, secrets, "gateway-1")
    Path(variables[lost]).unlink()
    with pytest.raises(ConfigError, match="must be a file that can be read"):
        load({}, {name: value for name, value in variables.items() if name.startswith("TOKEN_BUDGET_")})


@pytest.mark.parametrize("way", GATEWAYS)
def test_no_secret_is_among_what_is_rendered_or_in_arguments(way, rendered, one):
    container = container_of(rendered(way), one)
    assert container["args"] == ["serve"]
    journal = next(each for each in container["env"] if each["name"] == "TOKEN_BUDGET_JOURNAL")
    assert list(journal["valueFrom"]) == ["secretKeyRef"]
    assert not [each for each in rendered(way) if each["kind"] == "Secret"]


@pytest.mark.parametrize("way", GATEWAYS)
def test_service_budget_scaler_policy_and_monitor_mean_its_pods_and_its_ports(way, rendered, one):
    manifests = rendered(way)
    deployment = one(manifests, "Deployment")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert "token-budget.dev/sidecar" not in template["metadata"]["labels"], "the sidecars' monitor would take it too"
    service = one(manifests, "Service")
    assert service["metadata"]["name"] == SERVICE
    assert service["spec"]["selector"].items() <= labels
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports - {"metrics"}
    kinds = {manifest["kind"]: manifest for manifest in manifests}
    assert ("HorizontalPodAutoscaler" in kinds) == ("replicas" not in deployment["spec"])
    if "HorizontalPodAutoscaler" in kinds:
        assert kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert template["spec"]["containers"][0]["resources"]["requests"]["cpu"], "utilization is of what it asks for"
    if "PodDisruptionBudget" in kinds:
        assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    if "NetworkPolicy" in kinds:
        policy = kinds["NetworkPolicy"]["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= labels
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == ports
    assert ("PodDisruptionBudget" in kinds, "NetworkPolicy" in kinds) == (way != "gateway-mesh",) * 2
    monitors = [each for each in manifests if each["kind"] == "PodMonitor" and each["metadata"]["name"] == SERVICE]
    for monitor in monitors:
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert (endpoint["port"], endpoint.get("scheme")) == ("metrics", "https")
    assert bool(monitors) == (way in ("gateway-everything", "gateway-telemetry"))


@pytest.mark.parametrize("way", GATEWAYS)
def test_probes_speak_tls_exactly_where_the_telemetry_port_does(way, rendered, one):
    container = container_of(rendered(way), one)
    speaks = any(each["name"] == "TOKEN_BUDGET_TELEMETRY_WEB_CONFIG" for each in container["env"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == ("HTTPS" if speaks else "HTTP")
