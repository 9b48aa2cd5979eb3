"""The guard: one `before_request` that decides who may pass. Closed by default.

Event hooks are authenticated by HTTP Basic, since Okta can send nothing else with them; inline
hooks by what AUTH_MODE says. A blueprint says in its `kind` which of the two it serves; one that
says nothing is an inline hook.
"""

from functools import partial
from typing import NamedTuple

from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException

from settings import Settings

from .basic import HookBasicAuth
from .keys import IssuerError, IssuerKeys
from .oauth import BearerProtector, OktaAccessTokenValidator, TokenRefused

REALM = "okta-hooks"
OPEN_ENDPOINTS = frozenset({"healthz", "readyz"})
RETRY_AFTER_SECONDS = 5
BASIC_CHALLENGE = f'Basic realm="{REALM}", charset="UTF-8"'
BEARER_CHALLENGE = f'Bearer realm="{REALM}"'


class Caller(NamedTuple):
    """Who passed the guard; a hook finds it in `flask.g.caller`."""

    method: str  # basic or oauth
    user: str | None = None
    password: str | None = None  # with Basic, which one came: current or previous
    client_id: str | None = None
    scopes: frozenset[str] = frozenset()


class Refusal(HTTPException):
    """The guard's no. `reason` is for the log; the answer holds only `code` and the header."""

    def __init__(self, code: int, reason: str, **header: str):
        super().__init__()
        self.code, self.reason = code, reason
        self._headers = [(name.replace("_", "-"), value) for name, value in header.items()]

    def get_headers(self, *args, **kwargs) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), *self._headers]


def init_app(app: Flask, settings: Settings) -> IssuerKeys | None:
    """Put the guard before every request. Returns the keys, to be started in the serving process.

    None where no token is ever validated.
    """
    basic, oauth, keys = HookBasicAuth(REALM, settings), None, None
    if settings.auth_mode == "oauth":
        keys, oauth = IssuerKeys(settings.okta_issuer), BearerProtector()
        oauth.register_token_validator(OktaAccessTokenValidator(REALM, settings, keys.get))
    app.before_request(partial(_guard, settings, basic, oauth))
    return keys


def _guard(settings: Settings, basic: HookBasicAuth, oauth: BearerProtector | None) -> None:
    """Lets the request go on, with `g.caller` set, or raises Refusal."""
    endpoint = request.endpoint
    if endpoint in OPEN_ENDPOINTS:
        return
    challenge = _basic_challenge(endpoint) if oauth else BASIC_CHALLENGE
    g.auth_method = "basic" if challenge else "oauth"
    if challenge:
        password = basic.password_of_request()
        if password is None:
            raise Refusal(401, basic.reason_of_refusal(), WWW_Authenticate=challenge)
        g.caller = Caller("basic", user=settings.basic_auth_user, password=password)
    else:
        claims = _claims_of_token(oauth, [settings.okta_scope] if settings.okta_scope else [])
        g.caller = Caller("oauth", client_id=claims["cid"], scopes=frozenset(claims["scp"]))


def _basic_challenge(endpoint: str | None) -> str | None:
    """With AUTH_MODE=oauth: the challenge for a request that needs Basic, None if it needs a token.

    What decides is the endpoint that Flask has found, never the text of the path.
    """
    if endpoint is None:
        # An unknown path or method takes either kind, so that Okta hears a 404 or 405. To everybody
        # else it looks like an inline hook, or they could find out which paths there are.
        is_basic = request.headers.get("Authorization", "").lower().startswith("basic ")
        return BEARER_CHALLENGE if is_basic else None
    blueprint = current_app.blueprints.get(endpoint.rpartition(".")[0])
    return BASIC_CHALLENGE if getattr(blueprint, "kind", "inline") == "event" else None


def _claims_of_token(oauth: BearerProtector, scopes: list[str]) -> dict:
    try:
        return oauth.validate_request(scopes, request)
    except TokenRefused as error:
        challenge = BEARER_CHALLENGE + (f', error="{error.code}"' if error.code else "")
        status = 403 if error.code == "insufficient_scope" else 401
        raise Refusal(status, error.reason, WWW_Authenticate=challenge) from None
    except IssuerError as error:
        raise Refusal(503, str(error), Retry_After=str(RETRY_AFTER_SECONDS)) from None
