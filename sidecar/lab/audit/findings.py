"""What an audit finds out, as figures. All tokens are the provider's, as near as its bills allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.budget.policy import COMPONENTS, Component

MANUAL = "manual"  # the trigger of a compaction that the user asked for


@dataclass(slots=True, kw_only=True)
class Tally:
    """What something brought into windows: how many pieces, and their tokens.

    `at_peak` is what of it was there when the windows were fullest, `carried` what it came to over all model calls
    that sent it along.
    """

    pieces: int = 0
    tokens: int = 0
    at_peak: int = 0
    carried: int = 0

    def add(self, other: "Tally") -> None:
        """Count another's in."""
        self.pieces += other.pieces
        self.tokens += other.tokens
        self.at_peak += other.at_peak
        self.carried += other.carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """One large piece: what it was, in which session, when (seconds from the start), and the calls that carried it."""

    session: str
    origin: str
    path: str | None
    tokens: int
    at: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """A window thrown out, or a part of it. `silent`: the transcript does not say so, only the bill does.

    `call` is how many calls there had been; `before` and `after` are the prompts of the calls around it (or what the
    tool says of `before`), `repaid` what of the prompt after it did not come from the prompt cache, `reread_tokens`
    what of the files thrown out was read again.
    """

    session: str
    at: float
    call: int
    trigger: str | None
    silent: bool
    before: int
    after: int
    repaid: int
    reread_files: int
    reread_tokens: int

    @property
    def sparable(self) -> bool:
        """Whether a policy could have made it needless: it was the tool's own doing, not the user's."""
        return not self.silent and self.trigger != MANUAL

    @property
    def dropped(self) -> int:
        """What it took out of the window."""
        return max(0, self.before - self.after)


@dataclass(slots=True, kw_only=True)
class Reread:
    """A file read again while what was read of it before was still in the window.

    `tokens` are those of the later reads, `same_tokens` those of them whose text was the same to the letter.
    """

    path: str
    reads: int = 0
    windows: int = 0
    tokens: int = 0
    same: int = 0
    same_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class Cost:
    """What the provider counted over all calls of a window. `sent` is the sum of its prompts."""

    calls: int = 0
    fresh: int = 0
    written: int = 0
    cached: int = 0
    output: int = 0

    @property
    def sent(self) -> int:
        """All prompts together."""
        return self.fresh + self.written + self.cached


@dataclass(slots=True, kw_only=True)
class Window:
    """One window from beginning to end.

    `peak` is its largest prompt, at the call `peak_call` (from 1), `peak_at` seconds from the start; `composition` what
    that prompt was made of. `billed`: the provider's counts were there; without them everything is an estimate.
    `course` is the prompt of each call, `reported` what its sub-agents told it.
    """

    session: str
    agent: str
    project: str
    within: str | None
    label: str | None
    model: str | None
    limit: int
    billed: bool
    ratio: float
    hidden: int
    began: float | None
    seconds: float
    calls: int = 0
    peak: int = 0
    peak_call: int = 0
    peak_at: float = 0.0
    composition: dict[Component, int] = field(default_factory=lambda: dict.fromkeys(COMPONENTS, 0))
    cost: Cost = field(default_factory=Cost)
    origins: dict[str, Tally] = field(default_factory=dict)
    servers: dict[str, Tally] = field(default_factory=dict)
    files: dict[str, Tally] = field(default_factory=dict)
    skills: dict[str, Tally] = field(default_factory=dict)
    largest: list[Largest] = field(default_factory=list)
    compactions: list[Compaction] = field(default_factory=list)
    rereads: dict[str, Reread] = field(default_factory=dict)
    reported: int = 0
    course: list[int] = field(default_factory=list)

    @property
    def fill(self) -> float:
        """How full it was at its fullest: a ratio."""
        return self.peak / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a policy would have made of the same windows.

    `peak_ratio` is the fullest window under it, `spared` those of the tool's own compactions whose windows would have
    stayed within their limit, `readmitted_tokens` what of the freed tokens was needed again, `cache_lost_tokens` what
    the provider would have had to read anew because something before it was gone.
    """

    policy: str
    windows: int
    refused_windows: int
    refused_tokens: int
    overflowing_windows: int
    peak_ratio: float
    cleanups: int
    emergencies: int
    freed_tokens: int
    readmitted_tokens: int
    cache_lost_tokens: int
    spared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything that was found, over all windows."""

    windows: Sequence[Window]
    verdicts: Sequence[Verdict]
    files: int
    lines: int
    unknown: Mapping[str, int]
    broken_lines: int
    broken: Sequence[str]
    foreign_files: int
    foreign: Sequence[str]

    @property
    def sessions(self) -> int:
        """Sessions: windows that are no sub-agent's."""
        return sum(window.within is None for window in self.windows)


def project_path(windows: Sequence[Window], window: Window, path: str) -> str:
    """A path within a project, with the project's name before it where windows of several are told of together."""
    alone = len({other.project for other in windows}) == 1
    return path if alone or path.startswith(("/", "~")) or path[1:2] == ":" else f"{window.project}/{path}"


def total(windows: Sequence[Window], of: str) -> dict[str, Tally]:
    """Add up `origins`, `servers`, `files` or `skills` over windows, what was carried furthest first."""
    sums: dict[str, Tally] = {}
    for window in windows:
        for name, tally in getattr(window, of).items():
            shown = project_path(windows, window, name) if of == "files" else name
            sums.setdefault(shown, Tally()).add(tally)
    return dict(sorted(sums.items(), key=lambda each: (-each[1].carried, -each[1].tokens, each[0])))
