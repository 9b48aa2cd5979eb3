"""OAuth 2.0 bearer tokens (RFC 6750): Okta's access tokens, validated by Authlib and joserfc.

Okta's custom authorization servers name the client in `cid` and the scopes in `scp`, and send no
`typ: at+jwt`, so Authlib's validator for RFC 9068 refuses their tokens. This one reads them.
"""

import json
import re
from collections.abc import Callable

from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6749 import MissingAuthorizationError, UnsupportedTokenTypeError
from authlib.oauth2.rfc6750 import BearerTokenValidator, InsufficientScopeError, InvalidTokenError
from joserfc import jws
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import RSAKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.registry import HeaderParameter
from joserfc.util import urlsafe_b64decode

CLOCK_SKEW_SECONDS = 60
_SCHEME = re.compile(r"bearer +(?=[!-~])", re.IGNORECASE)
# Each of these headers names another key, or asks for a treatment that the RFCs leave open
# (RFC 7515, 4.1; RFC 7797). Okta sends none of them, so a token that has one is refused.
REFUSED_HEADERS = ("crit", "b64", "jku", "jwk", "x5u", "x5c")
REGISTRY = jws.JWSRegistry(
    algorithms=["RS256"],
    header_registry={
        "kid": HeaderParameter("names the issuer's key", "str", required=True),
        **dict.fromkeys(REFUSED_HEADERS, HeaderParameter("refused", "none")),
    },
    # Other headers are ignored, as RFC 7515, 4 asks.
    strict_check_header=False,
)


class TokenRefused(InvalidTokenError):
    """The token does not count. `reason` is for the log alone; the answer never says it."""

    def __init__(self, reason: str):
        super().__init__()
        self.reason = reason


class BearerProtector(ResourceProtector):
    """Takes a token from a header of the scheme Bearer and one or more spaces (RFC 6750, 2.1).

    Authlib alone splits the header at whatever Unicode counts as white space.
    """

    def parse_request_authorization(self, request):
        header = request.headers.get("Authorization")
        if header is None:
            raise MissingAuthorizationError
        scheme = _SCHEME.match(header)
        if scheme is None:
            raise UnsupportedTokenTypeError
        return self.get_token_validator("bearer"), header[scheme.end() :]


class OktaAccessTokenValidator(BearerTokenValidator):
    """Validates access tokens of one Okta custom authorization server.

    `key_for` gives the issuer's public key for a key ID; what it raises passes through. An empty
    `client_ids` admits every client.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        client_ids: frozenset[str],
        key_for: Callable[[str], RSAKey],
        realm: str,
    ):
        super().__init__(realm)
        self._client_ids = client_ids
        self._key_for = key_for
        self._claims = JWTClaimsRegistry(
            leeway=CLOCK_SKEW_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            nbf={"essential": False},
        )

    def authenticate_token(self, token_string: str) -> dict:
        """The claims of the access token, each of its type. Raises TokenRefused."""
        try:
            token = jws.deserialize_compact(token_string, self._key_of, registry=REGISTRY)
            claims = _json_object(token.payload)
            self._claims.validate(claims)
        except ClaimError as error:
            raise TokenRefused(f"{error.error}:{error.claim}") from None
        except JoseError as error:
            raise TokenRefused(error.error) from None
        except (TypeError, ValueError, RecursionError):
            # joserfc raises these for some headers and payloads that are not JSON objects.
            raise TokenRefused("malformed") from None
        client_id, scopes = claims.get("cid"), claims.setdefault("scp", [])
        if not isinstance(client_id, str) or not client_id:
            raise TokenRefused("cid_missing")
        if self._client_ids and client_id not in self._client_ids:
            raise TokenRefused("client_not_admitted")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise TokenRefused("scp_is_not_a_list_of_strings")
        return claims

    def validate_token(self, claims: dict, scopes: list[str], request) -> None:
        """Raises InsufficientScopeError unless the token holds every one of `scopes`."""
        if not set(scopes) <= set(claims["scp"]):
            raise InsufficientScopeError

    def _key_of(self, token: jws.CompactSignature) -> RSAKey:
        """The key for a token whose header the registry has checked."""
        _json_object(urlsafe_b64decode(token.segments["header"]))
        return self._key_for(token.headers()["kid"])


def _json_object(text: bytes) -> dict:
    """A JSON object in UTF-8 that has each member once. Raises ValueError.

    joserfc alone takes UTF-16 too, and the last of two members.
    """
    value = json.loads(text.decode(), object_pairs_hook=_members)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _members(pairs: list[tuple[str, object]]) -> dict:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a member stands twice")
    return value
