"""A large window sync, read piece by piece: others have the event loop in between.

To check ten thousand items takes a tenth of a second, in one go of which nothing else would be done.
"""

import asyncio
from dataclasses import fields, replace
from functools import cache
from typing import Annotated, Any, cast

import msgspec

from sidecar.budget.commands import StopAtFirst, SyncWindow, WindowItem
from sidecar.receivers.outlines import LARGE
from sidecar.receivers.shapes import Broken, Malformed, Shape

PIECE = 256  # items that are checked in one go


@cache
def _shapes() -> tuple[msgspec.json.Decoder[Any], Shape[SyncWindow], Shape[list[WindowItem]]]:
    """What cuts a window into pieces, the shape of the whole, and that of a piece."""
    parts = [(each.name, msgspec.Raw, msgspec.Raw()) for each in fields(SyncWindow) if each.name != "items"]
    cut = msgspec.defstruct("Cut", [("items", list[msgspec.Raw]), *parts], kw_only=True)
    return msgspec.json.Decoder(cut), Shape(SyncWindow), Shape(Annotated[list[WindowItem], StopAtFirst()])


async def read_window(body: bytes) -> SyncWindow:
    """The window that a body describes. Raises `Malformed`."""
    cutter, whole, piece = _shapes()
    if len(body) <= LARGE:
        return whole.read(body)
    whole.look_at(body)
    cut = cutter.decode(body)
    rest = {name: raw for name in cut.__struct_fields__ if name != "items" and bytes(raw := getattr(cut, name))}
    window = whole.read(msgspec.json.encode({"items": [], **rest}))
    items: list[WindowItem] = []
    for start in range(0, len(cut.items), PIECE):
        joined = b"[%b]" % b",".join(cast("list[bytes]", cut.items[start : start + PIECE]))
        try:
            items += piece.read(joined)
        except Malformed as error:
            raise Malformed(*(_moved(broken, start) for broken in error.broken)) from None
        await asyncio.sleep(0)
    return replace(window, items=items)


def _moved(broken: Broken, start: int) -> Broken:
    """What is wrong in a piece, with its place in the whole."""
    number, _, rest = broken.path.removeprefix("[").partition("]")
    return Broken(f"items[{int(number) + start}]{rest}", broken.rule) if number.isdigit() else broken
