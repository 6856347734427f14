"""`top`: the windows of a sidecar in a terminal, fullest first, as they change."""

from sidecar.lab.top.command import add_arguments, run

__all__ = ["add_arguments", "run"]
