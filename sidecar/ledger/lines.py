"""Who is next where many wait: agents in turn, the sessions of an agent in turn, each session's commands in order.

Round robin in two rounds. Whoever has one session gets as much as whoever has a hundred, and a session with thousands
of commands makes another wait for no more than a few of them. Commands of one session never overtake each other; those
of different sessions were promised no order.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator

from sidecar.journal import SessionId
from sidecar.ledger.turn import Waiting

IN_A_ROW = 16  # commands of a session, before the next session has its turn


class _Line:
    """What waits for one session. `agent` is whose session it was when the line formed."""

    __slots__ = ("agent", "waiting")

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.waiting: deque[Waiting] = deque()


class Lines:
    """The lines of all sessions for which something waits: `count` in all. `agent_of` says whose a session is."""

    def __init__(self, agent_of: Callable[[SessionId], str]) -> None:
        self._agent_of = agent_of
        self._lines: dict[SessionId, _Line] = {}
        self._rounds: dict[str, deque[SessionId]] = {}  # an agent's sessions, the one whose turn it is first
        self._agents: deque[str] = deque()  # the agent whose turn it is first
        self._left = IN_A_ROW  # of the session whose turn it is
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Waiting]:
        for line in self._lines.values():
            yield from line.waiting

    @property
    def sessions(self) -> Collection[SessionId]:
        """For which something waits."""
        return self._lines.keys()

    def of(self, session: SessionId) -> int:
        """How many wait for the session."""
        line = self._lines.get(session)
        return 0 if line is None else len(line.waiting)

    def before(self, session: SessionId) -> int:
        """How many are served before a command that came for the session now, as far as anybody knows."""
        line = self._lines.get(session)
        if line is None:
            return 0
        others = len(self._agents) * len(self._rounds[line.agent])
        return min(self.count, len(line.waiting) * others)

    def longest(self) -> SessionId:
        """The session for which most waits; something must."""
        return max(self._lines, key=self.of)

    def add(self, waiting: Waiting) -> None:
        """Let it wait behind all others of its session."""
        session = waiting.ask.session
        line = self._lines.get(session)
        if line is None:
            line = self._form(session)
        line.waiting.append(waiting)
        self.count += 1

    def take(self, most: int = 1) -> list[Waiting]:
        """Take those that are next, all of one session whose turn it is, at most so many; there must be one."""
        session = self._rounds[self._agents[0]][0]
        line = self._lines[session].waiting
        count = min(most, self._left, len(line))
        taken = [line.popleft() for _ in range(count)]
        self.count -= count
        self._left -= count
        if not line:
            self._dissolve(session)
        elif not self._left:
            self.pass_on(session)
        return taken

    def pass_on(self, session: SessionId) -> None:
        """If it is this session's turn, it has had it; its agent's next one comes when all other agents had theirs."""
        if self._agents and self._rounds[self._agents[0]][0] == session:
            self._left = IN_A_ROW
            self._rounds[self._agents[0]].rotate(-1)
            self._agents.rotate(-1)

    def push_out(self, session: SessionId) -> Waiting:
        """Take the last one that waits for the session; there must be one."""
        line = self._lines[session].waiting
        waiting = line.pop()
        self.count -= 1
        if not line:
            self._dissolve(session)
        return waiting

    def put_back(self, waiting: Waiting) -> None:
        """Let it wait before all others of its session."""
        session = waiting.ask.session
        line = self._lines.get(session)
        if line is None:
            line = self._form(session)
        line.waiting.appendleft(waiting)
        self.count += 1

    def _form(self, session: SessionId) -> _Line:
        agent = self._agent_of(session)
        line = self._lines[session] = _Line(agent)
        round_ = self._rounds.get(agent)
        if round_ is None:
            self._rounds[agent] = deque((session,))
            self._agents.append(agent)
        else:
            round_.append(session)
        return line

    def _dissolve(self, session: SessionId) -> None:
        agent = self._lines.pop(session).agent
        round_ = self._rounds[agent]
        current = self._agents[0] == agent and round_[0] == session
        if current:
            self._left = IN_A_ROW
            round_.popleft()
        else:
            round_.remove(session)
        if not round_:
            del self._rounds[agent]
            self._agents.remove(agent)
        elif current:
            self._agents.rotate(-1)
