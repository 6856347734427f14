"""The callback in real LiteLLM, with answers that LiteLLM gives in the provider's place."""

import asyncio
import json
import statistics
import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.client.pieces import Shown
from tests.client.scripted import WHOLE, filler, total, turns, weigh
from tests.client.settling import asettled, items


@pytest.fixture(scope="module")
def litellm():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network when it is imported
        return pytest.importorskip("litellm", reason="MISSING TOOL: litellm (pip install -e '.[emitters]')")


@pytest.fixture(autouse=True)
def _no_callbacks_of_others(litellm):
    """LiteLLM keeps one callback of a class, and the first one at that."""
    litellm.logging_callback_manager._reset_all_callbacks()


WINDOW = 25_000 if WHOLE else 15_000
MODEL = "openai/gpt-4o"
TASK = {"role": "user", "content": "Fix the bug."}
SYSTEM = {"role": "system", "content": "You are a coder."}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("run", "read_file")
]
# What LiteLLM and pydantic warn of is theirs.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(180)]


def size(messages):
    """The tokens of a prompt, of what was really sent."""
    count = 0
    for message in messages:
        count += weigh(message.get("content") or "") + 4
        for call in message.get("tool_calls") or ():
            count += weigh(f"{call['function']['name']} {call['function']['arguments']}")
    return count


def check_pairs(messages):
    """Each call is followed at once by exactly its results, and no result stands without its call."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, "a result without its call"
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting, f"calls without results: {waiting}"
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    assert not waiting


class Provider:
    """A provider on loopback that speaks as OpenAI does: what it is sent is what counts."""

    def __init__(self):
        self.sizes, self.seen, self.says, self.rate = [], [], {"role": "assistant", "content": "done"}, 0.0
        self.where: dict[str, str] = {}

    async def answer(self, request):
        body = await request.json()
        self.seen = body["messages"]
        self.sizes.append(size(self.seen))
        check_pairs(self.seen)
        billed = int(self.rate * self.sizes[-1])
        answer = {"id": f"c{len(self.sizes)}", "created": 1, "model": "m", "object": "chat.completion"}
        answer["usage"] = {"prompt_tokens": billed, "completion_tokens": 1, "total_tokens": billed + 1}
        if not body.get("stream"):
            answer["choices"] = [{"index": 0, "finish_reason": "stop", "message": self.says}]
            return web.json_response(answer)
        answer["choices"] = [{"index": 0, "finish_reason": "stop", "delta": self.says}]
        answer["object"] = "chat.completion.chunk"
        return web.Response(text=f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")


@pytest.fixture
async def provider():
    made = Provider()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/chat/completions", made.answer)
    async with TestServer(app) as server:
        made.where = {"api_base": str(server.make_url("")).rstrip("/"), "api_key": "none"}
        yield made


@pytest.fixture
async def budget(neighbour, litellm, provider):
    from sidecar.client.litellm import TokenBudget

    made = TokenBudget(neighbour.url, agent="coder", total_tokens=WINDOW, settings={"timeout": 20, "rest": 0})
    litellm.callbacks = [made]
    yield made
    litellm.callbacks = []
    await made.threads.aclient.close()


def called(turn):
    """What the model answers at a turn: a message that calls a tool."""
    name, arguments = ("read_file", f'{{"path": "{turn.path}"}}') if turn.path else ("run", "{}")
    call = {"id": turn.call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": turn.text(), "tool_calls": [call]}


async def agent(script, ask):
    """The loop that every agent is: its messages in the end."""
    messages: list[Any] = [SYSTEM, TASK]
    for turn in script:
        await ask(messages, called(turn))
        messages += [called(turn), {"role": "tool", "tool_call_id": turn.call_id, "content": turn.answer()}]
    await ask(messages, {"role": "assistant", "content": "done"})
    return messages


def asking(litellm, provider, **more):
    async def ask(messages, message):
        provider.says = message
        named = {"litellm_session_id": "t1", **provider.where, **more}
        return await litellm.acompletion(model=MODEL, messages=messages, tools=TOOLS, **named)

    return ask


async def next_prompt(budget, messages, tools=TOOLS):
    from sidecar.client.chat_messages import definitions, pieces

    return await asettled(budget.threads["t1"], [*definitions(tools), *pieces(messages)])


async def test_a_long_run_overflows_without_the_callback_and_never_with_it(litellm, budget, provider, asks):
    script = turns("pi__pi-mono")[: 60 if WHOLE else 20]
    assert total(script) > 1.3 * WINDOW
    litellm.callbacks = []
    await agent(script, asking(litellm, provider))
    assert max(provider.sizes) > WINDOW
    provider.sizes.clear()
    litellm.callbacks = [budget]
    overhead = []
    afit = budget.afit

    async def timed(*args, **more):
        started = time.perf_counter()
        fitting = await afit(*args, **more)
        overhead.append(time.perf_counter() - started)
        return fitting

    budget.afit = timed
    messages = await agent(script, asking(litellm, provider))
    assert len(provider.sizes) == len(overhead) == len(script) + 1
    assert max(provider.sizes) <= WINDOW
    answers = {turn.call_id: turn.answer() for turn in script}
    assert {each["tool_call_id"]: each["content"] for each in messages if each["role"] == "tool"} == answers
    window = budget.threads["t1"].window
    away = [id for id in answers if f"output:{id}" in window.gone or f"output:{id}" in window.cut]
    assert len(away) > 5
    for id in away:
        assert asks("t1", "archive", f"output:{id}")["content"] == answers[id]
    assert await next_prompt(budget, messages) == items(asks)
    print(f"{len(overhead)} turns, {max(provider.sizes):,} tokens at most, {len(away)} results away; a turn costs")
    print(f"{1000 * statistics.median(overhead):.1f} ms in the middle, {1000 * max(overhead):.1f} ms at most")


async def test_everything_is_in_its_component(litellm, budget, provider, asks):
    turn = turns("pi__pi-mono")[0]
    await agent([turn], asking(litellm, provider))
    found = {item["id"].partition(":")[0]: item["component"] for item in asks("t1", "items")["items"]}
    assert found == {
        "system": "system_context",
        "tool": "system_context",
        "user": "interaction_buffer",
        "call": "working_memory",
        "output": "working_memory",
    }


async def test_the_router_and_streams_are_rewritten_as_well(litellm, budget, provider):
    script = turns("pi__pi-mono")[:18]
    small = 6_000
    budget.threads["t1"].window.total_tokens = small
    router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": {"model": MODEL, **provider.where}}])

    async def ask(messages, message):
        provider.says = message
        named = {"metadata": {"session_id": "t1"}, "stream": True}
        stream = await router.acompletion(model="m", messages=messages, tools=TOOLS, **named)
        async for _ in stream:
            pass

    await agent(script, ask)
    assert len(provider.sizes) == len(script) + 1
    assert small / 2 < max(provider.sizes) <= small


async def test_what_is_billed_corrects_the_count(litellm, budget, provider, asks):
    """Where a counted token is billed as 1.5, the billed input stays within the window too."""
    provider.rate = 1.5
    budget.threads["t1"].window.total_tokens = small = 20_000
    billed = []
    ask = asking(litellm, provider)

    async def and_hear(messages, message):
        billed.append((await ask(messages, message)).usage.prompt_tokens)
        window = budget.threads["t1"].window
        for _ in range(1000):  # LiteLLM tells of a call when its answer has long been given
            if len(window.calibration._ratios) >= min(len(billed), 8):
                break
            await asyncio.sleep(0.005)

    await agent(turns("pi__pi-mono")[3:30], and_hear)
    assert small / 2 < max(billed) <= small
    for _ in range(1000):
        if asks("t1")["provider_ratio"]:
            break
        await asyncio.sleep(0.005)
    assert asks("t1")["provider_ratio"] == pytest.approx(1.5, rel=0.1)


async def test_a_call_that_names_no_session_is_left_alone(litellm, budget, provider):
    messages = [SYSTEM, {"role": "user", "content": filler("m", 2 * WINDOW)}]
    await litellm.acompletion(model=MODEL, messages=messages, **provider.where)
    assert provider.seen == messages
    assert not budget.threads._threads


async def test_one_that_only_watches_changes_nothing(litellm, neighbour, provider, asks):
    from sidecar.client.litellm import TokenBudget

    watching = TokenBudget(neighbour.url, session="t1", rewrite=False, agent="coder", total_tokens=10_000)
    litellm.callbacks = [watching]
    messages = [SYSTEM, {"role": "user", "content": filler("m", 20_000)}]
    await litellm.acompletion(model=MODEL, messages=messages, **provider.where)
    litellm.callbacks = []
    report = asks("t1")
    assert provider.seen == messages
    assert (report["mode"], report["overall"]["status"]) == ("observed", "critical")
    await watching.threads.aclient.close()


async def test_a_blocking_call_asks_for_the_messages_to_send(litellm, neighbour, provider):
    from sidecar.client.litellm import TokenBudget

    litellm.callbacks = []
    with_budget = TokenBudget(neighbour.url, session="t1", total_tokens=10_000)
    messages = [SYSTEM, *({"role": "user", "content": filler(f"m{n}", 3_000)} for n in range(5))]
    fitting = with_budget.fit(messages)
    await asyncio.to_thread(litellm.completion, model=MODEL, messages=fitting, **provider.where)
    assert provider.sizes[-1] <= 10_000
    assert provider.seen[-1] == messages[-1]
    with_budget.threads.client.close()


async def test_the_model_may_search_the_archive_and_restore_from_it(litellm, neighbour, asks):
    from sidecar.client.litellm import TokenBudget

    budget = TokenBudget(neighbour.url, session="t1", total_tokens=200_000)
    script = turns("pi__pi-mono")[:3]
    messages: list[Any] = [SYSTEM, TASK]
    for turn in script:
        messages += [called(turn), {"role": "tool", "tool_call_id": turn.call_id, "content": turn.answer()}]
    id = f"output:{script[0].call_id}"
    await budget.afit(messages)
    budget.threads["t1"].window.gone[id] = "[gone]"
    assert dict((await budget.afit(messages))[3])["content"] == "[gone]"
    searching, restoring = (tool["function"]["name"] for tool in budget.tools)
    assert id in await budget.recall(searching, '{"query": "result 0"}')
    assert "back in its place" in await budget.recall(restoring, f'{{"item": "{id}"}}')
    assert (await budget.afit(messages)) == messages
    await budget.threads.aclient.close()


def test_messages_of_every_kind_are_rendered_as_they_were(litellm):
    from sidecar.client.chat_messages import pieces, rendered

    given: Any = [
        SYSTEM,
        {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {}}]},
        litellm.Message(
            content=None,
            tool_calls=[{"id": "c", "type": "function", "function": {"name": "run", "arguments": "not JSON"}}],
        ),
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "answer"}]},
        {"role": "tool", "tool_call_id": "unheard of", "content": "?"},
        TASK,
        TASK,
    ]
    found = pieces(given)
    assert len({piece.id for piece in found}) == len(given)
    assert rendered(given, [Shown(piece=piece) for piece in found]) == given
    assert found[1].extra_tokens > 1000
    assert found[3].group == found[2].id
    shorter: Any = rendered(given, [Shown(piece=piece, text="short" if piece.answers else None) for piece in found])
    assert shorter[3]["content"] == [{"type": "text", "text": "short"}]
