"""Clients that write without pause and keep an account of what was acknowledged to them.

A client whose answer is lost asks again with the same ids, as every host agent should, so the account must balance to
the token: nothing acknowledged is missing, nothing repeated counts twice.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from tests.crash.process import Process

SESSIONS = ("s0", "s1", "s2")
TOTAL = 1_000_000_000_000
CONTENT = "content of {0} " * 20
AGAIN = {429, 503}


class Account:
    """What is acknowledged so far, by session."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.granted: Counter[str] = Counter()
        self.requests: defaultdict[str, set[str]] = defaultdict(set)
        self.events: defaultdict[str, set[str]] = defaultdict(set)
        self.held: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.removed: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.repeated = 0  # writes that had to be sent more than once
        self.writes = 0


class Client:
    """Writes to whichever of the sidecars is there, one write after the other, until told to stop."""

    def __init__(self, name: str, account: Account, http: aiohttp.ClientSession, sidecars: Sequence[Process]) -> None:
        self.name = name
        self._account = account
        self._http = http
        self._sidecars = sidecars
        self._count = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Write until `stopping`, and then until the last write is acknowledged."""
        while not stopping.is_set():
            self._count += 1
            session = self._account.chance.choice(SESSIONS)
            await self._account.chance.choice((self._allocate, self._put, self._put, self._remove))(session)

    async def _allocate(self, session: str) -> None:
        account, id = self._account, f"{self.name}-r{self._count}"
        tokens = account.chance.randint(1, 1_000)
        body = {"component": "working_memory", "tokens": tokens, "request_id": id}
        answer = await self._insist("POST", f"/v1/sessions/{session}/allocations", body)
        assert answer["granted"] == tokens
        account.granted[session] += tokens
        account.requests[session].add(id)

    async def _put(self, session: str) -> None:
        account = self._account
        events, sizes = [], {}
        for n in range(account.chance.randint(1, 4)):
            id, tokens = f"{self.name}-i{self._count}.{n}", account.chance.randint(1, 5_000)
            item = {"id": id, "kind": "doc", "tokens": tokens, "content": CONTENT.format(id)}
            events.append({"type": "put_item", "session": session, "id": f"e-{id}", "item": item})
            sizes[id] = tokens
        await self._send(session, events)
        account.held[session] |= sizes

    async def _remove(self, session: str) -> None:
        account = self._account
        own = [id for id in account.held[session] if id.startswith(f"{self.name}-")]
        if not own:
            return
        id = account.chance.choice(own)
        await self._send(session, [{"type": "remove_item", "session": session, "id": f"x-{id}", "item": id}])
        account.removed[session][id] = account.held[session].pop(id)

    async def _send(self, session: str, events: list[dict[str, Any]]) -> None:
        answer = await self._insist("POST", "/v1/events", events)
        while answer["errors"]:  # the journal failed between two parts of the batch: those of the second are sent again
            assert {error["status"] for error in answer["errors"]} <= AGAIN, answer
            answer = await self._insist("POST", "/v1/events", events)
        assert answer["accepted"] + answer["duplicates"] == len(events)
        self._account.events[session] |= {event["id"] for event in events}

    async def _insist(self, method: str, path: str, body: Any) -> Any:
        """Send it until it is answered."""
        self._account.writes += 1
        tries = 0
        async with asyncio.timeout(90):
            while True:
                tries += 1
                self._account.repeated += tries == 2
                sidecar = self._account.chance.choice(self._sidecars)
                if sidecar.urls:
                    try:
                        async with self._http.request(method, sidecar.api + path, json=body) as answer:
                            told = await answer.json(content_type=None)
                            if answer.status not in AGAIN:
                                assert answer.status == 200, told
                                return told
                    except (aiohttp.ClientError, ConnectionError):
                        pass
                await asyncio.sleep(0.02)


async def open_sessions(http: aiohttp.ClientSession, sidecar: Process) -> None:
    """Open windows so large that no cleanup ever runs: what is held follows from what was written alone."""
    for session in SESSIONS:
        async with http.put(f"{sidecar.api}/v1/sessions/{session}", json={"total_tokens": TOTAL}) as answer:
            assert answer.status == 201


async def pages(http: aiohttp.ClientSession, url: str, plural: str) -> list[dict[str, Any]]:
    """Read a list to its end."""
    found: list[dict[str, Any]] = []
    after: Any = None
    while True:
        params = {"limit": 1_000} if after is None else {"limit": 1_000, "after": after}
        async with http.get(url, params=params) as answer:
            assert answer.status == 200, await answer.text()
            body = await answer.json()
        found += body[plural]
        after = body["next"]
        if after is None:
            return found


async def settle(http: aiohttp.ClientSession, sidecar: Process, account: Account) -> None:
    """Hold everything that the sidecar shows against the account."""
    for session in SESSIONS:
        base = f"{sidecar.api}/v1/sessions/{session}"
        entries = await pages(http, f"{base}/ledger", "entries")
        assert [entry["version"] for entry in entries] == list(range(1, len(entries) + 1))
        requests = Counter(entry["request_id"] for entry in entries if entry["type"] == "allocated")
        assert requests == Counter(account.requests[session]), "a request is missing, or counts twice"
        events = Counter(entry["event"] for entry in entries if "event" in entry)
        assert events == Counter(account.events[session]), "an event is missing, or counts twice"

        items = {item["id"]: item["tokens"] for item in await pages(http, f"{base}/items", "items")}
        assert items == account.held[session]
        archive = {item["id"]: item["tokens_before"] for item in await pages(http, f"{base}/archive", "items")}
        assert archive == account.removed[session], "item and removal are one transaction"
        for id in account.chance.sample(sorted(archive), min(5, len(archive))):
            async with http.get(f"{base}/archive/{id}") as answer:
                assert (await answer.json())["content"] == CONTENT.format(id)

        async with http.get(base) as answer:
            report = await answer.json()
        assert report["components"]["working_memory"]["used_tokens"] == account.granted[session]
        assert report["components"]["knowledge_base"]["used_tokens"] == sum(items.values())


async def until_answered(call: Callable[[], Any]) -> None:
    """Make a call until it is answered with success."""
    async with asyncio.timeout(60):
        while (await call()).status >= 400:  # noqa: ASYNC110 - nobody but the sidecar knows when
            await asyncio.sleep(0.05)
