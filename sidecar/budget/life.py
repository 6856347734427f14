"""A session's life: opened, changed, closed, opened again (SPEC 3.9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sidecar.budget.allocation import check_shares
from sidecar.budget.commands import ChangeSession, OpenSession
from sidecar.budget.entries import Changed, Closed, Opened
from sidecar.budget.errors import Conflict, Invalid
from sidecar.budget.planning import learn_at_close
from sidecar.budget.policy import Mode
from sidecar.budget.presets import PRESETS
from sidecar.budget.profile import NOTHING_KNOWN, Profile
from sidecar.budget.replies import Report
from sidecar.budget.report import report
from sidecar.budget.session import Session
from sidecar.budget.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the operator has settled for sessions that do not say. `adjust_interval` in seconds; None is off.

    `profiles`: what is known of agents, by agent; `learn`: whether sessions and tasks change that.
    """

    agent: str = "unknown"
    mode: Mode = "managed"
    preset: str = "standard"
    total_tokens: int | None = None  # None: the preset's
    store_content: bool = True
    adjust_interval: float | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    learn: bool = True

    def profile(self, agent: str) -> Profile:
        """What is known of the agent."""
        return self.profiles.get(agent, NOTHING_KNOWN)


def opened(
    session: Session | None, command: OpenSession, *, id: str, at: float, host: bool, defaults: Defaults
) -> Opened | None:
    """The entry that opens the session, or opens it anew; None if it is open just like that.

    `Conflict` if it is open in another way.
    """
    preset = command.preset or defaults.preset
    policy = PRESETS.get(preset)
    if policy is None:
        raise Invalid(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}", path="preset")
    total = command.total_tokens or defaults.total_tokens or policy.total_tokens
    reserve = command.reserve_tokens or 0
    _check_reserve(total, reserve)
    agent = command.agent or defaults.agent
    known = defaults.profile(agent)
    own = known.shares_for(preset) or policy.shares
    entry = Opened(
        time=at,
        host=host,
        event=command.id,
        agent=agent,
        parent=command.parent,
        mode=command.mode or defaults.mode,
        model=command.model,
        preset=preset,
        total_tokens=total,
        reserve_tokens=reserve,
        shares=dict(own) if command.shares is None else check_shares(command.shares),
        epoch=1 if session is None else session.epoch + 1,
        own_shares=command.shares is not None,
        call_growth=known.call_growth,
        provider_ratio=known.provider_ratio(command.model),
    )
    if session is None or session.closed:
        return entry
    different = _different(session.opened, entry)
    if different:
        lasting = any(name in different for name in ("agent", "parent", "preset"))
        way = "close it first" if lasting else "change it with PATCH, or close it first"
        raise Conflict(
            f"session {id!r} is open with another {' and '.join(different)}: {way}",
            path=different[0],
        )
    return None


def _different(opened: Opened, asked: Opened) -> list[str]:
    names = ("agent", "parent", "mode", "model", "preset", "total_tokens", "reserve_tokens", "shares")
    different = [name for name in names if getattr(opened, name) != getattr(asked, name)]
    if not opened.own_shares and not asked.own_shares and "shares" in different:
        different.remove("shares")  # the agent's profile has learned since then: nobody asked for anything else
    return different


def _check_reserve(total: int, reserve: int) -> None:
    if reserve >= total:
        raise Invalid(f"reserve_tokens must be less than the {total} tokens of the window", path="reserve_tokens")


def change(turn: Turn, command: ChangeSession) -> Report:
    """Change what the host names; the components are divided anew, and their targets checked."""
    session = turn.session
    total = session.total_tokens if command.total_tokens is None else command.total_tokens
    reserve = session.reserve_tokens if command.reserve_tokens is None else command.reserve_tokens
    _check_reserve(total, reserve)
    shares = None if command.shares is None else check_shares(command.shares)
    entry = Changed(
        time=turn.at,
        host=turn.host,
        total_tokens=command.total_tokens if total != session.total_tokens else None,
        reserve_tokens=command.reserve_tokens if reserve != session.reserve_tokens else None,
        shares=shares if shares != session.shares else None,
        mode=command.mode if command.mode != session.mode else None,
        model=command.model if command.model != session.model else None,
    )
    if entry != Changed(time=turn.at, host=turn.host):
        turn.emit(entry)
    turn.check_targets()
    return report(session)


def close(turn: Turn, by: Literal["host", "idle"]) -> Report:
    """The window is gone: what it has taught of its agent, and the final report."""
    learn_at_close(turn)
    turn.emit(Closed(time=turn.at, host=turn.host, by=by))
    return report(turn.session)
