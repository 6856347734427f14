"""From JSON to commands: the shapes that commands.py declares, checked by pydantic, and what is wrong in plain words.

Every broken rule of a body is reported, each with the path of its field and a sentence that names both.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from sidecar.receivers.outlines import LARGE, Unlike, outline

T = TypeVar("T")

# `Time` is the only union of types in a command; pydantic reports its parts one by one, each as a place of its own.
TIMES = frozenset({"time", "created_at", "last_accessed_at"})
TIME_BRANCHES = ("float", "str")
TIME_RULE = "must be RFC 3339 with an offset, as in 2026-01-31T08:00:00Z, or seconds since the epoch"

# Nobody reads more; and describing each of the million errors that fit into a body would take the sidecar's memory.
MANY = 100

# pydantic's error types -> our rule, completing "<path> ...". `{name}` is filled from the error's context.
RULES: Mapping[str, str] = {
    "json_invalid": "is not valid JSON: {error}",
    "missing": "is required",
    "unexpected_keyword_argument": "is not a field that is known here",
    "int_type": "must be a whole number",
    "int_parsing_size": "must be a whole number that is not so large",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must not contain control characters",
    "too_short": "must have {min_length} or more",
    "too_long": "must have at most {max_length}",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "is required",
    "union_tag_invalid": "must be {expected_tags}",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken rule, which completes the sentence "<path> ..."; without a path it is about `whole`."""

    path: str
    rule: str
    whole: str = "the body"

    @property
    def detail(self) -> str:
        """The sentence."""
        return f"{self.path or self.whole} {self.rule}"


class Malformed(Exception):
    """A body that is not of its command's shape."""

    def __init__(self, *broken: Broken) -> None:
        super().__init__("; ".join(rule.detail for rule in broken))
        self.broken = broken


class NotJson(Malformed):
    """A body that is no JSON at all."""


class Shape(Generic[T]):
    """The shape of a body. Checking is strict, so text is no number and an unknown field is an error.

    It is built once, for the first body, which takes milliseconds: a start need not wait for those that nobody uses.
    """

    __slots__ = ("_adapter", "_look", "_tagged", "_type", "_validate", "_whole")

    def __init__(self, type_: Any, *, tagged: bool = False, whole: str = "the body") -> None:
        """`tagged`: the type is a union that the field `type` tells apart; its tag is no part of a path.

        `whole`: what to call the value in a sentence.
        """
        self._whole = whole
        self._adapter: TypeAdapter[T] | None = None
        self._validate: Callable[[bytes], T] = self._validate_first
        self._tagged = tagged
        self._type = type_
        self._look: Callable[[bytes], None] | None = None  # made for the first large body

    def build(self) -> TypeAdapter[T]:
        """What checks values, made now if it was not yet."""
        if self._adapter is None:
            self._adapter = TypeAdapter(self._type)
            self._validate = self._adapter.validator.validate_json
        return self._adapter

    def _validate_first(self, body: bytes) -> T:
        self.build()
        return self._validate(body)

    def read(self, body: bytes) -> T:
        """The value that the body describes. Raises `Malformed`."""
        if len(body) > LARGE:
            self.look_at(body)
        try:
            value = self._validate(body)
        except ValidationError as error:
            raise self._malformed(error) from None
        return value

    def check(self, value: object) -> T:
        """A value that is decoded already. Raises `Malformed`."""
        try:
            return (self._adapter or self.build()).validate_python(value)
        except ValidationError as error:
            raise self._malformed(error) from None

    def look_at(self, body: bytes) -> None:
        """Raise `Malformed` at the first thing in a large body that is not where the shape has it."""
        if self._look is None:
            self._look = outline(self._type)
        try:
            self._look(body)
        except Unlike as error:
            raise Malformed(Broken(error.path, error.rule, self._whole)) from None
        except ValueError as error:
            raise NotJson(Broken("", f"is not valid JSON: {error}", self._whole)) from None

    def _malformed(self, error: ValidationError) -> Malformed:
        if error.error_count() > MANY:
            return Malformed(Broken("", f"breaks a rule in {error.error_count():,} places", self._whole))
        problems = error.errors(include_url=False, include_input=False)
        rules: dict[str, str] = {}
        for problem in problems:
            path, rule = _rule(problem, problem["loc"][1:] if self._tagged else problem["loc"])
            rules.setdefault(path, rule)
        broken = (Broken(path, rule, self._whole) for path, rule in rules.items())
        return NotJson(*broken) if problems[0]["type"] == "json_invalid" else Malformed(*broken)


def _rule(problem: ErrorDetails, location: tuple[int | str, ...]) -> tuple[str, str]:
    """The path of what is wrong, and the rule that it breaks."""
    kind, context = problem["type"], _spelled(problem.get("ctx", {}))
    if kind.startswith("union_tag"):
        return "type", RULES[kind].format_map(context)
    if location[-2:-1] and location[-2] in TIMES and location[-1] in TIME_BRANCHES:
        return path_of(location[:-1]), TIME_RULE
    rule = RULES[kind].format_map(context) if kind in RULES else f"is wrong: {problem['msg']}"
    if location[-1:] == ("[key]",):
        return path_of(location[:-1]), f"has a name that does not fit: it {rule}"
    return path_of(location), rule


def _spelled(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context of an error as it reads in a sentence: choices without quotes, whole numbers without a fraction."""
    spelled = {}
    for name, value in context.items():
        if isinstance(value, float) and value.is_integer():
            spelled[name] = f"{value:.0f}"
        elif isinstance(value, int):
            spelled[name] = f"{value:,}"
        else:
            spelled[name] = re.sub(r"'(\w+)'", r"\1", str(value))
    if "expected_tags" in spelled:
        spelled["expected_tags"] = f"one of {spelled['expected_tags']}"
    return spelled


def path_of(location: tuple[int | str, ...]) -> str:
    """`("items", 3, "tokens")` as `items[3].tokens`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
