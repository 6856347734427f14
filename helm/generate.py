"""Writes what follows from something else: `make chart`, held by a test.

- the chart's README, from README.in.md and the comments of values.yaml that begin with `# --`
- in values.schema.json, the presets, modes and settings that the sidecar has
- `sidecar/kubernetes/injection.json`, what the injector adds unless told, from the chart's template
- the chart's icon
"""

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from helm_python import Chart

from sidecar.budget.policy import MODES
from sidecar.budget.presets import PRESETS
from sidecar.config.load import SETTINGS

CHECKOUT = Path(__file__).resolve().parents[1]
CHART = CHECKOUT / "helm" / "token-budget-sidecar"
# Settings that have a value of their own, or that the container's ports and probes rely on.
ELSEWHERE = {"agent", "listen", "mode", "otlp", "preset", "telemetry", "total_tokens"}
# What the gateway's values say in words of their own, and what it does not have.
GATEWAY = {
    *("admin_tokens", "allow_unauthenticated", "hosts", "journal", "listen", "otlp", "read_tokens", "replica"),
    *("telemetry", "telemetry_web_config", "tls_certificate", "tls_client_ca", "tls_key", "write_tokens"),
}


class Row(NamedTuple):
    """A documented value: its path with dots, its default, and what it means."""

    path: str
    default: Any
    meaning: str


def rows(text: str) -> Iterator[Row]:
    """The documented values of a values file, in their order."""
    values = yaml.safe_load(text)
    above: list[tuple[int, str]] = []
    meaning: list[str] = []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("# -- "):
            meaning = [words.removeprefix("# -- ")]
        elif words.startswith("# ") and meaning:
            meaning.append(words.removeprefix("# "))
        elif words and not words.startswith(("#", "-")) and ":" in words:
            depth = len(line) - len(line.lstrip())
            above = [*(place for place in above if place[0] < depth), (depth, words.partition(":")[0])]
            if meaning:
                path = [name for _, name in above]
                yield Row(".".join(path), _at(values, path), " ".join(meaning))
            meaning = []


def _at(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name]
    return values


def readme() -> str:
    """The chart's README."""
    table = ["| value | default | meaning |", "|---|---|---|"]
    for row in rows((CHART / "values.yaml").read_text()):
        default = json.dumps(row.default, separators=(", ", ": "))
        meaning = row.meaning.replace("|", "\\|")
        table.append(f"| `{row.path}` | `{default}` | {meaning} |")
    return (CHECKOUT / "helm" / "README.in.md").read_text().replace("{{values}}", "\n".join(table))


def schema() -> str:
    """The schema of the values, with what the sidecar knows filled in."""
    document = json.loads((CHART / "values.schema.json").read_text())
    document["$defs"]["preset"]["enum"] = ["", *PRESETS]
    document["$defs"]["mode"]["enum"] = ["", *MODES]
    document["$defs"]["setting"]["enum"] = sorted(SETTINGS.keys() - ELSEWHERE)
    document["$defs"]["gatewaySetting"]["enum"] = sorted(SETTINGS.keys() - GATEWAY)
    return json.dumps(document, indent=2) + "\n"


def injection() -> str:
    """What the injector adds by default: the document that the chart renders, without anybody's wishes."""
    rendered = Chart.load(CHART).render({}, name="injection", namespace="default")
    (text,) = (
        document["data"]["injection.json"]
        for manifest in rendered.values()
        for document in _documents(manifest)
        if document.get("kind") == "ConfigMap" and "injection.json" in document["data"]
    )
    return json.dumps(json.loads(text), indent=2) + "\n"


def _documents(manifest: str) -> Iterator[Mapping[str, Any]]:
    if "apiVersion:" in manifest:
        yield from (document for document in yaml.safe_load_all(manifest) if document)


def chart() -> str:
    """Chart.yaml with the icon: a gauge, drawn here so that nothing needs to be fetched."""
    drawing = (CHECKOUT / "helm" / "icon.svg").read_bytes()
    icon = "icon: data:image/svg+xml;base64," + base64.b64encode(drawing).decode()
    lines = (CHART / "Chart.yaml").read_text().splitlines()
    return "\n".join(icon if line.startswith("icon:") else line for line in lines) + "\n"


OUTPUTS = {
    CHART / "README.md": readme,
    CHART / "Chart.yaml": chart,
    CHART / "values.schema.json": schema,
    CHECKOUT / "sidecar" / "kubernetes" / "injection.json": injection,
}

if __name__ == "__main__":
    for path, output in OUTPUTS.items():
        path.write_text(output())
        print(f"wrote {path.relative_to(CHECKOUT)}", file=sys.stderr)
