"""The tee: what the OTLP receiver accepted goes on to where the agent's telemetry went before, as it came (SPEC 5).

The answer to the agent never waits for it. Each signal has a lane of its own, so that a dead endpoint holds up nothing
else; a lane's queue is bounded, and every payload ends up either delivered or counted as lost.

    downstream.py   where to, and with which headers
    retry.py        which failures are worth another attempt, and when
    lane.py         one signal: its queue, and those who empty it
    tee.py          the lanes together: the hook of the receiver, start and stop
"""

from sidecar.exporters.forward.downstream import Downstream, endpoints
from sidecar.exporters.forward.tee import Tee

__all__ = ["Downstream", "Tee", "endpoints"]
