"""What an upgrade finds in the cluster: a generated certificate is kept, and made where there is none.

Helm asks a stand-in of the API server, on loopback, that knows one Secret: no real one is to be had.
"""

import base64
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python as helm
import pytest
import yaml

KEPT = {name: base64.b64encode(f"kept {name}".encode()).decode() for name in ("ca.crt", "tls.crt", "tls.key")}
RESOURCE = {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ["get"]}
DISCOVERY = {
    "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [RESOURCE]},
}
NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


@pytest.fixture
def cluster():
    """Start an API server with these objects, by path; give a kubeconfig for it."""
    servers = []

    def start(objects):
        class Answering(BaseHTTPRequestHandler):
            def do_GET(self):
                found = {**DISCOVERY, **objects}.get(self.path.partition("?")[0])
                body = json.dumps(found or NOT_FOUND).encode()
                self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        parts = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        return json.dumps(parts)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def certificate_after_upgrade(kubeconfig, chart_folder):
    """The Secret's data and the webhook's authority, as an upgrade of the chart would write them."""
    values = {"dashboards": {"enabled": False}, "test": {"enabled": False}}
    with helm.Config(namespace="agents", kubeconfig_content=kubeconfig) as config:
        files = config.render(helm.Chart.load(chart_folder), values, name="budget", namespace="agents", is_upgrade=True)
    manifests = [each for text in files.values() if "apiVersion:" in text for each in yaml.safe_load_all(text) if each]
    (secret,) = (each for each in manifests if each["kind"] == "Secret")
    (webhook,) = (each for each in manifests if each["kind"] == "MutatingWebhookConfiguration")
    return secret["data"], webhook["webhooks"][0]["clientConfig"]["caBundle"]


def test_a_generated_certificate_is_kept(cluster, chart_folder):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "agents"}, "data": KEPT}
    path = "/api/v1/namespaces/agents/secrets/budget-token-budget-sidecar-injector-tls"
    data, authority = certificate_after_upgrade(cluster({path: secret}), chart_folder)
    assert data == KEPT
    assert authority == KEPT["ca.crt"]


def test_a_certificate_is_made_where_there_is_none(cluster, chart_folder):
    data, authority = certificate_after_upgrade(cluster({}), chart_folder)
    assert set(data) == set(KEPT)
    assert base64.b64decode(data["tls.crt"]).startswith(b"-----BEGIN CERTIFICATE-----")
    assert authority == data["ca.crt"]
