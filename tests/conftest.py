"""What every test may count on: where the checkout is, and real programs where they are installed."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from sidecar.budget import presets
from tests.budget.variants import VARIANTS

# A deadline would judge how busy the machine is, and so would a check of how fast examples are made. In CI a commit
# always gets the same examples; elsewhere new ones.
UNHURRIED = (hypothesis.HealthCheck.too_slow,)
hypothesis.settings.register_profile("local", deadline=None, suppress_health_check=UNHURRIED, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, suppress_health_check=UNHURRIED, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_finish() -> None:
    """Leave what was imported and collected, hundreds of megabytes, out of every search for garbage from here on."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _presets(request: pytest.FixtureRequest) -> Iterator[None]:
    """The policies of a test module are presets for its own tests alone: much is generated from those that ship."""
    shipped = dict(presets._PRESETS)
    for value in vars(request.module).values():
        if isinstance(value, str) and value in VARIANTS:
            presets.add_preset(VARIANTS[value])
    yield
    presets._PRESETS.clear()
    presets._PRESETS.update(shipped)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def need_program() -> Callable[[str], str]:
    """Find an installed program by name, or skip the test in the words that CI counts as a failure."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"MISSING TOOL: {name} is not installed (`make tools` does it where it may)")
        return path

    return find
