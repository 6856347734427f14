"""OTLP in: an agent's telemetry becomes its context window's gauge, with no change in the agent (SPEC section 5).

In the order of the flow:

    receiver.py         HTTP: three routes, bounds, answers, the tee
    wire.py             protobuf (wire_protobuf.py) or JSON (wire_json.py) to records
    emitters/           records to observations, a module a family; mapping.py is the one table of names and meanings
    content.py          captured messages to sizes; content goes no further
    traces.py           whose conversation it is, and what waits for the answer
    reader.py           observations to sessions and sub-agents' sessions, commands to the ledger
    opening.py          when a session begins; naming.py: names and ids as the budget takes them
    windows.py          one session: the last call's level, compactions; seen.py: each call once
    attribution.py      what fills it; calibration.py learns how large our estimates are to a provider
"""

from sidecar.receivers.otlp.receiver import PATHS, Forward, OtlpReceiver

__all__ = ["PATHS", "Forward", "OtlpReceiver"]
