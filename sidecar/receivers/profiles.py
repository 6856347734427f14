"""What is known of agents, over HTTP: read, taken along as the file that the setting `profiles` reads, forgotten."""

import json
from collections.abc import Iterable, Mapping

from aiohttp import web
from aiohttp.hdrs import ACCEPT

from sidecar.access.guard import Admit, admit_all
from sidecar.budget.allocation import shown
from sidecar.budget.errors import NotFound
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.prediction import factors
from sidecar.budget.profile import Profile
from sidecar.budget.replies import ProfileReply
from sidecar.budget.report import rfc3339
from sidecar.ledger import Ledger
from sidecar.receivers.answers import answer
from sidecar.receivers.api import NAME, page
from sidecar.receivers.operations import BY_ID
from sidecar.receivers.requests import Query, named

TOML = "application/toml"


class ProfilesApi:
    """Agents' profiles. `admit`: asked about what takes more than the right to write."""

    def __init__(self, ledger: Ledger, *, admit: Admit = admit_all) -> None:
        self._ledger = ledger
        self._admit = admit

    def routes(self) -> Iterable[web.RouteDef]:
        """The calls of the table that are about an agent."""
        for operation in BY_ID.values():
            if operation.of_agent:
                path = operation.path.replace("{agent}", "{agent:[^/]+}")
                yield web.route(operation.method, path, getattr(self, operation.id))

    async def list_profiles(self, request: web.Request) -> web.Response:
        """A page of all agents; or the file of all."""
        query = Query(request)
        limit, after = query.limit(), query.text("after")
        query.end()
        known = await self._ledger.profiles()
        if TOML in request.headers.get(ACCEPT, ""):
            return web.Response(text=written(known), content_type=TOML)
        agents = [agent for agent in known if after is None or agent > after][: limit + 1]
        return page("profiles", [profile_reply(agent, known[agent]) for agent in agents], limit, cursor="agent")

    async def read_profile(self, request: web.Request) -> web.Response:
        """One agent."""
        agent, profile = await self._named(request)
        return answer(profile_reply(agent, profile))

    async def forget_profile(self, request: web.Request) -> web.Response:
        """Forget what was learned of an agent."""
        self._admit(request, BY_ID["forget_profile"].scope)
        agent, profile = await self._named(request)
        await self._ledger.keep_profile(agent, None)
        return answer(profile_reply(agent, profile))

    async def _named(self, request: web.Request) -> tuple[str, Profile]:
        Query(request).end()
        agent = named(request, "agent", NAME)
        profile = (await self._ledger.profiles()).get(agent)
        if profile is None:
            raise NotFound(f"nothing is known of the agent {agent!r}", path="agent")
        return agent, profile


def profile_reply(agent: str, profile: Profile) -> ProfileReply:
    """What is known of an agent, in the numbers that its next session starts from."""
    return {
        "agent": agent,
        "shares": None if profile.shares is None else shown(profile.shares),
        "preset": profile.preset if profile.shares is not None else None,
        "calibration": factors(profile),
        "tasks": len(profile.tasks),
        "tokens_per_call": profile.call_growth,
        "provider_ratios": _ratios(profile),
        "sessions": profile.sessions,
        "learned_at": rfc3339(profile.learned_at) if profile.revision else None,
    }


def written(profiles: Mapping[str, Profile]) -> str:
    """Profiles as the TOML file that the setting `profiles` reads (config/profiles.py)."""
    lines = ["# What is known of agents: give it to a sidecar with --profiles FILE.\n"]
    for agent, profile in profiles.items():
        if profile.call_growth is not None:
            lines.append(f"[{_quoted(agent)}]\ntokens_per_call = {profile.call_growth!r}\n")
        shares: dict[str, float] = {} if profile.shares is None else {name: profile.shares[name] for name in COMPONENTS}
        tables = {
            "shares": shares,
            "calibration": {str(name): ratio for name, ratio in factors(profile).items()},
            "provider_ratios": _ratios(profile),
        }
        for name, numbers in tables.items():
            if numbers:
                lines.append(f"[{_quoted(agent)}.{name}]")
                lines += [f"{_quoted(key)} = {float(number)!r}" for key, number in numbers.items()]
                lines.append("")
    return "\n".join(lines)


def _ratios(profile: Profile) -> dict[str, float]:
    known = {model: profile.provider_ratio(model) for model in profile.provider_ratios}
    return {model: ratio for model, ratio in known.items() if ratio is not None}


def _quoted(text: str) -> str:
    """A key of TOML, whose strings are those of JSON where that escapes no more than it must."""
    return json.dumps(text, ensure_ascii=False)
