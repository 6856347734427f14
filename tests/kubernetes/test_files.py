"""What is written by hand here and follows from something there: each held to what it follows from."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sidecar
from sidecar.kubernetes import annotations
from sidecar.kubernetes.measures import Measures


@pytest.fixture(scope="module")
def generator(checkout):
    """helm/generate.py, which writes them."""
    spec = importlib.util.spec_from_file_location("generate", checkout / "helm" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_generated_is_as_the_generator_writes_it(generator):
    """`make chart` writes it anew."""
    assert [path.name for path, output in generator.OUTPUTS.items() if path.read_text() != output()] == []


def test_every_value_is_documented_and_every_documented_value_is_there(generator, chart_folder):
    text = (chart_folder / "values.yaml").read_text()
    documented = {row.path for row in generator.rows(text)}
    leaves = set(paths(yaml.safe_load(text)))
    assert {leaf for leaf in leaves if not any(f"{leaf}.".startswith(f"{row}.") for row in documented)} == set()
    assert text.count("# --") - 1 == len(documented)  # one is in the sentence that explains them


def paths(values, above=""):
    for name, value in values.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and value:
            yield from paths(value, f"{path}.")
        else:
            yield path


def test_the_schema_knows_the_values_and_no_others(chart_folder):
    values = yaml.safe_load((chart_folder / "values.yaml").read_text())
    schema = json.loads((chart_folder / "values.schema.json").read_text())

    def compare(part, known, path):
        if known.get("additionalProperties") is not False:
            return
        names = set(known["properties"]) - ({"global", "enabled"} if not path else set())
        if known.get("properties", {}).keys() >= {"name", "kind", "group"}:
            return  # an issuer's reference is empty by default
        assert names == set(part), path
        for name in part:
            if isinstance(part[name], dict):
                compare(part[name], known["properties"][name], f"{path}.{name}")

    compare(values, schema, "")
    assert schema["additionalProperties"] is False


def test_the_readme_tells_every_annotation_metric_and_template(chart_folder):
    readme = (chart_folder / "README.md").read_text()
    names = set(re.findall(r"`token-budget\.dev/([a-z-]+)`", readme))
    assert names == {*annotations.FORMS, "ignored"}
    templates = re.findall(
        r"^  (token-budget-sidecar\.\w+) ", (chart_folder / "templates/_pod.tpl").read_text(), re.MULTILINE
    )
    assert templates
    assert [template for template in templates if f"`{template}`" not in readme] == []


async def test_the_readme_tells_every_metric_of_the_injector(chart_folder):
    readme = (chart_folder / "README.md").read_text()
    exposed, _ = await Measures().render("")
    names = re.findall(r"^# TYPE (token_budget_\w+) ", exposed.decode(), re.MULTILINE)
    names = [name for name in names if not name.endswith("_created")]
    assert set(re.findall(r"`(token_budget_injector_\w+)`", readme)) == set(names)


def test_the_chart_has_the_version_of_the_package(chart_folder, example_folder):
    chart = yaml.safe_load((chart_folder / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == sidecar.__version__
    (image,) = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert image["image"].endswith(f":{sidecar.__version__}")
    (dependency,) = yaml.safe_load((example_folder / "Chart.yaml").read_text())["dependencies"]
    assert dependency["version"] == chart["version"]


def test_the_image_has_the_version_of_the_package(checkout):
    assert f"ARG VERSION={sidecar.__version__}\n" in (checkout / "Dockerfile").read_text()


def test_the_dockerfile_is_hadolint_clean(checkout):
    hadolint = Path(sys.executable).with_name("hadolint")
    told = subprocess.run(
        (hadolint, "--no-color", checkout / "Dockerfile"), capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, told.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo ls\n")
    hadolint = Path(sys.executable).with_name("hadolint")
    told = subprocess.run((hadolint, tmp_path / "Dockerfile"), capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert "DL3004" in told.stdout


def locked(path):
    """The locked versions, by name, of a file each of whose requirements has hashes."""
    text = path.read_text().replace("\\\n", " ")
    versions = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line.strip())
            assert hashes, line
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", each) for each in hashes)
            parsed = Requirement(requirement)
            (pin,) = parsed.specifier
            assert pin.operator == "=="
            versions[canonicalize_name(parsed.name)] = pin.version
    return versions


def test_the_image_is_built_from_versions_that_the_package_asks_for_each_with_its_hashes(checkout):
    """`make lock` chooses them anew."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    versions = locked(checkout / "requirements.txt")
    for text in (*project["dependencies"], *project["optional-dependencies"]["postgres"]):
        asked = Requirement(text)
        assert asked.specifier.contains(versions[canonicalize_name(asked.name)]), text


def test_the_wheel_in_the_image_is_built_with_what_the_package_asks_for(checkout):
    (asked,) = tomllib.loads((checkout / "pyproject.toml").read_text())["build-system"]["requires"]
    versions = locked(checkout / "requirements-build.txt")
    assert Requirement(asked).specifier.contains(versions[Requirement(asked).name])
