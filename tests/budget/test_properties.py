"""Laws that hold whatever is asked, in whatever order (DESIGN section 1: what a restart rebuilds is what was)."""

import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sidecar.budget.commands import (
    Acknowledge,
    AdjustShares,
    ChangeSession,
    CleanUp,
    CloseSession,
    Command,
    CompleteItem,
    CompleteTask,
    EraseArchive,
    Failure,
    ItemSpec,
    OpenSession,
    PlanTasks,
    PutItem,
    ReleaseTokens,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    RestoreItem,
    SyncWindow,
    TaskSpec,
    TouchItem,
    WindowItem,
)
from sidecar.budget.decide import Defaults
from sidecar.budget.entries import Exhausted
from sidecar.budget.errors import BudgetError
from sidecar.budget.items import KINDS
from sidecar.budget.policy import COMPONENTS, MODES
from tests.budget.desk import Desk

ids = st.sampled_from([f"item-{number}" for number in range(8)])
names = st.sampled_from(["a", "b", "c"])
sizes = st.sampled_from([0, 1, 150, 2_500, 9_999, 12_000, 21_000, 40_000, 61_000])
some = sizes.filter(bool)
kinds = st.sampled_from(KINDS)
components = st.sampled_from(COMPONENTS)
marks = st.none() | st.sampled_from(["00000000000000ff", "00000000000000fe", "ffffffffffffffff"])
steps = st.sampled_from([-7_200.0, 0.0, 1.0, 700.0, 2_000.0, 4_000.0, 9_000.0, 15_000.0])


@st.composite
def specs(draw: st.DrawFn) -> ItemSpec:
    tokens = draw(sizes)
    return ItemSpec(
        id=draw(ids),
        kind=draw(kinds),
        tokens=tokens,
        component=draw(st.none() | st.none() | components),
        completed=draw(st.booleans()),
        pinned=draw(st.sampled_from([False, False, False, True])),
        full=draw(st.booleans()),
        doc_tokens=draw(st.sampled_from([0, tokens])),
        group=draw(st.none() | names),
        fingerprint=draw(marks),
        claims=draw(st.none() | names),
        content=draw(st.none() | st.just("text")),
    )


class Sessions(RuleBasedStateMachine):
    """A session under any commands; `Desk` holds the laws after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(defaults=Defaults(adjust_interval=20_000.0))
        self.time: float | None = None

    def ask(self, command: Command, **more: Any) -> None:
        over = {name: held.used > held.allocated for name, held in self.desk.session.components.items()}
        with contextlib.suppress(BudgetError):
            self.desk.do(command, **more)
            exhausted = [entry.component for entry in self.desk.made(Exhausted)]
            assert len(exhausted) == len(set(exhausted)), "exhausted twice by one command"
            facts = [entry.component for entry in self.desk.made(Exhausted) if entry.by == "fact"]
            assert not any(over[name] for name in facts), "exhausted again while over"

    @rule(step=steps, host=st.booleans())
    def time_goes_by(self, step: float, host: bool) -> None:
        self.desk.wait(max(0.0, step))
        self.time = self.desk.now + min(step, 0.0) if host else None

    @rule(spec=specs())
    def put(self, spec: ItemSpec) -> None:
        self.ask(PutItem(item=spec, time=self.time))

    @rule(data=st.data())
    def request(self, data: st.DataObject) -> None:
        request_id = data.draw(st.none() | names)
        self.ask(
            RequestAllocation(
                component=data.draw(components),
                tokens=data.draw(some),
                request_id=request_id,
                lease_seconds=data.draw(st.none() | st.just(1_000.0)) if request_id else None,
                min_tokens=data.draw(st.none() | st.just(100)),
                all_or_nothing=data.draw(st.booleans()),
                time=self.time,
            )
        )

    @rule(spec=specs(), request_id=st.none() | names)
    def request_item(self, spec: ItemSpec, request_id: str | None) -> None:
        available = self.desk.session.components[spec.component or "working_memory"].available
        assert available >= 0
        self.ask(RequestAllocation(item=spec, request_id=request_id, time=self.time))

    @rule(component=components, tokens=some)
    def release(self, component: Any, tokens: int) -> None:
        self.ask(ReleaseTokens(component=component, tokens=tokens, time=self.time))

    @rule(item=ids, command=st.sampled_from([TouchItem, CompleteItem, RemoveItem, ReleaseTokens]))
    def tell(self, item: str, command: Any) -> None:
        self.ask(command(item=item, time=self.time))

    @rule(
        levels=st.none() | st.dictionaries(components, sizes),
        total=st.none() | st.integers(0, 250_000),
    )
    def report(self, levels: Any, total: int | None) -> None:
        self.ask(ReportUsage(components=levels, total=total, time=self.time))

    @rule(component=components)
    def clean_up(self, component: Any) -> None:
        self.ask(CleanUp(component=component, time=self.time))

    @precondition(lambda self: self.desk.session.issued)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        issued = self.desk.session.issued
        numbers = st.integers(max(1, issued - 6), issued)
        failed = [Failure(number=number, reason="no") for number in data.draw(st.sets(numbers, max_size=3))]
        sizes_ = data.draw(st.dictionaries(ids, sizes, max_size=2))
        self.ask(Acknowledge(through=data.draw(numbers) - 1, sizes=sizes_, failed=failed, time=self.time))

    @rule(data=st.data())
    def sync(self, data: st.DataObject) -> None:
        """A window much like the ledger's: items as they are, as they were before a directive, gone, new, changed."""
        session = self.desk.session
        known = {id: item for held in session.components.values() for id, item in held.items.items()}
        former = {each.item: each.tokens_before for each in reversed(list(session.directives.values()))}
        window = []
        for id in [f"item-{number}" for number in range(8)]:
            how = data.draw(st.sampled_from(["as held", "as before", "gone", "new size", "anew"]))
            tokens = {
                "as held": known[id].tokens if id in known else None,
                "as before": former.get(id),
                "new size": data.draw(sizes),
                "anew": data.draw(sizes),
            }.get(how)
            if tokens is None:
                continue
            anew = how == "anew" or id not in known
            window.append(
                WindowItem(
                    id=id,
                    tokens=tokens,
                    kind=data.draw(kinds) if anew else None,
                    fingerprint=data.draw(marks) if how == "anew" else None,
                    pinned=data.draw(st.none() | st.booleans()),
                    group=data.draw(st.none() | names),
                    claims=data.draw(st.none() | names),
                    content=data.draw(st.none() | st.just("other text")),
                )
            )
        self.ask(SyncWindow(items=window, through=data.draw(st.integers(0, session.issued)), time=self.time))

    @rule(
        files=st.integers(0, 20),
        preempt=st.booleans(),
        adjust=st.booleans(),
    )
    def plan(self, files: int, preempt: bool, adjust: bool) -> None:
        task = TaskSpec(id="task", files=["f"] * files)
        self.ask(PlanTasks(tasks=[task], preempt=preempt, adjust=adjust, time=self.time))

    @rule()
    def complete_task(self) -> None:
        self.ask(CompleteTask(task="task", time=self.time))

    @rule(dry_run=st.booleans())
    def adjust(self, dry_run: bool) -> None:
        self.ask(AdjustShares(dry_run=dry_run, time=self.time))

    @rule(item=ids, request_id=st.none() | names)
    def restore(self, item: str, request_id: str | None) -> None:
        self.ask(RestoreItem(item=item, request_id=request_id, time=self.time), archived=self.desk.archive.get(item))

    @rule(item=st.none() | ids)
    def erase(self, item: str | None) -> None:
        self.ask(EraseArchive(item=item, time=self.time), archived=self.desk.archive.get(item or ""))

    @rule(mode=st.none() | st.sampled_from(MODES), total=st.none() | st.sampled_from([100_000, 200_000]))
    def change(self, mode: Any, total: int | None) -> None:
        self.ask(ChangeSession(mode=mode, total_tokens=total, time=self.time))

    @rule(again=st.booleans())
    def close(self, again: bool) -> None:
        if again:
            self.ask(CloseSession(time=self.time))
            self.ask(OpenSession(time=self.time))


Sessions.TestCase.settings = settings(max_examples=25, stateful_step_count=40)
TestSessions = Sessions.TestCase
