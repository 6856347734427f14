"""What makes two items, and two puts of one, the same."""

from copy import copy

import pytest

from sidecar.budget.entries import DERIVED, ItemPut
from sidecar.budget.items import Item
from tests.budget.cleaning import item

OTHER = {"kind": "debug", "component": "agent_context", "group": "g", "path": "p", "fingerprint": "f"}


@pytest.mark.parametrize("field", Item.__struct_fields__)
def test_items_differ_in_what_is_said_of_them_and_not_in_what_the_fold_finds_again(field):
    one = item("a", "file", 5)
    other = copy(one)
    assert one == other
    value = getattr(one, field)
    setattr(other, field, OTHER.get(field, f"{value}1" if isinstance(value, str) else (value or 0) + 1))
    assert (one == other) is (field in DERIVED)


def test_a_put_is_the_same_whether_or_not_it_replaces_a_content():
    one = ItemPut(time=1.0, item=item("a", "file"), replaces=False)
    assert one == ItemPut(time=1.0, item=item("a", "file"))
    assert one != ItemPut(time=1.0, item=item("a", "file"), new=False)
    assert one != one.item
