"""When an agent's OTLP is led through the sidecar, and when it stays as it is."""

from typing import Any

import pytest

from sidecar.kubernetes.redirect import ENDPOINT, PROTOCOL, SIDECAR, Kept, redirect

HTTP = {"name": PROTOCOL, "value": "http/protobuf"}
OURS = {"name": ENDPOINT, "value": SIDECAR}


def env(*variables: Any, **more: Any) -> Any:
    return {"name": "agent", "env": list(variables), **more}


def endpoint(value: str) -> Any:
    return {"name": ENDPOINT, "value": value}


@pytest.mark.parametrize(
    ("container", "agent", "downstream"),
    [
        ({"name": "agent"}, [OURS, HTTP], []),
        (env(), [OURS, HTTP], []),
        (env({"name": PROTOCOL, "value": "grpc"}), [OURS, HTTP], []),
        (env(endpoint("http://c:4318")), [OURS, HTTP], [{"name": "DOWN", "value": "http://c:4318"}]),
        (env(endpoint("https://c/base"), HTTP), [OURS], [{"name": "DOWN", "value": "https://c/base"}]),
        (env(endpoint("http://a"), endpoint("http://b")), [OURS, HTTP], [{"name": "DOWN", "value": "http://b"}]),
        (env(endpoint(SIDECAR)), [OURS, HTTP], []),
        (
            env({"name": ENDPOINT, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, HTTP),
            [OURS],
            [{"name": "DOWN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        ),
        # References to what is not there, and escaped ones, are text.
        (env(endpoint("http://$(NOBODY)")), [OURS, HTTP], [{"name": "DOWN", "value": "http://$(NOBODY)"}]),
        (
            env({"name": "A", "value": "a"}, endpoint("http://$$(A)$$$(A)")),
            [OURS, HTTP],
            [{"name": "AGENT_A", "value": "a"}, {"name": "DOWN", "value": "http://$$(A)$$$(AGENT_A)"}],
        ),
        # What refers to itself does not go on for ever.
        (
            env({"name": "A", "value": "$(B)"}, {"name": "B", "value": "$(A)"}, endpoint("http://$(A)")),
            [OURS, HTTP],
            [
                {"name": "AGENT_B", "value": "$(AGENT_A)"},
                {"name": "AGENT_A", "value": "$(AGENT_B)"},
                {"name": "DOWN", "value": "http://$(AGENT_A)"},
            ],
        ),
    ],
)
def test_the_endpoint_becomes_the_sidecars_and_the_former_one_its_downstream(container, agent, downstream):
    led = redirect(container, "DOWN")
    assert list(led.agent) == agent
    assert list(led.downstream) == downstream


@pytest.mark.parametrize(
    ("container", "complaint"),
    [
        (env(endpoint("http://c:4317")), "looks like gRPC"),
        (env(endpoint("http://c:4318"), {"name": PROTOCOL, "value": "grpc"}), "is grpc"),
        (env(endpoint("http://c"), {"name": PROTOCOL, "valueFrom": {}}), "is not a plain value"),
        (env(endpoint("c:4318")), "must be an http or https URL"),
        (env({"name": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "value": "http://c"}), "leads past"),
        (env(endpoint("https://c"), {"name": "OTEL_EXPORTER_OTLP_CERTIFICATE", "value": "/ca"}), "only the agent's"),
        (env(envFrom=[{"configMapRef": {"name": "otel"}}]), "may come by envFrom"),
    ],
)
def test_it_stays_where_something_would_be_lost(container, complaint):
    with pytest.raises(Kept, match=complaint):
        redirect(container, "DOWN")
