"""Bytes at the OTLP receiver: whatever comes, never a 5xx, never a hang, and the ledger goes on."""

import asyncio
from itertools import islice

from tests.hostile.mutating import mutated, recorded
from tests.hostile.telemetry import telemetry

SEED = 20_261_122
INPUTS = 1_500


async def test_mutated_payloads_are_taken_or_refused_and_never_break_anything():
    """Recorded payloads of every emitter, changed at random: each answer is 200 or 400, and quick."""
    async with telemetry() as sidecar:
        answers: dict[int, int] = {}
        for payload in islice(mutated(recorded(), SEED), INPUTS):
            async with asyncio.timeout(5):
                status = await sidecar.post(payload)
            assert status in (200, 400), (payload.signal, payload.media, payload.body[:2_000])
            answers[status] = answers.get(status, 0) + 1
        assert min(answers[200], answers[400]) > INPUTS / 20, f"the mutations are too wild or too tame: {answers}"
        await sidecar.holds()
