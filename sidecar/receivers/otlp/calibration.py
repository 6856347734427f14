"""How many of a provider's tokens one of our estimated tokens is, per model, learned from growth.

Two calls of one window differ by what was added between them, and so do the two estimates; a hidden system prompt is in
both and drops out. Old growth fades, so that the ratio follows the conversation.
"""

from collections import OrderedDict

DEFAULT = 1.1  # providers bill 1.05 to 1.5 of o200k_base's tokens; estimates from characters err on both sides
LEAST, MOST = 0.5, 2.5  # outside of this the difference is something that was not seen, not a tokenizer
ENOUGH = 2_000.0  # estimated tokens of growth before a ratio is believed
FADE = 50_000.0  # estimated tokens of growth that are remembered
REMEMBERED = 256  # models


class Calibration:
    """Learned ratios. Bounded by the number of models; lost at a restart, and learned again."""

    def __init__(self) -> None:
        self._growth: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def learn(self, model: str | None, *, estimated: float, billed: float) -> None:
        """A window grew by so many estimated and billed tokens."""
        if estimated < 50 or not LEAST <= billed / estimated <= MOST:  # noqa: PLR2004 - small growth is all rounding
            return
        name = model or ""
        old_estimated, old_billed = self._growth.pop(name, (0.0, 0.0))
        keep = max(0.0, 1 - estimated / FADE)
        self._growth[name] = (old_estimated * keep + estimated, old_billed * keep + billed)
        if len(self._growth) > REMEMBERED:
            self._growth.popitem(last=False)

    def known(self, model: str | None) -> float | None:
        """The learned ratio; None while too little was seen."""
        estimated, billed = self._growth.get(model or "", (0.0, 0.0))
        return billed / estimated if estimated >= ENOUGH else None

    def ratio(self, model: str | None) -> float:
        """The learned ratio, else the default."""
        known = self.known(model)
        return DEFAULT if known is None else known
