"""What Schemathesis has to be told of this API: lines of JSON are a body too."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Text as it is; anything else as one line."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else repr(value).encode()
