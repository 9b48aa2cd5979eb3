"""OAuth 2.0 bearer tokens (RFC 6750): Okta's access tokens, validated by Authlib and joserfc.

Okta's custom authorization servers name the client in `cid` and the scopes in `scp`, and send no
`typ: at+jwt`. Authlib's validator for RFC 9068 refuses such tokens, so this module has its own.
"""

import json
import re
from collections.abc import Callable, Collection
from typing import Any

from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from flask import Request, g, request
from joserfc import jwt
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from .caller import REALM, Caller, Refusal
from .keys import IssuerError

BEARER_CHALLENGE = f'Bearer realm="{REALM}"'
CLOCK_SKEW_SECONDS = 60
RETRY_AFTER_SECONDS = 5
_SCHEME = re.compile(r"bearer +(?=[!-~])", re.IGNORECASE)
# Each of these header parameters names another key, or asks for processing that the RFCs leave
# open (RFC 7515, 4.1; RFC 7797). Okta sends none of them, so a token with any of them is refused.
REFUSED_HEADERS = ("crit", "b64", "jku", "jwk", "x5u", "x5c")
REGISTRY = JWSRegistry(
    algorithms=["RS256"],
    header_registry={
        "kid": HeaderParameter("names the issuer's key", "str", required=True),
        **dict.fromkeys(REFUSED_HEADERS, HeaderParameter("refused", "none")),
    },
    # Ignore all other header parameters, as RFC 7515, 4 asks.
    strict_check_header=False,
)

KeyFor = Callable[[str], RSAKey | None]
"""Returns the issuer's public key with this ID, or None. May raise IssuerError."""


def token_refused(reason: str, code: str | None = "invalid_token", status: int = 401) -> Refusal:
    """`code` is the error code of RFC 6750, 3.1. It is None if the request has no token."""
    challenge = f'{BEARER_CHALLENGE}, error="{code}"' if code else BEARER_CHALLENGE
    return Refusal(status, reason, {"WWW-Authenticate": challenge})


class BearerAuth(ResourceProtector):
    """Admits requests with an access token that the validator accepts."""

    def __init__(self, validator: BearerTokenValidator, scope: str | None):
        """The token must have the scope, unless that is None."""
        super().__init__()
        self._scopes = [scope] if scope else []
        self.register_token_validator(validator)

    def check(self) -> Caller:
        """The caller that the request's token names. Raises Refusal."""
        g.auth_method = "oauth"
        try:
            claims = self.validate_request(self._scopes, request)
        except IssuerError as error:
            raise Refusal(503, str(error), {"Retry-After": str(RETRY_AFTER_SECONDS)}) from None
        return Caller("oauth", client_id=claims["cid"], scopes=frozenset(claims["scp"]))

    def parse_request_authorization(self, request: Request) -> tuple[Any, str]:
        """The token after the scheme Bearer and one or more spaces (RFC 6750, 2.1).

        Authlib would split the header at any Unicode white space.
        """
        header = request.headers.get("Authorization")
        scheme = _SCHEME.match(header or "")
        if header is None or scheme is None:
            raise token_refused("no_credentials" if header is None else "not_a_bearer_token", None)
        return self.get_token_validator("bearer"), header[scheme.end() :]


class OktaAccessTokenValidator(BearerTokenValidator):
    """Validates the access tokens of one Okta custom authorization server.

    The token's client must be among `client_ids`, unless that is empty.
    """

    def __init__(self, *, issuer: str, audience: str, client_ids: Collection[str], key_for: KeyFor):
        super().__init__(REALM)
        self._issuer = issuer
        self._client_ids = client_ids
        self._key_for = key_for
        self._claims = jwt.JWTClaimsRegistry(
            leeway=CLOCK_SKEW_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            nbf={"essential": False},
        )

    def authenticate_token(self, token_string: str) -> dict[str, Any]:
        """The claims of the access token, each of the right type. Raises Refusal."""
        try:
            claims = jwt.decode(token_string, self._key_of, registry=REGISTRY).claims
            self._claims.validate(claims)
        except ClaimError as error:
            raise token_refused(f"{error.error}:{error.claim}") from None
        except JoseError as error:
            raise token_refused(error.error) from None
        except (AttributeError, TypeError, ValueError, RecursionError):
            # joserfc raises these for some headers and payloads that are not JSON objects.
            raise token_refused("malformed") from None
        client_id, scopes = claims.get("cid"), claims.setdefault("scp", [])
        if not isinstance(client_id, str) or not client_id:
            raise token_refused("cid_missing")
        if self._client_ids and client_id not in self._client_ids:
            raise token_refused("client_not_admitted")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise token_refused("scp_is_not_a_list_of_strings")
        return claims

    def validate_token(self, claims: dict[str, Any], scopes: list[str], request: Request) -> None:
        """Raise Refusal unless the token has all of `scopes`."""
        if not set(scopes) <= set(claims["scp"]):
            raise token_refused("scope_missing", "insufficient_scope", 403)

    def _key_of(self, token: Any) -> RSAKey:
        """The key for a `CompactSignature`. Its header has been checked, its signature not yet.

        Refuses a token that names another issuer, before asking this issuer for a key.
        """
        if json.loads(token.payload).get("iss") != self._issuer:
            raise token_refused("invalid_claim:iss")
        key = self._key_for(token.headers()["kid"])
        if key is None:
            raise token_refused("key_unknown")
        return key
