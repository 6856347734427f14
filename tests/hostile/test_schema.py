"""Schemathesis over the OpenAPI document: what the document says is what the API does, and nothing breaks it."""

from pathlib import Path

from tests.hostile.schema import run
from tests.hostile.telemetry import telemetry


async def test_whatever_the_document_allows_or_forbids_is_answered_as_it_says(tmp_path: Path):
    """Single calls and sequences, valid and invalid: never a 5xx, always a status, a type and a shape as documented."""
    async with telemetry() as sidecar:
        flags = ("--generation-deterministic", "-n", "5", "--phases", "fuzzing,stateful")
        outcome = await run(tmp_path, sidecar.app.urls["api"][0], *flags)
        assert outcome.code == 0, outcome.said[-8_000:]
        assert outcome.cases > 100, outcome.said
        await sidecar.holds()
