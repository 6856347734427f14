"""Why a request is not answered."""


class Unauthenticated(Exception):
    """Nobody known asks. `invalid`: a token was shown, but it is none of ours."""

    def __init__(self, detail: str, *, invalid: bool = False) -> None:
        super().__init__(detail)
        self.invalid = invalid

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says (RFC 6750, section 3)."""
        return 'Bearer realm="token-budget"' + (', error="invalid_token"' if self.invalid else "")


class Forbidden(Exception):
    """Who asks may not do this. `scope`: what the token would need; None where no token would help."""

    def __init__(self, detail: str, *, scope: str | None = None) -> None:
        super().__init__(detail)
        self.scope = scope

    @property
    def challenge(self) -> str | None:
        """What `WWW-Authenticate` says (RFC 6750, section 3)."""
        return None if self.scope is None else f'Bearer error="insufficient_scope", scope="{self.scope}"'
