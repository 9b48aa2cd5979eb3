"""The guard: one `before_request` that decides who may pass. Closed by default.

Event hooks are authenticated by HTTP Basic, since Okta can send nothing else with them. Inline
hooks are authenticated as AUTH_MODE says. A blueprint says in its `kind` which of the two it
serves; a route of any other blueprint, or of none, is treated as an inline hook.
"""

from collections.abc import Callable
from typing import Literal

from flask import Flask, current_app, g, request

from settings import Settings

from .basic import HookBasicAuth
from .caller import Caller
from .keys import IssuerKeys
from .oauth import BEARER_CHALLENGE, BearerAuth

OPEN_ENDPOINTS = frozenset({"healthz", "readyz"})


def init_app(app: Flask, settings: Settings) -> IssuerKeys | None:
    """Put the guard before every request.

    Returns the issuer's keys, which the serving process starts; None where no token is validated.
    """
    basic, keys = HookBasicAuth(settings), None
    checks: dict[str, Callable[[], Caller]] = dict.fromkeys(
        ("event", "inline", "unknown"), basic.check
    )
    if settings.auth_mode == "oauth":
        keys = IssuerKeys(settings.okta_issuer)
        bearer = BearerAuth(
            issuer=settings.okta_issuer,
            audience=settings.okta_audience,
            client_ids=settings.okta_client_id,
            scope=settings.okta_scope,
            key_for=keys.get,
        )
        checks["inline"] = bearer.check
        checks["unknown"] = lambda: _check_either(basic, bearer)

    @app.before_request
    def guard() -> None:
        if request.endpoint not in OPEN_ENDPOINTS:
            g.caller = checks[kind_of_hook()]()

    return keys


def kind_of_hook() -> Literal["event", "inline", "unknown"]:
    """Which kind of hook the request is for, by the endpoint Flask has found, never by its path."""
    if request.endpoint is None:
        return "unknown"
    blueprint = current_app.blueprints.get(request.blueprint or "")
    return "event" if getattr(blueprint, "kind", None) == "event" else "inline"


def _check_either(basic: HookBasicAuth, bearer: BearerAuth) -> Caller:
    """With AUTH_MODE=oauth, an unknown path or method takes a pair as well as a token.

    Okta then gets a 404 or 405 for any hook. Everybody else gets what an inline hook answers, or
    they could find out which paths exist.
    """
    if request.headers.get("Authorization", "").lower().startswith("basic "):
        return basic.check(BEARER_CHALLENGE)
    return bearer.check()
