"""`GET /`: the live page. Plain files of this package, served with an ETag; whatever they load comes from here.

Nothing outside is asked for and nothing inline runs: the policy that is sent with every file says so to the browser.
"""

import hashlib
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec
from aiohttp import web

from sidecar.exporters.live.history import history
from sidecar.ledger import Ledger

FOLDER = "assets"
INDEX = "index.html"
CACHED = "no-cache"  # kept, but asked for whether it changed: an upgrade shows at once
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": CACHED,
}
DATA_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# What Python knows of types depends on the machine.
TYPES: Mapping[str, str] = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served."""

    body: bytes
    content_type: str
    etag: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file of the page, by its path below the folder; read once."""
    return dict(_read(files(__package__) / FOLDER, ""))


def _read(folder: Traversable, below: str) -> Iterable[tuple[str, Asset]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _read(each, f"{below}{each.name}/")
            continue
        body = each.read_bytes()
        suffix = "." + each.name.rpartition(".")[2]
        kind = TYPES.get(suffix) or mimetypes.guess_type(each.name)[0] or "text/plain"
        yield f"{below}{each.name}", Asset(body, kind, hashlib.sha256(body).hexdigest()[:16])


class LivePage:
    """The page, its files, and the history that it draws."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def routes(self) -> Iterable[web.RouteDef]:
        """The page at `/`, everything that belongs to it below `/live/`."""
        return [
            web.get("/", self.index),
            web.get("/live/history/{session:[^/]+}", self.history, allow_head=False),
            web.get("/live/{path:.+}", self.asset),
        ]

    @staticmethod
    def public() -> Iterable[str]:
        """The paths of what is the same for everybody and tells nothing: the page and its files."""
        return ["/", *(f"/live/{name}" for name in assets())]

    async def index(self, request: web.Request) -> web.Response:
        """The page itself."""
        return _serve(request, assets()[INDEX])

    async def asset(self, request: web.Request) -> web.Response:
        """A file that the page loads."""
        found = assets().get(request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound
        return _serve(request, found)

    async def history(self, request: web.Request) -> web.Response:
        """A window's levels over time (`history`)."""
        body = await history(self._ledger, request.match_info["session"])
        return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers=DATA_HEADERS)


def _serve(request: web.Request, asset: Asset) -> web.Response:
    headers = {**HEADERS, "ETag": f'"{asset.etag}"'}
    known = request.if_none_match
    if known is not None and any(tag.value in (asset.etag, "*") for tag in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
