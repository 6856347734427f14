"""The capability in real pydantic-ai agents with a scripted model, on a long run of recorded sizes."""

import statistics
import time
from typing import Any

import pytest

from tests.client.scripted import WHOLE, total, turns, weigh
from tests.client.settling import asettled, items

pydantic_ai = pytest.importorskip("pydantic_ai", reason="MISSING TOOL: pydantic-ai (pip install -e '.[emitters]')")

from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart  # noqa: E402
from pydantic_ai.models.function import FunctionModel  # noqa: E402
from pydantic_ai.usage import RequestUsage, UsageLimits  # noqa: E402

from sidecar.client.pydantic_ai import TokenBudget, _pieces  # noqa: E402

WINDOW = 120_000 if WHOLE else 30_000
ENDLESS = UsageLimits(request_limit=None)


class Overflow(Exception):
    """What a provider answers to a prompt that does not fit."""


def size(messages):
    """The tokens of a prompt, of what the model really got."""
    count = 0
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                count += weigh(f"{part.tool_name} {part.args_as_json_str()}")
            else:
                count += weigh(str(part.content))
        count += 4
    return count


def check_pairs(messages):
    """Each call has its result in the request that follows, and no result stands without its call."""
    waiting: set[str] = set()
    for message in messages:
        if isinstance(message, ModelResponse):
            assert not waiting, f"calls without results: {waiting}"
            waiting = {part.tool_call_id for part in message.parts if isinstance(part, ToolCallPart)}
        else:
            results = {part.tool_call_id for part in message.parts if isinstance(part, ToolReturnPart)}
            assert results <= waiting, "a result without its call"
            waiting -= results
    assert not waiting


class Scripted:
    """A model that says what the script says, and refuses a prompt that is larger than its window."""

    def __init__(self, script, window=WINDOW, at_turn=None, billed=None):
        self.script = script
        self.at_turn, self.billed = at_turn, billed
        self.window = window
        self.sizes = []

    def __call__(self, messages, info):
        number = len(self.sizes)
        if self.at_turn is not None:
            self.at_turn(number)
        self.sizes.append(size(messages))
        check_pairs(messages)
        if self.sizes[-1] > self.window:
            raise Overflow(f"{self.sizes[-1]:,} tokens at turn {number}")
        if number >= len(self.script):
            return ModelResponse([TextPart("done")])
        reported: dict[str, Any] = {}
        if self.billed is not None and (tokens := self.billed(self.sizes[-1])):
            reported = {"usage": RequestUsage(input_tokens=tokens), "provider_name": "scripted"}
        turn = self.script[number]
        name, args = ("read_file", {"path": turn.path}) if turn.path else ("run", {"command": f"step {number}"})
        return ModelResponse([TextPart(turn.text()), ToolCallPart(name, args, tool_call_id=turn.call_id)], **reported)


def agent(script, capabilities=(), **more):
    model, answers = Scripted(script, **more), iter(script)
    made = pydantic_ai.Agent(FunctionModel(model), instructions="You are a coder.", capabilities=list(capabilities))

    def run(command: str) -> Any:
        return next(answers).answer()

    def read_file(path: str) -> Any:
        return next(answers).answer()

    for tool in (run, read_file):
        made.tool_plain(tool)
    return made, model


@pytest.fixture(scope="module")
def long_run():
    """Many turns that come to far more than the window."""
    script = turns("pi__pi-mono")[: 250 if WHOLE else 60]
    assert total(script) > 1.3 * WINDOW
    return script


@pytest.fixture
async def budget(neighbour):
    made = TokenBudget(
        neighbour.url, session="t1", agent="coder", total_tokens=WINDOW, settings={"timeout": 20, "rest": 0}
    )
    yield made
    await made.threads.aclient.close()


@pytest.fixture
async def roomy(neighbour):
    """A budget that a few turns are far below."""
    made = TokenBudget(
        neighbour.url, session="t1", agent="coder", total_tokens=200_000, settings={"timeout": 20, "rest": 0}
    )
    yield made
    await made.threads.aclient.close()


async def next_prompt(budget, messages):
    thread = budget.threads["t1"]
    return await asettled(thread, [*thread.fixed, *_pieces(messages)])


async def test_without_the_adapter_the_run_overflows(long_run):
    made, _ = agent(long_run)
    with pytest.raises(Overflow):
        await made.run("Fix the bug.", usage_limits=ENDLESS)


async def test_with_the_adapter_it_never_does_and_nothing_is_lost(long_run, budget, asks):
    overhead = []
    before = budget.before_model_request

    async def timed(ctx, request_context):
        started = time.perf_counter()
        after = await before(ctx, request_context)
        overhead.append(time.perf_counter() - started)
        return after

    budget.before_model_request = timed
    made, model = agent(long_run, [budget])
    result = await made.run("Fix the bug.", usage_limits=ENDLESS)
    assert len(model.sizes) == len(long_run) + 1
    assert max(model.sizes) <= WINDOW
    messages = result.all_messages()
    answers = {turn.call_id: turn.answer() for turn in long_run}
    returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    assert {part.tool_call_id: part.content for part in returned} == answers  # the history is whole
    window = budget.threads["t1"].window
    away = [id for id in answers if f"return:{id}" in window.gone or f"return:{id}" in window.cut]
    assert len(away) > 20
    for id in away:
        assert asks("t1", "archive", f"return:{id}")["content"] == answers[id]
    for piece in _pieces(messages):
        if piece.id in window.gone or piece.id in window.cut:
            assert asks("t1", "archive", piece.id)["content"] == piece.text
    assert await next_prompt(budget, messages) == items(asks)
    print(f"{len(overhead)} turns, {max(model.sizes):,} tokens at most, {len(away)} results away; a turn costs")
    print(f"{1000 * statistics.median(overhead):.1f} ms in the middle, {1000 * max(overhead):.1f} ms at most")


async def test_the_sidecar_may_be_away_for_the_whole_run(long_run, budget, neighbour):
    neighbour.stop()
    small = 20_000
    budget.threads.client.courses.timeout = 0.01
    budget.threads["t1"].window.total_tokens = small
    made, model = agent(long_run[:40], [budget], window=small)
    await made.run("Fix the bug.", usage_limits=ENDLESS)
    assert small / 2 < max(model.sizes) <= small
    assert budget.threads.client.courses.absences > 40


async def test_the_model_restores_what_was_archived(roomy, asks):
    budget = roomy
    script = turns("pi__pi-mono")[:3]
    made, _ = agent(script, [budget], window=200_000)
    result = await made.run("Fix the bug.")
    thread = budget.threads["t1"]
    id = f"return:{script[0].call_id}"
    thread.window.gone[id] = "[gone]"
    await next_prompt(budget, result.all_messages())
    assert id not in items(asks)
    seen = []

    def model(messages, info):
        seen.append(messages)
        if len(seen) == 1:
            return ModelResponse([ToolCallPart("search_archive", {"query": "result 0"})])
        if len(seen) == 2:
            return ModelResponse([ToolCallPart("restore_from_archive", {"item": id})])
        return ModelResponse([TextPart("done")])

    await made.run("And now?", model=FunctionModel(model), message_history=result.all_messages())
    contents = [part.content for part in seen[2][2].parts if isinstance(part, ToolReturnPart)]
    assert contents == [script[0].answer()]
    assert id in str(seen[1][-1].parts[0].content)


@pytest.mark.parametrize("told", [True, False])
async def test_what_the_provider_bills_corrects_the_count(long_run, neighbour, asks, told):
    """Where a counted token is billed as 1.5, the billed input stays within the window, but only because it is told."""
    script, small = long_run[3:45], 20_000
    billed = []

    def bill(counted):
        billed.append(int(1.5 * counted))
        return billed[-1] if told else 0

    budget = TokenBudget(neighbour.url, session="t1", total_tokens=small, settings={"timeout": 20, "rest": 0})
    made, _ = agent(script, [budget], billed=bill)
    await made.run("Fix the bug.", usage_limits=ENDLESS)
    await budget.threads.aclient.close()
    assert (max(billed) <= small) == told
    assert asks("t1")["provider_ratio"] == (pytest.approx(1.5, rel=0.1) if told else None)
