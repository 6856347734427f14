"""`audit`: read coding agents' own transcripts offline, and tell what filled their windows.

The flow: `sources` finds files, `readers` turn each tool's lines into windows and pieces (`transcript`), `recorded`
makes them recordings in the provider's tokens, `windows` follows them, `verdicts` runs policies over them, and
`terminal`, `page` and `machine` show what was found (`findings`, laid out as tables in `sections`).
"""

from sidecar.lab.audit.command import add_arguments, run

__all__ = ["add_arguments", "run"]
