"""When a session begins, and what is known of it while a payload is read."""

from dataclasses import dataclass

from sidecar.budget.commands import OpenSession
from sidecar.budget.presets import PRESETS
from sidecar.budget.session import Session
from sidecar.receivers.otlp.context_windows import context_window
from sidecar.receivers.otlp.mapping import EMITTERS
from sidecar.receivers.otlp.naming import clean_name
from sidecar.receivers.otlp.observations import AnyObservation, Call, Start

CODING_PRESET = "coding-agent"


@dataclass(slots=True, kw_only=True)
class Known:
    """What is known of a session while a payload is read: as the ledger has it, and as the payload has changed it."""

    open: bool = False
    managed: bool = False
    model: str | None = None
    total_tokens: int = 0
    reserve_tokens: int = 0

    @classmethod
    def of(cls, session: Session | None) -> "Known":
        """As the ledger has it."""
        if session is None or session.closed:
            return cls()
        return cls(
            open=True,
            managed=session.mode == "managed",
            model=session.model,
            total_tokens=session.total_tokens,
            reserve_tokens=session.reserve_tokens,
        )

    def opened(self, command: OpenSession) -> None:
        """As this command leaves it."""
        self.open, self.model, self.total_tokens = True, command.model, command.total_tokens or 0


def open_command(observation: AnyObservation, *, parent: str | None, now: float, set_total: int | None) -> OpenSession:
    """The command that opens the session of an observation. `set_total`: the window's size if the operator set one."""
    emitter = EMITTERS[observation.emitter]
    model = observation.model if isinstance(observation, Call | Start) else None
    total = observation.total_tokens if isinstance(observation, Start) else None
    return OpenSession(
        agent=clean_name(observation.agent or emitter.agent or observation.service),
        parent=clean_name(parent),
        mode="observed",
        model=clean_name(model),
        total_tokens=total or set_total or context_window(model),
        preset=CODING_PRESET if emitter.coding and CODING_PRESET in PRESETS else None,
        time=min(observation.at, now) if observation.at else now,
    )


def opens(observation: AnyObservation) -> bool:
    """Whether an observation is reason enough to open a session: a level, or a window's frame."""
    return isinstance(observation, Start) or (isinstance(observation, Call) and shows_level(observation))


def shows_level(call: Call) -> bool:
    """Whether a level can be read from a call, or at least estimated."""
    if call.side:
        return False
    # Without usage there is only what was captured; and a call that failed was not taken by the model.
    return call.input is not None or (call.content is not None and not call.failed)
