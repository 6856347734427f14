"""Takes the pictures of the documentation: `python -m tests.pictures`, with Chromium, from the bundled recordings.

Pictures are of the real thing: a sidecar that recorded sessions were replayed to, and the page that `audit` writes.
"""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from sidecar.__main__ import main
from sidecar.app import make_app
from sidecar.config import Config
from sidecar.config.forms import HostPort
from sidecar.lab.connection import connect
from sidecar.lab.player import Options
from sidecar.lab.recordings import bundled, read
from sidecar.lab.replay import replay

PICTURES = Path(__file__).resolve().parents[1] / "dashboards" / "pictures"
SHOWN = "claude-code__git-sync-ebdcdc922915"  # has cleanups, refusals and all components
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FREE = HostPort("127.0.0.1", 0)


async def live(browser: Browser, folder: Path) -> None:
    """The live page, after the recordings, with one window chosen."""
    config = Config(listen=(FREE,), telemetry=FREE, otlp=None, journal=f"sqlite:///{folder}/journal.db")
    async with make_app(config) as sidecar:
        api = sidecar.urls["api"][0]
        async with connect(api) as connection:
            await replay(read([bundled()]), connection, Options())
        for theme in ("light", "dark"):
            await picture(browser, f"{api}/#{SHOWN}", f"live-{theme}.png", theme, height=1010)


async def audit(browser: Browser, page: Path) -> None:
    """The top of the page that `audit` wrote."""
    await picture(browser, page.as_uri(), "audit.png", "light", height=1010)


async def picture(browser: Browser, url: str, name: str, theme: str, *, height: int) -> None:
    """Take one picture of a page that has come to rest."""
    page = await browser.new_page(viewport={"width": 1440, "height": height})
    await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    await page.goto(url)
    await page.wait_for_timeout(3000)  # what is drawn moves for a moment
    await page.screenshot(path=PICTURES / name)
    await page.close()


async def take(folder: Path, written: Path) -> None:
    """All pictures."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        await live(browser, folder)
        await audit(browser, written)
        await browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "report.html")
        main(["audit", str(bundled()), "--html", str(written)])
        asyncio.run(take(Path(folder), written))
