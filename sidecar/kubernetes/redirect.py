"""The agent's telemetry led through the sidecar: its OTLP endpoint becomes ours, its former one the downstream.

Only where nothing would be lost by it. The sidecar forwards over HTTP, so an agent that sends to a gRPC collector is
left as it is, and the pod is told why.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
OWN_ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" for signal in ("TRACES", "METRICS", "LOGS"))
SIDECAR = "http://127.0.0.1:4318"
GRPC_PORT = 4317
# Files in the agent's container, without which the sidecar could not speak to the former endpoint.
FILES = tuple(f"OTEL_EXPORTER_OTLP_{name}" for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
# Variables that the former endpoint is made of get other names in the sidecar: there, OTEL_* means its own export.
OURS = "AGENT_"
# $(NAME) stands for an earlier variable; $$(NAME) is that text itself.
REFERENCE = re.compile(r"(?<!\$)(?:\$\$)*\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")

Variable = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """What changes: the agent container's variables, and those that lead the sidecar to the former endpoint."""

    agent: Sequence[Variable]
    downstream: Sequence[Variable]


class Kept(Exception):
    """The endpoint stays as it is: why, in a sentence."""


def redirect(container: Mapping[str, Any], downstream: str) -> Redirect:
    """Lead a container's OTLP to the sidecar; `downstream` is the sidecar's variable for the former endpoint.

    Raises:
        Kept: if something would be lost.
    """
    variables = container.get("env") or []
    by_name = {variable["name"]: variable for variable in variables}  # the last of a name counts
    own = [name for name in OWN_ENDPOINTS if name in by_name]
    if own:
        raise Kept(f"{own[0]} leads past any other endpoint")
    former = by_name.get(ENDPOINT)
    protocol = by_name.get(PROTOCOL, {}).get("value")
    if former is not None:
        _check_http(former, protocol, by_name)
    elif container.get("envFrom") and protocol is None:
        raise Kept(f"{ENDPOINT} may come by envFrom, where it is not seen; write it into env")
    changed: list[Variable] = [{"name": ENDPOINT, "value": SIDECAR}]
    if protocol is None or not protocol.startswith("http/"):
        changed.append({"name": PROTOCOL, "value": "http/protobuf"})
    if former is None or former.get("value") == SIDECAR:
        return Redirect(agent=changed, downstream=())
    names = list(_referred(former, by_name))
    copied = [{**_renamed(by_name[name], names), "name": OURS + name} for name in names]
    return Redirect(agent=changed, downstream=(*copied, {**_renamed(former, names), "name": downstream}))


def _check_http(former: Variable, protocol: str | None, by_name: Mapping[str, Variable]) -> None:
    """The former endpoint takes OTLP over HTTP, as far as can be seen."""
    files = [name for name in FILES if name in by_name]
    if files:
        raise Kept(f"{files[0]} is a file that only the agent's container has")
    if PROTOCOL in by_name and protocol is None:
        raise Kept(f"{PROTOCOL} is not a plain value")
    if protocol is not None and not protocol.startswith("http/"):
        raise Kept(f"{PROTOCOL} is {protocol}, and the sidecar forwards over HTTP")
    if protocol is None and re.search(rf":{GRPC_PORT}/?$", former.get("value", "")):
        raise Kept(f"{former['value']} looks like gRPC, and the sidecar forwards over HTTP")
    value = former.get("value")
    if value is not None and "$(" not in value and urlsplit(value).scheme not in ("http", "https"):
        raise Kept(f"{ENDPOINT} must be an http or https URL to be forwarded to")


def _referred(variable: Variable, by_name: Mapping[str, Variable]) -> Iterator[str]:
    """The names of the variables that a value is made of, each after those it is made of itself."""
    found: dict[str, None] = {}

    def visit(part: Variable, above: frozenset[str]) -> None:
        for name in REFERENCE.findall(part.get("value") or ""):
            if name in by_name and name not in above:
                visit(by_name[name], above | {name})
                found[name] = None

    visit(variable, frozenset({variable["name"]}))
    return iter(found)


def _renamed(variable: Variable, names: Sequence[str]) -> Variable:
    """The variable, referring to the copies."""

    def rename(match: re.Match[str]) -> str:
        return f"{match[0][: -len(match[1]) - 1]}{OURS}{match[1]})" if match[1] in names else match[0]

    return {**variable, "value": REFERENCE.sub(rename, variable["value"])} if "value" in variable else variable
