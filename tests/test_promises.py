"""What is promised is tested: each sentence of tests/promises.toml names tests that there are."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SECTIONS = tomllib.loads((CHECKOUT / "tests/promises.toml").read_text("utf-8"))["section"]
NUMBERS = ["1", "2", *(f"3.{part}" for part in range(1, 12)), "4", "5", "6", "7", "8"]
NAMED = re.compile(r"SPEC (?:sections? )?(\d+(?:\.\d+)?(?:(?:,| and) \d+(?:\.\d+)?)*)")


@cache
def names_in(file: str) -> frozenset[str]:
    """The tests that a file defines, or names as a class of its own: read, not run. A measure has none."""
    tree = ast.parse((CHECKOUT / file).read_text("utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    classes = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(name for name in names | classes if name.lower().startswith("test"))


def test_every_section_promises_something():
    assert [section["number"] for section in SECTIONS] == NUMBERS
    assert [section["number"] for section in SECTIONS if not section["promises"]] == []


@pytest.mark.parametrize("section", SECTIONS, ids=[section["number"] for section in SECTIONS])
def test_a_promise_is_a_sentence_with_tests_that_there_are(section):
    for promise in section["promises"]:
        assert re.fullmatch(r"[\w].+\.", promise["says"])
        assert promise["tests"], f"nothing holds: {promise['says']}"
        for test in promise["tests"]:
            file, _, name = test.partition("::")
            assert name in names_in(file) if name else file.startswith("tests/benchmarks/") or names_in(file), test


def test_no_promise_is_made_twice():
    said = [promise["says"] for section in SECTIONS for promise in section["promises"]]
    assert sorted(said) == sorted(set(said))


def test_a_test_that_is_not_there_is_noticed():
    assert "test_a_scrape_reads_the_future" not in names_in("tests/exporters/test_scrape.py")
    assert "TestSessions" in names_in("tests/budget/test_properties.py")


def test_each_section_that_the_code_names_is_one():
    """A comment that says where a rule comes from leads somewhere."""
    named: dict[str, str] = {}
    for folder in ("sidecar", "tests", "dashboards"):
        for path in (*(CHECKOUT / folder).rglob("*.py"), *(CHECKOUT / folder).rglob("*.md")):
            for match in NAMED.finditer(path.read_text("utf-8")):
                for number in re.findall(r"\d+(?:\.\d+)?", match[1]):
                    named[number] = str(path.relative_to(CHECKOUT))
    assert named
    assert {number: path for number, path in named.items() if number not in {*NUMBERS, "3"}} == {}
