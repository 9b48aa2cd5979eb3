"""OAuth 2.0 bearer tokens (RFC 6750): Okta's access tokens, validated by Authlib and joserfc.

Okta's custom authorization servers name the client in `cid` and the scopes in `scp`, and send no
`typ: at+jwt`, so Authlib's validator for RFC 9068 refuses their tokens. This one reads them.
"""

import json
import re
from collections.abc import Callable

from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from joserfc import jws
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import RSAKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.registry import HeaderParameter
from joserfc.util import urlsafe_b64decode

from settings import Settings

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


class TokenRefused(Exception):
    """No token came, or it does not count. `code` is RFC 6750's; `reason` is for the log alone."""

    def __init__(self, reason: str, code: str | None = "invalid_token"):
        self.reason, self.code = reason, code


class BearerProtector(ResourceProtector):
    """Takes a token from a header of the scheme Bearer and one or more spaces (RFC 6750, 2.1).

    Authlib alone splits the header at whatever Unicode counts as white space.
    """

    def parse_request_authorization(self, request):
        header = request.headers.get("Authorization")
        scheme = _SCHEME.match(header or "")
        if scheme is None:
            # RFC 6750, 3.1 gives no error code where no token came.
            raise TokenRefused("no_credentials" if header is None else "not_a_bearer_token", None)
        return self.get_token_validator("bearer"), header[scheme.end() :]


class OktaAccessTokenValidator(BearerTokenValidator):
    """Validates access tokens of one Okta custom authorization server.

    `key_for` gives the issuer's public key for a key ID, None where there is none; what it raises
    passes through.
    """

    def __init__(self, realm: str, settings: Settings, key_for: Callable[[str], RSAKey | None]):
        super().__init__(realm)
        self._client_ids = settings.okta_client_id
        self._key_for = key_for
        self._claims = JWTClaimsRegistry(
            leeway=CLOCK_SKEW_SECONDS,
            iss={"essential": True, "value": settings.okta_issuer},
            aud={"essential": True, "value": settings.okta_audience},
            exp={"essential": True},
            iat={"essential": True},
            nbf={"essential": False},
        )

    def authenticate_token(self, token_string: str) -> dict:
        """The claims of the access token, each of its type. Raises TokenRefused."""
        try:
            token = jws.deserialize_compact(token_string, self._key_of, registry=REGISTRY)
            claims = _strict_json(token.payload)
            self._claims.validate(claims)
        except ClaimError as error:
            raise TokenRefused(f"{error.error}:{error.claim}") from None
        except JoseError as error:
            raise TokenRefused(error.error) from None
        except (AttributeError, TypeError, ValueError, RecursionError):
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
        """Raises TokenRefused unless the token holds every one of `scopes`."""
        if not set(scopes) <= set(claims["scp"]):
            raise TokenRefused("scope_missing", "insufficient_scope")

    def _key_of(self, token: jws.CompactSignature) -> RSAKey:
        """The key for a token whose header the registry has checked."""
        _strict_json(urlsafe_b64decode(token.segments["header"]))
        key = self._key_for(token.headers()["kid"])
        if key is None:
            raise TokenRefused("key_unknown")
        return key


def _strict_json(text: bytes):
    """joserfc alone takes UTF-16 too, and the last of two members. Raises ValueError."""

    def members(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a member stands twice")
        return dict(pairs)

    return json.loads(text.decode(), object_pairs_hook=members)
