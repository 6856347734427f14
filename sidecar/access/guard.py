"""May this request be answered? Asked before anything of it is read.

Three questions, in this order. Its *host*: a name that is not ours came here through DNS that somebody else answers for
(DNS rebinding), and what a browser then sends looks as if it came from our own page. Its *origin*: another page has no
business here, neither to write nor to hold streams open. Its *token*, where tokens are asked for: a scope it must have.

No cookie is ever set, so nothing that a browser adds by itself opens anything.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION, HOST, ORIGIN
from aiohttp.typedefs import Handler, Middleware

from sidecar.access.addresses import host_of, is_loopback, same_address
from sidecar.access.errors import Forbidden, Unauthenticated
from sidecar.access.tokens import Scope, Tokens

Admit: TypeAlias = Callable[[web.Request, Scope], None]


def admit_all(_request: web.Request, _scope: Scope) -> None:
    """Ask nothing."""


READING = frozenset({"GET", "HEAD", "OPTIONS"})
FETCH_SITE, FETCH_DEST = "Sec-Fetch-Site", "Sec-Fetch-Dest"
OTHERS = frozenset({"cross-site", "same-site"})  # the same site on another port is still another program's page
_REMEMBERED = 256


class Guard:
    """`tokens`: None where no token is asked for. `bound`: the hosts that are listened on.

    `hosts`: names that it is reached by besides, through a proxy too. `public`: paths, as they are in a request's first
    line, that anybody may read.
    """

    def __init__(
        self,
        tokens: Tokens | None,
        *,
        bound: Collection[str] = (),
        hosts: Collection[str] = (),
        public: Collection[str] = (),
    ) -> None:
        self._tokens = tokens
        self._hosts = frozenset(host.lower() for host in hosts)
        self._bound = frozenset(host.lower() for host in bound) | self._hosts
        self._public = frozenset(public)
        self._known: set[str] = set()

    def admit(self, request: web.Request, scope: Scope) -> None:
        """Let a request pass that asks for something of this scope.

        Raises:
            Forbidden: its host or origin is not ours, or its token has another scope.
            Unauthenticated: it has no token that is known.
        """
        self._check_host(request)
        if scope == "read" and request.raw_path.partition("?")[0] in self._public:
            return
        self._check_origin(request)
        if self._tokens is not None:
            self._check_token(self._tokens, request, scope)

    def admits(self, request: web.Request, scope: Scope) -> bool:
        """Whether a request that is being answered would still pass: what it showed may have been withdrawn."""
        try:
            self.admit(request, scope)
        except (Forbidden, Unauthenticated):
            return False
        return True

    def _check_host(self, request: web.Request) -> None:
        given = request.headers.get(HOST)
        if given is None or given in self._known:  # HTTP/1.0, which no browser speaks
            return
        host = host_of(given)
        if is_loopback(host) or host in self._bound:
            if len(self._known) < _REMEMBERED:
                self._known.add(given)
            return
        bound = request.transport.get_extra_info("sockname") if request.transport is not None else None
        if isinstance(bound, tuple):
            if same_address(host, bound[0]):
                return
        elif bound is not None:
            return  # a Unix socket: no browser reaches it
        # Where a token is asked for, a page that another name led here has none.
        if self._tokens is None:
            raise Forbidden(f"this sidecar is not known as {host!r} (the setting hosts says what it is known as)")

    def _check_origin(self, request: web.Request) -> None:
        headers = request.headers
        origin = headers.get(ORIGIN)
        if origin is not None:
            authority = origin.partition("://")[2]
            if not authority or (authority != headers.get(HOST) and authority not in self._hosts):
                raise Forbidden("a page of another origin may not call this sidecar")
        site = headers.get(FETCH_SITE)
        # Following a link to a page of ours, or to what is read, is no call by the page that has the link.
        followed = request.method in READING and headers.get(FETCH_DEST) == "document"
        if site in OTHERS and not followed:
            raise Forbidden("a page of another site may not call this sidecar")

    def _check_token(self, tokens: Tokens, request: web.Request, scope: Scope) -> None:
        given = request.headers.getall(AUTHORIZATION, ())
        kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if kind.lower() != "bearer" or not token:
            raise Unauthenticated("a token is asked for: send it as `Authorization: Bearer TOKEN`, once")
        scopes = tokens.scopes_of(token.strip())
        if not scopes:
            raise Unauthenticated("the token is not known here, or not any more", invalid=True)
        if scope not in scopes:
            raise Forbidden(f"the token may not do this: it would need the scope {scope}", scope=scope)


def guarding(guard: Guard, *, themselves: Collection[str] = ()) -> Middleware:
    """The middleware that asks for every request: to read needs `read`, everything else `write`.

    `themselves`: paths whose receivers ask, because they answer in a form of their own. Only a request that names one
    exactly is left to them.
    """
    asking = frozenset(themselves)

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.raw_path not in asking:
            guard.admit(request, "read" if request.method in READING else "write")
        answering: Awaitable[web.StreamResponse] = handler(request)
        return await answering

    return ask
