"""What is seen of the process from outside: its memory over time, and what it says in its log."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
PAGE = 4096
_LOUD = re.compile(r"\b(ERROR|CRITICAL)\b|^Traceback|Task exception|never awaited|Exception ignored")
# What faults that were asked for make it say.
_ASKED = re.compile(r"the journal takes no writes|cannot be forwarded|Failed to export spans batch")


@dataclass(slots=True)
class Memory:
    """The resident memory of one process: (seconds since the begin, MiB)."""

    pid: int
    samples: list[tuple[float, float]] = field(default_factory=list)

    def look(self, seconds: float) -> None:
        """Take a sample."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return
        self.samples.append((seconds, pages * PAGE / MIB))

    def after(self, warm: float) -> list[tuple[float, float]]:
        """The samples from so many seconds of its life on."""
        first = self.samples[0][0] if self.samples else 0.0
        return [sample for sample in self.samples if sample[0] >= first + warm]


def floors(samples: list[tuple[float, float]], seconds: float) -> list[tuple[float, float]]:
    """The lowest sample of each so many seconds: queues that a fault fills for a while do not show."""
    lowest: dict[int, tuple[float, float]] = {}
    for sample in samples:
        span = int((sample[0] - samples[0][0]) // seconds)
        lowest[span] = min(lowest.get(span, sample), sample, key=lambda one: one[1])
    return list(lowest.values())


def slope(samples: list[tuple[float, float]]) -> float:
    """How fast it grows: least squares, in MiB an hour."""
    n = len(samples)
    mean_x, mean_y = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def loud_lines(log: Path) -> Counter[str]:
    """What the log has of errors that nobody asked for, by text."""
    lines = Counter(line for line in log.read_text(errors="replace").splitlines() if _LOUD.search(line))
    return Counter({line: count for line, count in lines.items() if not _ASKED.search(line)})
