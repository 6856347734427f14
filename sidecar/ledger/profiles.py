"""What is known of agents, at hand for whoever decides: what the operator gave, and what the store has learned since.

The store is the truth; this is what was last read of it. On a store that others write to as well an agent is read again
before a decision that rests on what is known of it.
"""

import logging
from collections.abc import Collection, Mapping

from sidecar.budget.commands import CloseSession, Command, CompleteTask, ExpireSession, OpenSession, PlanTasks
from sidecar.budget.decide import Decision
from sidecar.budget.profile import NOTHING_KNOWN, Profile, learn, lesson_of, merged
from sidecar.budget.session import Session
from sidecar.journal import Journal, JournalError

_log = logging.getLogger(__name__)

_ASKING = (OpenSession, PlanTasks, CompleteTask, CloseSession, ExpireSession)


class Profiles:
    """Profiles by agent: `known`, which decisions read. `given`: the operator's, until something else was learned."""

    def __init__(self, journal: Journal, given: Mapping[str, Profile]) -> None:
        self._journal = journal
        self._given = given
        self._learned: dict[str, Profile] = {}
        self._expected: set[str] = set()  # agents that a turn has taught something, which may not be stored yet
        self.known: dict[str, Profile] = dict(given)

    def expect(self, decision: Decision, *, at: float) -> None:
        """What a decision teaches counts for those after it in the same turn; `settle` reads what came of it."""
        for entry in decision.entries:
            lesson = lesson_of(entry)
            if lesson is not None:
                agent, taught = lesson
                self._expected.add(agent)
                self._know(agent, learn(self._learned.get(agent, NOTHING_KNOWN), taught, at=at))

    async def settle(self) -> None:
        """Read what came of the lessons of a turn, stored or not."""
        if self._expected:
            agents, self._expected = self._expected, set()
            try:
                await self._reread(agents)
            except JournalError as error:
                self._expected |= agents
                _log.info("what was learned of %d agents is read later: %s", len(agents), error)

    async def load(self) -> None:
        """Read all that was learned. Raises `JournalError`."""
        learned = await self._journal.profiles()
        for agent in [*learned, *(agent for agent in self._learned if agent not in learned)]:
            self._know(agent, learned.get(agent))

    async def before(self, command: Command, session: Session | None, *, agent: str) -> None:
        """Read what a decision may rest on, of a shared store. `agent`: that of sessions which name none."""
        if isinstance(command, OpenSession):
            await self._reread([command.agent or agent])
        elif session is None or session.closed:
            await self._reread([agent])
        elif isinstance(command, _ASKING):
            await self._reread([session.agent])

    async def keep(self, agent: str, profile: Profile | None) -> None:
        """Store an agent's profile in place of what was learned, or forget that (None). Raises `JournalError`."""
        await self._journal.keep_profile(agent, profile)
        await self._reread([agent])

    async def _reread(self, agents: Collection[str]) -> None:
        found = await self._journal.profiles(agents)
        for agent in agents:
            self._know(agent, found.get(agent))

    def _know(self, agent: str, learned: Profile | None) -> None:
        given = self._given.get(agent)
        if learned is None:
            self._learned.pop(agent, None)
        else:
            self._learned[agent] = learned
        if given is None and learned is None:
            self.known.pop(agent, None)
        else:
            self.known[agent] = merged(given or NOTHING_KNOWN, learned)
