"""What can go wrong between an agent and its sidecar: it said no to how it was asked, or it was not there."""


class ClientError(Exception):
    """Whatever a client raises."""


class Refused(ClientError):
    """The sidecar understood, and the call was wrong: unknown session, bad field, conflict (SPEC section 4).

    `status` is the HTTP status, `detail` the sidecar's own sentence, `errors` its list of {`path`, `detail`}. That an
    allocation was denied is a result and not this.
    """

    def __init__(self, status: int, detail: str, errors: tuple[dict[str, str], ...] = ()) -> None:
        more = [each.get("detail", "") for each in errors if each.get("detail") not in (None, detail)]
        super().__init__("; ".join([f"{status}: {detail}", *more]))
        self.status = status
        self.detail = detail
        self.errors = errors


class Away(ClientError):
    """The sidecar gave no answer in time: not there, too slow, overloaded, or without its journal."""


class BadAnswer(Away):
    """What answers there does not speak as the sidecar does; to an agent that is as good as away."""
