"""How large a model's context window is, as its provider documents it, where telemetry does not say.

Only names that are certain: a model that is not here has the size that the operator set, or the preset's 200,000.
"""

import re
from collections.abc import Sequence

# Pattern of the name, tokens. The first that fits counts.
_SIZES: Sequence[tuple[re.Pattern[str], int]] = tuple(
    (re.compile(pattern), tokens)
    for pattern, tokens in (
        (r"claude-.*\[1m\]$", 1_000_000),  # how Claude Code writes that it uses the long window
        (r"claude-", 200_000),
        (r"gpt-5(-(mini|nano|codex))?(-20\d\d-\d\d-\d\d)?$", 400_000),
        (r"gpt-4\.1(-(mini|nano))?(-20\d\d-\d\d-\d\d)?$", 1_047_576),
        (r"gpt-4o(-mini)?(-20\d\d-\d\d-\d\d)?$", 128_000),
        (r"gpt-4-turbo", 128_000),
        (r"(o1|o3|o3-mini|o4-mini)(-20\d\d-\d\d-\d\d)?$", 200_000),
        (r"gemini-1\.5-pro", 2_097_152),
        (r"gemini-(1\.5|2\.0|2\.5)-", 1_048_576),
    )
)


def context_window(model: str | None) -> int | None:
    """Tokens in the model's window; None where that is not known. A provider's prefix (`openai/`) does not matter."""
    name = (model or "").rpartition("/")[2]
    return next((tokens for pattern, tokens in _SIZES if pattern.match(name)), None)
