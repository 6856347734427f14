"""Admission reviews in, patches out: each applies, to a pod that Kubernetes takes, and only once."""

import base64
import copy
import json
from typing import Any

import jsonpatch
import pytest

from sidecar.config.load import load as load_config
from sidecar.kubernetes import PREFIX
from sidecar.kubernetes.admission import NotAReview, answer
from sidecar.kubernetes.injection import Injection, InjectionError, load

NAME = "token-budget-sidecar"


@pytest.fixture(scope="module")
def shipped() -> Injection:
    return load(None)


@pytest.fixture(scope="module")
def plain(shipped) -> Injection:
    container = {name: value for name, value in shipped.container.items() if name != "restartPolicy"}
    return Injection(native=False, container=container, volumes=shipped.volumes)


def response_to(asked: Any, injection: Injection) -> Any:
    told = json.loads(answer(json.dumps(asked).encode(), injection).body)
    assert told["apiVersion"] == "admission.k8s.io/v1"
    assert told["kind"] == "AdmissionReview"
    assert told["response"]["uid"] == asked["request"]["uid"]
    assert told["response"]["allowed"] is True
    return told["response"]


def patched(asked: Any, injection: Injection) -> Any:
    """The pod as the API server would have it, by an independent implementation of JSON patches."""
    response = response_to(asked, injection)
    assert response["patchType"] == "JSONPatch"
    return jsonpatch.apply_patch(asked["request"]["object"], base64.b64decode(response["patch"]).decode())


def unpatched(asked: Any, injection: Injection) -> Any:
    response = response_to(asked, injection)
    assert "patch" not in response
    return response


def annotate(asked: Any, **wishes: str) -> Any:
    asked = copy.deepcopy(asked)
    annotations = asked["request"]["object"]["metadata"].setdefault("annotations", {})
    annotations.update({f"{PREFIX}{name.replace('_', '-')}": value for name, value in wishes.items()})
    return asked


def sidecar_of(pod: Any) -> Any:
    (found,) = (
        container
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
        if container["name"] == NAME
    )
    return found


def variables(container: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize("name", ["pod", "deployment", "collector", "bare"])
def test_a_patched_pod_is_valid_for_the_oldest_and_newest_version_that_can_run_it(
    name, review, shipped, plain, validate
):
    for injection, versions in ((shipped, ("1.29", "1.37")), (plain, ("1.25", "1.37"))):
        pod = patched(review(name), injection)
        for version in versions:
            validate(pod, version, strict=True)


@pytest.mark.parametrize("name", ["pod", "deployment", "collector", "bare"])
def test_the_same_review_gets_the_same_patch_and_a_patched_pod_none(name, review, shipped, plain):
    for injection in (shipped, plain):
        asked = review(name)
        body = json.dumps(asked).encode()
        assert answer(body, injection).body == answer(body, injection).body
        asked["request"]["object"] = patched(asked, injection)
        assert "warnings" not in unpatched(asked, injection)


@pytest.mark.parametrize("name", ["pod", "deployment", "bare"])
def test_a_patch_adds_and_changes_nothing_that_was_there(name, review, shipped):
    asked = review(name)
    before, after = asked["request"]["object"], patched(asked, shipped)
    assert after["spec"]["initContainers"][1:] == before["spec"].get("initContainers", [])
    assert after["spec"]["containers"] == before["spec"]["containers"]
    assert after["spec"]["volumes"][: len(before["spec"].get("volumes", []))] == before["spec"].get("volumes", [])
    for field in ("labels", "annotations"):
        assert before["metadata"].get(field, {}).items() <= after["metadata"][field].items()


def test_the_native_sidecar_comes_first_and_the_plain_one_last(review, shipped, plain):
    native = patched(review("deployment"), shipped)
    assert [each["name"] for each in native["spec"]["initContainers"]] == [NAME, "migrate"]
    beside = patched(review("deployment"), plain)
    assert [each["name"] for each in beside["spec"]["containers"]] == ["proxy", "agent", NAME]


@pytest.mark.parametrize("name", ["opt-out", "injected"])
def test_a_pod_that_does_not_want_it_or_has_it_is_let_in_as_it_is(name, review, shipped):
    assert "warnings" not in unpatched(review(name), shipped)


def test_every_wish_of_a_pod_is_granted(review, shipped):
    pod = patched(review("collector"), shipped)
    container = sidecar_of(pod)
    settings = variables(container)
    assert settings["TOKEN_BUDGET_MODE"] == "observed"
    assert settings["TOKEN_BUDGET_PRESET"] == "standard"
    assert settings["TOKEN_BUDGET_TOTAL_TOKENS"] == "1000000"
    assert settings["TOKEN_BUDGET_CONFIG"] == "/etc/token-budget/config.toml"
    assert {"name": "token-budget-config", "configMap": {"name": "budget-settings"}} in pod["spec"]["volumes"]
    assert container["image"] == "registry.example:5000/sidecar@sha256:" + "0" * 64
    assert container["resources"] == {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}


@pytest.mark.parametrize("name", ["pod", "deployment", "collector"])
def test_the_sidecar_would_start_with_what_the_injector_sets(name, review, shipped):
    settings = variables(sidecar_of(patched(review(name), shipped)))
    known = {key: value.replace("$(AGENT_COLLECTOR)", "http://10.0.0.1") for key, value in settings.items()
             if isinstance(value, str) and key != "TOKEN_BUDGET_CONFIG"}  # fmt: skip
    config = load_config({}, known).config
    assert config.downstream == ("http://10.0.0.1:4318" if name == "collector" else None)
    assert config.mode == ("observed" if name == "collector" else "managed")


def test_an_agents_name_is_a_name_and_no_reference_to_a_variable(review, shipped):
    settings = variables(sidecar_of(patched(review("collector"), shipped)))
    assert settings["TOKEN_BUDGET_AGENT"] == "researcher $$(HOST_IP)"


def test_an_agent_without_a_wish_is_named_by_its_pods_label(review, shipped):
    assert variables(sidecar_of(patched(review("deployment"), shipped)))["TOKEN_BUDGET_AGENT"] == "researcher"
    assert "TOKEN_BUDGET_AGENT" not in variables(sidecar_of(patched(review("pod"), shipped)))


def test_otlp_is_led_through_the_sidecar_and_on_to_where_it_went(review, shipped):
    asked = review("collector")
    pod = patched(asked, shipped)
    before, after = asked["request"]["object"]["spec"]["containers"], pod["spec"]["containers"]
    assert after[0] == before[0]
    agent, sidecar = variables(after[1]), variables(sidecar_of(pod))
    assert agent["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert agent["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/json"
    names = list(sidecar)
    assert sidecar["AGENT_HOST_IP"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}
    assert sidecar["AGENT_COLLECTOR"] == "http://$(AGENT_HOST_IP)"
    assert [names.index("AGENT_HOST_IP"), names.index("AGENT_COLLECTOR")] == [len(names) - 3, len(names) - 2]
    assert list(sidecar.values())[-1] == "$(AGENT_COLLECTOR):4318"


def test_otlp_stays_as_it_is_unless_it_is_asked_for(review, shipped):
    asked = annotate(review("collector"), otlp="false")
    pod = patched(asked, shipped)
    assert pod["spec"]["containers"] == asked["request"]["object"]["spec"]["containers"]


def test_a_namespace_stands_over_the_defaults_and_a_pod_over_its_namespace(review, shipped):
    injection = Injection(
        native=True,
        container=shipped.container,
        volumes=shipped.volumes,
        defaults={"mode": "managed", "agent": "any", "total-tokens": "1"},
        namespaces={"agents": {"agent": "theirs", "total-tokens": "2"}, "others": {"agent": "nobody"}},
    )
    settings = variables(sidecar_of(patched(annotate(review("pod"), total_tokens="3"), injection)))
    assert settings["TOKEN_BUDGET_MODE"] == "managed"
    assert settings["TOKEN_BUDGET_AGENT"] == "theirs"
    assert settings["TOKEN_BUDGET_TOTAL_TOKENS"] == "3"


@pytest.mark.parametrize(
    ("of_all", "of_namespace", "of_pod", "label", "injected"),
    [
        (None, None, None, None, True),
        ("false", None, "true", None, False),
        (None, "false", "true", None, False),
        (None, "true", "false", None, False),
        ("true", "true", "true", "false", False),
        (None, None, "false", "true", False),
        (None, None, None, "true", True),
        (None, None, None, "false", False),
    ],
)
def test_a_false_anywhere_wins(of_all, of_namespace, of_pod, label, injected, review, shipped):
    injection = Injection(
        native=True,
        container=shipped.container,
        volumes=shipped.volumes,
        defaults={"inject": of_all} if of_all else {},
        namespaces={"agents": {"inject": of_namespace} if of_namespace else {}},
    )
    asked = annotate(review("pod"), **({"inject": of_pod} if of_pod else {}))
    if label:
        asked["request"]["object"]["metadata"]["labels"] = {f"{PREFIX}inject": label}
    assert ("patch" in response_to(asked, injection)) == injected


@pytest.mark.parametrize(
    ("wish", "value", "rule"),
    [
        ("mode", "watched", "must be managed or observed"),
        ("agent", "", "must be 1 to 256 characters"),
        ("preset", "nonsense", "must be standard"),
        ("total-tokens", "0", "must be a whole number"),
        ("total-tokens", "many", "must be a whole number"),
        ("resources", "100m", "must be JSON such as"),
        ("resources", '{"limits": {"memory": "lots"}}', "must be JSON such as"),
        ("resources", '{"limits": {"cpu": "1"}, "requests": {"cpu": "2000m"}}', "must not request more cpu"),
        ("resources", "[" * 100_000, "must be JSON such as"),
        ("config", "Not A Name", "must be the name of a ConfigMap"),
        ("image", "https://x", "must be the name of an image"),
        ("otlp", "yes", 'must be "true" or "false"'),
        ("inject", "yes", 'must be "true" or "false"'),
        ("totl-tokens", "5", "is not known (did you mean total-tokens?)"),
    ],
)
def test_a_wish_that_breaks_its_rule_is_left_out_and_said_so_in_the_answer_and_the_pod(
    wish, value, rule, review, shipped, validate
):
    asked = annotate(review("pod"), **{wish: value})
    response = response_to(asked, shipped)
    assert response["warnings"][0].startswith(f"token-budget-sidecar: token-budget.dev/{wish} {rule}")
    pod = patched(asked, shipped)
    assert rule in pod["metadata"]["annotations"][f"{PREFIX}ignored"]
    assert sidecar_of(pod) == sidecar_of(patched(review("pod"), shipped))
    validate(pod, "1.37", strict=True)


@pytest.mark.parametrize(
    ("wished", "resources"),
    [
        ({"requests": {"memory": "1Gi"}}, {"requests": {"cpu": "10m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}),
        ({"limits": {"memory": "9Mi"}}, {"requests": {"cpu": "10m", "memory": "9Mi"}, "limits": {"memory": "9Mi"}}),
    ],
)
def test_what_is_requested_never_exceeds_what_it_is_limited_to(wished, resources, review, shipped):
    pod = patched(annotate(review("pod"), resources=json.dumps(wished)), shipped)
    assert sidecar_of(pod)["resources"] == resources


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hostNetwork": True}, "is on the host's network"),
        ({"os": {"name": "windows"}}, "runs on Windows"),
        ({"containers": []}, "has no container"),
        ({"containers": [{"name": "a", "ports": [{"containerPort": 4318}]}]}, "uses port 4318 itself, in container a"),
        ({"initContainers": [{"name": "b", "ports": [{"containerPort": 9464}]}]}, "uses port 9464 itself"),
        ({"volumes": [{"name": "token-budget-data", "emptyDir": {}}]}, "has a volume token-budget-data of its own"),
    ],
)
def test_a_pod_that_would_not_work_with_it_is_let_in_without_and_told_why(change, complaint, review, shipped):
    asked = review("pod")
    asked["request"]["object"]["spec"].update(change)
    assert complaint in unpatched(asked, shipped)["warnings"][0]


def test_a_container_that_is_not_there_cannot_be_the_agents(review, shipped):
    response = unpatched(annotate(review("deployment"), container="nobody"), shipped)
    assert "has no container nobody" in response["warnings"][0]


def test_the_agents_container_is_the_wished_one_else_kubectls_else_the_first(review, shipped):
    def redirected(asked: Any) -> list[str]:
        return [each["name"] for each in patched(asked, shipped)["spec"]["containers"] if "env" in each and
                "OTEL_EXPORTER_OTLP_ENDPOINT" in variables(each)]  # fmt: skip

    asked = annotate(review("deployment"), otlp="true")
    assert redirected(annotate(asked, container="proxy")) == ["proxy"]
    assert redirected(asked) == ["agent"]
    del asked["request"]["object"]["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
    assert redirected(asked) == ["proxy"]


def test_a_malformed_pod_is_let_in_and_the_answer_says_what_is_wrong(review, shipped):
    response = unpatched(review("malformed"), shipped)
    assert "could not be read" in response["warnings"][0]


@pytest.mark.parametrize(
    "broken",
    [None, [], "pod", 7, {}, {"metadata": {}}, {"metadata": {}, "spec": []}, {"metadata": 1, "spec": {}}],
)
def test_whatever_the_object_is_the_answer_allows_it(broken, review, shipped):
    asked = review("pod")
    asked["request"]["object"] = broken
    assert unpatched(asked, shipped)["warnings"]


def test_a_huge_pod_is_patched_like_any_other(review, shipped, validate):
    asked = annotate(review("deployment"), otlp="true")
    spec = asked["request"]["object"]["spec"]
    spec["containers"][1]["env"] = [{"name": f"V{i}", "value": "x" * 1000} for i in range(1400)]
    spec["containers"] += [{"name": f"c{i}", "image": "i"} for i in range(200)]
    pod = patched(asked, shipped)
    assert len(pod["spec"]["containers"][1]["env"]) == 1402
    validate(pod, "1.37", strict=True)


def test_what_is_no_new_pod_is_none_of_its_business(review, shipped):
    asked = review("pod")
    asked["request"]["operation"] = "UPDATE"
    unpatched(asked, shipped)
    asked = review("pod")
    asked["request"]["kind"]["kind"] = "ConfigMap"
    unpatched(asked, shipped)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "no AdmissionReview"),
        (b'{"kind": "Pod"}', "no AdmissionReview"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "apiVersion must be"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "request.uid must be"),
    ],
)
def test_what_is_no_review_cannot_be_answered_as_one(body, complaint, shipped):
    with pytest.raises(NotAReview, match=complaint):
        answer(body, shipped)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("[", "is not JSON"),
        ("[]", "must be an object"),
        ('{"containr": {}}', "containr is not known"),
        ('{"container": {"name": "token-budget-sidecar"}}', "container must be an object with an image"),
        ('{"container": {"image": "x", "name": "other"}}', "container.name must be token-budget-sidecar"),
        ('{"container": {"image": "x"}}', "container.name must be"),
        ('{"native": 1, "container": {"image": "x", "name": "token-budget-sidecar"}}', "native must be"),
        ('{"volumes": {}, "container": {"image": "x", "name": "token-budget-sidecar"}}', "volumes must be"),
        (
            '{"defaults": {"mode": "x"}, "container": {"image": "x", "name": "token-budget-sidecar"}}',
            "defaults.mode must",
        ),
        (
            '{"namespaces": {"a": {"mod": "x"}}, "container": {"image": "x", "name": "token-budget-sidecar"}}',
            "namespaces.a.mod is not known",
        ),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused_by_file_and_field(document, complaint, tmp_path):
    path = tmp_path / "injection.json"
    path.write_text(document)
    with pytest.raises(InjectionError, match=complaint) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_a_document_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InjectionError, match=r"nowhere.json cannot be read: No such file"):
        load(tmp_path / "nowhere.json")
