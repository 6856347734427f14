"""The ledger: the one writer. Commands in, durable entries out; the only place where a session may change.

It works in serial turns: decide all commands that wait, append their entries in one go, publish, answer. Nothing is
decided while an append is under way, so nothing is ever decided on what may turn out not to have happened; and reads
run between turns, so nobody sees what is not durable. One owner, no locks.

    contract.py    what others say to the ledger and hear from it: replies, records, sinks, limits
    residents.py   the sessions in memory, and since when nothing was heard of them
    queue.py       the commands that wait
    turn.py        what one turn has decided and has still to store
    deciding.py    how a turn decides them
    outage.py      the time in which the journal takes no writes
    profiles.py    what is known of agents
    history.py     sessions out of the journal, from their snapshots
    snapshots.py   when those are taken
    contention.py  sessions that another replica writes to as well
    moved.py       sessions that the store has otherwise, because others serve them now
    silence.py     sessions that nothing is heard of: idle, then closed
    retention.py   what is forgotten, by age and size
    ages.py        how old that is, on a clock that may be set
    writer.py      the turns themselves: decide, append, publish, answer
    ledger.py      the face: commands in, reads, start and stop
"""

from sidecar.ledger.contract import (
    Ask,
    Limits,
    Origin,
    Overloaded,
    Record,
    Reply,
    SessionView,
    Sink,
    Tally,
)
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.retention import Keep

__all__ = ["Ask", "Keep", "Ledger", "Limits", "Origin", "Overloaded", "Record", "Reply", "SessionView", "Sink", "Tally"]
