"""The live page's files: complete, from here alone, and asked for again only when they changed."""

import re
from html.parser import HTMLParser

import pytest
from typing_extensions import override

from sidecar.exporters.live.page import assets

PAGES = {name: asset.body.decode() for name, asset in assets().items() if not name.startswith("uplot/")}
MODULES = {name: text for name, text in PAGES.items() if name.endswith(".js")}
LONGEST = 300  # lines of a file: small enough to be read


class Links(HTMLParser):
    """What the page loads, and what it must not have."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []

    @override
    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [attributes[name] for name in ("src", "href") if attributes.get(name) and tag != "a"]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in attributes):
            self.inline.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])


@pytest.fixture(scope="module")
def links():
    found = Links()
    found.feed(PAGES["index.html"])
    return found


async def test_the_page_is_at_the_root_with_a_policy_that_lets_nothing_in_from_outside(client):
    async with client.http.get("/") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert "Token budget" in await answer.text()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) == {"'none'", "'self'"}


async def test_every_file_is_served_with_its_type_and_is_not_sent_again_while_it_is_the_same(client):
    for name, kind in (("main.js", "text/javascript"), ("theme.css", "text/css"), ("icon.svg", "image/svg+xml")):
        async with client.http.get(f"/live/{name}") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith(kind)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            tag = answer.headers["ETag"]
            assert await answer.text() == PAGES[name]
        for known, status in ((tag, 304), (f"W/{tag}", 304), ('"other"', 200)):
            async with client.http.get(f"/live/{name}", headers={"If-None-Match": known}) as answer:
                assert answer.status == status


@pytest.mark.parametrize("path", ["none.js", "../page.py", "..%2Fpage.py", "%2e%2e/page.py", "/etc/passwd"])
async def test_nothing_but_the_page_is_served(client, path):
    async with client.http.get(f"/live/{path}") as answer:
        assert answer.status == 404


async def test_the_telemetry_port_has_no_page(app, client):
    async with client.http.get(f"{app.urls['telemetry'][0]}/") as answer:
        assert answer.status == 404


def test_the_page_has_nothing_inline_and_loads_files_that_there_are(links):
    assert links.inline == []
    assert links.loads
    assert [each for each in links.loads if each.removeprefix("live/") not in assets()] == []
    assert len(set(links.ids)) == len(links.ids)


def test_every_module_that_is_imported_is_there_and_gives_what_is_taken_from_it():
    for name, text in MODULES.items():
        for taken, source in re.findall(r'^import \{([^}]*)\} from "\./([^"]+)"', text, re.MULTILINE):
            for each in taken.split(","):
                given = rf"^export (async )?(class|const|function\*?) {each.strip()}\b"
                assert re.search(given, MODULES[source], re.MULTILINE), f"{name} takes {each} from {source}"


def test_every_element_that_a_module_looks_for_is_on_the_page(links):
    wanted = {each for text in MODULES.values() for each in re.findall(r'byId\("([^"]+)"\)', text)}
    assert wanted
    assert wanted - set(links.ids) == set()


def test_nothing_that_comes_from_outside_can_become_markup():
    for name, text in MODULES.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            name
        )


def test_no_file_speaks_of_an_address_outside():
    for name, text in PAGES.items():
        outside = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", text)) - {"http://www.w3.org/2000/svg"}
        assert not outside, name


def test_the_files_are_small_and_the_chart_library_comes_with_its_licence():
    assert [name for name, text in PAGES.items() if text.count("\n") > LONGEST] == []
    assert "MIT License" in assets()["uplot/LICENSE"].body.decode()
