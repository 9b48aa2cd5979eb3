"""Calls a hook the way Okta does: its headers, three seconds in all, at most one retry.

Built on http.client, which follows no redirect and reads neither proxy settings nor .netrc.
Reference: https://developer.okta.com/docs/concepts/inline-hooks/#time-out-and-retry
"""

import base64
import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.rfc7523 import private_key_jwt_sign
from authlib.oauth2.rfc7523.client import ASSERTION_TYPE
from joserfc.jwk import RSAKey

SECONDS = 3.0
# A code must not go out twice, and whoever waits for a token does not wait twice.
NEVER_RETRIED = ("token", "telephony")

# What goes into the Authorization header, given the moment (time.monotonic) by which Okta must be
# done; None for no header. Raises SendError where no token was to be had.
Credentials = Callable[[float], str | None]


class SendError(Exception):
    """There is no answer; `str()` says why, in plain words and without a secret."""

    timed_out = False


class SendTimeout(SendError):
    timed_out = True


@dataclass(frozen=True)
class Answer:
    """What came back, or why nothing did."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    milliseconds: int = 0
    attempts: int = 1
    timed_out: bool = False
    error: str | None = None
    sent: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def json(self):
        """The parsed body; None where it is empty or no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

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
    """A token that is already there, to try out a wrong one."""
    return lambda deadline: f"Bearer {token}"


def no_credentials(deadline: float) -> None:
    """No Authorization header."""


def client_secret(token_url: str, client_id: str, secret: str, scope: str) -> Credentials:
    """OAuth 2.0 client credentials, `client_secret_post` (RFC 6749, 2.3.1 and 4.4)."""
    form = {"client_id": client_id, "client_secret": secret, "scope": scope}
    return lambda deadline: _access_token(token_url, form, deadline)


def private_key(token_url: str, client_id: str, key: RSAKey, scope: str) -> Credentials:
    """OAuth 2.0 client credentials, `private_key_jwt` (RFC 7523, 2.2)."""

    def authorization(deadline):
        form = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": private_key_jwt_sign(key, client_id, token_url),
            "scope": scope,
        }
        return _access_token(token_url, form, deadline)

    return authorization


def send(
    url: str,
    payload,
    *,
    kind: str,
    credentials: Credentials = no_credentials,
    seconds: float = SECONDS,
) -> Answer:
    """POST `payload` to the hook at `url`. `kind` decides whether there is a retry."""
    headers = _headers() | {"Content-Type": "application/json"}
    exchange = partial(_exchange, "POST", url, json.dumps(payload).encode())
    answer = _attempt(exchange, headers, credentials, seconds)
    if not answer.can_be_retried or kind in NEVER_RETRIED:
        return answer
    again = _attempt(exchange, headers, credentials, seconds)
    return replace(again, attempts=2, milliseconds=answer.milliseconds + again.milliseconds)


def verify(url: str, challenge: str, *, credentials: Credentials = no_credentials) -> Answer:
    """Okta's one-time check of an event hook: the answer must repeat the challenge."""
    return get(url, {"X-Okta-Verification-Challenge": challenge}, credentials=credentials)


def get(
    url: str, headers: Mapping[str, str] | None = None, *, credentials: Credentials = no_credentials
) -> Answer:
    """One GET, never retried."""
    exchange = partial(_exchange, "GET", url, None)
    return _attempt(exchange, _headers() | dict(headers or {}), credentials, SECONDS)


def _headers() -> dict[str, str]:
    return {
        "Accept": "application/json",
        "User-Agent": "Okta-Integrations",
        "X-Okta-Request-Id": secrets.token_urlsafe(18),
    }


def _attempt(exchange, headers, credentials, seconds) -> Answer:
    start = time.monotonic()
    deadline = start + seconds
    sent = dict(headers)
    outcome = {"status": None}
    try:
        authorization = credentials(deadline)
        if authorization is not None:
            sent["Authorization"] = authorization
        status, received, answer = exchange(sent, deadline)
        outcome = {"status": status, "headers": received, "body": answer}
    except SendError as error:
        outcome |= {"timed_out": error.timed_out, "error": str(error)}
    milliseconds = round((time.monotonic() - start) * 1000)
    return Answer(**outcome, milliseconds=milliseconds, sent=sent)


def _access_token(token_url: str, form: dict[str, str], deadline: float) -> str:
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "Okta-Integrations",
    }
    body = urlencode({"grant_type": "client_credentials"} | form).encode()
    try:
        status, _, answer = _exchange("POST", token_url, body, headers, deadline)
    except SendError as error:
        raise type(error)(f"no access token: {error}") from None
    try:
        token = json.loads(answer)
        if status == HTTPStatus.OK:
            return f"Bearer {token['access_token']}"
        reason = f"{token['error']} ({token.get('error_description', 'no description')})"
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = f"an answer that is none of RFC 6749's (status {status})"
    raise SendError(f"no access token: the token endpoint sent {reason}")


def _exchange(method, url, body, headers, deadline):
    """One request on a connection of its own: (status, headers, body). Raises SendError."""
    address = urlsplit(url)
    connect = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = connect(address.hostname, address.port, timeout=_left(deadline))
    cut = None
    try:
        connection.connect()
        # A time-out counts for one read of the socket; trickled bytes would renew it each time.
        cut = threading.Timer(_left(deadline), _shut_down, (connection.sock,))
        cut.daemon = True
        cut.start()
        connection.request(method, address.path or "/", body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
            raise SendTimeout("no complete answer in time") from None
        reason = error.strerror if isinstance(error, OSError) else None
        raise SendError(f"{address.netloc}: {reason or type(error).__name__}") from None
    finally:
        if cut:
            cut.cancel()
        connection.close()
    if time.monotonic() >= deadline:
        raise SendTimeout("no complete answer in time")
    return response.status, response.headers, answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise SendTimeout("no complete answer in time")
    return left


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
