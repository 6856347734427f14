"""The import contracts of .importlinter hold, and they bite: each is broken in a copy of the sources and reported."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

# A room, and one that it must not know: each floor against the one above it, neighbours against each other.
FORBIDDEN = [
    ("budget", "journal"),
    ("journal", "ledger"),
    ("ledger", "receivers"),
    ("ledger", "exporters"),
    ("receivers", "exporters"),
    ("exporters", "receivers"),
    ("receivers", "config"),
    ("config", "app"),
    ("app", "lab"),
    ("lab", "kubernetes"),
    ("kubernetes", "lab"),
    ("lab", "__main__"),
    ("access", "receivers"),
    ("access", "ledger"),
    ("ledger", "access"),
    ("client", "access"),
    ("client", "budget"),
    ("client", "config"),
    ("budget", "client"),
    ("receivers", "client"),
    ("app", "client"),
]
WORLD = [
    "aiohttp",
    "asyncio",
    "logging",
    "opentelemetry",
    "os",
    "prometheus_client",
    "pydantic",
    "random",
    "socket",
    "sqlite3",
    "time",
]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = (LINT_IMPORTS, "--no-cache", "--no-logo")
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60, check=False)


def copied(checkout: Path, place: Path) -> Path:
    """The sources and their contracts, in a place where they may be broken."""
    shutil.copytree(checkout / "sidecar", place / "sidecar", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / ".importlinter", place)
    return place


@pytest.fixture
def copy(checkout, tmp_path):
    """A copy for a test of its own."""
    return copied(checkout, tmp_path)


@pytest.fixture(scope="module")
def forbidden(checkout, tmp_path_factory):
    """What is said of a tree with every forbidden import at once, each in a module of its own: to check takes long."""
    tree = copied(checkout, tmp_path_factory.mktemp("forbidden"))
    for room, above in FORBIDDEN:
        ensure_room(tree, above)
        plant(tree, room, f"sidecar.{above}", module=planted(above))
    return lint(tree)


def planted(above: str) -> str:
    """The module that imports a room which it must not know."""
    return f"planted_{above.strip('_')}"


def importer(tree: Path, room: str, module: str) -> tuple[str, Path]:
    """The name and the file of a module of the room, or of the room where that is one module."""
    file = tree / "sidecar" / f"{room}.py"
    return (
        (f"sidecar.{room}", file)
        if file.exists()
        else (f"sidecar.{room}.{module}", file.parent / room / f"{module}.py")
    )


def plant(tree: Path, room: str, *imported: str, module: str = "planted") -> str:
    """Write the imports into a new module of the room, or at the end of a room that is one module; return its name."""
    ensure_room(tree, room)
    name, file = importer(tree, room, module)
    with file.open("a") as lines:
        lines.writelines(f"\nimport {module}" for module in imported)
    return name


def ensure_room(tree: Path, room: str) -> None:
    """Give a room that is not built yet an empty module, so that its rule is tried all the same."""
    package, module = tree / "sidecar" / room, tree / "sidecar" / f"{room}.py"
    if not package.is_dir() and not module.exists():
        module.touch()


def test_the_tree_as_it_stands_keeps_every_contract(checkout):
    result = lint(checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(("room", "above"), FORBIDDEN)
def test_a_room_that_imports_what_it_must_not_know_fails_the_build(checkout, forbidden, room, above):
    name, _ = importer(checkout, room, planted(above))
    assert forbidden.returncode == 1, forbidden.stdout + forbidden.stderr
    assert f"{name} -> sidecar.{above} " in forbidden.stdout


def test_a_budget_that_reaches_for_the_world_fails_the_build(copy):
    name = plant(copy, "budget", *WORLD)
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert [module for module in WORLD if f"{name} -> {module} " not in result.stdout] == []


def test_a_module_that_belongs_to_no_room_fails_the_build(copy):
    (copy / "sidecar" / "utils.py").touch()
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "utils" in result.stdout
