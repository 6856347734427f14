"""From spans to the collector: in batches, from a thread of its own, so that nobody waits for it.

The SDK's batch processor does the work. Added here is what it does not have: a bound on what its shutdown may take, and
a count of every span that is lost.
"""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from typing_extensions import override

from sidecar.exporters.traces.environment import Batching
from sidecar.exporters.traces.trouble import Trouble

# Why spans were lost, and how many; called on the event loop.
Lost = Callable[[str, int], None]


class _Counted(SpanExporter):
    """An exporter that counts what it is given, what it got rid of and what it failed at. Runs in the thread."""

    def __init__(self, exporter: SpanExporter, trouble: Trouble, failed: Callable[[int], None]) -> None:
        self._exporter = exporter
        self._trouble = trouble
        self._failed = failed
        self.taken = 0
        self.done = 0

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.done += len(spans)
            if result is SpanExportResult.SUCCESS:
                self._trouble.worked()
            else:
                self._trouble.failed(len(spans))
                self._failed(len(spans))
        if result is not SpanExportResult.SUCCESS:
            # The exporter leaves its error and the whole batch in a cycle of tracebacks, a megabyte and more, and the
            # collector looks seldom. The cycle is young: the generations below the oldest have it.
            gc.collect(1)
        return result

    @override
    def shutdown(self) -> None:
        self._exporter.shutdown()
        self._trouble.listen_no_more()


class Outbox(SpanProcessor):
    """Takes spans on the event loop, and loses those that are more than may wait."""

    def __init__(self, exporter: SpanExporter, lost: Lost, batching: Batching, *, trouble: Trouble) -> None:
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._trouble = trouble
        self._counted = _Counted(exporter, trouble, self._failed)
        self._batches = BatchSpanProcessor(
            self._counted,
            max_queue_size=batching.waiting,
            max_export_batch_size=batching.together,
            schedule_delay_millis=batching.every,
        )
        self._waiting = batching.waiting
        self._put = 0
        trouble.listen()

    @override
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    @override
    def on_end(self, span: ReadableSpan) -> None:
        if self._put - self._counted.taken >= self._waiting:
            self._lost("queue_full", 1)  # the processor itself would drop its oldest, and tell nobody
            return
        self._put += 1
        self._batches.on_end(span)

    async def close(self, patience: float) -> None:
        """Export what waits, for at most so many seconds; what is left then is lost."""
        ended = asyncio.Event()

        def end() -> None:
            self._batches.shutdown()  # type: ignore[no-untyped-call]
            with contextlib.suppress(RuntimeError):  # the loop was not going to wait any longer, and is gone
                self._loop.call_soon_threadsafe(ended.set)

        # A daemon: a collector that hangs must not hold up the end of the process either.
        threading.Thread(target=end, name="traces-shutdown", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await ended.wait()
        self._trouble.end()
        left = self._put - self._counted.done
        if left:
            self._lost("shutdown", left)

    def _failed(self, spans: int) -> None:
        with contextlib.suppress(RuntimeError):  # as above
            self._loop.call_soon_threadsafe(self._lost, "failed", spans)
