"""A real sidecar that is killed, or hangs, in the middle of a run, for every adapter.

The agent goes on, its prompt fits at every call, and one turn of the absence waits for the timeout: no other does.
Afterwards the ledger has exactly what the agent's next prompt has.
"""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from sidecar.client import Client
from tests.client.scripted import WHOLE, turns
from tests.client.settling import settled

GOES, COMES = (12, 30) if WHOLE else (8, 20)  # the turns at which it goes away and comes back
WINDOW = 20_000
TIMEOUT = 1.0  # seconds that a call may take while nobody answers
LONG = 1e9

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own notices of things to come


class Neighbour:
    """A sidecar as a process, which always comes back at the same place with the same journal."""

    def __init__(self, journal, log):
        self.journal, self.log = journal, log
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        listen = ("--listen", f"127.0.0.1:{self.port}", "--telemetry", "127.0.0.1:0", "--otlp", "off")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "serve", *listen, "--journal", f"sqlite:///{self.journal}"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("TOKEN_BUDGET_")},
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, where, *_ = line.split()
            if name == "api":
                self.port = int(where.rpartition(":")[2])
            if name == "telemetry":
                return

    def goes(self, how):
        self.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        if how == "killed":
            self.process.communicate(timeout=30)

    def comes(self, how):
        if how == "killed":
            self.start()
        else:
            self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def neighbour(tmp_path):
    with (tmp_path / "log").open("w") as log:
        made = Neighbour(tmp_path / "journal.db", log)
        yield made
        made.goes("killed")


class Absence:
    """Makes the sidecar go and come back at their turns, and writes down how long each turn took."""

    def __init__(self, neighbour, how):
        self.neighbour, self.how = neighbour, how
        self.skew = 0.0  # what the client's clock is ahead: how long it leaves a hung sidecar alone is not waited for
        self.began: list[float] = []
        self.courses: Any = None

    def watches(self, threads):
        self.courses = threads.client.courses
        assert threads.aclient.courses is self.courses
        self.courses.clock = lambda: time.monotonic() + self.skew

    def at_turn(self, number):
        if number == GOES:
            self.neighbour.goes(self.how)
            self.courses.timeout, self.courses._rest = TIMEOUT, LONG
        elif number == COMES:
            self.neighbour.comes(self.how)
            self.courses.timeout, self.skew = 30.0, 2 * LONG
        self.began.append(time.monotonic())

    def waited(self):
        """The turns of the absence that waited for the timeout."""
        took = [after - before for before, after in zip(self.began, self.began[1:], strict=False)]
        return sum(each >= TIMEOUT for each in took[GOES : COMES - 1])


def budgeted(made, absence):
    absence.watches(made.threads)
    return made


SETTINGS: dict[str, Any] = {"agent": "coder", "total_tokens": WINDOW, "settings": {"timeout": 30, "fail": "open"}}


async def with_langchain(script, absence):
    pytest.importorskip("langchain", reason="MISSING TOOL: langchain (pip install -e '.[emitters]')")
    from sidecar.client.langchain import TokenBudget, _pieces
    from tests.client.test_langchain import CONFIG, TASK, agent

    budget = budgeted(TokenBudget(absence.neighbour.url, **SETTINGS), absence)
    made, model = agent(script, [budget], at_turn=absence.at_turn, window=WINDOW)
    messages = made.invoke(TASK, CONFIG)["messages"]
    return budget.threads["t1"], model.sizes, _pieces(messages)


async def with_pydantic_ai(script, absence):
    pytest.importorskip("pydantic_ai", reason="MISSING TOOL: pydantic-ai (pip install -e '.[emitters]')")
    from sidecar.client.pydantic_ai import TokenBudget, _pieces
    from tests.client.test_pydantic_ai import ENDLESS, agent

    budget = budgeted(TokenBudget(absence.neighbour.url, session="t1", **SETTINGS), absence)
    made, model = agent(script, [budget], at_turn=absence.at_turn, window=WINDOW)
    result = await made.run("Fix the bug.", usage_limits=ENDLESS)
    return budget.threads["t1"], model.sizes, _pieces(result.all_messages())


async def with_openai_agents(script, absence):
    pytest.importorskip("agents", reason="MISSING TOOL: openai-agents (pip install -e '.[emitters]')")
    from agents import Runner, set_tracing_disabled

    from sidecar.client.openai_agents import TokenBudget
    from sidecar.client.responses_items import pieces
    from tests.client.test_openai_agents import coder

    set_tracing_disabled(disabled=True)
    budget = budgeted(TokenBudget(absence.neighbour.url, **SETTINGS), absence)
    made, model = coder(script, at_turn=absence.at_turn, window=WINDOW)
    result = await Runner.run(made, "Fix the bug.", max_turns=None, **budget.run("t1"))
    return budget.threads["t1"], model.sizes, pieces(result.to_input_list())


async def with_litellm(script, absence):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        pytest.importorskip("litellm", reason="MISSING TOOL: litellm (pip install -e '.[emitters]')")
    from litellm.types.utils import CallTypes

    from sidecar.client.chat_messages import pieces
    from sidecar.client.litellm import TokenBudget
    from tests.client.test_litellm import agent, check_pairs, size

    budget = budgeted(TokenBudget(absence.neighbour.url, **SETTINGS), absence)
    sizes: list[int] = []

    async def ask(messages, _):  # the hook as LiteLLM calls it; test_litellm.py has it called by LiteLLM
        given = {"messages": messages, "litellm_session_id": "t1"}
        given = await budget.async_pre_call_deployment_hook(given, CallTypes.acompletion)
        absence.at_turn(len(sizes))
        check_pairs(given["messages"])
        sizes.append(size(given["messages"]))

    messages = await agent(script, ask)
    return budget.threads["t1"], sizes, pieces(messages)


# By default each adapter once, and the blocking client as well as the asynchronous one with both; `make agents`: all.
ALWAYS = {(with_langchain, "hung"), (with_langchain, "killed"), (with_pydantic_ai, "killed")}
ALWAYS |= {(with_openai_agents, "hung"), (with_litellm, "killed")}
ADAPTERS = (with_langchain, with_pydantic_ai, with_openai_agents, with_litellm)
RUNS = [(run, how) for run in ADAPTERS for how in ("killed", "hung") if WHOLE or (run, how) in ALWAYS]


@pytest.mark.parametrize(("run", "how"), RUNS)
async def test_the_agent_goes_on_and_the_ledger_catches_up(neighbour, run, how):
    script = turns("pi__pi-mono")[3 : 43 if WHOLE else 31]
    absence = Absence(neighbour, how)
    thread, sizes, pieces = await run(script, absence)
    assert len(sizes) == len(script) + 1
    assert WINDOW / 2 < max(sizes) <= WINDOW
    assert absence.courses.absences >= COMES - GOES - 1
    assert absence.waited() <= 1
    assert absence.courses.dropped == absence.courses.rejected == 0
    now = settled(thread, [*thread.fixed, *pieces])
    with Client(neighbour.url, fail="closed", timeout=30) as asking:
        page = asking.session("t1").call("GET", "items", limit=1000)
        assert {item["id"]: item["tokens"] for item in page["items"]} == now
        lost = [piece for piece in pieces if piece.id not in now and piece.text]
        for piece in lost:
            assert asking.session("t1").archived(piece.id)["content"] == piece.text
    assert lost
    await thread.awaited.client.close()
    thread.session.client.close()
