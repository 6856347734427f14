"""The middleware in real LangChain agents with a scripted model, on long runs of recorded sizes."""

import json
import statistics
import time
from typing import Any

import pytest

langchain = pytest.importorskip("langchain.agents", reason="MISSING TOOL: langchain (pip install -e '.[emitters]')")

from langchain_core.language_models import BaseChatModel  # noqa: E402
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage  # noqa: E402
from langchain_core.outputs import ChatGeneration, ChatResult  # noqa: E402
from langchain_core.tools import StructuredTool  # noqa: E402
from typing_extensions import override  # noqa: E402

from sidecar.client.langchain import TokenBudget, _pieces  # noqa: E402
from tests.client.scripted import WHOLE, Turn, filler, total, turns, weigh  # noqa: E402
from tests.client.settling import items, settled  # noqa: E402

pytestmark = [
    # LangChain's own: pydantic's and langgraph's notices of things to come.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]
WINDOW = 200_000 if WHOLE else 40_000


class Overflow(Exception):
    """What a provider answers to a prompt that does not fit."""


def size(messages):
    """The tokens of a prompt, counted as the adapter's default counts, but from what the model really got."""
    count = 0
    for message in messages:
        count += weigh(message.text) + 4
        if isinstance(message, AIMessage) and message.tool_calls:
            count += weigh(json.dumps([[call["name"], call["args"]] for call in message.tool_calls]))
    return count


def check_pairs(messages):
    """Each call is followed at once by exactly its results, and no result stands without its call: as providers ask."""
    waiting: set[Any] = set()
    numbers = [int(message.tool_call_id.partition("-")[2]) for message in messages if isinstance(message, ToolMessage)]
    assert numbers == sorted(numbers), "results out of order"
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in waiting, "a result without its call"
            waiting.remove(message.tool_call_id)
        else:
            assert not waiting, f"calls without results: {waiting}"
            if isinstance(message, AIMessage):
                waiting = {call["id"] for call in message.tool_calls}
    assert not waiting


class Scripted(BaseChatModel):
    """A model that says what the script says, and refuses a prompt that is larger than its window."""

    script: list[Any]
    window: int = WINDOW
    sizes: list[int] = []  # noqa: RUF012 - pydantic copies it
    seen: list[Any] = []  # noqa: RUF012 - as above
    at_turn: Any = None
    billed: Any = None

    @property
    @override
    def _llm_type(self):
        return "scripted"

    @override
    def bind_tools(self, tools, **kwargs):
        return self

    @override
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        number = len(self.sizes)
        if self.at_turn is not None:
            self.at_turn(number)
        self.sizes.append(size(messages))
        self.seen[:] = messages
        check_pairs(messages)
        if self.sizes[-1] > self.window:
            raise Overflow(f"{self.sizes[-1]:,} tokens at turn {number}")
        if number >= len(self.script):
            return ChatResult(generations=[ChatGeneration(message=AIMessage("done"))])
        turn = self.script[number]
        name, args = ("read_file", {"path": turn.path}) if turn.path else ("run", {"command": f"step {number}"})
        said = AIMessage(turn.text(), tool_calls=[{"name": name, "args": args, "id": turn.call_id}])
        if self.billed is not None:
            tokens = self.billed(self.sizes[-1])
            said.usage_metadata = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
        return ChatResult(generations=[ChatGeneration(message=said)])


def agent(script, middleware=(), **more):
    model = Scripted(script=script, **more)
    answers = iter(script)

    def run(command: str) -> Any:
        return next(answers).answer()

    def read_file(path: str) -> Any:
        return next(answers).answer()

    tools = [StructuredTool.from_function(f, name=f.__name__, description="Does it.") for f in (run, read_file)]
    made = langchain.create_agent(model, tools, system_prompt="You are a coder.", middleware=list(middleware))
    return made, model


CONFIG = {"configurable": {"thread_id": "t1"}, "recursion_limit": 10_000}
TASK = {"messages": [HumanMessage("Fix the bug.")]}


@pytest.fixture
def budget(neighbour):
    """A middleware beside a real sidecar."""
    made = TokenBudget(neighbour.url, agent="coder", total_tokens=WINDOW, settings={"timeout": 20, "rest": 0})
    yield made
    made.threads.client.close()


@pytest.fixture
def roomy(neighbour):
    """A middleware whose budget a few turns are far below."""
    made = TokenBudget(neighbour.url, agent="coder", total_tokens=200_000, settings={"timeout": 20, "rest": 0})
    yield made
    made.threads.client.close()


@pytest.fixture(scope="module")
def long_run():
    """Many turns that come to far more than the window."""
    script = turns("pi__pi-mono")[: None if WHOLE else 80]
    assert total(script) > 1.5 * WINDOW
    return script


def times(budget, into):
    """Measure what the adapter takes of each turn, the model left out."""
    wrapped = budget.wrap_model_call

    def timed(request, handler):
        inner = 0.0

        def model(shown):
            nonlocal inner
            started = time.perf_counter()
            response = handler(shown)
            inner = time.perf_counter() - started
            return response

        started = time.perf_counter()
        response = wrapped(request, model)
        into.append(time.perf_counter() - started - inner)
        return response

    budget.wrap_model_call = timed


def next_prompt(budget, messages):
    thread = budget.thread(CONFIG)
    return settled(thread, [*thread.fixed, *_pieces(messages)])


def check_nothing_lost(budget, asks, script, messages):
    """Whatever the model is no longer shown whole, the archive has, word for word."""
    window = budget.thread(CONFIG).window
    answers = {turn.call_id: turn.answer() for turn in script}
    results = {message.id: message for message in messages if isinstance(message, ToolMessage)}
    away = [piece for piece in _pieces(messages) if piece.id in window.gone or piece.id in window.cut]
    for piece in away:
        kept = asks("t1", "archive", piece.id)["content"]
        assert kept == piece.text
        if piece.id in results:
            assert kept == answers[results[piece.id].tool_call_id]
    count = sum(piece.id in results for piece in away)
    assert count > 20
    return count


def test_without_the_adapter_the_run_overflows(long_run):
    made, _ = agent(long_run)
    with pytest.raises(Overflow):
        made.invoke(TASK, CONFIG)


def test_with_the_adapter_it_never_does_and_nothing_is_lost(long_run, budget, asks):
    overhead: list[float] = []
    times(budget, overhead)
    made, model = agent(long_run, [budget])
    messages = made.invoke(TASK, CONFIG)["messages"]
    assert len(model.sizes) == len(long_run) + 1
    assert max(model.sizes) <= WINDOW
    assert any("to get it back, restore item" in str(m.content).lower() for m in model.seen), "no stub was left"
    assert [m.tool_call_id for m in messages if isinstance(m, ToolMessage)] == [turn.call_id for turn in long_run]
    assert all(m.content == t.answer() for m, t in zip(messages[2::2], long_run, strict=False))  # the state is whole
    away = check_nothing_lost(budget, asks, long_run, messages)
    assert budget.thread(CONFIG).window.through > 0, "no directive was given"
    assert next_prompt(budget, messages) == items(asks)
    median, worst = statistics.median(overhead), max(overhead)
    print(f"{len(overhead)} turns, {max(model.sizes):,} tokens at most, {away} results away, a turn costs")
    print(f"{1000 * median:.1f} ms in the middle, {1000 * worst:.1f} ms at most")
    assert median < 0.1


async def test_awaited_it_is_the_same(long_run, budget, asks):
    script = long_run[:60]
    made, model = agent([*script], [budget], window=40_000)
    budget.thread(CONFIG).window.total_tokens = 40_000
    await made.ainvoke(TASK, CONFIG)
    assert len(model.sizes) == 61
    assert max(model.sizes) <= 40_000
    await budget.threads.aclient.close()


def test_the_sidecar_may_die_and_come_back_in_the_middle(long_run, budget, asks, neighbour):
    script, small = long_run[:80], 30_000
    budget.thread(CONFIG).window.total_tokens = small

    def at_turn(number):
        if number == 20:
            neighbour.stop()
            budget.threads.client.courses.timeout = 0.02
        elif number == 60:
            neighbour.start()
            budget.threads.client.courses.timeout = 20

    made, model = agent(script, [budget], at_turn=at_turn, window=small)
    messages = made.invoke(TASK, CONFIG)["messages"]
    assert len(model.sizes) == len(script) + 1
    assert max(model.sizes) <= small
    assert budget.threads.client.courses.absences >= 40
    assert budget.threads.client.courses.dropped == budget.threads.client.courses.rejected == 0
    check_nothing_lost(budget, asks, script, messages)
    assert next_prompt(budget, messages) == items(asks)


def test_the_model_may_search_the_archive_and_restore_from_it(roomy, asks):
    budget = roomy
    script = turns("pi__pi-mono")[:4]
    made, _ = agent(script, [budget], window=200_000)
    messages = made.invoke(TASK, CONFIG)["messages"]
    thread = budget.thread(CONFIG)
    result = next(message for message in messages if isinstance(message, ToolMessage))
    thread.window.gone[result.id] = "[gone]"
    next_prompt(budget, messages)
    assert result.id not in items(asks)
    search, restore = budget.tools
    assert result.id in search.invoke({"query": result.content[:10]}, CONFIG)
    assert "nothing" in search.invoke({"query": "no such text"}, CONFIG).lower()
    assert "back in its place" in restore.invoke({"item": result.id}, CONFIG)
    assert next_prompt(budget, messages)[result.id] == items(asks)[result.id]
    assert "not restored" in restore.invoke({"item": "what"}, CONFIG)


def test_a_result_larger_than_the_window_is_cut_to_fit(roomy, asks):
    budget = roomy
    script = turns("pi__pi-mono")[:3]
    huge, small = Turn(1, 10, None, 150_000, 0.0), 100_000
    budget.thread(CONFIG).window.total_tokens = small
    made, model = agent([script[0], huge, script[2]], [budget], window=small)
    messages = made.invoke(TASK, CONFIG)["messages"]
    assert max(model.sizes) <= small
    [result] = [message for message in messages if message.content == huge.answer()]
    assert asks("t1", "archive", result.id)["content"] == filler("result 1", 150_000)


def test_a_resumed_history_larger_than_a_request_may_be_is_told_piece_by_piece(budget, asks):
    history = [HumanMessage(filler(f"message {n}", 25_000), id=f"m{n}") for n in range(100)]  # 10 MB
    for _ in range(2):
        next_prompt(budget, history)
    gone = budget.thread(CONFIG).window.gone
    assert len(gone) > 80
    for id in gone:
        assert asks("t1", "archive", id)["content"] == filler(f"message {id[1:]}", 25_000)


@pytest.mark.parametrize("told", [True, False])
def test_what_the_provider_bills_corrects_the_count(long_run, neighbour, asks, told):
    """Where a counted token is billed as 1.5, the billed input stays within the window, but only because it is told."""
    script, small = long_run[3:45], 20_000
    billed = []

    def bill(counted):
        billed.append(int(1.5 * counted))
        return billed[-1] if told else 0

    budget = TokenBudget(neighbour.url, total_tokens=small, settings={"timeout": 20, "rest": 0})
    made, _ = agent(script, [budget], billed=bill)
    made.invoke(TASK, CONFIG)
    budget.threads.client.close()
    assert (max(billed) <= small) == told
    assert asks("t1")["provider_ratio"] == (pytest.approx(1.5, rel=0.1) if told else None)
