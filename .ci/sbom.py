"""Bring what cyclonedx-py found in the image's environment into the form that is kept: `sbom.cdx.json`, THIRD-PARTY.md.

    make sbom

Kept are names, versions, package URLs, licences and who depends on whom; descriptions and links are left out. A licence
that is told twice, by an expression and by a classifier, is told once.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
# What metadata says otherwise than by an SPDX identifier, or only in a file.
SPDX = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
IN_A_FILE = {"protobuf": "BSD-3-Clause"}
HEAD = """# Third-party software

What the image has besides Python itself, at the versions of requirements.txt, by licence as each package declares it.
Written by `make sbom`, which writes [sbom.cdx.json](sbom.cdx.json) (CycloneDX 1.6) as well. A test holds both to
requirements.txt, and the licences to those that are allowed.

| package | version | licence |
|---|---|---|
"""


def licences(component: dict[str, Any]) -> Iterator[str]:
    """What a component is under, each once."""
    found = []
    for each in component.get("licenses", ()):
        licence = each.get("license", {})
        name = each.get("expression") or licence.get("id") or licence.get("name")
        found.append(SPDX.get(name, name))
    yield from dict.fromkeys(found or [IN_A_FILE[component["name"]]])


def kept(component: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a component."""
    names = ("bom-ref", "type", "name", "version", "purl")
    told = " AND ".join(f"({each})" if " " in each else each for each in licences(component))
    licence = {"expression": told.strip("()")} if " " in told else {"license": {"id": told}}
    return {name: component[name] for name in names if name in component} | {"licenses": [licence]}


def main(found: Path) -> None:
    """Write both files."""
    bom = json.loads(found.read_text())
    bom["components"] = [kept(each) for each in bom["components"]]
    root = bom["metadata"]["component"]
    bom["metadata"] = {
        "component": {name: root[name] for name in ("bom-ref", "type", "name", "version") if name in root}
    }
    bom["metadata"]["component"]["licenses"] = [{"license": {"id": "Apache-2.0"}}]
    (CHECKOUT / ".ci" / "sbom.cdx.json").write_text(json.dumps(bom, indent=1) + "\n")
    rows = []
    for each in sorted(bom["components"], key=lambda each: each["name"].lower()):
        (licence,) = each["licenses"]
        rows.append(f"| {each['name']} | {each['version']} | {licence.get('expression') or licence['license']['id']} |")
    (CHECKOUT / ".ci" / "THIRD-PARTY.md").write_text(HEAD + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
