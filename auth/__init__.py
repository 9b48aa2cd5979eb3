"""The guard: one `before_request` that decides who may pass. Closed by default.

Event hooks are authenticated by HTTP Basic, since Okta can send nothing else with them; inline
hooks by what AUTH_MODE says. A blueprint says in its `kind` which of the two it serves; one that
says nothing is an inline hook.
"""

from dataclasses import dataclass
from functools import partial

from authlib.oauth2.rfc6749 import MissingAuthorizationError, UnsupportedTokenTypeError
from authlib.oauth2.rfc6750 import InsufficientScopeError
from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException

from settings import Settings

from .basic import HookBasicAuth
from .keys import IssuerKeys, KeysUnavailable, UnknownKey
from .oauth import BearerProtector, OktaAccessTokenValidator, TokenRefused

REALM = "okta-hooks"
OPEN_ENDPOINTS = frozenset({"healthz", "readyz"})
RETRY_AFTER_SECONDS = 5
BASIC_CHALLENGE = f'Basic realm="{REALM}", charset="UTF-8"'
BEARER_CHALLENGE = f'Bearer realm="{REALM}"'


@dataclass(frozen=True)
class Caller:
    """Who passed the guard; a hook finds it in `flask.g.caller`."""

    method: str
    """`basic` or `oauth`."""
    user: str | None = None
    password: str | None = None
    """With Basic, which one came: `current` or `previous`."""
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
    """Put the guard before every request of the app.

    Returns the issuer's keys, to be started in the process that serves, or None where no token is
    ever validated.
    """
    pair = settings.basic_auth_user, settings.basic_auth_password
    basic = HookBasicAuth(REALM, *pair, settings.basic_auth_password_previous)
    keys = require_token = None
    if settings.auth_mode == "oauth":
        keys = IssuerKeys(settings.okta_issuer)
        oauth = BearerProtector()
        oauth.register_token_validator(
            OktaAccessTokenValidator(
                issuer=settings.okta_issuer,
                audience=settings.okta_audience,
                client_ids=settings.okta_client_id,
                key_for=keys.get,
                realm=REALM,
            )
        )
        scopes = [settings.okta_scope] if settings.okta_scope else []
        require_token = partial(_require_token, oauth, scopes)
    app.before_request(partial(_guard, settings, basic, require_token))
    return keys


def _guard(settings: Settings, basic: HookBasicAuth, require_token) -> None:
    """Lets the request go on, with `g.caller` set, or raises Refusal."""
    endpoint = request.endpoint
    if endpoint in OPEN_ENDPOINTS:
        return
    challenge = BASIC_CHALLENGE if require_token is None else _basic_challenge(endpoint)
    g.auth_method = "basic" if challenge else "oauth"
    if challenge:
        password = basic.password_of_request()
        if password is None:
            raise Refusal(401, basic.reason_of_refusal(), WWW_Authenticate=challenge)
        g.caller = Caller("basic", user=settings.basic_auth_user, password=password)
    else:
        g.caller = require_token()


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


def _require_token(oauth: BearerProtector, scopes: list[str]) -> Caller:
    try:
        claims = oauth.validate_request(scopes, request)
    except (MissingAuthorizationError, UnsupportedTokenTypeError) as error:
        # RFC 6750, 3.1 gives no error code where no token came.
        missing = isinstance(error, MissingAuthorizationError)
        reason = "no_credentials" if missing else "not_a_bearer_token"
        raise Refusal(401, reason, WWW_Authenticate=BEARER_CHALLENGE) from None
    except (TokenRefused, UnknownKey) as error:
        reason = getattr(error, "reason", "key_unknown")
        challenge = f'{BEARER_CHALLENGE}, error="invalid_token"'
        raise Refusal(401, reason, WWW_Authenticate=challenge) from None
    except InsufficientScopeError:
        challenge = f'{BEARER_CHALLENGE}, error="insufficient_scope"'
        raise Refusal(403, "scope_missing", WWW_Authenticate=challenge) from None
    except KeysUnavailable as error:
        raise Refusal(503, str(error), Retry_After=str(RETRY_AFTER_SECONDS)) from None
    return Caller("oauth", client_id=claims["cid"], scopes=frozenset(claims["scp"]))
