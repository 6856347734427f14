"""Looking ahead and adapting: predicted needs, cleanup ahead of them, share adjustments (SPEC 3.4, 3.5, 3.8)."""

from functools import partial
from typing import Literal

from sidecar.budget.adapting import Steadied, adapt
from sidecar.budget.allocation import adjust_shares, shown
from sidecar.budget.commands import AdjustShares, CleanUp, CompleteTask, ComponentHistory, PlanTasks
from sidecar.budget.entries import Learned, SharesAdjusted, TaskCompleted, TasksPlanned
from sidecar.budget.errors import Invalid, NotFound
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.prediction import calibrated, predict_needs, suggest_shares
from sidecar.budget.replies import Acknowledged, AdjustmentReply, CleanupReply, PredictionReply
from sidecar.budget.session import Session
from sidecar.budget.turn import Turn, cleanup_reply

TELLING_CALLS = 5  # growths that a session must have seen to say how its agent's sessions grow


def clean_up(turn: Turn, command: CleanUp) -> CleanupReply:
    """Run a component's whole strategy now; in an observed session only say what it would do."""
    run = turn.clean(command.component, "manual")
    turn.check_targets()
    return {**cleanup_reply(run), "directives": []}


def plan_tasks(turn: Turn, command: PlanTasks) -> PredictionReply:
    """Predict what tasks need; where it falls short, clean up and adjust the shares ahead of them if asked."""
    session = turn.session
    seen: set[str] = set()
    for index, task in enumerate(command.tasks):
        if task.id in seen:
            raise Invalid(f"tasks[{index}].id {task.id!r} is planned twice", path=f"tasks[{index}].id")
        seen.add(task.id)
    prediction = predict_needs(command.tasks, session.policy, calibrate=partial(calibrated, turn.profile))
    available = {name: session.components[name].available for name in COMPONENTS}
    shortfall = {name: max(0, prediction.predicted[name] - available[name]) for name in COMPONENTS}
    suggestion = suggest_shares(
        total=session.total,
        allocated={name: held.allocated for name, held in session.components.items()},
        used={name: held.used for name, held in session.components.items()},
        needs=prediction.predicted,
        policy=session.policy,
        shares=session.shares,
        taken=session.taken,
    )
    turn.emit(TasksPlanned(time=turn.at, host=turn.host, tasks=tuple(prediction.tasks)))
    cleanups = []
    if command.preempt:
        cleanups = [
            cleanup_reply(turn.clean(name, "prediction", pending=prediction.predicted[name]))
            for name in COMPONENTS
            if shortfall[name]
        ]
    if command.adjust and suggestion is not None:
        turn.emit(
            SharesAdjusted(
                time=turn.at,
                host=turn.host,
                trigger="prediction",
                before=dict(session.shares),
                after=suggestion,
                reasons={
                    name: ["predicted needs of planned tasks"]
                    for name in COMPONENTS
                    if suggestion[name] != session.shares[name]
                },
            )
        )
    turn.check_targets()
    return {
        "tasks": prediction.tasks,
        "prior": prediction.prior,
        "predicted": prediction.predicted,
        "available": available,
        "shortfall": shortfall,
        "suggested_shares": suggestion,
        "cleanups": cleanups,
        "directives": [],
    }


def complete_task(turn: Turn, command: CompleteTask) -> Acknowledged:
    """Hold a finished task's prediction against what it needed: as told, or as the session itself measured."""
    session = turn.session
    planned = session.tasks.get(command.task)
    if planned is None:
        raise NotFound(f"task {command.task!r} is not planned in this session", path="task")
    if command.actual is None:
        actual = {name: held.admitted - planned.admitted[name] for name, held in session.components.items()}
    else:
        actual = {name: command.actual.get(name, 0) for name in COMPONENTS}
    turn.emit(
        TaskCompleted(
            time=turn.at,
            host=turn.host,
            task=command.task,
            complexity=planned.complexity,
            prior=planned.prior,
            predicted=planned.predicted,
            actual=actual,
            measured=command.actual is None,
            allocated={name: held.allocated for name, held in session.components.items()},
            agent=session.agent if turn.learns else None,
        )
    )
    turn.check_targets()
    return {"directives": []}


def adjust(turn: Turn, command: AdjustShares) -> AdjustmentReply:
    """Adapt the shares to the session's history since the last adjustment, or to a given one."""
    session = turn.session
    before = dict(session.shares)
    history = _history(turn) if command.history is None else command.history
    adjustment = adjust_shares(session.shares, history, session.policy, critical=_critical(session))
    after, reasons = adjustment.after, adjustment.reasons
    if not command.dry_run:
        turn.emit(
            SharesAdjusted(
                time=turn.at, host=turn.host, trigger="request", before=before, after=after, reasons=dict(reasons)
            )
        )
    turn.check_targets()
    return {"before": shown(before), "after": shown(after), "reasons": dict(reasons), "directives": []}


def adjust_if_due(turn: Turn, interval: float | None) -> bool:
    """The adjustment that runs every `interval` seconds of session time (None: never): whether it ran."""
    session = turn.session
    if interval is None or turn.at - session.adjusted_at < interval:
        return False
    steadied = _adapted(turn)
    _emit(turn, "interval", steadied)
    turn.check_targets()
    return True


def learn_at_close(turn: Turn) -> None:
    """What a session that ends has taught of its agent: an entry where there is any (SPEC 3.4, 3.8, 3.9)."""
    session = turn.session
    if not turn.learns:
        return
    steadied = _adapted(turn)
    if steadied.after != session.shares:
        _emit(turn, "close", steadied)
    began_with = dict(session.opened.shares)
    learned = Learned(
        time=turn.at,
        host=turn.host,
        agent=session.agent,
        preset=session.policy.name,
        shares=steadied.after if steadied.after != began_with else None,
        began_with=began_with,
        raised={**session.raised, **steadied.raised},
        doubted=steadied.doubted,
        model=session.model,
        provider_ratio=session.told_ratio,
        call_growth=session.pace.mean if session.pace.seen >= TELLING_CALLS else None,
    )
    if (learned.shares, learned.provider_ratio, learned.call_growth, learned.doubted) != (None, None, None, ()):
        turn.emit(learned)


def _adapted(turn: Turn) -> Steadied:
    """The automatic adjustment; where the session has not adjusted a component yet, its agent's last one counts."""
    session = turn.session
    known = turn.profile
    return adapt(
        session.shares,
        _history(turn),
        session.policy,
        critical=_critical(session),
        raised={**known.raised, **session.raised},
        doubted=session.doubted if session.raised or session.doubted else known.doubted,
    )


def _critical(session: Session) -> list[Component]:
    return [name for name, held in session.components.items() if held.status == "critical"]


def _emit(turn: Turn, trigger: Literal["interval", "close"], steadied: Steadied) -> None:
    turn.emit(
        SharesAdjusted(
            time=turn.at,
            host=turn.host,
            trigger=trigger,
            before=dict(turn.session.shares),
            after=steadied.after,
            reasons=steadied.reasons,
            raised=steadied.raised,
            doubted=steadied.doubted,
        )
    )


def _history(turn: Turn) -> dict[Component, ComponentHistory]:
    """The session's own history since the last adjustment; a component without use is left out, and so left alone."""
    return {
        name: ComponentHistory(exhaustion_count=held.recent_exhaustions, avg_utilization=held.average(turn.at))
        for name, held in turn.session.components.items()
        if held.in_use or held.recent_exhaustions
    }
