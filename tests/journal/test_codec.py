from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.budget.entries import AnyEntry, Noted
from sidecar.journal import JournalError, codec
from sidecar.journal.codec import ENTRIES, decode, encode
from tests.journal.shapes import entries, noted, put, values_of


@settings(max_examples=400)
@given(st.lists(entries, min_size=1, max_size=4))
def test_a_frame_is_read_back_as_it_was_written(frame):
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize("cls", get_args(AnyEntry), ids=lambda cls: cls.type)
def test_every_entry_goes_there_and_back(cls):
    @settings(max_examples=25)
    @given(values_of(cls))
    def law(entry):
        assert decode(encode([entry])) == [entry]

    law()


def test_every_entry_has_its_own_type():
    assert len(ENTRIES) == len(get_args(AnyEntry))


def test_what_is_by_default_is_not_written():
    assert encode([Noted(time=1.5)]) == b'[{"type":"noted","time":1.5}]'
    assert b"pinned" not in encode([put("i")])


def test_what_differs_from_a_default_is_written_even_if_it_is_false_or_empty():
    assert b'"new":false' in encode([put("i", new=False)])
    assert b'"event":""' in encode([Noted(time=1.0, event="")])
    assert b'"content":0' in encode([put("i", content=0)])


def test_a_field_that_a_younger_version_added_does_not_disturb():
    assert decode(b'[{"type":"noted","time":1.0,"colour":"red"}]') == [Noted(time=1.0)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b"{}",
        b"[1]",
        b'[{"time":1.0}]',
        b'[{"type":"noted"}]',
        b'[{"type":"noted","time":"soon"}]',
        b'[{"type":"no such entry","time":1.0}]',
        b'[{"type":["noted"],"time":1.0}]',
        b'[{"type":"item_put","time":1.0,"item":{"id":"i"}}]',
        b'[{"type":"exhausted","time":1.0,"component":"nowhere","by":"fact","tokens":1,"available_tokens":0}]',
        encode(noted(3))[:-5],
        b"\xff\xfe",
        b"[]",
    ],
)
def test_a_damaged_frame_is_an_error_where_it_is_read(data):
    with pytest.raises(JournalError, match="frame"):
        decode(data)


def test_entries_of_an_old_shape_pass_through_their_upcasts(monkeypatch):
    upcasts = {
        "remark": lambda raw: {**raw, "type": "note"},
        "note": lambda raw: {"type": "noted", "time": raw["at"], "event": raw.get("event")},
    }
    monkeypatch.setattr(codec, "UPCASTS", upcasts)
    old = msgspec.json.encode([{"type": "remark", "at": 2.0, "event": "e"}, {"type": "noted", "time": 3.0}])
    assert decode(old) == [Noted(time=2.0, event="e"), Noted(time=3.0)]
