"""The JSON patch (RFC 6902) that gives a pod its sidecar: pure, from the pod's manifest and what is wished.

Only additions, and one replacement where the agent's OTLP endpoint is led through the sidecar. A pod that already has
the container is left alone, so that injecting twice is injecting once.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sidecar
from sidecar.kubernetes import CONTAINER, PREFIX
from sidecar.kubernetes.annotations import Wishes
from sidecar.kubernetes.injection import Injection
from sidecar.kubernetes.quantities import merged
from sidecar.kubernetes.redirect import Kept, redirect

Pod = Mapping[str, Any]
Operation = Mapping[str, Any]

CONFIG_FOLDER = "/etc/token-budget"
CONFIG_VOLUME = "token-budget-config"
DOWNSTREAM = "TOKEN_BUDGET_DOWNSTREAM"
# Where a pod says which of its containers is the one that matters.
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
# Labels that name what runs in a pod, the better one first.
APPLICATION = ("app.kubernetes.io/name", "app")


class Unfit(Exception):
    """This pod gets no sidecar. `reason` is one of `REASONS`; the text says more."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


REASONS = ("host_network", "windows", "port_taken", "no_container", "name_taken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Operations, and what could not be done of what was wished: a sentence each."""

    operations: Sequence[Operation]
    ignored: Sequence[str]


def has_sidecar(pod: Pod) -> bool:
    """Whether the container is there, put there by whomever."""
    return any(container.get("name") == CONTAINER for container in _containers(pod))


def inject(pod: Pod, injection: Injection, wishes: Wishes, ignored: Sequence[str] = ()) -> Patch:
    """The patch that adds the sidecar. `ignored`: what was left out of the wishes, to be noted in the pod.

    Raises:
        Unfit: if the pod would not work with it.
    """
    spec = pod["spec"]
    _check(spec, injection)
    agent = _agent_container(pod, wishes)
    container = _container(pod, injection, wishes)
    operations: list[Operation] = []
    ignored = list(ignored)
    if wishes.otlp:
        try:
            led = redirect(spec["containers"][agent], DOWNSTREAM)
        except Kept as why:
            ignored.append(f"otlp: {why}")
        else:
            operations += _set_variables(spec["containers"][agent], f"/spec/containers/{agent}", led.agent)
            container["env"] = [*container.get("env", ()), *led.downstream]
    volumes = [*injection.volumes]
    if wishes.config is not None:
        volumes = [volume for volume in volumes if volume["name"] != CONFIG_VOLUME]
        volumes.append({"name": CONFIG_VOLUME, "configMap": {"name": wishes.config}})
    # First in its list: what starts before the agent is there when the agent needs it.
    operations += _insert(
        spec, "initContainers" if injection.native else "containers", [container], first=injection.native
    )
    operations += _insert(spec, "volumes", _missing(spec, volumes))
    operations += _mark(pod, ignored)
    return Patch(operations=operations, ignored=ignored)


def _check(spec: Mapping[str, Any], injection: Injection) -> None:
    if not spec.get("containers"):
        raise Unfit("no_container", "has no container")
    if spec.get("hostNetwork"):
        raise Unfit("host_network", "is on the host's network, where the sidecar's ports are not its own")
    if (spec.get("os") or {}).get("name") == "windows":
        raise Unfit("windows", "runs on Windows, and the sidecar on Linux")
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        for port in container.get("ports") or ():
            if port.get("containerPort") in injection.ports:
                raise Unfit("port_taken", f"uses port {port['containerPort']} itself, in container {container['name']}")


def _agent_container(pod: Pod, wishes: Wishes) -> int:
    """Which of the pod's containers is the agent's: the one it names, else kubectl's default, else the first."""
    names = [container["name"] for container in pod["spec"]["containers"]]
    if wishes.container is not None and wishes.container not in names:
        raise Unfit("no_container", f"has no container {wishes.container}")
    default = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    for name in (wishes.container, default):
        if name in names:
            return names.index(name)
    return 0


def _container(pod: Pod, injection: Injection, wishes: Wishes) -> dict[str, Any]:
    """The template's container, as this pod wishes it."""
    container = copy.deepcopy(dict(injection.container))
    if wishes.image is not None:
        container["image"] = wishes.image
    if wishes.resources:
        container["resources"] = merged(container.get("resources", {}), wishes.resources)
    settings = {
        "TOKEN_BUDGET_AGENT": wishes.agent or _application(pod),
        "TOKEN_BUDGET_MODE": wishes.mode,
        "TOKEN_BUDGET_PRESET": wishes.preset,
        "TOKEN_BUDGET_TOTAL_TOKENS": None if wishes.total_tokens is None else str(wishes.total_tokens),
        "TOKEN_BUDGET_CONFIG": None if wishes.config is None else f"{CONFIG_FOLDER}/config.toml",
    }
    given = {name: value.replace("$(", "$$(") for name, value in settings.items() if value is not None}
    kept = [variable for variable in container.get("env", ()) if variable["name"] not in given]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in given.items())]
    if wishes.config is not None:
        mounts = [mount for mount in container.get("volumeMounts", ()) if mount["name"] != CONFIG_VOLUME]
        container["volumeMounts"] = [*mounts, {"name": CONFIG_VOLUME, "mountPath": CONFIG_FOLDER, "readOnly": True}]
    return container


def _application(pod: Pod) -> str | None:
    labels = pod["metadata"].get("labels") or {}
    return next((labels[name] for name in APPLICATION if labels.get(name)), None)


def _missing(spec: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    present = {volume["name"] for volume in spec.get("volumes") or ()}
    taken = [volume["name"] for volume in volumes if volume["name"] in present]
    if taken:
        raise Unfit("name_taken", f"has a volume {taken[0]} of its own")
    return list(volumes)


def _insert(spec: Mapping[str, Any], field: str, added: Sequence[Any], *, first: bool = False) -> Iterator[Operation]:
    if added and not spec.get(field):
        yield {"op": "add", "path": f"/spec/{field}", "value": list(added)}
        return
    for value in added:
        yield {"op": "add", "path": f"/spec/{field}/{0 if first else '-'}", "value": value}


def _set_variables(
    container: Mapping[str, Any], path: str, variables: Sequence[Mapping[str, Any]]
) -> Iterator[Operation]:
    present = container.get("env") or []
    if not present:
        yield {"op": "add", "path": f"{path}/env", "value": list(variables)}
        return
    for variable in variables:
        places = [place for place, other in enumerate(present) if other["name"] == variable["name"]]
        if places:
            yield {"op": "replace", "path": f"{path}/env/{places[-1]}", "value": variable}
        else:
            yield {"op": "add", "path": f"{path}/env/-", "value": variable}


def _mark(pod: Pod, ignored: Sequence[str]) -> Iterator[Operation]:
    """Say in the pod itself what was done: a label for selectors, annotations for people."""
    yield from _set_entries(pod, "labels", {"sidecar": "true"})
    notes = {"injected": _version(), **({"ignored": "; ".join(ignored)} if ignored else {})}
    yield from _set_entries(pod, "annotations", notes)


@cache
def _version() -> str:
    """Looked up among the installed packages: once is enough."""
    return sidecar.__version__


def _set_entries(pod: Pod, field: str, entries: Mapping[str, str]) -> Iterator[Operation]:
    named = {f"{PREFIX}{name}": value for name, value in entries.items()}
    if not pod["metadata"].get(field):
        yield {"op": "add", "path": f"/metadata/{field}", "value": named}
        return
    for name, value in named.items():
        yield {"op": "add", "path": f"/metadata/{field}/{name.replace('~', '~0').replace('/', '~1')}", "value": value}


def _containers(pod: Pod) -> Iterator[Mapping[str, Any]]:
    spec = pod["spec"]
    yield from (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
