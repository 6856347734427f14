"""`backtest`: the same recorded sessions under several policies, through the same engine, side by side.

`course` tells what happens to a window whatever the policy; `window` lets one policy run it, through the engine itself;
`measures` is what is counted, `scores` sums it up, `aims` judges it; `arms` are the policies that are compared.
"""

from sidecar.lab.backtest.command import add_arguments, run

__all__ = ["add_arguments", "run"]
