"""How long decisions take, in microseconds: run it by hand, on a quiet machine. SPEC 3.2 and DESIGN promise."""

import gc
import json
import sys
from collections.abc import Callable
from time import perf_counter

from sidecar.budget.commands import (
    ItemSpec,
    OpenSession,
    PutItem,
    ReleaseTokens,
    RequestAllocation,
    SyncWindow,
    TouchItem,
    WindowItem,
)
from sidecar.budget.decide import Decision, Defaults, decide
from sidecar.budget.session import Session

NOW = 1_800_000_000.0
DEFAULTS = Defaults()


def session_of(items: int, *, total: int = 2_000_000_000) -> Session:
    """A session that holds so many items of 100 tokens, all in working memory."""
    session = decide(None, OpenSession(total_tokens=total), id="s", now=NOW, defaults=DEFAULTS).session
    for number in range(items):
        spec = ItemSpec(id=f"item-{number}", kind="tool_result", tokens=100)
        decide(session, PutItem(item=spec), id="s", now=NOW, defaults=DEFAULTS)
    return session


def run(session: Session, command: object, at: float) -> Decision:
    """Decide one command."""
    return decide(session, command, id="s", now=at, defaults=DEFAULTS)  # type: ignore[arg-type]


def measure(name: str, count: int, once: Callable[[int], float]) -> None:
    """Print median and 99th percentile of what `once` measured."""
    for number in range(min(count, 200)):
        once(number)
    gc.collect()
    times = sorted(once(number + 1_000_000) for number in range(count))
    print(f"{name:44} p50 {times[count // 2] * 1e6:9.1f} us   p99 {times[count * 99 // 100] * 1e6:9.1f} us")


def request_and_release(session: Session) -> Callable[[int], float]:
    """Time a request that fits; its release is not measured."""

    def once(number: int) -> float:
        command = RequestAllocation(component="knowledge_base", tokens=100)
        begun = perf_counter()
        run(session, command, NOW + number)
        took = perf_counter() - begun
        run(session, ReleaseTokens(component="knowledge_base", tokens=100), NOW + number)
        return took

    return once


def timed(session: Session, command: Callable[[int], object]) -> Callable[[int], float]:
    """Time a command that is made anew each time."""

    def once(number: int) -> float:
        made = command(number)
        begun = perf_counter()
        run(session, made, NOW + number)
        return perf_counter() - begun

    return once


def sync(session: Session, items: int) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Time a window sync in which ten sizes change, and the bare comparison of two dictionaries beside it."""
    sizes = {f"item-{number}": 100 for number in range(items)}

    def window(number: int) -> SyncWindow:
        for offset in range(10):
            sizes[f"item-{(number * 10 + offset) % items}"] += 1
        return SyncWindow(items=[WindowItem(id=name, tokens=tokens) for name, tokens in sizes.items()])

    def bare(number: int) -> float:
        before = dict(sizes)
        window(number)
        begun = perf_counter()
        changed = [name for name, tokens in sizes.items() if before.get(name) != tokens]
        missing = [name for name in before if name not in sizes]
        took = perf_counter() - begun
        assert (len(changed), len(missing)) == (10, 0)
        return took

    return timed(session, window), bare


def main() -> None:
    """Measure everything, small and large."""
    for items in (10, 10_000):
        session = session_of(items)
        measure(f"request that fits, {items} items", 5_000, request_and_release(session))
        measure(
            f"put of a held item, {items} items",
            5_000,
            timed(session, lambda n: PutItem(item=ItemSpec(id="item-3", kind="tool_result", tokens=100 + n % 2))),
        )
        measure(f"touch, {items} items", 5_000, timed(session, lambda _: TouchItem(item="item-5")))
    session = session_of(2_000)
    synced, bare = sync(session, 2_000)
    measure("window sync, 2,000 items, 10 changed", 200, synced)
    synced, bare = sync(session, 2_000)
    measure("two dictionaries compared, as many", 200, bare)


if __name__ == "__main__":
    main()
    if "--profile" in sys.argv:
        import cProfile

        session = session_of(10)
        once = request_and_release(session)
        cProfile.run("[once(n) for n in range(20000)]", sort="tottime")
        _ = json
