"""The live page of a sidecar that asks for tokens, in a real browser."""

import re

import aiohttp
import pytest
from playwright.async_api import async_playwright, expect

from sidecar.app import make_app
from tests.access.conftest import ADMIN, READ, WRITE, bearer, config
from tests.exporters.live.conftest import Client
from tests.exporters.live.test_browser import FLAGS

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def browser(need_program):
    path = need_program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


async def test_a_token_is_entered_once_sent_as_a_header_and_opens_what_it_may(browser, token_files):
    async with (
        make_app(config(**token_files)) as app,
        aiohttp.ClientSession(app.urls["api"][0], headers=bearer(ADMIN)) as http,
    ):
        client = Client(http)
        await client.put("s1", EVIL, tokens=1000)
        page = await browser.new_page()
        page.set_default_timeout(20_000)
        asked: list[str] = []
        markup: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: markup.append(dialog.message))
        await page.goto(app.urls["api"][0])
        await expect(page.locator("#login")).to_be_visible()
        await expect(page.locator("#list .row")).to_have_count(0)
        for text, trouble in (("nobody-knows-this-token", "not known here"), (WRITE, "would need the scope read")):
            await page.locator("#token").fill(text)
            await page.keyboard.press("Enter")
            await expect(page.locator("#login-trouble")).to_contain_text(trouble)
        await page.keyboard.press("Escape")
        await expect(page.locator("#login")).to_be_visible()
        await page.locator("#token").fill(READ)
        await page.keyboard.press("Enter")
        await expect(page.locator("#login")).to_be_hidden()
        await expect(page.locator("#name")).to_have_text("s1")
        await expect(page.locator("#connection")).to_have_text("Live")
        await client.put("s1", "b", tokens=2000)  # the stream tells
        await expect(page.locator("#fills")).to_contain_text("3,000 of")
        await page.reload()
        await expect(page.locator("#fills")).to_contain_text("3,000 of")
        await expect(page.locator("#login")).to_be_hidden()
        await page.locator("#depth-choice button").nth(1).click()
        await expect(page.locator("#story")).to_contain_text(EVIL)
        assert await page.locator("img").count() == 0
        assert markup == []
        assert not [url for url in asked if READ in url]
        assert await page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"


async def test_another_page_in_the_same_browser_can_neither_read_nor_write_here(browser):
    """Also a page on another port of this machine, and whatever it sends without asking first."""
    async with make_app(config()) as ours, make_app(config()) as theirs:
        page = await browser.new_page()
        await page.goto(f"{theirs.urls['telemetry'][0]}/healthz")  # a page that may ask anybody
        tried = await page.evaluate(
            """async (api) => {
                const event = JSON.stringify([{type: "report_usage", session: "planted", total: 5}]);
                const tries = [
                    fetch(`${api}/v1/sessions`),
                    fetch(`${api}/v1/events`, {method: "POST", body: event}),
                    fetch(`${api}/v1/events`, {method: "POST", body: new Blob([event]), mode: "no-cors"}),
                    fetch(`${api}/v1/events`, {method: "POST", body: event, headers: {"Content-Type": "text/plain"}}),
                    fetch(`${api}/v1/stream`, {mode: "no-cors"}),
                    fetch(`${api}/v1/sessions/planted`, {method: "PUT"}),
                ];
                navigator.sendBeacon(`${api}/v1/events`, new Blob([event], {type: "text/plain"}));
                return (await Promise.allSettled(tries)).map((each) => each.value?.status ?? each.status);
            }""",
            ours.urls["api"][0],
        )
        assert set(tried) <= {"rejected", 0}  # 0: what no page may look at
        assert list(await ours.ledger.sessions(after=None, limit=9)) == []
        await page.goto(f"{ours.urls['telemetry'][0]}/metrics")
        counted = re.findall(r'rejected_total\{receiver="\w+",reason="forbidden"\} (\d+)', await page.content())
        assert sum(map(int, counted)) >= 5
