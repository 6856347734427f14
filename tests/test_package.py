"""What is installed is what was written: the wheel carries everything and runs without the checkout."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import sidecar


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """A folder with the sdist, and with the wheel that the declared backend builds from the sdist alone."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    """The wheel."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel in it; its dependencies are those of the environment that runs the tests."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    (packages,) = home.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, but the .pth files behind it are not read: the checkout's own
    # editable installation stays out of sight.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program to its end; return what it printed, or fail with what it complained about."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def declared(checkout: Path) -> str:
    version: str = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    return version


def test_the_version_is_the_one_that_pyproject_declares(checkout):
    assert sidecar.__version__ == declared(checkout)


def test_the_public_face_is_sorted_and_every_name_in_it_exists():
    assert sidecar.__all__ == sorted(sidecar.__all__)
    assert [name for name in sidecar.__all__ if not hasattr(sidecar, name)] == []
    assert set(sidecar.__all__) <= set(dir(sidecar))


def test_a_name_that_the_package_does_not_have_is_an_attribute_error_that_says_so():
    with pytest.raises(AttributeError, match="module 'sidecar' has no attribute 'nonsense'"):
        _ = sidecar.nonsense


def test_importing_the_package_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import sidecar; print(*sorted(set(sys.modules) - before))"
    loaded = set(run(sys.executable, "-c", code).split())
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == {"sidecar"}


def test_the_wheel_carries_every_file_of_the_package(checkout, wheel):
    """Data too: schemas, recordings, the live page, the marker of typed packages."""
    written = {
        str(path.relative_to(checkout))
        for path in (checkout / "sidecar").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("sidecar/")}
    assert carried == written
    assert "sidecar/py.typed" in carried


def test_the_wheel_is_the_package_and_its_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"sidecar", f"{wheel.name.split('-py3')[0]}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_is_what_the_wheel_is_built_from_and_what_tells_of_it(built, checkout):
    """No tests, charts or dashboards: they need the checkout, with its links from one folder to another."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    told = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md", ".gitignore", "pyproject.toml"}
    assert {name for name in names if not name.startswith("sidecar/")} == told
    assert f"## [{declared(checkout)}]" in (checkout / "CHANGELOG.md").read_text(), "a release that nobody is told of"


def test_the_classifiers_are_the_pythons_that_a_release_is_tried_on(checkout):
    from tests.test_release import VERSIONS

    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    classified = {name.rpartition(" ")[2] for name in project["classifiers"] if "Python :: 3." in name}
    assert classified == set(VERSIONS)
    assert project["requires-python"] == f">={VERSIONS[0]}"


def test_the_installed_package_is_found_outside_the_checkout(installed, tmp_path):
    where = run(installed / "bin" / "python", "-c", "import sidecar; print(sidecar.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)


def test_the_installed_command_runs_outside_the_checkout_and_tells_its_version(installed, tmp_path, checkout):
    printed = run(installed / "bin" / "token-budget-sidecar", "--version", cwd=tmp_path)
    assert declared(checkout) in printed


def test_the_command_and_the_module_are_the_same_program(installed, tmp_path):
    by_module = run(installed / "bin" / "python", "-m", "sidecar", "--version", cwd=tmp_path)
    assert by_module == run(installed / "bin" / "token-budget-sidecar", "--version", cwd=tmp_path)
