"""A live scrape and the catalogue say the same; it is small, valid and never in the way."""

import asyncio
import random
import subprocess
from types import SimpleNamespace

import pytest

from sidecar.budget.commands import (
    Acknowledge,
    AdjustShares,
    CleanUp,
    CloseSession,
    CompleteItem,
    CompleteTask,
    ItemSpec,
    OpenSession,
    PlanTasks,
    PutItem,
    ReleaseTokens,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
    SyncWindow,
    TaskSpec,
    TouchItem,
    WindowItem,
)
from sidecar.budget.errors import BudgetError
from sidecar.budget.items import KINDS
from sidecar.budget.policy import COMPONENTS
from sidecar.exporters.catalog import BY_NAME, CATALOG
from sidecar.exporters.endpoint import telemetry_app
from sidecar.exporters.lag import LoopLag
from sidecar.exporters.prometheus import Exporter
from sidecar.exporters.series import OPENMETRICS, TEXT
from sidecar.ledger import Limits
from tests.exporters.scraping import NOW, House, Scrape, read

SERIES_OF_A_POD = 200


async def live(house: House, *, seed: int = 7, turns: int = 400) -> None:
    """Let a few sessions live through everything that can be asked for."""
    chance = random.Random(seed)
    sessions = [f"s{number}" for number in range(4)]
    for turn in range(turns):
        house.clock.now += chance.uniform(0, 120)
        session, component = chance.choice(sessions), chance.choice(COMPONENTS)
        name, size = f"i{chance.randrange(20)}", chance.randrange(1, 15_000)
        command = chance.choice(
            [
                RequestAllocation(component=component, tokens=size),
                RequestAllocation(component=component, tokens=2 * size, all_or_nothing=True),
                PutItem(
                    item=ItemSpec(id=name, kind=chance.choice(KINDS), tokens=size, full=True, doc_tokens=size // 2)
                ),
                PutItem(item=ItemSpec(id=name, kind=chance.choice(KINDS), tokens=size)),
                TouchItem(item=name),
                CompleteItem(item=name),
                RemoveItem(item=name),
                ReleaseTokens(component=component, tokens=1),
                SyncWindow(items=[WindowItem(id=name, tokens=size, kind="file")], through=turn),
                ReportUsage(components={component: size}, total=20 * size),
                Acknowledge(through=turn // 10),
                PlanTasks(tasks=[TaskSpec(id="t", files=["a"] * 9, agents=["b"])], preempt=True),
                CompleteTask(task="t"),
                CleanUp(component=component),
                AdjustShares(),
                CloseSession() if turn % 20 == 0 else OpenSession(),
            ]
        )
        try:
            await house.do(command, session, receiver=chance.choice(["api", "events"]))
        except BudgetError:
            house.exporter.rejected("events", "invalid")


def families(scrape: Scrape) -> dict[str, str]:
    """Metrics of a scrape of the text format that are not the process's own: name as in the catalogue, and type."""
    shown = {}
    for name, kind in scrape.types.items():
        if not name.startswith("process_"):
            shown[f"{name}_total" if kind == "counter" else name] = kind
    return shown


@pytest.mark.parametrize("detail", [False, True])
async def test_every_metric_shown_is_in_the_catalogue_and_every_one_of_the_catalogue_is_shown(build, detail):
    house = await build(detail=detail)
    await live(house)
    expected = {
        metric.name: "gauge" if metric.kind == "info" else metric.kind
        for metric in CATALOG
        if detail or not metric.detail
    }
    assert families(await house.scrape()) == expected


async def test_labels_and_their_values_are_those_of_the_catalogue(build):
    house = await build(detail=True)
    await live(house)
    scrape = await house.scrape()
    kinds = ("_bucket", "_sum", "_count")
    for name, labels in scrape.samples:
        if name.startswith("process_"):
            continue
        metric = BY_NAME.get(name) or BY_NAME[next(name.removesuffix(kind) for kind in kinds if name.endswith(kind))]
        values = dict(labels)
        values.pop("le", None)
        assert set(values) == set(metric.labels), name
        for label, value in values.items():
            assert not metric.labels[label] or value in metric.labels[label], (name, label)


async def test_series_are_at_zero_before_anything_happened(build):
    house = await build(agent="mine")
    scrape = await house.scrape()
    for name in ("used_tokens", "allocated_tokens", "utilization_ratio", "reclaimable_tokens"):
        for component in COMPONENTS:
            assert scrape.value(f"token_budget_component_{name}", agent="mine", component=component) == 0
    for component in COMPONENTS:
        assert scrape.value("token_budget_exhaustions_total", agent="mine", component=component, mode="managed") == 0
    for metric in CATALOG:
        if metric.detail or metric.kind in {"histogram", "info"} or metric.name == "token_budget_journal_up":
            continue
        before = {"agent": "mine"} if metric.per_agent else {}
        labels = [label for label in metric.labels if label != "agent"]
        expected = {
            tuple(sorted((before | dict(zip(labels, values, strict=True))).items()))
            for values in metric.initial_series()
        }
        assert scrape.series(metric.name) == dict.fromkeys(expected, 0), metric.name


async def test_a_pod_with_one_agent_exports_at_most_200_series(build):
    house = await build()
    fresh = len((await house.scrape()).samples)
    await live(house)
    busy = len((await house.scrape()).samples)
    detailed = len((await (await build(detail=True)).scrape()).samples)
    print(f"series: {fresh} at the start, {busy} after a busy life; {detailed} at the start with details")
    assert fresh <= 160
    assert busy <= SERIES_OF_A_POD
    assert detailed > fresh


async def test_promtool_has_nothing_to_say(build, need_program):
    house = await build(detail=True)
    house.exporter.begin_forwarding()
    await live(house)
    text = (await house.scrape()).text
    checked = await asyncio.to_thread(
        subprocess.run,
        [need_program("promtool"), "check", "metrics"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_both_formats_show_the_same_and_end_as_they_must(build):
    house = await build()
    await live(house, turns=100)
    plain, plain_type = await house.exporter.render("text/plain")
    other, other_type = await house.exporter.render("application/openmetrics-text;version=1.0.0")
    assert (plain_type, other_type) == (TEXT, OPENMETRICS)
    assert other.endswith(b"\n# EOF\n")
    assert other.count(b"# EOF") == 1
    assert b"# EOF" not in plain
    assert b"_created" not in plain + other

    def own(text, *, openmetrics):
        samples = read(text.decode(), openmetrics=openmetrics).samples
        return {key: value for key, value in samples.items() if not key[0].startswith("process_")}

    assert own(plain, openmetrics=False) == own(other, openmetrics=True)


async def test_the_build_says_its_versions(build):
    import sidecar

    ((labels, value),) = (await (await build()).scrape()).series("token_budget_build_info").items()
    assert value == 1
    assert dict(labels)["version"] == sidecar.__version__


async def test_the_listener_answers_scrapes_and_compresses_them_when_asked(build, aiohttp_client):
    house = await build()
    client = await aiohttp_client(telemetry_app(house.exporter.render, SimpleNamespace(started=True, ready=True)))
    for asked, encoding in (("gzip", "gzip"), ("deflate, gzip", "gzip"), ("identity", None)):
        answer = await client.get("/metrics", headers={"Accept": "text/plain", "Accept-Encoding": asked})
        assert answer.status == 200
        assert answer.headers["Content-Type"] == TEXT
        assert answer.headers.get("Content-Encoding") == encoding
        assert read(await answer.text()).value("token_budget_journal_up") == 1


async def test_nothing_is_shared_between_two_exporters(build):
    one, two = await build(), await build()
    await one.do(RequestAllocation(component="working_memory", tokens=5))
    assert (await two.scrape()).value("token_budget_window_used_tokens") == 0


async def test_two_scrapes_at_a_time_are_both_whole(build):
    house = await build()
    await live(house, turns=60)
    first, second = await asyncio.gather(house.exporter.render(), house.exporter.render())
    names = [{name for name, _ in read(text.decode()).samples} for text, _ in (first, second)]
    assert names[0] == names[1]


async def test_a_scrape_reads_only_sessions_that_changed(house: House):
    await house.open("a")
    await house.open("b")
    await house.scrape()
    await house.do(PutItem(item=ItemSpec(id="x", kind="file", tokens=1)), "b")
    assert list(house.exporter._windows.take_changed()) == ["b"]


async def test_what_a_scrape_does_not_get_round_to_is_read_by_the_next(build):
    house = await build()
    for number in range(3):
        item = ItemSpec(id="x", kind="debug", tokens=1_000, created_at=NOW - 10_000)
        await house.do(PutItem(item=item), f"s{number}")
    hurried = iter(range(0, 1_000_000, 2))  # each look at the clock, two seconds have passed
    house.exporter._monotonic = lambda: float(next(hurried))
    reclaimable = [
        (await house.scrape()).value("token_budget_component_reclaimable_tokens", component="working_memory")
        for _ in range(3)
    ]
    assert reclaimable == [1_000, 2_000, 3_000]


async def test_a_scrape_of_10000_sessions_never_holds_the_loop_over_10_ms(build, loop_holds):
    house = await build(max_agents=20, limits=Limits(turn_commands=1_000))
    house.exporter._monotonic = asyncio.get_running_loop().time
    for start in range(0, 10_000, 500):
        await asyncio.gather(
            *(house.open(f"s{number}", agent=f"agent-{number % 25}") for number in range(start, start + 500))
        )
    loop_holds.start()
    await asyncio.sleep(0)
    for _ in range(3):
        await house.exporter.render(OPENMETRICS)
    holds = await loop_holds.stop()
    scrape = await house.scrape()
    assert sum(scrape.series("token_budget_sessions").values()) == 10_000
    # The collector of garbage may stop the loop at any time, and is no part of the scrape.
    longest = sorted(holds)[-3:]
    print(f"longest holds: {', '.join(f'{hold * 1000:.1f} ms' for hold in longest)}")
    assert longest[0] < 0.010


async def test_the_loops_own_lag_is_measured():
    lags: list[float] = []
    arrived = asyncio.Event()

    def observe(lag: float) -> None:
        lags.append(lag)
        if len(lags) == 3:
            arrived.set()

    lag = LoopLag(observe, interval=0.001)
    lag.start()
    await asyncio.wait_for(arrived.wait(), 10)
    lag.stop()
    assert all(each >= 0 for each in lags)


async def test_a_stopped_exporter_leaves_no_timer_behind():
    exporter = Exporter(lag_interval=0.001)
    exporter.start()
    exporter.stop()
    exporter.stop()
    await asyncio.sleep(0.01)
    assert "token_budget_event_loop_lag_seconds_count 0" in (await exporter.render())[0].decode()
