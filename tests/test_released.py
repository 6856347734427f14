"""What a released version had is still there, or the changelog tells operators that it is not."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.released.write import names

CHECKOUT = Path(__file__).resolve().parents[1]
RELEASED = {path.stem: tomllib.loads(path.read_text()) for path in (CHECKOUT / "tests/released").glob("*.toml")}
PANELS = {
    panel["title"]
    for path in (CHECKOUT / "dashboards/grafana").glob("*.json")
    for panel in json.loads(path.read_text())["panels"]
    if panel.get("title")
}


def told(changelog: str, name: str) -> list[str]:
    """The points under Changed or Removed that speak of the name."""
    sections = re.findall(r"^### (?:Changed|Removed)\n(.*?)(?=^###? |\Z)", changelog, re.MULTILINE | re.DOTALL)
    points = [point for section in sections for point in re.split(r"^- ", section, flags=re.MULTILINE)]
    return [point for point in points if f"`{name}`" in point]


def silent(released: dict[str, list[str]], now: dict[str, list[str]], changelog: str) -> set[str]:
    """What was released, is gone, and is not told; of a metric, which panels move, or that none does."""
    found = set()
    for kind, before in released.items():
        for name in set(before) - set(now[kind]):
            plain = name.partition("{")[0]
            points = told(changelog, plain)
            moves = kind != "metrics" or any(
                "no panel" in point or any(title in point for title in PANELS) for point in points
            )
            if not points or not moves:
                found.add(name)
    return found


@pytest.mark.parametrize("version", RELEASED)
def test_what_was_released_is_there_or_its_end_is_told(version):
    assert silent(RELEASED[version], names(), (CHECKOUT / "CHANGELOG.md").read_text("utf-8")) == set()


def test_a_change_that_nobody_is_told_of_is_noticed():
    before = {"metrics": ["token_budget_old_total{agent}"], "settings": ["old"]}
    now: dict[str, list[str]] = {"metrics": [], "settings": []}
    assert silent(before, now, "### Changed\n\n- `other` is new\n") == {"token_budget_old_total{agent}", "old"}
    half = "### Changed\n\n- `old` is `new` now.\n- `token_budget_old_total` is `token_budget_new_total` now.\n"
    assert silent(before, now, half) == {"token_budget_old_total{agent}"}
    whole = half.replace("_new_total` now", f"_new_total` now: the panel *{min(PANELS)}* moves")
    assert silent(before, now, whole + "\n## [0.1.0]\n") == set()


def test_every_version_of_the_changelog_has_its_interface_kept():
    changelog = (CHECKOUT / "CHANGELOG.md").read_text("utf-8")
    assert set(RELEASED) == set(re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE))
