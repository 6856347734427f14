"""The live page in a real browser, while recorded sessions are replayed to the sidecar behind it."""

import asyncio
import re

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from sidecar.lab.connection import connect
from sidecar.lab.player import Options
from sidecar.lab.recordings import bundled, read
from sidecar.lab.replay import replay
from tests.exporters.live.conftest import SOON, serving

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EVIL = "<img src=x onerror=alert(1)>"


pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all: starting it takes longer than a test


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(need_program):
    """Headless Chromium."""
    path = need_program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def sidecar():
    """A sidecar and a client of it, on the loop that the browser is on."""
    async with serving() as both:
        yield both


@pytest.fixture
def app(sidecar):
    return sidecar[0]


@pytest.fixture
def client(sidecar):
    return sidecar[1]


class Visitor:
    """Opens the page, and takes down every request to somewhere else and every complaint of the browser."""

    def __init__(self, browser, base):
        self.browser = browser
        self.base = base
        self.outside: list[str] = []
        self.complaints: list[str] = []

    async def __call__(self, width=1440, height=1000, at="", **context):
        page = await self.browser.new_page(viewport={"width": width, "height": height}, **context)
        page.on(
            "request", lambda request: None if request.url.startswith(self.base) else self.outside.append(request.url)
        )
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(10_000)
        await page.goto(f"{self.base}/{at}")
        return page


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(app, browser):
    """Open the page; when all is done, nothing was asked for outside and the browser had nothing to complain about."""
    visitor = Visitor(browser, app.urls["api"][0])
    yield visitor
    assert visitor.outside == []
    assert visitor.complaints == []
    for context in browser.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def cleaned(client):
    """A window with an archived item that has content, and a directive that waits."""
    task = {"id": "t1", "kind": "task", "tokens": 500, "completed": True, "content": f"what was done {EVIL}"}
    files = [{"id": f"f{number}", "kind": "file", "tokens": 4000, "path": f"src/{number}.py"} for number in range(4)]
    events = [{"type": "put_item", "session": "work", "item": item} for item in (task, *files)]
    assert (await client("POST", "/v1/events", events))["accepted"] == 5
    await client("POST", "/v1/sessions/work/cleanups", {"component": "working_memory"})


async def test_during_a_replay_it_shows_the_windows_and_goes_along(app, open_page):
    recordings = sorted(read([bundled()]), key=lambda recording: len(recording.steps))[:3]
    page = await open_page()
    await expect(page.locator("#empty")).to_be_visible()
    await expect(page.locator("#connection")).to_have_text("Live")
    async with connect(app.urls["api"][0]) as connection:
        playing = asyncio.create_task(replay(recordings, connection, Options()))
        await expect(page.locator(".row").first).to_be_visible()
        await expect(page.locator("#fills-big")).to_contain_text("%")
        await expect(page.locator("#story .told").first).to_be_visible()
        replayed = await playing
    assert not replayed.errors
    await expect(page.locator(".row")).to_have_count(len(replayed.sessions))
    for played in replayed.sessions:
        row = page.locator(".row", has=page.locator(f'[title="{played.session}"]'))
        await row.click()
        await expect(page.locator("#name")).to_have_text(played.session)
        overall = played.report["overall"]
        await expect(page.locator("#fills")).to_contain_text(
            f"{overall['used_tokens']:,} of {overall['total_tokens']:,} tokens"
        )
        await expect(page.locator(".component")).to_have_count(6)
        await expect(page.locator("#chart canvas")).to_be_visible()


async def test_what_happens_is_shown_as_it_happens(client, cleaned, open_page):
    page = await open_page(at="#work")
    await expect(page.locator("#fills")).to_contain_text("16,000 of 200,000")
    await expect(page.locator("#cleaned-big")).to_contain_text("500")
    await client("POST", "/v1/sessions/work/allocations", {"component": "agent_context", "tokens": 99_000})
    await expect(page.locator("#fills")).to_contain_text("46,000 of 200,000")
    first = page.locator("#story .told").first
    await expect(first).to_contain_text("Granted in part to Agent context: 99,000 asked for")
    await expect(page.locator("#cleaned")).to_contain_text("1 request not granted in full")
    await expect(page.locator("#next")).to_contain_text("Requests for agent context are refused")
    await expect(page.locator("#bar [role=img]")).to_have_attribute("aria-label", re.compile("Agent context 30,000"))
    await client("DELETE", "/v1/sessions/work")
    await expect(page.locator("#next-big")).to_have_text("Closed")


# Tokens of working memory as the chart draws them at its right edge: the coloured pixels there, on the axis's scale.
DRAWN = """
() => {
    const canvas = document.querySelector("#chart canvas");
    if (!canvas) return 0;
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = "var(--working_memory)";
    const hue = getComputedStyle(probe).color.match(/[0-9]+/g).slice(0, 3).map(Number);
    probe.remove();
    const at = canvas.width - (18 + 3) * devicePixelRatio; // the padding, and a little
    const copy = new OffscreenCanvas(1, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, -at, 0);
    const { data } = copy.getImageData(0, 0, 1, canvas.height);
    let coloured = 0;
    for (let i = 0; i < data.length; i += 4) coloured += hue.every((part, n) => Math.abs(part - data[i + n]) < 3);
    return (coloured / devicePixelRatio / 200) * 1.04 * 200_000;
}
"""


async def test_the_chart_ends_at_the_window_as_it_stands_and_keeps_up_with_it(client, open_page):
    async def put(minutes, tokens):
        event = {
            "type": "put_item",
            "session": "work",
            "time": f"2026-01-01T12:{minutes:02d}:00.000900Z",
            "item": {"id": f"f{minutes}", "kind": "file", "tokens": tokens},
        }
        assert (await client("POST", "/v1/events", [event]))["accepted"] == 1

    async def see(tokens):
        await expect(page.locator("#fills")).to_contain_text(f"{tokens:,} of 200,000")
        async with asyncio.timeout(SOON):
            while abs(await page.evaluate(DRAWN) - tokens) > 2_500:
                await page.evaluate("new Promise(requestAnimationFrame)")

    await put(0, 5_000)
    await put(1, 20_000)  # a step with nothing after it
    page = await open_page(at="#work")
    await see(25_000)
    await put(2, 7_000)  # beyond the right edge of what was drawn so far
    await see(32_000)
    await put(4, 12_000)
    await see(44_000)
    await expect(page.locator("#chart .u-legend")).to_contain_text(re.compile(r"Working memory\s*44,000"))


async def test_where_nothing_was_decided_lately_it_says_so_and_offers_what_is_earlier(client, open_page):
    for piece in range(2):
        await client.put("work", *(f"f{piece}-{number}" for number in range(510)), tokens=1)
    page = await open_page(at="#work")
    await expect(page.locator("#story")).to_contain_text("Nothing was decided in the latest 1,000 entries.")
    await page.locator("#story .more").click()
    await expect(page.locator("#story .told").first).to_contain_text("Opened")


async def test_an_address_that_names_nothing_is_told_and_breaks_nothing(client, open_page):
    await client.put("work", "a")
    page = await open_page(at="#%")
    await expect(page.locator("#empty")).to_contain_text("%")
    open_page.complaints.clear()  # the browser says that there is no such window, which is true
    await page.locator(".row").click()
    await expect(page.locator("#name")).to_have_text("work")


async def test_directives_and_archive_can_be_read_searched_and_restored(client, cleaned, open_page):
    page = await open_page(at="#work")
    await page.locator("#tab-directives").click()
    await expect(page.locator("#panel-directives")).to_contain_text("archive t1")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#tab-archive")).to_have_attribute("aria-selected", "true")
    record = page.locator("#panel-archive .record")
    await expect(record).to_have_count(1)
    await record.get_by_text("Read").click()
    await expect(record.locator("pre")).to_have_text(f"what was done {EVIL}")
    await record.get_by_text("Restore").click()
    await expect(record).to_contain_text("Back in the window: 500 tokens")
    await page.locator("#panel-archive input").fill("nothing like that")
    await expect(page.locator("#panel-archive")).to_contain_text("Nothing in the archive is like that")
    await page.locator("#panel-archive input").fill("what WAS")
    await expect(record).to_have_count(1)
    held = (await client("GET", "/v1/sessions/work/items"))["items"]
    assert "t1" in {item["id"] for item in held}


async def test_names_from_outside_are_text_and_never_markup(client, open_page):
    await client.put(EVIL.replace("/", ""), EVIL)
    page = await open_page()
    await expect(page.locator("#name")).to_have_text(EVIL)
    await page.locator("#depth-choice button").nth(1).click()
    await expect(page.locator("#story")).to_contain_text(EVIL)
    assert await page.locator("img").count() == 0


async def test_it_can_be_used_with_the_keyboard_alone(client, open_page):
    for number in (1, 2, 3):
        await client.put(f"s{number}", "a", tokens=number * 10_000)
    page = await open_page()
    await expect(page.locator("#name")).to_have_text("s3")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.locator("#list").focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#name")).to_have_text("s2")
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(page.locator("#name")).to_have_text("s1")
    await expect(page.locator('[aria-selected="true"].row')).to_contain_text("s1")
    await page.locator("#chart-choice button").first.focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile("^Shares over time"))


async def test_of_five_hundred_windows_only_those_in_sight_are_drawn_and_the_others_are_found(client, open_page):
    events = [
        {
            "type": "put_item",
            "session": f"agent-{number:03d}",
            "item": {"id": "a", "kind": "file", "tokens": 100 + number},
        }
        for number in range(500)
    ]
    assert (await client("POST", "/v1/events", events))["accepted"] == 500
    page = await open_page()
    await expect(page.locator("#count")).to_have_text("500 open windows")
    await expect(page.locator("#name")).to_have_text("agent-499")
    assert await page.locator(".row").count() < 30
    await page.locator("#find").fill("agent-007")
    await expect(page.locator(".row")).to_have_count(1)
    await page.locator(".row").click()
    await expect(page.locator("#fills")).to_contain_text("107 of 200,000")


async def test_on_a_narrow_screen_the_windows_come_first_and_light_turns_dark(client, cleaned, open_page):
    page = await open_page(width=390, height=800, color_scheme="light")
    await expect(page.locator("#list")).to_be_visible()
    await expect(page.locator("#session")).to_be_hidden()
    await page.locator(".row").click()
    await expect(page.locator("#name")).to_be_visible()
    await expect(page.locator("#list")).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    paper = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(paper)
    await page.locator("#theme").click()
    await page.locator("#theme").click()
    await expect(page.locator("#theme")).to_have_text("Theme: dark")
    assert await page.evaluate(paper) != light
    await page.locator(".back").click()
    await expect(page.locator("#list")).to_be_visible()


async def test_after_a_lost_connection_it_finds_back_by_itself(app, client, cleaned, open_page):
    page = await open_page(at="#work")
    await expect(page.locator("#connection")).to_have_text("Live")
    for writer in app.stream._writers:
        writer.abort()
    await expect(page.locator("#connection")).to_have_text("Connection lost, trying again")
    open_page.complaints.clear()  # the browser says that a connection broke, which is true
    await client.put("work", "later", tokens=1000)
    await expect(page.locator("#fills")).to_contain_text("17,000 of 200,000")
    await expect(page.locator("#connection")).to_have_text("Live")
