"""What a person watches: the stream of entries as they become durable, and the live page that is drawn from it."""

from sidecar.exporters.live.feed import Feed
from sidecar.exporters.live.page import LivePage
from sidecar.exporters.live.stream import StreamApi

__all__ = ["Feed", "LivePage", "StreamApi"]
