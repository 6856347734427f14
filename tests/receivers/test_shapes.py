"""From JSON to commands: every command's shape, strict, and what pydantic says in our words."""

import dataclasses
import functools
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget import commands
from sidecar.budget.commands import Command, RequestAllocation, SyncWindow
from sidecar.receivers.events import event_shapes
from sidecar.receivers.shapes import RULES, Malformed, NotJson, Shape, path_of

COMMANDS = [
    cls for cls in vars(commands).values() if isinstance(cls, type) and issubclass(cls, Command) and cls is not Command
]


@functools.cache
def shape_of(command: Any) -> Shape[Command]:
    return Shape(command)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.type)
def test_every_command_refuses_a_field_that_it_does_not_have(command):
    with pytest.raises(Malformed) as caught:
        Shape(command).read(b'{"no_such_field": 1}')
    assert "no_such_field is not a field that is known here" in str(caught.value)


@given(command=st.sampled_from(COMMANDS), data=st.data())
def test_whatever_json_a_field_holds_it_is_read_or_refused_with_its_path(command, data):
    names = [field.name for field in dataclasses.fields(command)]
    body = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    shape = shape_of(command)
    try:
        value = shape.read(json.dumps(body).encode())
    except NotJson:
        return  # a number too large, or half a surrogate pair
    except Malformed as error:
        for broken in error.broken:
            assert broken.detail == f"{broken.path or 'the body'} {broken.rule}"
            assert broken.path.partition("[")[0].partition(".")[0] in {*names, ""}
            assert "Input should" not in broken.rule
    else:
        assert type(value) is command


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_whatever_bytes_come_they_are_read_or_refused(body):
    one, many = event_shapes()
    for shape in (one, many, Shape(SyncWindow)):
        with pytest.raises(Malformed):
            shape.read(body)


def test_an_event_is_its_command_with_a_session():
    one, _ = event_shapes()
    event = one.read(b'{"type":"request_allocation","session":"s1","component":"working_memory","tokens":5}')
    assert isinstance(event, RequestAllocation)
    assert (event.session, event.type, event.tokens) == ("s1", "request_allocation", 5)


def test_many_events_stop_at_the_first_that_is_wrong():
    _, many = event_shapes()
    with pytest.raises(Malformed) as caught:
        many.read(b"[" + b",".join([b"{}"] * 1_000) + b"]")
    assert len(caught.value.broken) == 1


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ((), ""),
        (("tokens",), "tokens"),
        (("item", "tokens"), "item.tokens"),
        (("items", 3, "tokens"), "items[3].tokens"),
        ((3, "a"), "[3].a"),
    ],
)
def test_a_place_is_written_as_people_write_it(location, path):
    assert path_of(location) == path


def test_every_constraint_of_the_commands_has_words_of_ours():
    """What pydantic can find wrong with the types and bounds that commands use."""
    used = {"missing", "unexpected_keyword_argument", "dataclass_type"}
    kinds = {
        int: "int_type", float: "float_type", str: "string_type", bool: "bool_type", list: "list_type",
        dict: "dict_type", typing.Literal: "literal_error",
    }  # fmt: skip
    bounds = {"Ge": "greater_than_equal", "Le": "less_than_equal"}

    def walk(hint):
        origin = typing.get_origin(hint)
        used.update(kinds[each] for each in (hint, origin) if each in kinds)
        used.update(
            bounds[type(each).__name__] for each in getattr(hint, "__metadata__", ()) if type(each).__name__ in bounds
        )
        for part in typing.get_args(hint):
            if isinstance(part, type) or typing.get_origin(part) is not None:
                walk(part)

    for command in COMMANDS:
        for hint in typing.get_type_hints(command, include_extras=True).values():
            walk(hint)
    assert {"int_type", "literal_error", "greater_than_equal"} <= used <= set(RULES)
