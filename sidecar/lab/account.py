"""What became of a session, added up from its ledger: nothing is counted beside it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Account:
    """Counts of one session: requests by outcome, exhaustions, cleanups by trigger, tokens freed by step."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refused_tokens: int = 0
    exhaustions: Counter[str] = field(default_factory=Counter)
    cleanups: Counter[str] = field(default_factory=Counter)
    freed: Counter[str] = field(default_factory=Counter)
    compactions: int = 0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count one entry of the ledger, as the API shows it."""
        match entry["type"]:
            case "allocated":
                self.outcomes[entry["outcome"]] += 1
                self.refused_tokens += entry["requested"] - entry["granted"]
            case "exhausted":
                self.exhaustions[entry["component"]] += 1
            case "cleaned_up":
                self.cleanups[entry["trigger"]] += 1
                for action in entry["actions"]:
                    self.freed[action["step"]] += action["tokens_before"] - action["tokens_after"]
            case "compacted":
                self.compactions += 1
            case _:
                pass
