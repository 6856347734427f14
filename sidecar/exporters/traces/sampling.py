"""Which spans are kept: the caller decides, but what is remarkable is always kept (SPEC section 7)."""

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes
from typing_extensions import override

# Marks spans that are kept whatever the caller's sampling; collectors may sample by it as well.
REMARKABLE: Final = "token_budget.remarkable"


class KeepRemarkable(Sampler):
    """Keeps what has the attribute `REMARKABLE`. Else the caller's flag decides; where nobody calls, `root` does."""

    def __init__(self, root: Sampler) -> None:
        self._else = ParentBased(root)

    @override
    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if attributes is not None and attributes.get(REMARKABLE):
            state = get_current_span(parent_context).get_span_context().trace_state
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, state)
        return self._else.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    @override
    def get_description(self) -> str:
        return "KeepRemarkable"
