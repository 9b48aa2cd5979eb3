"""OAuth 2.0 bearer tokens (RFC 6750): Okta's access tokens, validated by Authlib and joserfc.

Okta's custom authorization servers name the client in `cid` and the scopes in `scp`, and send no
`typ: at+jwt`, so Authlib's validator for RFC 9068 refuses their tokens. This one reads them.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from authlib.oauth2.rfc6750 import (
    BearerTokenValidator,
    InsufficientScopeError,
    InvalidTokenError,
)
from joserfc import jws
from joserfc.errors import ClaimError, JoseError
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from .issuer import IssuerKey

RS256 = jws.JWSRegistry.algorithms["RS256"]
CLOCK_SKEW_SECONDS = 60
# joserfc reads these headers without following them, or follows them only in part. None belongs
# in a token of Okta's, and a token that asks for special treatment gets none.
REFUSED_HEADERS = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c"})
TIMES = frozenset({"exp", "iat", "nbf"})


class TokenRefused(InvalidTokenError):
    """The token does not count. `reason` is for the log alone; the answer never says it."""

    def __init__(self, reason: str):
        super().__init__()
        self.reason = reason


class ScopeMissing(InsufficientScopeError):
    """The token is valid, but does not hold the scope that opens the hooks."""

    reason = "scope_missing"


@dataclass(frozen=True)
class AccessToken:
    """What a valid token says of its bearer."""

    client_id: str
    scopes: frozenset[str]


class OktaAccessTokenValidator(BearerTokenValidator):
    """Validates access tokens of one Okta custom authorization server.

    `key_for` gives the issuer's public key for a key ID; what it raises passes through, so that
    "there is no such key" and "the keys cannot be had" get different answers.
    An empty `client_ids` admits every client.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        client_ids: frozenset[str],
        key_for: Callable[[str], IssuerKey],
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

    def authenticate_token(self, token_string: str) -> AccessToken:
        """The access token behind the text. Raises TokenRefused."""
        key = self._key_for(_key_id(token_string))
        try:
            claims = signed_claims(token_string, key)
            self._claims.validate(claims)
        except ClaimError as error:
            raise TokenRefused(f"{error.error}:{error.claim}") from None
        except (JoseError, ValueError, RecursionError, OverflowError) as error:
            raise TokenRefused(getattr(error, "error", "malformed")) from None
        return AccessToken(self._client_id(claims), _scopes(claims))

    def validate_token(self, token: AccessToken, scopes: list[str] | None, request) -> None:
        """Raises ScopeMissing unless the token holds every one of `scopes`."""
        if not token.scopes.issuperset(scopes or ()):
            raise ScopeMissing

    def _client_id(self, claims: dict) -> str:
        client_id = claims.get("cid")
        if not isinstance(client_id, str) or not client_id:
            raise TokenRefused("cid_missing")
        if self._client_ids and client_id not in self._client_ids:
            raise TokenRefused("client_not_admitted")
        return client_id


def _key_id(token: str) -> str:
    """The `kid` of a JWT's header, read strictly before anything else looks at the token.

    The header is not trusted: all it does is name one of the keys that the issuer published.
    """
    segment, separator, _ = token.partition(".")
    if not separator or len(segment) > jws.JWSRegistry.max_header_length:
        raise TokenRefused("malformed")
    return _key_id_of_header(segment)


# All tokens signed with one key begin with the same header, letter for letter. What it means never
# changes, so it is read once; a refusal is not kept.
@lru_cache(maxsize=16)
def _key_id_of_header(segment: str) -> str:
    try:
        header = _object(urlsafe_b64decode(segment.encode("ascii")))
    except (ValueError, RecursionError):
        raise TokenRefused("malformed") from None
    if header.get("alg") != RS256.name:
        raise TokenRefused("algorithm_not_allowed")
    if not REFUSED_HEADERS.isdisjoint(header):
        raise TokenRefused("header_not_allowed")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenRefused("kid_missing")
    return kid


# That a key has signed a token never changes, so for the last few tokens it is remembered. What can
# change, authenticate_token asks at each call: whether the issuer still has the key, and the time.
# A refusal is not kept.
@lru_cache(maxsize=16)
def signed_claims(token: str, key: IssuerKey) -> dict:
    """The claims, once the signature is found good (RFC 7515, 5.2). Not to be changed.

    Raises TokenRefused, or ValueError for what is no JWS.

    jws.deserialize_compact would read the header once more, to settle what is settled by now: the
    algorithm and the key.
    """
    header, payload, signature = token.encode().split(b".")
    content = urlsafe_b64decode(payload)
    try:
        good = RS256.verify(header + b"." + payload, urlsafe_b64decode(signature), key)
    except ValueError:
        good = False
    if not good:
        raise TokenRefused("bad_signature")
    claims = _object(content)
    for name in claims.keys() & TIMES:
        if not _is_time(claims[name]):
            raise TokenRefused(f"invalid_claim:{name}")
    return claims


def _is_time(value: object) -> bool:
    """Whether it is a NumericDate (RFC 7519, 2), and one that can be compared.

    joserfc asks the same since 1.8, which Python 3.10 does not get. To Python a boolean is a
    number, and the JSON number 1e999 is a time that never comes.
    """
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _scopes(claims: dict) -> frozenset[str]:
    scopes = claims.get("scp", [])
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise TokenRefused("scp_is_no_list_of_strings")
    return frozenset(scopes)


def _object(text: bytes) -> dict:
    """A JSON object with one meaning: no member twice, no NaN. Raises ValueError."""
    # From bytes json.loads would take UTF-16, UTF-32 and a byte order mark as well (RFC 7515, 3).
    value = _STRICT_JSON.decode(text.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _unambiguous(pairs: list[tuple[str, object]]) -> dict:
    value = dict(pairs)
    if len(value) != len(pairs):
        # RFC 8725, 2.4 and RFC 7519, 4: two readers may take different ones of the two.
        raise ValueError("a member stands twice")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


# json.loads makes a decoder anew for each call that asks for anything of its own.
_STRICT_JSON = json.JSONDecoder(object_pairs_hook=_unambiguous, parse_constant=_no_constant)
