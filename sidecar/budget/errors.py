"""What can be wrong with a command. Each error says whose fault it is and names the field.

A refusal of tokens is never an error: it is a result (SPEC 3.2).
"""


class BudgetError(Exception):
    """The command cannot be carried out; nothing was changed.

    `detail` is one sentence for a person; `path` names the offending field (`item.tokens`), empty if there is none.
    """

    def __init__(self, detail: str, *, path: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.path = path


class Invalid(BudgetError):
    """The command breaks a rule of its own, whatever the session holds."""


class NotFound(BudgetError):
    """The session, item, task or directive named does not exist."""


class Conflict(BudgetError):
    """The command is sound but contradicts what the session already holds."""
