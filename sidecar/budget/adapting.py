"""Adjustments that nobody asked for, steadied: those of the interval, and those at a session's close (SPEC 3.4).

What is asked for runs by the rules of SPEC 3.4 alone. What runs by itself, session after session, would swing with
them, so it keeps three more:

1. It acts only where a component in use could take what others leave idle. Where all that is in use asks for less, a
   share taken from one would help none (and a profile would drift towards its bounds with every short session).
2. A component whose last own adjustment went the other way waits until it asks for this one twice in a row. Meanwhile
   it is only scaled along with the others.
3. Where after all no share would move by 0.01 or more, none moves.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sidecar.budget.allocation import adjust_shares
from sidecar.budget.commands import ComponentHistory
from sidecar.budget.policy import COMPONENTS, Component, Policy

LEAST_CHANGE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadied:
    """Shares after an automatic adjustment, why, and what the next one has to know: see `entries.SharesAdjusted`."""

    after: dict[Component, float]
    reasons: dict[Component, list[str]] = field(default_factory=dict)
    raised: dict[Component, bool] = field(default_factory=dict)
    doubted: tuple[Component, ...] = ()


def adapt(
    shares: Mapping[Component, float],
    history: Mapping[Component, ComponentHistory],
    policy: Policy,
    *,
    critical: Collection[Component] = (),
    raised: Mapping[Component, bool],
    doubted: Collection[Component],
) -> Steadied:
    """Adapt shares to the history since the last adjustment, steadily.

    Args:
        shares: the present ones, of all components.
        history: what happened; components without use are left out.
        policy: the rules, and which components are fixed.
        critical: components that are critical now: they are not lowered.
        raised: by component, whether its last own adjustment raised or lowered it.
        doubted: components that were made to wait last time.
    """
    asks = {name: up for name in history if (up := _asks(history[name], policy, name)) is not None}
    against = {name for name, up in asks.items() if raised.get(name, up) != up}
    waits = tuple(name for name in COMPONENTS if name in against and name not in doubted)
    reasons: dict[Component, list[str]] = {
        name: [f"would be {'raised' if asks[name] else 'lowered'} again after the opposite: waits for a second sign"]
        for name in waits
    }
    heard = {name: up for name, up in asks.items() if name not in waits}
    unmoved = Steadied(after=dict(shares), reasons=reasons, doubted=waits)
    takers = [name for name in history if not policy.components[name].fixed and asks.get(name, True)]
    if not heard or not takers:
        return unmoved
    adjustment = adjust_shares(shares, {name: history[name] for name in heard}, policy, critical=critical)
    moved = {name: adjustment.after[name] - shares[name] for name in COMPONENTS}
    if max(abs(change) for change in moved.values()) < LEAST_CHANGE:
        return unmoved
    for name, why in adjustment.reasons.items():
        reasons.setdefault(name, []).extend(why)
    own = {name: up for name, up in heard.items() if moved[name] and (moved[name] > 0) == up}
    return Steadied(after=dict(adjustment.after), reasons=reasons, raised=own, doubted=waits)


def _asks(history: ComponentHistory, policy: Policy, name: Component) -> bool | None:
    """Whether a component's own history asks for more (True) or less; None: for neither, or for both."""
    if policy.components[name].fixed:
        return None
    more = history.exhaustion_count > policy.adapt.exhaustions_over
    less = history.avg_utilization < policy.adapt.idle_below
    return None if more == less else more
