"""The guard: one `before_request` that decides which requests may pass. Closed by default.

Event hooks use HTTP Basic, since Okta cannot send anything else with them. AUTH_MODE sets how
inline hooks are authenticated. A blueprint's `kind` names which of the two it serves; a route of
any other blueprint, or of no blueprint, is treated as an inline hook.
"""

from collections.abc import Callable
from typing import Literal

from flask import Flask, current_app, g, request

from settings import Settings

from .basic import HookBasicAuth
from .caller import Caller
from .keys import IssuerKeys
from .oauth import BEARER_CHALLENGE, BearerAuth, OktaAccessTokenValidator

OPEN_ENDPOINTS = frozenset({"healthz", "readyz"})


def init_app(app: Flask, settings: Settings) -> IssuerKeys | None:
    """Put the guard before every request.

    Returns the issuer's keys, which a process that serves must start; None with AUTH_MODE=basic.
    """
    basic, keys = HookBasicAuth(settings), None
    checks: dict[str, Callable[[], Caller]] = dict.fromkeys(
        ("event", "inline", "unknown"), basic.check
    )
    if settings.auth_mode == "oauth":
        keys = IssuerKeys(settings.okta_issuer)
        validator = OktaAccessTokenValidator(
            issuer=settings.okta_issuer,
            audience=settings.okta_audience,
            client_ids=settings.okta_client_id,
            key_for=keys.get,
        )
        bearer = BearerAuth(validator, settings.okta_scope)
        checks["inline"] = bearer.check
        checks["unknown"] = lambda: _check_either(basic, bearer)

    @app.before_request
    def guard() -> None:
        endpoint = request.endpoint
        if endpoint not in OPEN_ENDPOINTS:
            g.caller = checks[kind_of_hook(endpoint)]()

    return keys


def kind_of_hook(endpoint: str | None) -> Literal["event", "inline", "unknown"]:
    """The kind of hook that a request is for, by Flask's endpoint and never by the path."""
    if endpoint is None:
        return "unknown"
    blueprint = current_app.blueprints.get(endpoint.rpartition(".")[0])
    return "event" if getattr(blueprint, "kind", None) == "event" else "inline"


def _check_either(basic: HookBasicAuth, bearer: BearerAuth) -> Caller:
    """With AUTH_MODE=oauth, accept a user and password as well as a token for an unknown path.

    This also applies to an unknown method. Okta then gets a 404 or 405 for any hook. Other callers
    get the same answer as from an inline hook, so they cannot find out which paths exist.
    """
    if request.headers.get("Authorization", "").lower().startswith("basic "):
        return basic.check(BEARER_CHALLENGE)
    return bearer.check()
