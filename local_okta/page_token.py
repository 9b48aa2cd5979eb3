"""A token taken apart: what is in it, what the service expects, and what is wrong.

The checks are those of the service (RFC 7519, 4.1; RFC 7515, 4.1). They are repeated here, since
the service does not tell its caller why it refused a token.
"""

import json
import time
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64decode

CLOCK_SKEW_SECONDS = 60


@dataclass(frozen=True)
class Expected:
    """What the service accepts: every client if `clients` is empty, every scope without `scope`."""

    issuer: str
    audience: str
    clients: frozenset[str]
    scope: str | None


def explain(token: str, expected: Expected, keys: Iterable[RSAKey]) -> dict:
    """Header and claims of a token of the local Okta, row by row; `good` if nothing is wrong."""
    header, claims = (
        json.loads(urlsafe_b64decode(part)) for part in token.encode().split(b".")[:2]
    )
    rows = [*_header_rows(token, header, keys), *_claim_rows(claims, expected)]
    return {"rows": rows, "good": all(row["good"] is not False for row in rows)}


def _header_rows(token: str, header: dict, keys: Iterable[RSAKey]) -> Iterator[dict]:
    yield _row("header", "alg", header["alg"], "RS256", header["alg"] == "RS256")
    published = next((key for key in keys if key.kid == header["kid"]), None)
    found = "in the published set" if published else "in the published set, but is not"
    yield _row("header", "kid", header["kid"], found, published is not None)
    signed = published is not None and _is_signed(token, published)
    value = "made with that key" if signed else "not made with that key"
    value = value if token.rpartition(".")[2] else "empty"
    yield _row("header", "signature", value, "made with that key", signed)


def _is_signed(token: str, key: RSAKey) -> bool:
    try:
        jws.deserialize_compact(token, key, algorithms=["RS256"])
    except JoseError:
        return False
    return True


def _claim_rows(claims: dict, expected: Expected) -> Iterator[dict]:
    now = time.time()
    yield _setting("iss", [claims["iss"]], "OKTA_ISSUER", {expected.issuer})
    yield _setting("aud", [claims["aud"]], "OKTA_AUDIENCE", {expected.audience})
    yield _setting("cid", [claims["cid"]], "OKTA_CLIENT_ID", expected.clients)
    yield _setting("scp", claims["scp"], "OKTA_SCOPE", {expected.scope} - {None})
    issued, expires = claims["iat"], claims["exp"]
    in_time = issued <= now + CLOCK_SKEW_SECONDS
    yield _row("claim", "iat", _moment(issued, now), "in the past", in_time)
    fresh = expires > now - CLOCK_SKEW_SECONDS
    yield _row("claim", "exp", _moment(expires, now), "in the future", fresh)
    for name in ("sub", "ver", "jti"):
        yield _row("claim", name, str(claims[name]), "not checked", None)


def _setting(claim: str, values: list[str], name: str, allowed: Set[str]) -> dict:
    """A row for a claim that a setting restricts. An empty setting accepts every value."""
    good = not allowed or not allowed.isdisjoint(values)
    wanted = f"{name}: {', '.join(sorted(allowed)) or 'any'}"
    return _row(
        "claim", claim, ", ".join(values), f"as {name}" if good and allowed else wanted, good
    )


def _row(part: str, name: str, value: str, expected: str, good: bool | None) -> dict:
    return {"part": part, "name": name, "value": value, "expected": expected, "good": good}


def _moment(seconds: int, now: float) -> str:
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    return f"{date}, {_distance(round(seconds - now))}"


def _distance(seconds: int) -> str:
    size, unit = next(
        (size, unit)
        for size, unit in ((3600, "hour"), (60, "minute"), (1, "second"))
        if abs(seconds) >= size or size == 1
    )
    count = abs(seconds) // size
    text = f"{count} {unit}{'' if count == 1 else 's'}"
    if count == 0:
        return "now"
    return f"in {text}" if seconds > 0 else f"{text} ago"
