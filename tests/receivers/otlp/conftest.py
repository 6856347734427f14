"""A real sidecar that takes OTLP, and a sender of payloads."""

import gzip
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.app import Sidecar, make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort

LOOPBACK = HostPort("127.0.0.1", 0)
PAYLOADS = Path(__file__).parent / "payloads"
MEDIA = {"pb": "application/x-protobuf", "json": "application/json"}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes


class Telemetry:
    """Sends payloads to a sidecar's OTLP listener, and looks at its sessions through the API."""

    def __init__(self, http: aiohttp.ClientSession, app: Sidecar) -> None:
        self.http = http
        self.app = app

    async def post(
        self, signal: str, body: bytes | dict[str, Any], *, to: str = "otlp", compress: bool = False, **headers: str
    ) -> Answer:
        """Send a body to a signal's route."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            named.setdefault("Content-Type", MEDIA["json"])
        if compress:
            body = gzip.compress(body)
            named["Content-Encoding"] = "gzip"
        url = f"{self.app.urls[to][0]}/v1/{signal}"
        sent = io.BytesIO(body) if len(body) > 1 << 20 else body
        async with self.http.post(url, data=sent, headers=named, skip_auto_headers=["Content-Type"]) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def recorded(self, name: str, media: str = "pb") -> None:
        """Send a recorded payload."""
        signal = name.split(".")[1]
        body = (PAYLOADS / f"{name}.otlp.{media}").read_bytes()
        answer = await self.post(signal, body, Content_Type=MEDIA[media])
        assert answer.status == 200, answer.body
        assert answer.body == (b"" if media == "pb" else b"{}")

    async def spans(self, *spans: dict[str, Any], service: str = "svc") -> Answer:
        """Send spans; they must be taken."""
        resource = {"attributes": attributes({"service.name": service})}
        scope = {"scope": {"name": "tests"}, "spans": list(spans)}
        return self.taken(await self.post("traces", {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}))

    async def logs(self, *records: dict[str, Any], service: str = "svc") -> Answer:
        """Send log records; they must be taken."""
        resource = {"attributes": attributes({"service.name": service})}
        scope = {"scope": {"name": "tests"}, "logRecords": list(records)}
        return self.taken(await self.post("logs", {"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}))

    @staticmethod
    def taken(answer: Answer) -> Answer:
        """It was taken whole."""
        assert (answer.status, answer.body) == (200, b"{}")
        return answer

    async def get(self, path: str) -> Any:
        """Read from the API."""
        async with self.http.get(f"{self.app.urls['api'][0]}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def sessions(self) -> list[str]:
        """The ids of all sessions, after what waits has been counted too."""
        await self.patience_ends()
        return [each["session"] for each in (await self.get("/v1/sessions"))["sessions"]]

    async def report(self, session: str) -> Any:
        """A session's report."""
        return await self.get(f"/v1/sessions/{session}")

    async def level(self, session: str) -> int:
        """A session's level."""
        used: int = (await self.report(session))["overall"]["used_tokens"]
        return used

    async def components(self, session: str) -> dict[str, int]:
        """What a session's components hold, where they hold anything."""
        report = await self.report(session)
        return {name: each["used_tokens"] for name, each in report["components"].items() if each["used_tokens"]}

    async def entries(self, session: str, kind: str | None = None) -> list[Any]:
        """A session's entries, of one kind if it is named."""
        found = (await self.get(f"/v1/sessions/{session}/ledger?limit=1000"))["entries"]
        return [each for each in found if kind in (None, each["type"])]

    async def calls(self, session: str) -> int:
        """How many model calls were counted."""
        return len([each for each in await self.entries(session, "usage_reported") if is_call(each)])

    async def patience_ends(self) -> None:
        """What waits for its conversation waits no longer."""
        await self.app.otlp.settle()


def is_call(entry: Any) -> bool:
    """Whether a usage report was a model call's."""
    return entry.get("total") is not None and entry.get("call", True)


def value(plain: Any) -> dict[str, Any]:
    """A plain value as OTLP/JSON's AnyValue."""
    match plain:
        case bool():
            return {"boolValue": plain}
        case int():
            return {"intValue": str(plain)}
        case float():
            return {"doubleValue": plain}
        case list():
            return {"arrayValue": {"values": [value(each) for each in plain]}}
        case dict():
            return {"kvlistValue": {"values": attributes(plain)}}
        case _:
            return {"stringValue": str(plain)}


def attributes(named: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP/JSON has them; None is left out."""
    return [{"key": key, "value": value(each)} for key, each in named.items() if each is not None]


class Story:
    """Makes spans and events of one trace, each a second after the one before."""

    def __init__(self) -> None:
        self.now = time.time() - 3600
        self.made = 0

    def trace(self, number: int = 1) -> str:
        """A trace's id."""
        return f"{number:032x}"

    def span(
        self, *, name: str = "span", parent: str = "", trace: int = 1, error: bool = False, **named: Any
    ) -> dict[str, Any]:
        """A span; `__` in a name stands for a dot. `start` and `end` are seconds from the story's beginning."""
        self.made += 1
        start = named.pop("start", float(self.made))
        end = named.pop("end", start + 0.5)
        return {
            "traceId": self.trace(trace),
            "spanId": named.pop("id", f"{self.made:016x}"),
            "parentSpanId": parent,
            "name": name,
            "startTimeUnixNano": self.nano(start),
            "endTimeUnixNano": self.nano(end),
            "attributes": attributes({key.replace("__", "."): each for key, each in named.items()}),
            "status": {"code": 2 if error else 0},
        }

    def chat(self, tokens: int | None = None, *, conversation: str | None = "c1", **named: Any) -> dict[str, Any]:
        """A model call's span with so many input tokens."""
        return self.span(
            **{
                "name": "chat m",
                "gen_ai__operation__name": "chat",
                "gen_ai__request__model": "m",
                "gen_ai__conversation__id": conversation,
                "gen_ai__usage__input_tokens": tokens,
                "gen_ai__usage__output_tokens": None if tokens is None else named.pop("output", 10),
                **named,
            }
        )

    def log(self, name: str, *, at: float | None = None, trace: str = "", span: str = "", **named: Any) -> Any:
        """An event, as coding agents send them: its name is an attribute."""
        self.made += 1
        told = {"event.name": name, **{key.replace("__", "."): each for key, each in named.items()}}
        return {
            "timeUnixNano": self.nano(float(self.made) if at is None else at),
            "traceId": trace,
            "spanId": span,
            "body": {"stringValue": name},
            "attributes": attributes(told),
        }

    def nano(self, at: float) -> str:
        """A time of the story as OTLP/JSON has it."""
        return str(round((self.now + at) * 1e9))


@pytest.fixture
def story() -> Story:
    """A maker of spans and events."""
    return Story()


def config(**settings: Any) -> Config:
    """Settings for a test: free ports, a journal in memory."""
    return Config(**{"listen": (LOOPBACK,), "telemetry": LOOPBACK, "otlp": LOOPBACK, "journal": "memory:", **settings})


@pytest.fixture
def settings() -> Callable[..., Config]:
    """Make settings for a sidecar of one's own."""
    return config


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client's connections."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def otlp(http: aiohttp.ClientSession) -> AsyncIterator[Telemetry]:
    """A sidecar that takes OTLP."""
    async with make_app(config()) as app:
        yield Telemetry(http, app)


@pytest.fixture
def telemetry_to(http: aiohttp.ClientSession) -> Callable[[Sidecar], Telemetry]:
    """A sender to a sidecar of one's own."""
    return lambda app: Telemetry(http, app)
