"""The Agents SDK's real runner with a scripted model, on a long run of recorded sizes."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import pytest

from sidecar.client.pieces import Shown
from sidecar.client.tokens import estimate
from tests.client.scripted import WHOLE, filler, total, turns, weigh
from tests.client.settling import asettled, items

agents = pytest.importorskip("agents", reason="MISSING TOOL: openai-agents (pip install -e '.[emitters]')")

from agents import RunHooks  # noqa: E402
from agents.extensions import ToolOutputTrimmer  # noqa: E402
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call  # noqa: E402
from agents.usage import Usage  # noqa: E402
from openai.types.responses import ResponseReasoningItem  # noqa: E402
from typing_extensions import override  # noqa: E402

from sidecar.client.openai_agents import TokenBudget  # noqa: E402
from sidecar.client.responses_items import pieces, rendered  # noqa: E402

WINDOW = 50_000 if WHOLE else 30_000
TASK = "Fix the bug."


@dataclass
class Answer:
    found: str


class Overflow(Exception):
    """What a provider answers to a prompt that does not fit."""


def size(items):
    """The tokens of a prompt, of what the model really got."""
    return sum(weigh(str(text_of(item))) + 4 for item in items)


def text_of(item):
    if "arguments" in item:
        return f"{item['name']} {item['arguments']}"
    content = item.get("output", item.get("content"))
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def check_pairs(items):
    """Each call has its output before the model speaks again, and no output stands without its call."""
    waiting: set[str] = set()
    for item in items:
        if item.get("type") == "function_call":
            waiting.add(item["call_id"])
        elif item.get("type") == "function_call_output":
            assert item["call_id"] in waiting, "an output without its call"
            waiting.remove(item["call_id"])
        elif item.get("role") == "user":
            assert not waiting, f"calls without outputs: {waiting}"
    assert not waiting


class Script:
    """A model that says what the script says, and refuses a prompt that is larger than its window."""

    def __init__(self, script, window=WINDOW, at_turn=None, billed=None):
        self.script, self.window, self.at_turn, self.billed = script, window, at_turn, billed
        self.sizes = []
        self.seen = []
        self.model = ScriptedModel(ModelStep.respond(self.answer) for _ in range(len(script) + 1))

    def answer(self, call):
        number = len(self.sizes)
        if self.at_turn is not None:
            self.at_turn(number)
        self.seen = list(call.input)
        self.sizes.append(size(call.input))
        check_pairs(call.input)
        if self.sizes[-1] > self.window:
            raise Overflow(f"{self.sizes[-1]:,} tokens at turn {number}")
        if number >= len(self.script):
            return [assistant_message("done", item_id="last")]
        turn = self.script[number]
        name, args = ("read_file", {"path": turn.path}) if turn.path else ("run", {"command": f"step {number}"})
        said = assistant_message(turn.text(), item_id=f"said-{number}")
        usage = Usage(requests=1, input_tokens=self.billed(self.sizes[-1])) if self.billed else Usage()
        return ModelStep(output=[said, function_call(name, args, call_id=turn.call_id)], usage=usage)


def coder(script, *more_tools, **more):
    made, answers = Script(script, **more), iter(script)

    def run(command: str) -> Any:
        return next(answers).answer()

    def read_file(path: str) -> Any:
        return next(answers).answer()

    tools = [agents.function_tool(run), agents.function_tool(read_file), *more_tools]
    return agents.Agent(name="coder", instructions="You are a coder.", model=made.model, tools=tools), made


@pytest.fixture(autouse=True)
def _untraced():
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture(scope="module")
def long_run():
    """Many turns that come to far more than the window."""
    script = turns("pi__pi-mono")[: 150 if WHOLE else 60]
    assert total(script) > 1.3 * WINDOW
    return script


@pytest.fixture
async def budget(neighbour):
    made = TokenBudget(neighbour.url, agent="coder", total_tokens=WINDOW, settings={"timeout": 20, "rest": 0})
    yield made
    await made.threads.aclient.close()


@pytest.fixture
async def roomy(neighbour):
    """A budget that a few turns are far below."""
    made = TokenBudget(neighbour.url, agent="coder", total_tokens=200_000, settings={"timeout": 20, "rest": 0})
    yield made
    await made.threads.aclient.close()


async def next_prompt(budget, items, agents=frozenset()):
    thread = budget.threads["t1"]
    return await asettled(thread, [*thread.fixed, *pieces(items, agents)])


async def test_without_the_adapter_the_run_overflows(long_run):
    made, _ = coder(long_run)
    with pytest.raises(Overflow):
        await agents.Runner.run(made, TASK, max_turns=None)


async def test_with_the_adapter_it_never_does_and_nothing_is_lost(long_run, budget, asks):
    made, script = coder(long_run)
    overhead = []
    arguments = budget.run("t1")
    conversation = arguments["run_config"].call_model_input_filter

    async def timed(data):
        started = time.perf_counter()
        given = await conversation(data)
        overhead.append(time.perf_counter() - started)
        return given

    arguments["run_config"].call_model_input_filter = timed
    result = await agents.Runner.run(made, TASK, max_turns=None, **arguments)
    assert len(script.sizes) == len(long_run) + 1
    assert max(script.sizes) <= WINDOW
    kept = result.to_input_list()
    answers = {turn.call_id: turn.answer() for turn in long_run}
    assert {
        each["call_id"]: each["output"] for each in kept if "output" in each
    } == answers  # the run's items are whole
    window = budget.threads["t1"].window
    away = [id for id in answers if f"output:{id}" in window.gone or f"output:{id}" in window.cut]
    assert len(away) > 20
    assert window.through > 0, "no directive was given"
    for id in away:
        assert asks("t1", "archive", f"output:{id}")["content"] == answers[id]
    assert await next_prompt(budget, kept) == items(asks)
    print(f"{len(overhead)} turns, {max(script.sizes):,} tokens at most, {len(away)} results away; a turn costs")
    print(f"{1000 * statistics.median(overhead):.1f} ms in the middle, {1000 * max(overhead):.1f} ms at most")


async def test_at_its_end_a_run_shows_what_it_leaves(roomy, asks):
    """The last answer is in the ledger before anybody asks again, under the id that it has in the next run."""
    made, _ = coder(turns("pi__pi-mono")[:2])
    result = await agents.Runner.run(made, TASK, **roomy.run("t1"))
    told = items(asks)
    assert told["last"] == estimate("done") + 4
    assert await next_prompt(roomy, result.to_input_list()) == told


async def test_everything_is_in_its_component(roomy, asks):
    """Instructions, tools and the output's form are the system's; what agents answered is theirs; talk is talk."""
    helper = agents.Agent(name="helper", model=ScriptedModel([[assistant_message("Found it.")]]))
    made, _ = coder([], helper.as_tool("ask_helper", "Asks the helper."), *roomy.tools)
    made.output_type = Answer
    made.handoffs = [helper]
    made.model = ScriptedModel(
        [
            [function_call("ask_helper", {"input": "Where?"}, call_id="c1")],
            [function_call("run", {"command": "ls"}, call_id="c2")],
            [assistant_message('{"response": {"found": "a.py"}}', item_id="last")],
        ]
    )
    run = agents.function_tool(lambda command: "a.py", name_override="run", description_override="Runs.")
    made.tools = [run, *made.tools[2:]]
    await agents.Runner.run(made, TASK, **roomy.run("t1"))
    found = {item["id"]: item["component"] for item in asks("t1", "items", limit=1000)["items"]}
    assert [id for id, component in found.items() if component == "system_context"][2:] == sorted(
        f"tool:{name}" for name in ("ask_helper", "restore_from_archive", "run", "search_archive", "transfer_to_helper")
    )
    assert found["call:c1"] == found["call:c2"] == found["output:c2"] == "working_memory"
    assert found["output:c1"] == "agent_context"
    assert found["last"] == "interaction_buffer"


async def test_an_agent_that_is_a_tool_has_a_window_of_its_own(budget, asks):
    """Its short prompt is not taken for what is left of its caller's window."""
    helper = agents.Agent(name="helper", model=ScriptedModel([[assistant_message("Found it.")]]))
    made, _ = coder(turns("pi__pi-mono")[:1], helper.as_tool("ask_helper", "Asks the helper."))
    made.model = ScriptedModel(
        [[function_call("ask_helper", {"input": "Where?"}, call_id="c1")], [assistant_message("done", item_id="last")]]
    )
    await agents.Runner.run(made, TASK, **budget.run("t1"))
    [sub] = [each for each in budget.threads._threads if each != "t1"]
    report = asks(sub)
    assert (report["parent"], report["agent"]) == ("t1", "helper")
    assert list(items(asks, sub)) == [next(iter(items(asks, sub)))]
    assert asks("t1", "archive")["items"] == []


async def test_streamed_it_is_the_same(budget, asks):
    script = turns("pi__pi-mono")[:40]
    small = 8_000
    budget.threads["t1"].window.total_tokens = small
    made, scripted = coder(script, window=small)
    result = agents.Runner.run_streamed(made, TASK, max_turns=None, **budget.run("t1"))
    async for _ in result.stream_events():
        pass
    assert len(scripted.sizes) == len(script) + 1
    assert small / 2 < max(scripted.sizes) <= small


async def test_a_session_of_the_sdk_keeps_what_the_model_is_no_longer_shown(budget, asks):
    script = turns("pi__pi-mono")[:40]
    small = 8_000
    budget.threads["t1"].window.total_tokens = small
    made, _ = coder(script, window=small)
    kept = agents.SQLiteSession("t1")
    await agents.Runner.run(made, TASK, session=kept, max_turns=None, **budget.run("t1"))
    outputs = [item["output"] for item in await kept.get_items() if "output" in item]
    assert outputs == [turn.answer() for turn in script]
    assert size(await kept.get_items()) > 1.5 * small


async def test_the_model_restores_what_was_archived(roomy, asks):
    script = turns("pi__pi-mono")[:3]
    made, _ = coder(script, *roomy.tools, window=200_000)
    result = await agents.Runner.run(made, TASK, **roomy.run("t1"))
    id = f"output:{script[0].call_id}"
    roomy.threads["t1"].window.gone[id] = "[gone]"
    await next_prompt(roomy, result.to_input_list())
    assert id not in items(asks)
    made.model = ScriptedModel(
        [
            [function_call("search_archive", {"query": "result 0"}, call_id="s")],
            [function_call("restore_from_archive", {"item": id}, call_id="r")],
            [assistant_message("done")],
        ]
    )
    again = [*result.to_input_list(), {"role": "user", "content": "And now?"}]
    await agents.Runner.run(made, again, **roomy.run("t1"))
    first, second, third = made.model.calls
    assert (
        next(item for item in first.input if item.get("call_id") == script[0].call_id and "output" in item)["output"]
        == "[gone]"
    )
    assert id in second.input[-1]["output"]
    outputs = {item["call_id"]: item["output"] for item in third.input if "output" in item}
    assert outputs[script[0].call_id] == script[0].answer()


async def test_filters_and_hooks_that_were_there_still_work(budget, asks):
    started = []

    class Mine(RunHooks):
        @override
        async def on_tool_start(self, context, agent, tool):
            started.append(tool.name)

        @override
        async def on_agent_end(self, context, agent, output):
            started.append(output)

    config = agents.RunConfig(call_model_input_filter=ToolOutputTrimmer(recent_turns=1), workflow_name="mine")
    made, _ = coder(turns("pi__pi-mono")[:1])
    arguments = budget.run("t1", run_config=config, hooks=Mine())
    await agents.Runner.run(made, TASK, **arguments)
    assert arguments["run_config"].workflow_name == "mine"
    assert len(started) == 2
    assert started[1] == "done"
    assert asks("t1")["overall"]["used_tokens"] > 0


async def test_what_the_provider_bills_corrects_the_count(long_run, budget, asks):
    """Where a counted token is billed as 1.5, the billed input stays within the window too."""
    script, small = long_run[:45], 20_000
    billed = []

    def bill(counted):
        billed.append(int(1.5 * (counted + 150)))
        return billed[-1]

    small_budget = TokenBudget(
        budget.threads.client.address.authority.join(["http://", ""]), agent="coder", total_tokens=small
    )
    made, _ = coder(script, billed=bill)
    await agents.Runner.run(made, TASK, max_turns=None, **small_budget.run("t2"))
    assert max(billed) <= small
    assert asks("t2")["provider_ratio"] == pytest.approx(1.5, rel=0.1)
    await small_budget.threads.aclient.close()


def test_reasoning_goes_with_the_calls_that_it_led_to():
    """The provider refuses a call without its reasoning, and reasoning without what follows it."""
    reasoning = ResponseReasoningItem(id="rs", type="reasoning", summary=[]).model_dump(exclude_none=True)
    call = {"type": "function_call", "name": "run", "arguments": "{}", "call_id": "c"}
    output = {"type": "function_call_output", "call_id": "c", "output": filler("out", 50)}
    found = pieces([{"role": "user", "content": "Go"}, reasoning, call, output, {"role": "user", "content": "On"}])
    assert [piece.group for piece in found] == [None, "rs", "rs", "rs", None]
    assert [piece.kind for piece in found] == ["interaction", "context", "context", "tool_result", "interaction"]


def test_items_of_every_kind_are_rendered_as_they_were():
    """What no directive touches is not rewritten, whatever it is."""
    given: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, {"type": "input_image"}]},
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "computer_call", "call_id": "cc", "id": "x"},
        {"type": "computer_call_output", "call_id": "cc", "output": {"type": "computer_screenshot"}},
        {"type": "mcp_approval_response", "approve": True, "approval_request_id": "a"},
        {"type": "function_call_output", "call_id": "unheard of", "output": "?"},
        {
            "type": "message",
            "role": "assistant",
            "id": "__fake_id__",
            "content": [{"type": "refusal", "refusal": "No"}],
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "__fake_id__",
            "content": [{"type": "refusal", "refusal": "No"}],
        },
    ]
    found = pieces(given)

    assert len({piece.id for piece in found}) == len(given)
    assert rendered(given, [Shown(piece=piece) for piece in found]) == given
    assert found[0].pinned
    assert found[1].extra_tokens > 1000
