"""Whose window a span shows: its own conversation, one around it, one told later, else its trace; and sub-agents."""

import pytest

from sidecar.app import make_app
from sidecar.journal import JournalError
from sidecar.ledger import Ledger
from sidecar.receivers.otlp.reader import SILENT
from sidecar.receivers.otlp.traces import Bounds, Traces
from sidecar.receivers.otlp.wire import Record


def run(story, **named):
    """An agent's run, around everything."""
    return story.span(id="00000000000000aa", gen_ai__operation__name="invoke_agent", start=0.0, end=99.0, **named)


async def test_a_conversation_that_only_the_root_names_is_that_of_its_calls(otlp, story):
    call = story.chat(1000, conversation=None, parent="00000000000000aa")
    await otlp.spans(call, run(story, gen_ai__conversation__id="c9"))
    assert await otlp.sessions() == ["c9"]


async def test_a_call_waits_for_its_conversation_which_comes_in_a_later_payload(otlp, story):
    await otlp.spans(story.chat(1000, conversation=None, parent="00000000000000aa"))
    assert (await otlp.get("/v1/sessions"))["sessions"] == []
    await otlp.spans(run(story, gen_ai__conversation__id="c9"))
    assert await otlp.sessions() == ["c9"]
    assert await otlp.level("c9") == 1000


async def test_a_conversation_named_by_a_span_beside_a_call_is_its_own(otlp, story):
    tool = story.span(gen_ai__operation__name="execute_tool", parent="00000000000000aa", session__id="c9")
    await otlp.spans(story.chat(1000, conversation=None, parent="00000000000000aa"), tool)
    assert await otlp.sessions() == ["c9"]


async def test_when_nobody_names_a_conversation_the_trace_is_one(otlp, story):
    await otlp.spans(story.chat(1000, conversation=None, trace=7))
    assert await otlp.sessions() == [story.trace(7)]


async def test_waiting_ends_when_its_time_is_over(telemetry_to, settings, story):
    async with make_app(settings()) as app:
        app.otlp._reader._traces = Traces(Bounds(wait=0.0))
        otlp = telemetry_to(app)
        await otlp.spans(story.chat(1000, conversation=None, parent="00000000000000aa"))
        assert len((await otlp.get("/v1/sessions"))["sessions"]) == 1


async def test_what_waits_is_counted_when_the_sidecar_stops(telemetry_to, settings, story, tmp_path):
    journal = f"sqlite:///{tmp_path}/journal.db"
    async with make_app(settings(journal=journal)) as app:
        await telemetry_to(app).spans(story.chat(1000, conversation=None, parent="00000000000000aa", trace=7))
    async with make_app(settings(journal=journal)) as app:
        assert await telemetry_to(app).level(story.trace(7)) == 1000


def span(trace, id, parent="f"):
    return Record(
        signal="traces", name="s", scope="", resource={}, attributes={}, start=0, end=0,
        trace=trace, span=id, parent=parent,
    )  # fmt: skip


def remembered(traces):
    return [*traces._younger.values(), *traces._older.values()]


def test_what_is_remembered_of_traces_is_bounded():
    traces = Traces(Bounds(traces=10, spans=5, waiting=3, names=7))
    for number in range(1000):
        traces.note(span(f"{number // 20:x}", f"{number:x}"), f"session-{number}", "agent")
        assert len(remembered(traces)) <= 10
    assert all(len(trace.parents) <= 5 and len(trace.sessions) <= 5 for trace in remembered(traces))
    assert all(len(trace.agents) <= 5 for trace in remembered(traces))
    assert len(traces._names) == 7


def test_the_spans_of_all_traces_together_are_bounded_too():
    traces = Traces(Bounds(all_spans=100))
    for number in range(5000):
        traces.note(span(f"{number % 20:x}", f"{number:x}"), "s")
        assert sum(len(trace.parents) for trace in remembered(traces)) <= 150


def test_a_trace_in_use_is_remembered_whatever_else_comes():
    traces = Traces(Bounds(traces=10))
    traces.note(span("mine", "root"), "my-session")
    for number in range(1000):
        traces.note(span(f"{number:x}", "a"), None)
        if number % 4 == 0:
            traces.note(span("mine", f"{number:x}", "root"), None)
    mine = traces._known("mine")
    assert mine is not None
    assert mine.parents["root"] == "f"


def test_a_trace_is_forgotten_after_its_time_but_not_whose_conversation_it_is():
    traces = Traces(Bounds(keep=300.0))
    traces.note(span("mine", "a"), "my-session")
    traces.place([], now=1000.0)
    for now in (1200.0, 1300.0, 1599.0):
        traces.place([], now=now)
        assert traces._known("mine") is not None
    traces.place([], now=1600.0)
    assert remembered(traces) == []
    traces.note(span("mine", "b"), None)
    mine = traces._known("mine")
    assert mine is not None
    assert mine.session == "my-session"


async def test_a_silent_conversation_goes_on_where_the_ledger_has_it(otlp, story):
    await otlp.spans(story.chat(1000))
    await otlp.spans(story.chat(1500))
    reader = otlp.app.otlp._reader
    now = reader._clock() + SILENT
    reader._clock = lambda: now
    await otlp.spans(story.chat(200, conversation="another"))
    assert list(reader._windows) == ["another"]
    await otlp.spans(story.chat(1800))
    assert await otlp.level("c1") == 1800
    assert await otlp.calls("c1") == 3


async def test_more_than_may_wait_does_not_wait(telemetry_to, settings, story):
    async with make_app(settings()) as app:
        app.otlp._reader._traces = Traces(Bounds(waiting=2))
        otlp = telemetry_to(app)
        calls = [story.chat(100, conversation=None, parent="00000000000000aa", trace=n) for n in range(1, 6)]
        await otlp.spans(*calls)
        assert len((await otlp.get("/v1/sessions"))["sessions"]) == 3


async def test_a_sub_agent_is_a_session_of_its_own_with_a_parent(otlp, story):
    await otlp.spans(
        story.chat(1000, gen_ai__agent__name="lead"),
        story.chat(300, gen_ai__agent__name="scout"),
        story.chat(1200, gen_ai__agent__name="lead"),
    )
    assert await otlp.sessions() == ["c1", "c1.scout"]
    scout = await otlp.report("c1.scout")
    assert (scout["agent"], scout["parent"], scout["overall"]["used_tokens"]) == ("scout", "c1", 300)
    assert await otlp.level("c1") == 1200


async def test_an_agent_is_known_by_the_run_around_its_calls(otlp, story):
    await otlp.spans(story.chat(1000, parent="00000000000000aa"), run(story, gen_ai__agent__name="lead"))
    assert (await otlp.report("c1"))["agent"] == "lead"


async def test_an_agent_without_a_name_has_its_service_s(otlp, story):
    await otlp.spans(story.chat(1000), service="billing-bot")
    assert (await otlp.report("c1"))["agent"] == "billing-bot"


async def test_an_sdk_s_placeholder_is_no_name(otlp, story):
    await otlp.spans(story.chat(1000), service="unknown_service:python")
    assert (await otlp.report("c1"))["agent"] == "unknown"


async def test_a_session_that_was_opened_as_managed_stays_so_and_learns_what_was_billed(otlp, story):
    async with otlp.http.put(f"{otlp.app.urls['api'][0]}/v1/sessions/c1", json={"agent": "host"}) as answer:
        assert answer.status == 201
    item = {"type": "put_item", "session": "c1", "item": {"id": "a", "kind": "file", "tokens": 1000}}
    async with otlp.http.post(f"{otlp.app.urls['api'][0]}/v1/events", json=[item]) as answer:
        assert (await answer.json())["accepted"] == 1
    await otlp.spans(story.chat(1250))
    report = await otlp.report("c1")
    assert (report["mode"], report["agent"], report["provider_ratio"]) == ("managed", "host", 1.25)
    assert report["components"]["working_memory"]["used_tokens"] == 1000


async def test_a_closed_session_that_calls_again_is_a_new_epoch_and_late_news_of_it_are_not(otlp, story):
    early, call, after = story.chat(500), story.chat(1000), story.chat(600)
    await otlp.spans(call)
    async with otlp.http.delete(f"{otlp.app.urls['api'][0]}/v1/sessions/c1") as answer:
        assert answer.status == 200
    await otlp.spans(early)
    assert (await otlp.report("c1"))["state"] == "closed"
    await otlp.spans(after)
    report = await otlp.report("c1")
    assert (report["state"], report["overall"]["used_tokens"]) == ("active", 600)


async def test_without_auto_open_only_sessions_that_were_opened_are_kept(telemetry_to, settings, story):
    async with make_app(settings(auto_open=False)) as app:
        otlp = telemetry_to(app)
        await otlp.spans(story.chat(1000))
        assert await otlp.sessions() == []


async def test_the_window_s_size_is_the_operator_s_else_the_model_s_else_the_default(telemetry_to, settings, story):
    async with make_app(settings(total_tokens=50_000)) as app:
        otlp = telemetry_to(app)
        await otlp.spans(story.chat(1000, gen_ai__request__model="gpt-4o"))
        assert (await otlp.report("c1"))["overall"]["total_tokens"] == 50_000
    async with make_app(settings()) as app:
        otlp = telemetry_to(app)
        for session, model, total in (("a", "gpt-4o", 128_000), ("b", "openai/gpt-4o", 128_000), ("c", "new", 200_000)):
            await otlp.spans(story.chat(1000, conversation=session, gen_ai__request__model=model))
            assert (await otlp.report(session))["overall"]["total_tokens"] == total


async def test_a_conversation_that_goes_on_with_another_model_has_that_model_s_window(otlp, story):
    await otlp.spans(story.chat(1000, gen_ai__request__model="gpt-4o"))
    await otlp.spans(story.chat(1100, gen_ai__request__model="claude-opus-5"))
    report = await otlp.report("c1")
    assert (report["model"], report["overall"]["total_tokens"]) == ("claude-opus-5", 200_000)


@pytest.mark.parametrize("name", ["x" * 1000, "a\nb\x00c", "ünïcode ☃", "a/b?c=d", " "])
async def test_any_conversation_id_is_a_session(otlp, story, name):
    await otlp.spans(story.chat(1000, conversation=name))
    (session,) = await otlp.sessions()
    assert len(session) <= 256
    assert session.isprintable()


async def test_a_clock_that_is_ahead_loses_nothing(otlp, story):
    await otlp.spans(story.chat(1000, start=90_000.0))
    assert await otlp.level("c1") == 1000


async def test_what_waited_is_counted_later_when_the_journal_was_down(otlp, story, monkeypatch):
    async def refuse(self, asks):
        raise JournalError("down")

    await otlp.spans(story.chat(1000, conversation=None, parent="00000000000000aa"))
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "handle_all", refuse)
        with pytest.raises(JournalError):
            await otlp.patience_ends()
    assert await otlp.sessions() == [story.trace()]


async def test_the_operator_s_window_size_holds_when_the_model_changes(telemetry_to, settings, story):
    async with make_app(settings(total_tokens=50_000)) as app:
        otlp = telemetry_to(app)
        await otlp.spans(story.chat(1000, gen_ai__request__model="gpt-4o"))
        await otlp.spans(story.chat(1000, gen_ai__request__model="claude-opus-5"))
        assert (await otlp.report("c1"))["overall"]["total_tokens"] == 50_000
