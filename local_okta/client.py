"""Send requests to a hook the way Okta does: its headers, three seconds in all, at most one retry.

Reference: https://developer.okta.com/docs/concepts/inline-hooks/#time-out-and-retry
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7523 import private_key_jwt_sign
from authlib.oauth2.rfc7523.client import ASSERTION_TYPE
from joserfc.jwk import RSAKey

from local_okta.exchange import SendError, exchange
from local_okta.strict_json import parse

SECONDS = 3.0
# A code must not be sent twice, and a user who is waiting for a token should not wait twice.
NEVER_RETRIED = ("token", "telephony")
HEADER_VALUE = re.compile(r"[!-~]+")

ANOTHER_PROGRAM = (
    "The errors of this service are JSON with an error object, and its guard's refusals have "
    "WWW-Authenticate. This answer is different, so another program may listen there: one of the "
    "examples, each of which has only one hook, or, on a Mac, AirPlay Receiver, which takes port "
    "5000."
)

# Returns the Authorization header, or None for no header. The argument is the deadline, as a
# time.monotonic() value. Raises SendError if there is no token.
Credentials = Callable[[float], str | None]


@dataclass(frozen=True)
class Answer:
    """What came back, or why nothing did. `body` is cut off at exchange.SIZE_LIMIT bytes."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    milliseconds: int = 0
    token_milliseconds: int | None = None
    """How long Okta's request for an access token took in the last attempt."""
    attempts: int = 1
    timed_out: bool = False
    error: str | None = None
    sent: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The headers of the request, including a token or password."""
    was_sent: bool = True
    """Whether the request was sent. It is not if Okta got no token (`no_token`) or could not
    connect."""
    no_token: bool = False
    before: "Answer | None" = None
    """What came back from the first attempt, if this is the second."""

    @property
    def json(self) -> Any:
        """The parsed body; None if it is empty or not JSON (see `strict_json`)."""
        try:
            return parse(self.body)
        except ValueError:
            return None

    @property
    def is_from_another_program(self) -> bool:
        """A 401 or 403 of the guard has a challenge (RFC 9110, 11.6.1), other errors JSON."""
        if self.status in (401, 403):
            return "WWW-Authenticate" not in self.headers
        is_error = self.status is not None and self.status >= 400
        return is_error and not (isinstance(self.json, dict) and "error" in self.json)

    @property
    def status_line(self) -> str:
        """The status with its name, if it has one."""
        return f"{self.status} {responses.get(self.status, '')}".rstrip()

    @property
    def times(self) -> str:
        """The total in milliseconds, the attempts, and the time that the token took."""
        parts = [f"{self.milliseconds} ms"]
        if self.attempts > 1:
            parts.append(f"in {self.attempts} attempts")
        if self.token_milliseconds:
            whole = "the last one" if self.attempts > 1 else "it"
            parts.append(f"{self.token_milliseconds} ms of {whole} for the token")
        return ", ".join(parts)

    @property
    def can_be_retried(self) -> bool:
        return self.timed_out or (self.status is not None and self.status >= 500)


def basic(user: str, password: str) -> Credentials:
    """A fixed header, as in Okta's Authentication secret field (RFC 7617)."""
    header = basic_header(user, password)
    return lambda deadline: header


def basic_header(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer(token: str) -> Credentials:
    """A fixed token, such as a wrong one."""
    return lambda deadline: f"Bearer {token}"


def no_credentials(deadline: float) -> None:
    """No Authorization header."""


def client_secret(token_url: str, client_id: str, secret: str, scope: str) -> Credentials:
    """OAuth 2.0 client credentials, `client_secret_post` (RFC 6749, 2.3.1 and 4.4)."""
    form = {"client_id": client_id, "client_secret": secret, "scope": scope}
    return lambda deadline: _access_token(token_url, form, deadline)


def private_key(token_url: str, client_id: str, key: RSAKey, scope: str) -> Credentials:
    """OAuth 2.0 client credentials, `private_key_jwt` (RFC 7523, 2.2)."""

    def authorization(deadline: float) -> str:
        form = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": private_key_jwt_sign(key, client_id, token_url),
            "scope": scope,
        }
        return _access_token(token_url, form, deadline)

    return authorization


def send(url: str, payload, *, kind: str, credentials: Credentials = no_credentials) -> Answer:
    """POST `payload` to the hook at `url`. `kind` decides whether there is a retry."""
    headers = _headers() | {"Content-Type": "application/json"}
    arguments = ("POST", url, headers, credentials, json.dumps(payload).encode())
    answer = _attempt(*arguments)
    if not answer.can_be_retried or kind in NEVER_RETRIED:
        return answer
    again = _attempt(*arguments)
    together = answer.milliseconds + again.milliseconds
    return replace(again, attempts=2, milliseconds=together, before=answer)


def verify(url: str, challenge: str, *, credentials: Credentials = no_credentials) -> Answer:
    """Okta's one-time check of an event hook: the answer must repeat the challenge."""
    return get(url, {"X-Okta-Verification-Challenge": challenge}, credentials=credentials)


def get(
    url: str, headers: Mapping[str, str] | None = None, *, credentials: Credentials = no_credentials
) -> Answer:
    """One GET, never retried."""
    return _attempt("GET", url, _headers() | dict(headers or {}), credentials)


def _headers() -> dict[str, str]:
    return {
        "Accept": "application/json",
        "User-Agent": "Okta-Integrations",
        "X-Okta-Request-Id": secrets.token_urlsafe(18),
    }


def _attempt(
    method: str,
    url: str,
    headers: dict[str, str],
    credentials: Credentials,
    body: bytes | None = None,
) -> Answer:
    start = time.monotonic()
    sent, token_milliseconds, outcome, no_token = dict(headers), None, {"status": None}, True
    try:
        authorization = credentials(start + SECONDS)
        no_token = False
        if authorization is not None:
            sent["Authorization"] = authorization
        if str(authorization).startswith("Bearer "):
            token_milliseconds = _milliseconds_since(start)
        received = exchange(method, url, sent, body, start + SECONDS)
        outcome = vars(received)
    except SendError as error:
        outcome |= {"timed_out": error.timed_out, "error": str(error)}
        outcome |= {"was_sent": error.was_sent, "no_token": no_token}
    return Answer(
        **outcome,
        milliseconds=_milliseconds_since(start),
        token_milliseconds=token_milliseconds,
        sent=sent,
    )


def _milliseconds_since(start: float) -> int:
    return round((time.monotonic() - start) * 1000)


def _access_token(token_url: str, form: dict[str, str], deadline: float) -> str:
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "Okta-Integrations",
    }
    body = urlencode({"grant_type": "client_credentials"} | form).encode()
    try:
        received = exchange("POST", token_url, headers, body, deadline)
    except SendError as error:
        raise type(error)(f"no access token: {error}") from None
    try:
        answer = parse(received.body)
        if received.status == HTTPStatus.OK and HEADER_VALUE.fullmatch(answer["access_token"]):
            return f"Bearer {answer['access_token']}"
        reason = f"{answer['error']} ({answer.get('error_description', 'no description')})"
    except (ValueError, KeyError, TypeError):
        reason = f"an answer that RFC 6749 does not define (status {received.status})"
    raise SendError(f"no access token: the token endpoint sent {reason}")
