"""A policy from a file: what it takes from its base, and what it says when it is wrong."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from sidecar.budget.presets import PRESETS
from sidecar.lab.backtest import files
from sidecar.lab.backtest.arms import NAMES, arms
from sidecar.lab.backtest.files import PolicyError, read_policy

README = Path(files.__file__).with_name("README.md")


@pytest.fixture
def write(tmp_path):
    """Write a policy file and return its path."""

    def write_it(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_it


def test_a_policy_is_its_base_and_what_the_file_says_otherwise(write):
    policy = read_policy(
        write("""
            base = "standard"
            total_tokens = 128_000
            cleanup.evict_count = 7
            adapt.interval = 600
            [components.working_memory]
            share = 0.35
            steps = ["evict_lru"]
            [components.interaction_buffer]
            share = 0.20
            target.high = 0.9
        """)
    )
    standard = PRESETS["standard"]
    assert policy.name == "mine"
    assert policy.total_tokens == 128_000
    assert policy.cleanup.evict_count == 7
    assert policy.cleanup.evict_above == standard.cleanup.evict_above
    assert policy.adapt.interval == 600
    assert policy.components["working_memory"].steps == ("evict_lru",)
    assert policy.components["interaction_buffer"].target.high == 0.9
    assert policy.components["interaction_buffer"].target.low == standard.components["interaction_buffer"].target.low
    assert policy.components["knowledge_base"] == standard.components["knowledge_base"]


@pytest.mark.parametrize("page", [files.__doc__, README.read_text(encoding="utf-8")], ids=["module", "README"])
def test_the_policy_that_a_page_shows_can_be_read(page, write):
    (example,) = re.findall(r"^ *base = .*\n(?: *[a-z_.]+ = .*\n)+", page, re.MULTILINE)
    policy = read_policy(write(dedent(example)))
    assert policy.cleanup.evict_count == 10


def test_a_file_that_says_nothing_is_the_standard_under_another_name(write):
    policy = read_policy(write('name = "same"'))
    standard = PRESETS["standard"]
    for field in ("components", "cleanup", "adapt", "predict", "window", "elastic", "calibrate", "overall_target"):
        assert getattr(policy, field) == getattr(standard, field)


def test_off_takes_away_what_the_base_has(write):
    assert PRESETS["coding-agent"].window.upper is not None
    assert read_policy(write('base = "coding-agent"\nwindow.upper = "off"')).window.upper is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cleanup.evict_cuont = 7", "mine.toml: cleanup.evict_cuont: there is no such setting; expected one of"),
        ("evict_count = 7", "mine.toml: evict_count: there is no such setting; expected one of name, components"),
        (
            "components.memory.share = 0.1",
            "components.memory: there is no such setting; expected one of system_context",
        ),
        ("cleanup = 7", "mine.toml: cleanup: expected a table of large_item_tokens"),
        ('cleanup.evict_count = "7"', "Expected `int`, got `str` - at `cleanup.evict_count`"),
        ('components.working_memory.steps = ["evict"]', "Invalid enum value 'evict'"),
        ("components.working_memory.share = 0.5", "the shares must sum to 1, not 1.2"),
        ('base = "strict"', "base: expected one of standard, coding-agent"),
        ("base = ", "mine.toml: is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_names_the_file_the_field_and_the_rule(write, text, said):
    with pytest.raises(PolicyError) as error:
        read_policy(write(text))
    assert said in str(error.value)
    assert "mine.toml" in str(error.value)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        read_policy(tmp_path / "none.toml")


def test_a_name_that_is_no_policy_is_answered_with_those_that_are():
    with pytest.raises(PolicyError, match="--preset strict: expected one of standard, adapted, elastic, coding-agent"):
        arms(["strict"], [])


def test_two_policies_cannot_have_one_name(write):
    with pytest.raises(PolicyError, match="is the name of a preset"):
        arms([], [write('name = "standard"')])
    with pytest.raises(PolicyError, match="standard: is compared twice"):
        arms(["standard", "standard"], [])


def test_standard_is_shown_first_and_the_variants_before_other_presets():
    shipped = [name for name in NAMES if not name.startswith("test-")]  # those that other tests have added
    assert shipped == ["standard", "adapted", "elastic", "coding-agent"]
