"""Forecasts held against what came (SPEC 3.8): each horizon once, nothing across a cleanup, nothing kept for ever."""

from typing import Any

from sidecar.budget.commands import CloseSession, OpenSession, ReportUsage, SyncWindow, TouchItem, WindowItem
from sidecar.budget.decide import Defaults, decide
from sidecar.budget.policy import COMPONENTS
from sidecar.exporters.forecasts import Forecasts
from sidecar.ledger import Ask, Origin, Reply

NAME = "token_budget_window_forecast_error_ratio"
COMPONENTS_NAME = "token_budget_prediction_error_ratio"
KINDS = ("count", "sum", "bucket")


class Seat:
    """A session and what is said of its forecasts."""

    def __init__(self):
        self.forecasts = Forecasts()
        self.session: Any = None
        self.now = 1_000.0
        self.do(OpenSession())

    def do(self, command):
        self.now += 10
        decision = decide(self.session, command, id="s", now=self.now, defaults=Defaults())
        self.session = decision.session
        return list(self.forecasts.look(self.session, decision.called))

    def call(self, tokens):
        """A model call sees a window of so many tokens; the errors of the forecasts for it."""
        return self.do(SyncWindow(items=[WindowItem(id="f", kind="file", tokens=tokens)]))


def test_a_steady_window_is_forecast_without_error_at_each_horizon():
    seat = Seat()
    missed = [miss for call in range(20) for miss in seat.call(1_000 * (call + 1))]
    late = [miss for miss in missed[-36:] if miss.component is None]
    assert {miss.calls for miss in missed} == {1, 3, 10}
    assert {miss.component for miss in missed} == {None, *COMPONENTS}
    assert max(miss.error for miss in late) < 1e-9
    # The first forecast needs two calls; it is for the third, and so on.
    assert [sum(miss.calls == calls and miss.component is None for miss in missed) for calls in (1, 3, 10)] == [
        18,
        16,
        9,
    ]


def test_nothing_is_said_across_a_fall_of_the_window():
    """A forecast is what the window holds if nothing is cleaned up."""
    seat = Seat()
    for tokens in (10_000, 20_000, 30_000):
        seat.call(tokens)
    assert [miss for miss in seat.call(5_000) if miss.component in (None, "working_memory")] == []


def test_what_is_no_model_call_says_nothing_and_a_closed_session_is_forgotten():
    seat = Seat()
    for tokens in (10_000, 20_000, 30_000):
        seat.call(tokens)
    assert seat.do(TouchItem(item="f")) == []
    assert seat.do(CloseSession()) == []
    assert not seat.forecasts._past


def test_what_is_remembered_is_bounded():
    seat = Seat()
    for call in range(60):
        seat.call(100 * call)
    assert len(seat.forecasts._past["s"].calls) == 10


async def test_the_errors_of_a_window_are_exported_by_horizon(house):
    await house.open()
    for call in range(12):
        house.clock.now += 1
        await house.do(ReportUsage(total=10_000 * (call + 1)))
    scrape = await house.scrape()
    assert [scrape.value(f"{NAME}_count", calls=str(calls)) for calls in (1, 3, 10)] == [10, 8, 1]
    errors = scrape.series("token_budget_prediction_error_ratio_count")
    forecast = {
        dict(labels)["component"]: value for labels, value in errors.items() if dict(labels)["predictor"] == "forecast"
    }
    assert forecast == dict.fromkeys(COMPONENTS, 19)


async def test_calls_that_are_decided_in_one_turn_are_judged_as_calls_that_come_one_by_one(build):
    """The second session's calls come as one batch, its opening and its end with them."""
    commands: list[Any] = [OpenSession(), *(ReportUsage(total=7_000 * call) for call in range(1, 13)), CloseSession()]
    shown = []
    for together in (False, True):
        house = await build(detail=True)
        asks = [Ask("s", command, Origin(receiver="events"), auto_open=True) for command in commands]
        for part in [asks] if together else [[ask] for ask in asks]:
            for answer in await house.ledger.handle_all(part):
                assert isinstance(answer, Reply)
        scrape = await house.scrape()
        shown.append([scrape.series(f"{name}_{kind}") for name in (NAME, COMPONENTS_NAME) for kind in KINDS])
        assert [scrape.value(f"{NAME}_count", calls=str(calls)) for calls in (1, 3, 10)] == [10, 8, 1]
    assert shown[0] == shown[1]


async def test_without_details_only_working_memory_is_judged(build):
    """A pod exports at most 200 series by default."""
    house = await build()
    await house.open()
    for call in range(5):
        await house.do(ReportUsage(total=10_000 * (call + 1)))
    shown = (await house.scrape()).series("token_budget_prediction_error_ratio_count")
    assert {dict(labels)["component"] for labels in shown} == {"working_memory"}
    assert not (await house.scrape()).series(f"{NAME}_count")
