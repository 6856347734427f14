"""The real program under a clock that can be set: `skewed.py FILE serve ...`, where FILE has the seconds it is off.

Only `time.time` is replaced, before anything of the sidecar is imported; the clock that nobody sets stays as it is.
"""

import sys
import time
from pathlib import Path

OFF = Path(sys.argv.pop(1))
_true = time.time
time.time = lambda: _true() + float(OFF.read_text())

from sidecar.__main__ import main  # noqa: E402 - it must not have seen the other clock

sys.exit(main())
