"""The agent's telemetry led through the sidecar: its OTLP endpoints become ours, its former ones the downstream.

Only where nothing would be lost by it. The sidecar forwards over HTTP, so an agent that sends to a gRPC collector is
left as it is, and so is one whose endpoint cannot be seen from here; the pod is told why.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sidecar.config import forms

SIDECAR = "http://127.0.0.1:4318"
GRPC_PORT = 4317
# Files in the agent's container, without which the sidecar could not speak to the former endpoint.
FILES = tuple(f"OTEL_EXPORTER_OTLP_{name}" for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
# Variables that the former endpoint is made of get other names in the sidecar: there, OTEL_* means its own export.
OURS = "AGENT_"
# $(NAME) stands for an earlier variable; $$(NAME) is that text itself.
REFERENCE = re.compile(r"(?<!\$)(?:\$\$)*\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")

Variable = Mapping[str, Any]


class Place(NamedTuple):
    """A pair of variables that say where OTLP goes, what they become, and the suffix of the downstream setting."""

    endpoint: str
    protocol: str
    ours: str
    suffix: str


EVERYTHING = Place("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", SIDECAR, "")
SIGNALS = tuple(
    Place(
        f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT",
        f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL",
        f"{SIDECAR}/v1/{signal.lower()}",
        f"_{signal}",
    )
    for signal in ("TRACES", "METRICS", "LOGS")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """What changes: the agent container's variables, and those that lead the sidecar to the former endpoints."""

    agent: Sequence[Variable]
    downstream: Sequence[Variable]


class Kept(Exception):
    """The endpoints stay as they are: why, in a sentence."""


def redirect(container: Mapping[str, Any], downstream: str) -> Redirect:
    """Lead a container's OTLP to the sidecar; `downstream` is the sidecar's variable for the former endpoint.

    Raises:
        Kept: if something would be lost.
    """
    variables = Variables(container.get("env") or ())
    if container.get("envFrom") and not variables.given(EVERYTHING.endpoint):
        raise Kept(f"{EVERYTHING.endpoint} may come by envFrom, where it is not seen; write it into env")
    agent: list[Variable] = []
    former: dict[str, Variable] = {}
    for place in (EVERYTHING, *SIGNALS):
        endpoint = variables.given(place.endpoint)
        if endpoint is not None and endpoint.get("value") not in (SIDECAR, place.ours):
            _check(place, endpoint, variables)
            former.update((each["name"], each) for each in variables.copied(endpoint, downstream + place.suffix))
        if endpoint is not None or place is EVERYTHING:
            agent.append({"name": place.endpoint, "value": place.ours})
        protocol = variables.given(place.protocol)
        if (protocol is None and place is EVERYTHING) or (protocol is not None and not _is_http(protocol)):
            agent.append({"name": place.protocol, "value": "http/protobuf"})
    return Redirect(agent=agent, downstream=tuple(former.values()))


def _check(place: Place, endpoint: Variable, variables: "Variables") -> None:
    """The former endpoint takes OTLP over HTTP, and the sidecar can know where it is."""
    for name in FILES:
        if variables.given(name):
            raise Kept(f"{name} is a file that only the agent's container has")
    protocol = variables.given(place.protocol) or variables.given(EVERYTHING.protocol)
    if protocol is not None and not _is_http(protocol):
        raise Kept(
            f"{protocol['name']} is {protocol.get('value', 'not a plain value')}; the sidecar forwards over HTTP"
        )
    if "value" not in endpoint:
        return  # in a Secret or the like: what the agent could send to, the sidecar can
    try:
        url = forms.http_url(variables.expanded(endpoint))
    except ValueError as error:
        raise Kept(f"{place.endpoint} {error}") from None
    if protocol is None and urlsplit(url).port == GRPC_PORT:
        raise Kept(f"{place.endpoint} is {url}, which looks like gRPC; the sidecar forwards over HTTP")


def _is_http(protocol: Variable) -> bool:
    return str(protocol.get("value", "")).startswith("http/")


class Variables:
    """A container's variables, with the references of one to earlier ones."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._by_name = {variable["name"]: variable for variable in variables}  # the last of a name counts
        self._places = {variable["name"]: place for place, variable in enumerate(variables)}

    def given(self, name: str) -> Variable | None:
        """The variable, if it is not empty."""
        variable = self._by_name.get(name)
        return variable if variable is not None and (variable.get("value") or "valueFrom" in variable) else None

    def expanded(self, variable: Variable) -> str:
        """The value with its references in place; what is not known before the pod runs is "1", a host and a port."""
        if "value" not in variable:
            return "1"
        text: str = variable["value"]
        for name in self._references(variable):
            text = text.replace(f"$({name})", self.expanded(self._by_name[name]))
        return text

    def copied(self, variable: Variable, name: str) -> Iterator[Variable]:
        """The variable under another name, after copies of all that it is made of."""
        for reference in self._references(variable):
            yield from self.copied(self._by_name[reference], OURS + reference)
        yield {**variable, **_renamed(variable), "name": name}

    def _references(self, variable: Variable) -> Sequence[str]:
        names = REFERENCE.findall(variable.get("value") or "")
        for name in names:
            if self._places.get(name, len(self._places)) >= self._places[variable["name"]]:
                raise Kept(f"{variable['name']} refers to {name}, which is not in env before it")
        return names


def _renamed(variable: Variable) -> Variable:
    """The value, referring to the copies."""

    def rename(match: re.Match[str]) -> str:
        return f"{match[0][: -len(match[1]) - 1]}{OURS}{match[1]})"

    return {"value": REFERENCE.sub(rename, variable["value"])} if "value" in variable else {}
