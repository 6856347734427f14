"""What the log says of a collector that takes no spans: a line when that begins and one when it ends.

However many exports fail in between: the SDK's exporter tells of each attempt. What it says is
held back, and the last of it is the reason that is given.
"""

import logging
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from typing_extensions import override

from sidecar.exporters.peers import shown

_log = logging.getLogger(__name__)
_of_exporter = logging.getLogger(trace_exporter.__name__)


class Trouble(logging.Filter):
    """Whether exports to `endpoint` fail, and how many spans that has cost. Told from the exporting thread."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._where = shown(endpoint)
        self._query = urlsplit(endpoint).query
        self._why = ""
        self._lost = 0

    def listen(self) -> None:
        """From now on what the exporter says stays here."""
        _of_exporter.addFilter(self)

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        self._why = record.getMessage()
        return False

    def failed(self, spans: int) -> None:
        """So many spans could not be exported."""
        if not self._lost:
            why = self._why.replace(self._query, "...") if self._query else self._why  # it may be a secret
            _log.warning("traces cannot be exported to %s: %s", self._where, why or "no reason is given")
        self._lost += spans

    def worked(self) -> None:
        """Spans were exported."""
        if self._lost:
            _log.info("traces are exported to %s again; %s", self._where, self._cost())
            self._lost = 0

    def listen_no_more(self) -> None:
        """The exporter has come to its end."""
        _of_exporter.removeFilter(self)

    def end(self) -> None:
        """Nobody waits for exports any more."""
        if self._lost:
            _log.warning("traces could not be exported to %s any more; %s", self._where, self._cost())

    def _cost(self) -> str:
        return f"{self._lost:,} {'span was' if self._lost == 1 else 'spans were'} lost"
