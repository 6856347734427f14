"""What the image is made of: the bill of materials is that of the locked versions, under licences that are allowed."""

import json
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Permissive ones, and MPL-2.0, which asks for nothing where its files are used as they are.
ALLOWED = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PSF-2.0", "Python-2.0"}


@pytest.fixture
def components(checkout):
    """The components of the bill, by name."""
    bom = json.loads((checkout / ".ci" / "sbom.cdx.json").read_text())
    assert bom["bomFormat"] == "CycloneDX"
    return {canonicalize_name(each["name"]): each for each in bom["components"]}


def licence_of(component):
    (told,) = component["licenses"]
    return told.get("expression") or told["license"]["id"]


def test_the_bill_of_materials_is_of_the_locked_versions(checkout, components):
    """`make sbom` writes it anew."""
    lines = re.findall(r"^(\S+==\S+)(?: *;[^\\]*)?", (checkout / "requirements.txt").read_text(), re.MULTILINE)
    locked = [Requirement(line) for line in lines]
    assert len(locked) > 20
    pinned = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in locked}
    assert {name: component["version"] for name, component in components.items()} == pinned


def test_every_licence_is_one_that_is_allowed(components):
    for name, component in components.items():
        assert set(re.split(r" AND |[()]", licence_of(component))) - {""} <= ALLOWED, name


def test_the_list_for_people_says_the_same(checkout, components):
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$", (checkout / ".ci" / "THIRD-PARTY.md").read_text(), re.MULTILINE
    )
    told = {canonicalize_name(name): (version, licence) for name, version, licence in rows if name != "package"}
    assert told == {name: (each["version"], licence_of(each)) for name, each in components.items()}


def test_every_component_is_found_by_its_package_url(components):
    for name, component in components.items():
        assert component["purl"] == f"pkg:pypi/{name}@{component['version']}"
