"""When an agent's OTLP is led through the sidecar, and when it stays as it is."""

from typing import Any

import pytest

from sidecar.kubernetes.redirect import SIDECAR, Kept, redirect

ENDPOINT, PROTOCOL = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"
SECRET = {"secretKeyRef": {"name": "collector", "key": "url"}}


def var(name: str, value: str) -> Any:
    return {"name": name, "value": value}


HTTP = var(PROTOCOL, "http/protobuf")
OURS = var(ENDPOINT, SIDECAR)


def env(*variables: Any, **more: Any) -> Any:
    return {"name": "agent", "env": list(variables), **more}


@pytest.mark.parametrize(
    ("container", "agent", "downstream"),
    [
        ({"name": "agent"}, [OURS, HTTP], []),
        (env(), [OURS, HTTP], []),
        (env(var(ENDPOINT, "")), [OURS, HTTP], []),
        (env(var(PROTOCOL, "grpc")), [OURS, HTTP], []),
        (env(var(PROTOCOL, "http/json")), [OURS], []),
        (env(var(ENDPOINT, "http://c:4318")), [OURS, HTTP], [var("DOWN", "http://c:4318")]),
        (env(var(ENDPOINT, "https://c/base"), HTTP), [OURS], [var("DOWN", "https://c/base")]),
        (env(var(ENDPOINT, "http://c:4317"), HTTP), [OURS], [var("DOWN", "http://c:4317")]),
        (env(var(ENDPOINT, "http://a"), var(ENDPOINT, "http://b")), [OURS, HTTP], [var("DOWN", "http://b")]),
        (env(var(ENDPOINT, SIDECAR)), [OURS, HTTP], []),
        (
            env({"name": ENDPOINT, "valueFrom": SECRET}, HTTP, envFrom=[{"configMapRef": {"name": "x"}}]),
            [OURS],
            [{"name": "DOWN", "valueFrom": SECRET}],
        ),
    ],
)
def test_the_endpoint_becomes_the_sidecars_and_the_former_one_its_downstream(container, agent, downstream):
    led = redirect(container, "DOWN")
    assert (list(led.agent), list(led.downstream)) == (agent, downstream)


def test_the_endpoints_of_single_signals_are_led_through_it_too():
    led = redirect(
        env(
            var("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/v1/traces"),
            var("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            HTTP,
        ),
        "DOWN",
    )
    assert list(led.agent) == [
        OURS,
        var("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{SIDECAR}/v1/traces"),
        var("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
    ]
    assert list(led.downstream) == [var("DOWN_TRACES", "https://traces/v1/traces")]


def test_what_an_endpoint_is_made_of_goes_with_it_under_names_that_mean_nothing_to_the_sidecar():
    node = {"name": "OTEL_NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    made_of = (node, var("PORT", "4318"), var("HOST", "http://$(OTEL_NODE)"))
    led = redirect(env(*made_of, var(ENDPOINT, "$(HOST):$(PORT)/$$(HOST)")), "DOWN")
    assert list(led.downstream) == [
        {**node, "name": "AGENT_OTEL_NODE"},
        var("AGENT_HOST", "http://$(AGENT_OTEL_NODE)"),
        var("AGENT_PORT", "4318"),
        var("DOWN", "$(AGENT_HOST):$(AGENT_PORT)/$$(HOST)"),
    ]


@pytest.mark.parametrize(
    ("container", "complaint"),
    [
        (env(var(ENDPOINT, "http://c:4317")), "http://c:4317, which looks like gRPC"),
        (env(var("PORT", "4317"), var(ENDPOINT, "http://c:$(PORT)")), "http://c:4317, which looks like gRPC"),
        (env(var(ENDPOINT, "http://c:4318"), var(PROTOCOL, "grpc")), f"{PROTOCOL} is grpc"),
        (env(var(ENDPOINT, "http://c"), {"name": PROTOCOL, "valueFrom": SECRET}), "is not a plain value"),
        (
            env(
                var("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c"), var("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
            ),
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is grpc",
        ),
        (env(var(ENDPOINT, "c:4318")), "must be a URL that begins with http:// or https://"),
        (env(var(ENDPOINT, "http://$(NOBODY)")), "refers to NOBODY, which is not in env before it"),
        (env(var(ENDPOINT, "http://$(LATE)"), var("LATE", "c")), "refers to LATE, which is not in env before it"),
        (env(var(ENDPOINT, f"$({ENDPOINT})")), "refers to"),
        (env(var(ENDPOINT, "https://c"), var("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca")), "only the agent's"),
        (env(envFrom=[{"configMapRef": {"name": "otel"}}]), "may come by envFrom"),
    ],
)
def test_it_stays_where_something_would_be_lost(container, complaint):
    with pytest.raises(Kept, match=complaint.replace("(", r"\(")):
        redirect(container, "DOWN")
