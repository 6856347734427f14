"""Every way in and every option of the chart, as values: each has a golden render of its name."""

from typing import Any

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

# A release that has the gateway and nothing else.
GATEWAY_ALONE: dict[str, Any] = {
    "injector": {"enabled": False},
    "dashboards": {"enabled": False},
    "sidecar": {"native": False},
    "test": {"enabled": False},
}

# The chart by itself.
WAYS: dict[str, dict[str, Any]] = {
    "injector": {},
    "injector-plain": {"sidecar": {"native": False}},
    "injector-cert-manager": {"injector": {"certificate": {"source": "certManager"}}},
    "injector-issuer": {
        "injector": {
            "certificate": {"source": "certManager", "issuerRef": {"name": "company", "kind": "ClusterIssuer"}}
        }
    },
    "injector-existing-secret": {
        "sidecar": {"native": False},
        "injector": {"certificate": {"source": "existingSecret", "secretName": "mine", "caBundle": PEM}},
    },
    "injector-wishes": {
        "injector": {
            "defaults": {"preset": "standard", "otlp": "true"},
            "namespaces": {"team-a": {"mode": "observed"}, "team-b": {"inject": "false"}},
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "excludedNamespaces": ["kube-system", "agents"],
        }
    },
    "injector-placed": {
        "nameOverride": "budget",
        "commonLabels": {"team": "platform"},
        "image": {"repository": "registry.example/sidecar", "digest": "sha256:" + "ab" * 32, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "injector": {
            "replicas": 1,
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "infra", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
            ],
            "priorityClassName": "high",
            "logLevel": "debug",
        },
        "serviceAccount": {"create": False, "name": "shared"},
        "networkPolicy": {"injector": False},
        "test": {"enabled": False},
    },
    "monitoring": {
        "injector": {"enabled": False},
        "podMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "interval": "15s",
            "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
            "metricRelabelings": [{"regex": "process_.*", "sourceLabels": ["__name__"], "action": "drop"}],
        },
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True, "annotations": {"folder": "Agents"}, "namespace": "grafana"},
        "networkPolicy": {
            "sidecars": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        },
    },
    "monitoring-injector": {
        "fullnameOverride": "tb",
        "podMonitor": {"enabled": True, "allNamespaces": False},
        "dashboards": {"enabled": False},
        "serviceAccount": {"name": "injector", "annotations": {"a": "b"}},
        "injector": {"podDisruptionBudget": {"enabled": False}},
    },
    "gateway": {
        **GATEWAY_ALONE,
        "gateway": {
            "enabled": True,
            "journal": {"secretName": "database"},
            "tls": {"secretName": "certificate"},
            "tokens": {"secretName": "tokens"},
        },
    },
    "gateway-test": {
        **GATEWAY_ALONE,
        "test": {"enabled": True},
        "gateway": {
            "enabled": True,
            "journal": {"secretName": "database"},
            "tls": {"secretName": "certificate"},
            "tokens": {"secretName": "tokens", "read": [], "admin": ["operators"]},
        },
    },
    "gateway-everything": {
        **GATEWAY_ALONE,
        "image": {"digest": "sha256:" + "ab" * 32},
        "imagePullSecrets": [{"name": "pull"}],
        "commonLabels": {"team": "platform"},
        "podMonitor": {"enabled": True},
        "networkPolicy": {
            "gatewayFrom": [{"namespaceSelector": {"matchLabels": {"agents": "true"}}}],
            "gatewayEgress": [{"ports": [{"port": 5432, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        },
        "gateway": {
            "enabled": True,
            "replicas": 3,
            "journal": {"secretName": "database", "key": "dsn", "certificatesSecretName": "database-tls"},
            "tls": {"secretName": "certificate"},
            "tokens": {"secretName": "tokens", "read": ["agents", "board"], "admin": ["operators"]},
            "clientCa": {"secretName": "clients", "key": "authority.pem"},
            "hosts": ["budget.example.com"],
            "otlp": False,
            "telemetry": {
                "tls": True,
                "webConfig": {"secretName": "web"},
                "tlsConfig": {"insecureSkipVerify": True},
                "basicAuth": {
                    "username": {"name": "scrape", "key": "user"},
                    "password": {"name": "scrape", "key": "password"},
                },
            },
            "settings": {"preset": "coding-agent", "durability": "full", "total_tokens": 1_000_000},
            "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
            "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "sessionAffinity": "None"},
            "autoscaling": {"enabled": False},
            "drainSeconds": 0,
            "serviceAccountName": "budget",
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "infra", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
            ],
            "priorityClassName": "high",
        },
    },
    "gateway-telemetry": {
        **GATEWAY_ALONE,
        "podMonitor": {"enabled": True},
        "gateway": {
            "enabled": True,
            "journal": {"secretName": "database"},
            "tls": {"secretName": "certificate"},
            "clientCa": {"secretName": "clients"},
            "telemetry": {"tls": True},
        },
    },
    "gateway-mesh": {
        **GATEWAY_ALONE,
        "networkPolicy": {"gateway": False},
        "gateway": {
            "enabled": True,
            "journal": {"secretName": "database"},
            "allowUnauthenticated": True,
            "autoscaling": {"minReplicas": 1},
        },
    },
}

GATEWAYS = [way for way in WAYS if way.startswith("gateway")]

# A chart that includes it.
EXAMPLE_WAYS: dict[str, dict[str, Any]] = {
    "included": {},
    "included-plain": {"sidecar": {"native": False}},
    "included-socket": {"sidecar": {"socket": True, "otlp": False}},
    "included-files": {"sidecar": {"files": {"config.toml": 'idle_after = "30m"\n', "more.json": "{}"}}},
    "included-config-map": {"sidecar": {"configMap": "settings", "journal": {"sizeLimit": "1Gi", "medium": "Memory"}}},
    "included-settings": {
        "sidecar": {
            "agent": "researcher",
            "mode": "observed",
            "preset": "standard",
            "totalTokens": 1_000_000,
            "settings": {"idle_after": "30m", "metrics_detail": True, "max_sessions": 1_000_000},
            "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        },
        "podMonitor": {"enabled": True},
        "networkPolicy": {"sidecars": True},
        "test": {"enabled": False},
    },
}


def values_of(way: str) -> dict[str, Any]:
    """The values to render with; an including chart has the sidecar's under its name."""
    return WAYS[way] if way in WAYS else {"token-budget-sidecar": EXAMPLE_WAYS[way]}


def is_native(way: str) -> bool:
    """Whether it makes a native sidecar."""
    values = WAYS.get(way) or EXAMPLE_WAYS.get(way) or {}
    return bool(values.get("sidecar", {}).get("native", True))
