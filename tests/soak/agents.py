"""Agents that open one session after the other, write to it at a steady pace, and keep their own account of it.

Every second session is so small that cleanups run in it. Whatever was acknowledged must be in the ledger once and as it
was answered; what was put is held or archived; sums hold. It is held against the account when the session is closed,
and again at the end of all, when every sidecar that wrote it is dead.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.crash.account import pages
from tests.crash.process import Process

WRITES = 120  # in one session
ROOMY, SMALL = 1_000_000_000_000, 60_000
CONTENT = "content of {0} " * 10
SETTLED = 3.0  # seconds after the end of a fault during which it may still be felt
PATIENCE = 120.0
AWAY = (aiohttp.ClientError, ConnectionError, KeyError)  # the last: it does not run, and has no address


@dataclass(slots=True)
class Tally:
    """What was answered; what nobody asked for stands by itself."""

    answers: Counter[str] = field(default_factory=Counter)
    unasked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    writes: int = 0
    repeated: int = 0
    seconds: list[float] = field(default_factory=list)
    _faults: int = 0
    _until: float = 0.0

    def begin_fault(self) -> None:
        """From now on errors are asked for."""
        self._faults += 1

    def end_fault(self) -> None:
        """Soon they are not any more."""
        self._faults -= 1
        self._until = time.monotonic() + SETTLED

    def note(self, answer: str, *, well: bool, begun: float) -> None:
        """Write an answer down. `begun`: when it was asked."""
        self.answers[answer] += 1
        if not well and not self._faults and begun > self._until:
            self.unasked[answer] += 1


def unanswered(error: Exception) -> str:
    """What to call a call that was not answered: a sidecar that is killed is away until it has started anew."""
    return "not answered in time" if isinstance(error, TimeoutError) else "not running, or cut off (a kill)"


@dataclass(slots=True)
class Account:
    """What one session must hold."""

    session: str
    roomy: bool
    granted: dict[str, int] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    put: dict[str, int] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    closed: bool = False


class Http:
    """Calls to the sidecar that are repeated, with the same ids, until they are answered."""

    def __init__(self, http: aiohttp.ClientSession, sidecar: Process, tally: Tally) -> None:
        self.http = http
        self.sidecar = sidecar
        self.tally = tally

    async def insist(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, when there is one of success."""
        tries = 0
        async with asyncio.timeout(PATIENCE):
            while True:
                tries += 1
                self.tally.repeated += tries == 2
                begun = time.monotonic()
                try:
                    async with self.http.request(method, self.sidecar.api + path, json=body) as answer:
                        told = await answer.json(content_type=None)
                    well = answer.status < 400
                    self.tally.note(str(answer.status), well=well, begun=begun)
                    if well:
                        self.tally.seconds.append(time.monotonic() - begun)
                        return told
                    if answer.status not in (429, 503):
                        raise AssertionError(f"{method} {path}: {answer.status} {told}")
                except (*AWAY, TimeoutError) as error:
                    self.tally.note(unanswered(error), well=False, begun=begun)
                await asyncio.sleep(0.1)


class Agent:
    """One agent. `pace`: seconds from one write to the next; 0 is as fast as it is answered."""

    def __init__(self, name: str, calls: Http, chance: random.Random, pace: Callable[[], float]) -> None:
        self.name = name
        self.accounts: list[Account] = []
        self._calls = calls
        self._chance = chance
        self._pace = pace
        self._count = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Have sessions until told to stop; the last one is ended in order."""
        while not stopping.is_set():
            account = Account(f"{self.name}-{len(self.accounts)}", roomy=len(self.accounts) % 2 == 0)
            self.accounts.append(account)
            try:
                await self._have(account, stopping)
            except (AssertionError, TimeoutError) as error:
                self._calls.tally.wrong.append(f"{account.session}: {str(error) or 'no answer for two minutes'}")

    async def _have(self, account: Account, stopping: asyncio.Event) -> None:
        base = f"/v1/sessions/{account.session}"
        total = ROOMY if account.roomy else SMALL
        await self._calls.insist("PUT", base, {"agent": self.name, "total_tokens": total})
        due = time.monotonic()
        for _ in range(WRITES):
            if stopping.is_set():
                break
            self._count += 1
            self._calls.tally.writes += 1
            kinds = (self._allocate, self._put, self._put, self._remove, self._look)
            await self._chance.choice(kinds)(account, base)
            due = max(due + self._pace(), time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await settle(self._calls, account)
        report = await self._calls.insist("DELETE", base)
        assert report["state"] == "closed"
        account.closed = True

    async def _allocate(self, account: Account, base: str) -> None:
        id = f"r{self._count}"
        body = {"component": "agent_context", "tokens": self._chance.randint(1, 900), "request_id": id}
        answer = await self._calls.insist("POST", f"{base}/allocations", body)
        assert answer["granted"] == body["tokens"] or not account.roomy
        account.granted[id] = answer["granted"]
        await self._apply(answer, base)

    async def _put(self, account: Account, base: str) -> None:
        sizes = {f"i{self._count}.{n}": self._chance.randint(1, 4_000) for n in range(self._chance.randint(1, 4))}
        events = [
            {
                "type": "put_item",
                "session": account.session,
                "id": f"e-{id}",
                "item": {"id": id, "kind": "file", "tokens": tokens, "content": CONTENT.format(id)},
            }
            for id, tokens in sizes.items()
        ]
        await self._send(events)
        account.events |= {f"e-{id}" for id in sizes}
        account.put |= sizes

    async def _remove(self, account: Account, base: str) -> None:
        left = account.put.keys() - account.removed
        if not account.roomy or not left:
            return await self._look(account, base)
        id = self._chance.choice(sorted(left))
        event = {"type": "remove_item", "session": account.session, "id": f"x-{id}", "item": id}
        await self._send([event])
        account.events.add(event["id"])
        account.removed.add(id)
        return None

    async def _look(self, account: Account, base: str) -> None:
        report = await self._calls.insist("GET", base)
        assert report["session"] == account.session
        await self._apply(await self._calls.insist("GET", f"{base}/directives"), base)

    async def _apply(self, answer: Any, base: str) -> None:
        """Confirm the directives that an answer carries."""
        if directives := answer["directives"]:
            through = max(directive["number"] for directive in directives)
            await self._calls.insist("POST", f"{base}/directives/acknowledgements", {"through": through})

    async def _send(self, events: list[dict[str, Any]]) -> None:
        answer = await self._calls.insist("POST", "/v1/events", events)
        while answer["errors"]:
            assert {error["status"] for error in answer["errors"]} <= {429, 503}, answer
            answer = await self._calls.insist("POST", "/v1/events", events)
        assert answer["accepted"] + answer["duplicates"] == len(events)


async def settle(calls: Http, account: Account) -> None:
    """Hold all that the sidecar shows of a session against its account. Raises `AssertionError`."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await _settle(calls, account)
            except (*AWAY, TimeoutError):  # it was killed meanwhile
                await asyncio.sleep(0.2)


async def _settle(calls: Http, account: Account) -> None:
    base = f"{calls.sidecar.api}/v1/sessions/{account.session}"
    entries = await pages(calls.http, f"{base}/ledger", "entries")
    assert [entry["version"] for entry in entries] == list(range(1, len(entries) + 1))
    allocated = [entry for entry in entries if entry["type"] == "allocated"]
    granted = {entry["request_id"]: entry["granted"] for entry in allocated}
    assert len(allocated) == len(granted), "a request counts twice"
    assert granted == account.granted, "a request is missing, or was granted something else"
    events = Counter(entry["event"] for entry in entries if "event" in entry)
    assert events == Counter(account.events), "an event is missing, or counts twice"
    held = {item["id"]: item["tokens"] for item in await pages(calls.http, f"{base}/items", "items")}
    archived = {item["id"]: item["tokens_before"] for item in await pages(calls.http, f"{base}/archive", "items")}
    assert held.keys() | archived.keys() == account.put.keys(), "an item is neither held nor archived"
    assert {**held, **archived} == account.put
    assert account.removed <= archived.keys()
    if account.roomy:
        assert archived.keys() == account.removed
    async with calls.http.get(base) as answer:
        report = await answer.json()
    assert report["components"]["working_memory"]["used_tokens"] == sum(held.values())
    assert report["components"]["agent_context"]["used_tokens"] == sum(granted.values())
