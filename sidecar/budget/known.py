"""What is known of a component's items without a look at them.

No state: it follows from the items, is kept in no snapshot, and where it is missing a look finds it again. It spares a
cleanup that finds nothing, and each report of what one would free, the look at thousands of items.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from sidecar.budget.policy import Kind, Step


@dataclass(slots=True)
class Known:
    """Bounds: nothing that is held lies outside of them, but they may be wider than what is held.

    `oldest`: by step that goes by age, since when the age of the items that it concerns counts at the earliest, in
    seconds since the epoch (absent: not known). `kinds`: there are no items of others (None: not known).
    """

    oldest: dict[Step, float] = field(default_factory=dict)
    kinds: set[Kind] | None = None

    def note(self, step: Step, since: float) -> None:
        """An item concerns the step whose age counts since then."""
        if since < self.oldest.get(step, -inf):
            self.oldest[step] = since


def nothing_held(aging: Iterable[Step]) -> Known:
    """What is known of a component that holds nothing, and whose strategy has these steps that go by age."""
    return Known(dict.fromkeys(aging, inf), set())
