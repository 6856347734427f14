"""Sessions to measure in-process, and the clock to do it with: this thread's processor time.

Neighbours disturb that least: it stands still while they have the core.
"""

import copy
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Any

from sidecar.__main__ import collect_rarely
from sidecar.budget.commands import Command, ItemSpec, OpenSession, PutItem
from sidecar.budget.decide import Decision, Defaults, decide
from sidecar.budget.items import Kind
from sidecar.budget.session import Session

NOW = 1_800_000_000.0
HOUR = 3600.0
DEFAULTS = Defaults()


def session_of(items: int, *, kind: Kind = "tool_result", tokens: int = 100, spread: float = 0.0) -> Session:
    """A session that holds so many items, put over the `spread` seconds until `NOW`; so large that nothing is full."""
    begin = NOW - spread
    opened = OpenSession(total_tokens=100_000_000_000)
    session = decide(None, opened, id="s", now=begin, defaults=DEFAULTS).session
    for number in range(items):
        spec = ItemSpec(id=f"item-{number}", kind=kind, tokens=tokens)
        run(session, PutItem(item=spec), begin + spread * number / max(1, items))
    return session


def run(session: Session, command: Command, at: float) -> Decision:
    """Decide one command."""
    return decide(session, command, id="s", now=at, defaults=DEFAULTS)


def times(prepare: Callable[[int], Callable[[], Any]], count: int) -> list[float]:
    """What so many calls took, in seconds; each is prepared apart. Garbage is collected as it is while serving."""
    collect_rarely()
    taken = []
    for number in range(count):
        call = prepare(number)
        begun = thread_time()
        call()
        taken.append(thread_time() - begun)
    return taken


def copies(session: Session, count: int) -> Iterator[Session]:
    """Sessions that are alike, each to be changed once. Policies are shared, as they always are."""
    shared = [session.policy, *(held.policy for held in session.components.values())]
    for _ in range(count):
        yield copy.deepcopy(session, {id(each): each for each in shared})
