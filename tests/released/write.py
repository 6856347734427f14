"""Writes what operators and agents rely on, when a version is released: `python -m tests.released.write`."""

import json
import tomllib
from pathlib import Path

from sidecar.__main__ import COMMANDS
from sidecar.budget.commands import EVENTS
from sidecar.config.load import SETTINGS
from sidecar.exporters.catalog import CATALOG
from sidecar.receivers.operations import OPERATIONS

HERE = Path(__file__).parent


def names() -> dict[str, list[str]]:
    """What is there now, by kind; a metric with its labels."""
    return {
        "metrics": sorted(f"{metric.name}{{{','.join(metric.labels)}}}" for metric in CATALOG),
        "settings": sorted(SETTINGS),
        "commands": sorted(COMMANDS),
        "calls": sorted(f"{each.method} {each.path}" for each in OPERATIONS),
        "events": sorted(EVENTS),
    }


def main() -> None:
    """Write the file of the version that pyproject.toml declares."""
    version = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    lines = [f"# The interface of {version}: python -m tests.released.write", ""]
    for kind, found in names().items():
        lines += [f"{kind} = [", *(f"    {json.dumps(name)}," for name in found), "]"]
    (HERE / f"{version}.toml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
