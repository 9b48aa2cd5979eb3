"""The guard: one `before_request` that decides who may pass. Closed by default.

Event hooks are authenticated by HTTP Basic, since Okta can send nothing else with them; inline
hooks by what AUTH_MODE says. A blueprint says in its `kind` which of the two it serves; one that
says nothing is an inline hook.
"""

import re
from dataclasses import dataclass
from functools import partial

from authlib.integrations.flask_oauth2 import ResourceProtector
from flask import Flask, current_app, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from settings import Settings

from .basic import HookBasicAuth
from .keys import IssuerKeys, KeysUnavailable, UnknownKey
from .oauth import OktaAccessTokenValidator, ScopeMissing, TokenRefused

REALM = "okta-hooks"
OPEN_ENDPOINTS = frozenset({"healthz", "readyz"})
RETRY_AFTER_SECONDS = 5
BASIC_CHALLENGE = f'Basic realm="{REALM}", charset="UTF-8"'
BEARER_CHALLENGE = f'Bearer realm="{REALM}"'
# RFC 6750, 2.1: one or more spaces. Authlib splits at whatever Unicode counts as white space.
_BEARER = re.compile(r"bearer +[!-~]", re.IGNORECASE)


@dataclass(frozen=True)
class Caller:
    """Who passed the guard; a hook finds it in `flask.g.caller`."""

    method: str
    """`basic` or `oauth`."""
    user: str | None = None
    client_id: str | None = None
    scopes: frozenset[str] = frozenset()


class Refusal(HTTPException):
    """The guard's no. `reason` is for the log; the answer holds only `code` and the headers."""

    def __init__(self, code: int, reason: str, **headers: str):
        super().__init__()
        self.code = code
        self.reason = reason
        self._headers = [(name.replace("_", "-"), value) for name, value in headers.items()]

    def get_headers(self, *args, **kwargs) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), *self._headers]


def init_app(app: Flask, settings: Settings) -> IssuerKeys | None:
    """Put the guard before every call of the app.

    Returns the issuer's keys, which the caller starts in the process that serves, or None where
    no token is ever validated.
    """
    basic = HookBasicAuth(
        REALM,
        settings.basic_auth_user,
        settings.basic_auth_password,
        settings.basic_auth_password_previous,
    )
    if settings.auth_mode == "basic":
        app.before_request(partial(_guard, basic, None))
        return None
    keys = IssuerKeys(settings.okta_issuer)
    oauth = ResourceProtector()
    oauth.register_token_validator(
        OktaAccessTokenValidator(
            issuer=settings.okta_issuer,
            audience=settings.okta_audience,
            client_ids=settings.okta_client_ids,
            key_for=keys.get,
            realm=REALM,
        )
    )
    scopes = [settings.okta_scope] if settings.okta_scope else []
    app.before_request(partial(_guard, basic, partial(_require_token, oauth, scopes)))
    return keys


def _guard(basic: HookBasicAuth, require_token) -> None:
    """Lets the call go on, with `g.caller` set, or raises Refusal."""
    if request.endpoint in OPEN_ENDPOINTS:
        return
    challenge = BASIC_CHALLENGE if require_token is None else _basic_challenge()
    if challenge:
        g.auth_method = "basic"
        g.caller = _require_basic(basic, challenge)
    else:
        g.auth_method = "oauth"
        g.caller = require_token()


def _basic_challenge() -> str | None:
    """With AUTH_MODE=oauth: what a call hears that is to be authenticated by Basic all the same
    and fails. None for a call that needs a token.
    """
    endpoint = request.endpoint or _endpoint_of_another_method()
    if endpoint is None:
        # An unknown path takes either kind, so that somebody who may call hears the 404. To
        # everybody else it looks like an inline hook, or one could find out which there are.
        is_basic = request.headers.get("Authorization", "").lower().startswith("basic ")
        return BEARER_CHALLENGE if is_basic else None
    blueprint = current_app.blueprints.get(endpoint.rpartition(".")[0])
    return BASIC_CHALLENGE if getattr(blueprint, "kind", "inline") == "event" else None


def _endpoint_of_another_method() -> str | None:
    """The endpoint that has this path under another method, for a call that will hear a 405."""
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return None
    adapter = current_app.create_url_adapter(request)
    endpoint, _ = adapter.match(method=next(iter(error.valid_methods)))
    return endpoint


def _require_basic(basic: HookBasicAuth, challenge: str) -> Caller:
    user = basic.current_call_user()
    if user is None:
        raise Refusal(401, basic.reason_of_refusal(), WWW_Authenticate=challenge)
    return Caller("basic", user=user)


def _require_token(oauth: ResourceProtector, scopes: list[str]) -> Caller:
    header = request.headers.get("Authorization")
    if header is None or not _BEARER.match(header):
        # RFC 6750, 3.1 gives no error code where no token came.
        reason = "no_credentials" if header is None else "not_a_bearer_token"
        raise Refusal(401, reason, WWW_Authenticate=BEARER_CHALLENGE)
    try:
        # Flask's own request will do: of the wrapper that acquire_token() builds nothing is used.
        token = oauth.validate_request(scopes, request)
    except (TokenRefused, UnknownKey) as error:
        reason = getattr(error, "reason", "key_unknown")
        challenge = f'{BEARER_CHALLENGE}, error="invalid_token"'
        raise Refusal(401, reason, WWW_Authenticate=challenge) from None
    except ScopeMissing as error:
        challenge = f'{BEARER_CHALLENGE}, error="insufficient_scope"'
        raise Refusal(403, error.reason, WWW_Authenticate=challenge) from None
    except KeysUnavailable as error:
        raise Refusal(503, str(error), Retry_After=str(RETRY_AFTER_SECONDS)) from None
    return Caller("oauth", client_id=token.client_id, scopes=token.scopes)
