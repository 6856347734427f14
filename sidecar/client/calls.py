"""The calls of the API as data, each defined once: what to send, what comes back, and what may stand in for it offline.

An `operation` is written as a method that describes its call. On a blocking session it runs the call and returns the
reply; on an asynchronous one it returns an awaitable of the same reply. So there are no twins to keep alike.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, cast, overload
from urllib.parse import quote, urlencode

from sidecar.client.replies import (
    AcknowledgeReply,
    AllocationReply,
    ArchivePage,
    ArchiveRecord,
    BatchReply,
    Component,
    Item,
    Report,
    RestoreReply,
    WindowReply,
)
from sidecar.client.wire import Request

if TYPE_CHECKING:
    from sidecar.client.asynchronous import AsyncSession
    from sidecar.client.blocking import Session

R = TypeVar("R")
P = ParamSpec("P")
TOLD = ("accepted", "rejected")


class Call(NamedTuple, Generic[R]):
    """One call of a session. Every call may be repeated: what is no absolute statement carries an id.

    `offline` makes the reply of a client that fails open (None: there is none, and `Away` is raised); `events` are
    the facts that are kept and told later. `fields`: without them an answer is not the sidecar's.
    """

    method: str
    path: str
    body: Any = None
    offline: Callable[[], R] | None = None
    events: tuple[Mapping[str, Any], ...] = ()
    opens: bool = False
    fields: tuple[str, ...] = ()

    def request(self, headers: Mapping[str, str]) -> Request:
        """The request that makes this call."""
        body = b"" if self.body is None else json.dumps(self.body, separators=(",", ":")).encode()
        return Request(method=self.method, path=self.path, body=body, headers=headers)


class operation(Generic[P, R]):  # noqa: N801 - a decorator
    """A method that describes a call, made one that runs it: at once, or as an awaitable."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[R]]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe

    @overload
    def __get__(self, instance: None, owner: object) -> "operation[P, R]": ...
    @overload
    def __get__(self, instance: "Session", owner: object) -> Callable[P, R]: ...
    @overload
    def __get__(self, instance: "AsyncSession", owner: object) -> Callable[P, Awaitable[R]]: ...

    def __get__(self, instance: Any, owner: object) -> Any:
        """Bind the method to a session."""
        if instance is None:
            return self

        def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            return instance.run(self.describe(instance, *args, **kwargs))

        run.__doc__ = self.__doc__
        return run


def fresh_id() -> str:
    """An id by which a repetition is recognized."""
    return os.urandom(16).hex()


class SessionCalls:
    """What can be asked of one session, whoever runs it."""

    id: str
    opening: dict[str, Any]

    def _path(self, *parts: str, **query: Any) -> str:
        path = "/".join(("/v1/sessions", *(quote(part, safe="") for part in (self.id, *parts))))
        given = {name: value for name, value in query.items() if value is not None}
        return f"{path}?{urlencode(given)}" if given else path

    def opening_call(self) -> Call[Report]:
        """The call that opens the session as it was asked for."""
        return Call(method="PUT", path=self._path(), body=self.opening, opens=True)

    @operation
    def open(self) -> Call[Report]:
        """Open the session now. It is opened by its first call anyway, and again where the sidecar forgot it."""
        return self.opening_call()

    @operation
    def change(self, /, **changes: Any) -> Call[Report]:
        """Change `total_tokens`, `reserve_tokens`, `shares`, `mode` or `model`."""
        return Call(method="PATCH", path=self._path(), body=changes)

    @operation
    def report(self) -> Call[Report]:
        """The utilization report."""
        return Call(method="GET", path=self._path())

    @operation
    def close(self) -> Call[Report | None]:
        """Close the session; its final report (None offline)."""
        return Call(
            method="DELETE",
            path=self._path(),
            offline=lambda: None,
            events=({"type": "close_session", "session": self.id},),
        )

    @operation
    def sync(self, items: Sequence[Item], *, through: int = 0, time: float | None = None) -> Call[WindowReply]:
        """Show the whole next prompt, and the highest directive applied to it (SPEC 3.7).

        `time`: for a session on its host's clock, seconds since the epoch.
        """
        body: dict[str, Any] = {"items": list(items), "through": through}
        return Call(
            method="PUT",
            path=self._path("window"),
            body=body if time is None else {**body, "time": time},
            offline=lambda: {"directives": [], "offline": True},
            fields=("directives",),
        )

    @operation
    def allocate(
        self,
        component: Component,
        tokens: int,
        *,
        min_tokens: int | None = None,
        lease_seconds: float | None = None,
        request_id: str | None = None,
    ) -> Call[AllocationReply]:
        """Ask for tokens before adding what can still be declined. Offline everything is granted."""
        body: dict[str, Any] = {"component": component, "tokens": tokens, "request_id": request_id or fresh_id()}
        if min_tokens is not None:
            body["min_tokens"] = min_tokens
        if lease_seconds is not None:
            body["lease_seconds"] = lease_seconds
        return Call(
            method="POST",
            path=self._path("allocations"),
            body=body,
            offline=lambda: _granted(component, tokens),
            fields=("outcome", "granted"),
        )

    @operation
    def allocate_item(self, item: Item, *, request_id: str | None = None) -> Call[AllocationReply]:
        """Ask for an item: it is held whole, or denied. Offline it is granted, and the ledger told later."""
        request_id = request_id or fresh_id()
        return Call(
            method="POST",
            path=self._path("allocations"),
            body={"item": dict(item), "request_id": request_id},
            offline=lambda: _granted(item.get("component", "working_memory"), item["tokens"]),
            events=({"type": "put_item", "session": self.id, "id": request_id, "item": dict(item)},),
            fields=("outcome", "granted"),
        )

    @operation
    def tell(self, *events: Mapping[str, Any]) -> Call[BatchReply]:
        """Tell facts (`put_item`, `touch_item`, `complete_item`, ...); offline they are kept for later."""
        told = tuple({"session": self.id, "id": fresh_id(), **event} for event in events)
        return Call(method="POST", path="/v1/events", body=told, offline=_kept, events=told, fields=TOLD)

    @operation
    def billed(self, tokens: int) -> Call[BatchReply]:
        """Tell what the provider billed for the window: the last call's whole input (SPEC 3.9)."""
        event = {"type": "report_usage", "session": self.id, "id": fresh_id(), "total": tokens, "source": "exact"}
        return Call(method="POST", path="/v1/events", body=[event], offline=_kept, fields=TOLD)  # soon stale: not kept

    @operation
    def acknowledge(
        self,
        through: int,
        *,
        sizes: Mapping[str, int] | None = None,
        failed: Sequence[Mapping[str, Any]] = (),
    ) -> Call[AcknowledgeReply]:
        """Confirm directives up to `through`, but for those that `failed` [{`number`, `reason`}]."""
        body = {"through": through, "sizes": dict(sizes or {}), "failed": list(failed)}
        return Call(method="POST", path=self._path("directives", "acknowledgements"), body=body)

    @operation
    def archive(
        self, *, q: str | None = None, component: Component | None = None, limit: int = 20, after: str | None = None
    ) -> Call[ArchivePage]:
        """Archived items, or those that have the text `q`."""
        path = self._path("archive", q=q, component=component, limit=limit, after=after)
        return Call(method="GET", path=path, fields=("items", "next"))

    @operation
    def archived(self, item: str) -> Call[ArchiveRecord]:
        """One archived item with its content."""
        return Call(method="GET", path=self._path("archive", item))

    @operation
    def restore(self, item: str, *, request_id: str | None = None) -> Call[RestoreReply]:
        """Ask to bring an archived item back at its first size."""
        body = {"request_id": request_id or fresh_id()}
        path = self._path("archive", item, "restore")
        return Call(method="POST", path=path, body=body, fields=("item", "outcome"))

    @operation
    def call(self, method: str, /, *parts: str, body: Any = None, **query: Any) -> Call[Any]:
        """Make any other call of the session, as in `call("POST", "cleanups", body={"component": ...})`."""
        return Call(method=method, path=self._path(*parts, **query), body=body)


def _granted(component: Component, tokens: int) -> AllocationReply:
    return {
        "component": component,
        "requested": tokens,
        "granted": tokens,
        "outcome": "full",
        "available_tokens": 0,
        "cleanup": None,
        "directives": [],
        "offline": True,
    }


def _kept() -> BatchReply:
    return cast(
        "BatchReply",
        {"accepted": 0, "duplicates": 0, "rejected": 0, "errors": [], "results": [], "offline": True},
    )
