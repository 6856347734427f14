"""What `helm test` runs: post an event to the sidecar beside it, find its metric; ask injector and gateway.

Standard library only. Arguments, if there is an injector: its URL, its authority's file (or AUTHORITY). If there is a
gateway: its URL is GATEWAY, the text of a file of tokens GATEWAY_TOKENS, its certificate's file GATEWAY_CERTIFICATE.
"""

import base64
import json
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

API = os.environ.get("API", "http://127.0.0.1:8321")
METRICS = os.environ.get("METRICS", "http://127.0.0.1:9464/metrics")
PATIENCE = float(os.environ.get("PATIENCE", "60"))
SESSION = "helm-test"


def call(url: str, body: object = None, context: ssl.SSLContext | None = None, token: str = "") -> str:
    """Send JSON and give the answer's text; try again while nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return str(answer.read(), "utf-8")
        except urllib.error.HTTPError as error:
            sys.exit(f"{url} answered {error.code}: {error.read().decode()}")
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{url} does not answer: {error}")
            time.sleep(0.5)


def check_sidecar() -> None:
    """An event is taken, its item is in the report, and a counter has moved."""
    item = {"id": "greeting", "kind": "interaction", "tokens": 100}
    told = json.loads(call(f"{API}/v1/events", [{"type": "put_item", "session": SESSION, "item": item}]))
    if told["accepted"] != 1:
        sys.exit(f"the event was not accepted: {told}")
    report = json.loads(call(f"{API}/v1/sessions/{SESSION}"))
    if report["overall"]["used_tokens"] != item["tokens"]:
        sys.exit(f"the session does not hold the item: {report}")
    counted = [line for line in call(METRICS).splitlines() if line.startswith("token_budget_events_total{")]
    if not any('type="put_item"' in line and float(line.split()[-1]) >= 1 for line in counted):
        sys.exit(f"no metric counts the event: {counted}")
    print("the sidecar took an event, and its metric shows it")


def check_injector(url: str, authority: str) -> None:
    """A pod is let in, with a patch that adds the container."""
    context = ssl.create_default_context(cadata=authority)
    pod = {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "agent", "image": "agent"}]}}
    request = {"uid": "helm-test", "operation": "CREATE", "kind": {"kind": "Pod"}, "object": pod}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    response = json.loads(call(url, review, context))["response"]
    if not response["allowed"] or "token-budget-sidecar" not in base64.b64decode(response.get("patch", "")).decode():
        sys.exit(f"the injector gave no patch: {response}")
    print("the injector gives a patch")


def check_gateway(url: str, tokens: str, certificate: str) -> None:
    """Its service leads to a replica that has the certificate, takes the token, and reads from the database."""
    context = None
    if certificate:
        context = ssl.create_default_context(cafile=certificate)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # its own certificate is all that is known of it
    token = next((line.strip() for line in tokens.splitlines() if line.strip()), "")
    answer = json.loads(call(f"{url}/v1/sessions?limit=1", context=context, token=token))
    if "sessions" not in answer:
        sys.exit(f"the gateway lists no sessions: {answer}")
    print("the gateway answers")


def stop_sidecar() -> None:
    """End a sidecar that is a plain container of this pod, so that the pod ends."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        words = command.read_bytes().split(b"\0")
        if b"serve" in words and any(word.endswith(b"token-budget-sidecar") for word in words):
            os.kill(int(command.parent.name), signal.SIGTERM)


check_sidecar()
if len(sys.argv) > 1:
    url, *files = sys.argv[1:]
    check_injector(url, Path(files[0]).read_text() if files else os.environ["AUTHORITY"])
if gateway := os.environ.get("GATEWAY"):
    check_gateway(gateway, os.environ.get("GATEWAY_TOKENS", ""), os.environ.get("GATEWAY_CERTIFICATE", ""))
if os.environ.get("STOP_SIDECAR"):
    stop_sidecar()
