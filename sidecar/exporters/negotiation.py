"""Which format a scraper asks for."""

from sidecar.exporters.series import OPENMETRICS, TEXT


def content_type(accept: str) -> str:
    """The content type to answer an `Accept` header with: the text format unless OpenMetrics is liked better.

    Of media types of the same weight the first one counts, as Prometheus orders them. OpenMetrics is offered as 1.0.0
    only; every scraper that asks for a later one takes the text format too.
    """
    best, weight = TEXT, 0.0
    for part in accept.split(","):
        media, *parameters = (each.strip().lower() for each in part.split(";"))
        values = dict(each.split("=", 1) for each in parameters if "=" in each)
        offered = {
            "application/openmetrics-text": OPENMETRICS if values.get("version", "1.0.0") == "1.0.0" else None,
            "text/plain": TEXT if values.get("version", "0.0.4") in {"0.0.4", "1.0.0"} else None,
            "text/*": TEXT,
            "*/*": TEXT,
        }.get(media)
        try:
            liking = float(values.get("q", "1"))
        except ValueError:
            continue
        if offered is not None and liking > weight:
            best, weight = offered, liking
    return best
