"""What every journal promises about agents' profiles: the part of the contract that is not about one session."""

import asyncio

from sidecar.budget.entries import Learned, TaskCompleted
from sidecar.budget.policy import Component
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import Profile
from sidecar.journal import Journal
from sidecar.journal import profiles as rules
from tests.journal.shapes import closed, frame, opened

SHARES = {**STANDARD.shares, "working_memory": 0.35, "interaction_buffer": 0.20}


def task(agent: str | None = "a", actual: int = 700) -> TaskCompleted:
    needs: dict[Component, int] = {"working_memory": 10_000}
    return TaskCompleted(
        time=2.0,
        task="t",
        complexity="simple",
        prior=needs,
        predicted=needs,
        actual={"working_memory": actual},
        measured=True,
        allocated={"working_memory": 60_000},
        agent=agent,
    )


def learned(agent: str = "a", **more: object) -> Learned:
    return Learned(time=3.0, agent=agent, preset="standard", **more)  # type: ignore[arg-type]


class ProfileContract:
    async def test_nothing_is_known_of_an_agent_that_nobody_spoke_of(self, journal: Journal) -> None:
        await journal.append([frame(1, opened(), task(agent=None), closed())])
        assert await journal.profiles() == {}
        assert await journal.profiles(["a"]) == {}

    async def test_what_a_stored_frame_teaches_is_in_its_agents_profile(self, journal: Journal) -> None:
        await journal.append([frame(1, opened(), task(actual=1), task(agent="b", actual=2), task(actual=3))])
        lesson = learned(
            shares=SHARES, began_with=STANDARD.shares, model="m", provider_ratio=1.2, call_growth=900.0, doubted=()
        )
        await journal.append([frame(5, lesson, closed())])
        known = await journal.profiles()
        assert sorted(known) == ["a", "b"]
        assert [done.actual["working_memory"] for done in known["a"].tasks] == [1, 3]
        assert [done.actual["working_memory"] for done in known["b"].tasks] == [2]
        a = known["a"]
        assert a.shares == SHARES
        assert (a.preset, a.sessions, a.revision, a.learned_at) == ("standard", 1, 3, 1_005.0)
        assert (a.provider_ratio("m"), a.provider_ratio("n"), a.call_growth) == (1.2, None, 900.0)
        assert await journal.profiles(["a", "nobody"]) == {"a": a}

    async def test_a_frame_that_is_a_conflict_teaches_nothing(self, journal: Journal) -> None:
        await journal.append([frame(1, opened(), task())])
        assert await journal.append([frame(1, opened(), task()), frame(9, task())]) == ["conflict", "conflict"]
        assert len((await journal.profiles())["a"].tasks) == 1

    async def test_frames_that_teach_the_same_agent_at_once_are_all_heard(self, journal: Journal) -> None:
        frames = [frame(1, opened(), task(actual=n), task("b", n), session=f"s{n}") for n in range(12)]
        await asyncio.gather(*(journal.append(frames[n : n + 3]) for n in range(0, 12, 3)))
        known = await journal.profiles()
        for agent in ("a", "b"):
            assert sorted(done.actual.get("working_memory", 0) for done in known[agent].tasks) == list(range(12))
            assert known[agent].revision == 12

    async def test_a_profile_can_be_given_and_forgotten(self, journal: Journal) -> None:
        given = Profile(shares=SHARES, calibration={"working_memory": 0.5}, provider_ratios={"m": (1.1, 1.2)})
        await journal.keep_profile("a", given)
        await journal.keep_profile("b", given)
        await journal.keep_profile("b", None)
        await journal.keep_profile("nobody", None)
        assert await journal.profiles() == {"a": given}
        await journal.append([frame(1, opened(), task())])
        assert (await journal.profiles())["a"].calibration == {"working_memory": 0.5}

    async def test_a_session_that_is_forgotten_leaves_what_it_taught(self, journal: Journal) -> None:
        await journal.append([frame(1, opened(), task(), closed())])
        assert await journal.forget_session((await journal.heads(["s"]))["s"])
        assert len((await journal.profiles())["a"].tasks) == 1

    async def test_of_too_many_agents_the_one_that_learned_least_recently_is_forgotten(
        self, journal: Journal, monkeypatch
    ) -> None:
        for module in ("memory", "sqlite_profiles", "postgres_profiles"):
            monkeypatch.setattr(f"sidecar.journal.{module}.AGENTS", 3)
        for first, agent in enumerate("abcad", start=1):
            await journal.append([frame(first, task(agent))])
        assert sorted(await journal.profiles()) == ["a", "c", "d"]

    async def test_fields_that_an_older_version_did_not_write_have_their_defaults(self, journal: Journal) -> None:
        """Profiles outlive releases."""
        await journal.append([frame(1, opened(), task())])
        old = rules.decode_profile(b'{"shares": null, "tasks": [{"complexity": "simple"}]}')
        assert old.tasks[0].prior == {}
        assert rules.decode_profile(rules.encode_profile(old)) == old
