"""What filled each window: a recording's moves, followed from the first piece to the last call."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sidecar.budget.items import COMPONENT_OF
from sidecar.budget.policy import Component
from sidecar.lab.audit.findings import Compaction, Largest, Reread, Tally, Window
from sidecar.lab.audit.origins import origin_of
from sidecar.lab.audit.recorded import FALL, Recorded
from sidecar.lab.audit.tools import server_of
from sidecar.lab.audit.transcript import Bill, Piece
from sidecar.lab.mapping import item_id
from sidecar.lab.recordings import MAIN, SUB_AGENT, Step
from sidecar.lab.script import Compact, Gain, ModelCall, model_calls, moves

LARGEST = 20  # pieces that a window names
READS = frozenset({"file_read", "doc", "skill"})


def windows(recorded: Recorded) -> list[Window]:
    """Follow all windows of a session; one with neither a call nor a token is left out."""
    courses = {session: _Course(recorded, window) for window, session in recorded.recording.windows.items()}
    for move in moves(recorded.recording):
        course = courses[move.session]
        match move:
            case ModelCall(time=at):
                course.call(at)
            case Gain(item=item):
                course.gain(item.id)
            case Compact(items=items, time=at):
                course.compact(items, at)
            case _:
                pass
    return [course.window for course in courses.values() if course.finish()]


@dataclass(slots=True)
class _Held:
    """A piece in the window: how many calls there had been when it came, and when it went (None: it stayed)."""

    step: Step
    piece: Piece
    since: int
    until: int | None = None


@dataclass(slots=True)
class _Cut:
    """A compaction, and what of the files it threw out was read again since; `after` is 0 until a call follows it."""

    at: float
    call: int
    trigger: str | None
    silent: bool
    before: int
    gone: set[str]
    after: int = 0
    repaid: int = 0
    read: dict[str, int] = field(default_factory=dict)


class _Course:
    """One window while its moves go by."""

    def __init__(self, recorded: Recorded, name: str) -> None:
        thread, scale = recorded.threads.get(name), recorded.scales.get(name)
        pieces = thread.pieces if thread else []
        own = [step for step in recorded.recording.steps if step.window == name]
        self._steps = {item_id(step): step for step in own}
        self._pieces = recorded.pieces
        self._bills = _bills(own, recorded.pieces)
        self._held: dict[str, _Held] = {}
        self._gone: list[_Held] = []
        self._level = 0
        self._last = 0  # the prompt of the call before
        self._cuts: list[_Cut] = []
        self._reads: dict[str, list[tuple[str | None, str]]] = {}  # path -> digests and items that are in the window
        self._told_cuts = (cut for step in own if (cut := recorded.pieces[step.number].cut) is not None)
        self.window = Window(
            session=recorded.recording.windows[name],
            agent=recorded.source.agent,
            project=recorded.source.project or "unknown",
            within=None if name == MAIN else name.removeprefix(SUB_AGENT),
            label=thread.label if thread else None,
            model=next((piece.bill.model for piece in reversed(pieces) if piece.bill and piece.bill.model), None),
            limit=recorded.limits.get(name, 1),
            billed=bool(scale and scale.billed),
            ratio=scale.ratio if scale else 1.0,
            hidden=scale.hidden if scale else 0,
            began=next((piece.time for piece in pieces if piece.time), None),
            seconds=(own[-1].ts - own[0].ts) if own else 0.0,
        )

    def gain(self, item: str) -> None:
        """A piece comes in."""
        step = self._steps[item]
        held = _Held(step, self._pieces[step.number], self.window.calls)
        self._held[item] = held
        self._level += step.tokens
        if held.piece.kind == "subagent_report":
            self.window.reported += step.tokens
        path = held.piece.path
        if path is not None and held.piece.kind in READS and step.role == "tool" and step.tokens:
            self._read(path, held, item)

    def call(self, at: float) -> None:
        """The window is sent as it is now."""
        window, bill = self.window, next(self._bills, None)
        prompt = bill.prompt if bill else self._level
        window.calls += 1
        window.course.append(prompt)
        if bill:
            window.cost.calls += 1
            window.cost.fresh += bill.fresh
            window.cost.written += bill.written
            window.cost.cached += bill.cached
            window.cost.output += bill.output
        self._settle(prompt, bill, at)
        if prompt > window.peak:
            window.peak, window.peak_call, window.peak_at = prompt, window.calls, at
        self._last = prompt

    def compact(self, items: Iterable[str], at: float) -> None:
        """The tool throws out what is not lasting."""
        gone = set(self._reads)
        for item in items:
            if (held := self._held.pop(item, None)) is not None:
                held.until = self.window.calls
                self._gone.append(held)
                self._level -= held.step.tokens
        self._reads.clear()
        cut = next(self._told_cuts, None)  # on its summary, which is the next piece
        before = (cut.before if cut else None) or self._last or self._level
        trigger = cut.trigger if cut else None
        self._cuts.append(_Cut(at, self.window.calls, trigger, silent=False, before=before, gone=gone))

    def finish(self) -> bool:
        """Add up; False if nothing ever was in the window."""
        window = self.window
        everything = [*self._gone, *self._held.values()]
        if not any(held.step.tokens for held in everything):
            return False
        window.compactions = [self._told(cut) for cut in self._cuts if cut.after or not cut.silent]
        at_peak = [held for held in everything if _carried(held, window.peak_call)]
        counted = sum(held.step.tokens for held in at_peak)
        # The pieces come to the prompt only roughly; tools also drop pieces without a word.
        share = window.peak / counted if counted and window.billed else 1.0
        for held in everything:
            calls = (window.calls if held.until is None else held.until) - held.since
            there = round(held.step.tokens * share) if _carried(held, window.peak_call) else 0
            tally = Tally(pieces=1, tokens=held.step.tokens, at_peak=there, carried=held.step.tokens * calls)
            window.composition[_component(held.step)] += there
            for table, name in _names(held.piece):
                getattr(window, table).setdefault(name, Tally()).add(tally)
        window.largest = [
            self._named(held, window.calls)
            for held in heapq.nlargest(LARGEST, everything, key=lambda held: held.step.tokens)
            if held.step.tokens and held.step.kind != "system_hidden"  # no piece, but a sum of many
        ]
        return True

    # --- files read again, compactions ------------------------------------------------------------------------------

    def _read(self, path: str, held: _Held, item: str) -> None:
        for cut in self._cuts:
            if path in cut.gone and path not in cut.read:
                cut.read[path] = held.step.tokens
        before = self._reads.setdefault(path, [])
        if before:
            again = self.window.rereads.setdefault(path, Reread(path=path, windows=1, reads=1))
            again.reads += 1
            again.tokens += held.step.tokens
            if held.piece.digest is not None and any(digest == held.piece.digest for digest, _ in before):
                again.same += 1
                again.same_tokens += held.step.tokens
        before.append((held.piece.digest, item))

    def _settle(self, prompt: int, bill: Bill | None, at: float) -> None:
        """A call tells what the compaction before it has left; where there was none, a fall tells of one."""
        open_cut = next((cut for cut in reversed(self._cuts) if not cut.after), None)
        if open_cut is None and bill is not None and prompt < self._last * (1 - FALL):
            # What the tool took out is not known: no file counts as gone.
            open_cut = _Cut(at, self.window.calls - 1, None, silent=True, before=self._last, gone=set())
            self._cuts.append(open_cut)
        if open_cut is not None:
            open_cut.after, open_cut.repaid = prompt, (bill.fresh + bill.written) if bill else 0

    def _told(self, cut: _Cut) -> Compaction:
        return Compaction(
            session=self.window.session,
            at=cut.at,
            call=cut.call,
            trigger=cut.trigger,
            silent=cut.silent,
            before=cut.before,
            after=cut.after or min(self._level, cut.before),
            repaid=cut.repaid,
            reread_files=len(cut.read),
            reread_tokens=sum(cut.read.values()),
        )

    def _named(self, held: _Held, calls: int) -> Largest:
        return Largest(
            session=self.window.session,
            origin=origin_of(held.piece),
            path=held.piece.path or held.piece.skill,
            tokens=held.step.tokens,
            at=held.step.ts,
            calls=(calls if held.until is None else held.until) - held.since,
        )


def _bills(steps: Iterable[Step], pieces: dict[int, Piece]) -> Iterator[Bill | None]:
    """The bill of each model call, in the order of the calls."""
    own = list(steps)
    open_call: int | None = None
    told: dict[int, Bill | None] = dict.fromkeys(model_calls(own))
    for step in own:
        if step.number in told:
            open_call = step.number
        if (bill := pieces[step.number].bill) is not None and open_call is not None:
            told[open_call] = bill
    yield from told.values()


def _carried(held: _Held, call: int) -> bool:
    return held.since < call and (held.until is None or held.until >= call)


def _component(step: Step) -> Component:
    return COMPONENT_OF[step.placement.kind]


def _names(piece: Piece) -> Iterator[tuple[str, str]]:
    """In which tables a piece counts, and under which name."""
    yield "origins", origin_of(piece)
    if piece.name is not None and (server := server_of(piece.name)) is not None:
        yield "servers", server[0]
    if piece.path is not None:
        yield "files", piece.path
    if piece.skill is not None:
        yield "skills", piece.skill
