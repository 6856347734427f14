"""Reads the written dashboards and rules the way Grafana and Prometheus do."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "dashboards"
DASHBOARDS = tuple(sorted((FOLDER / "grafana").glob("*.json")))
RULES = tuple(sorted((FOLDER / "prometheus").glob("*.yaml")))
RULE_TESTS = tuple(sorted((FOLDER / "prometheus" / "tests").glob("*.yaml")))

# What Grafana puts in for its variables: longest name first, or `$__range` would be found in `$__rate_interval`.
SAMPLE = {
    "$__rate_interval": "5m",
    "$__interval_ms": "15000",
    "$__interval": "15s",
    "$__range": "1h",
    "$instance": ".+",
    "$agent": "codex",
    "$job": ".+",
}


@cache
def dashboard(path: Path) -> Any:
    """A written dashboard."""
    return json.loads(path.read_text())


def panels(board: Any) -> Iterator[Any]:
    """All panels, those in folded rows too, the rows left out."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


@dataclass(frozen=True)
class Expression:
    """An expression, and where it stands."""

    where: str
    text: str


def panel_expressions(board: Any) -> Iterator[Expression]:
    """The expressions of a dashboard's panels."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield Expression(f"{board['uid']}: {panel['title']} {target['refId']}", target["expr"])


def annotation_expressions(board: Any) -> Iterator[Expression]:
    """The expressions of a dashboard's annotations."""
    for each in board["annotations"]["list"]:
        yield Expression(f"{board['uid']}: annotation {each['name']}", each["expr"])


def rules() -> Iterator[tuple[str, Any]]:
    """All recording rules and alerts, each with its group's name."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield group["name"], rule


def alerts() -> list[Any]:
    """All alerts."""
    return [rule for _, rule in rules() if "alert" in rule]


def rule_expressions() -> Iterator[Expression]:
    """The expressions of all rules."""
    for group, rule in rules():
        yield Expression(f"{group}: {rule.get('alert') or rule['record']}", rule["expr"])


def expand(text: str, values: Mapping[str, str] = SAMPLE) -> str:
    """An expression with the variables of Grafana filled in."""
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, values[name])
    assert "$" not in text, f"a variable is left in {text}"
    return text


def nodes(text: str) -> list[tuple[Any, tuple[Any, ...]]]:
    """The parts of an expression, each with those around it, the outermost first."""
    found: list[tuple[Any, tuple[Any, ...]]] = []
    around: list[Any] = []

    def enter(node: Any) -> None:
        found.append((node, tuple(around)))
        around.append(node)

    def leave(_: Any) -> None:
        around.pop()

    promql_parser.walk(promql_parser.parse(text), pre_visit=enter, post_visit=leave)
    return found


def selectors(text: str) -> list[Any]:
    """All vector selectors of an expression, those of ranges too."""
    return [node for node, _ in nodes(text) if isinstance(node, promql_parser.VectorSelector)]


def words(name: str) -> str:
    """A name as an anchor of Markdown has it."""
    return re.sub(r"[^a-z0-9 -]", "", name.lower()).replace(" ", "-")
