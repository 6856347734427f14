"""A store looks for an item's contents only where there can be one to forget."""

import pytest

from sidecar.budget.commands import ItemSpec, OpenSession, PutItem
from sidecar.budget.decide import Defaults, decide
from sidecar.journal import Frame
from sidecar.journal.archive import Forget, Keep, operations

NOW = 1_800_000_000.0


@pytest.fixture
def put():
    """Put an item with this text, or none: what a journal does about it."""
    opened = decide(None, OpenSession(), id="s", now=NOW, defaults=Defaults(store_content=True))
    session = opened.session

    def put(content):
        command = PutItem(item=ItemSpec(id="a", kind="file", tokens=10, content=content))
        decision = decide(session, command, id="s", now=NOW, defaults=Defaults(store_content=True))
        first = session.version - len(decision.entries) + 1
        frame = Frame(session="s", first=first, written_at=NOW, entries=decision.entries, contents=decision.contents)
        return [type(each) for each in operations(frame)]

    return put


@pytest.mark.parametrize(
    ("texts", "done"),
    [
        ([None, None, None], [[], [], []]),
        (["old", None, None], [[Keep], [Forget], []]),
        (["old", "new", None], [[Keep], [Keep, Forget], [Forget]]),
        ([None, "new", "newer"], [[], [Keep], [Keep, Forget]]),
    ],
)
def test_a_content_is_forgotten_once_by_the_put_that_replaces_it(put, texts, done):
    assert [put(text) for text in texts] == done
