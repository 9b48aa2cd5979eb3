"""The issuer's public keys: where to find them, when to refresh them, how to handle failures.

A request whose key is known never waits for the network. One background thread asks the issuer:

- at the start, before the first request;
- every REFRESH_EVERY seconds, to learn a new key before a token needs it, and to forget a
  withdrawn one;
- every RETRY_EVERY seconds after a failed attempt;
- for an unknown `kid`, once for all requests that wait for it, and at most MISSES_ANSWERED times
  in MISS_WINDOW seconds, since anyone can make up a `kid`.

A failed attempt removes no keys: they stay good for KEEP_FOR seconds.
"""

import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import requests
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from settings.values import is_on_this_machine

log = logging.getLogger(__name__)

REFRESH_EVERY = 10 * 60.0
# When the issuer is back, it must be found within 10 s: a pause and an attempt fit into that.
RETRY_EVERY = 5.0
MISSES_ANSWERED = 2
MISS_WINDOW = 30.0
KEEP_FOR = 24 * 60 * 60.0
# How long an attempt waits for each connection, each read, and each whole body.
ATTEMPT_SECONDS = 2.0
# How long requests wait for the refresh after a miss. This is short: if the issuer is slow, made-up
# kids must not block the threads that good tokens need.
WAIT_SECONDS = 1.0
# A long outage is logged again after about ten minutes.
REMIND_AFTER_ATTEMPTS = 100

METADATA_PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
# An authorization server's metadata has about 3 KB and its key set 2 KB.
MAX_DOCUMENT_BYTES = 256 * 1024

Keys = Mapping[str, RSAKey]
"""By key ID."""


class IssuerError(Exception):
    """The keys could not be fetched; `str()` is the reason in a word."""


class IssuerKeys:
    """The keys of one issuer, for all threads of a process.

    `fetch` takes the issuer and returns its keys or raises. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetch: Callable[[str], Keys] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.issuer, self._fetch, self._clock = issuer, fetch or fetch_keys, clock
        self._keys: Keys = {}
        self._good_until = float("-inf")
        self._failure: str | None = "keys_not_fetched_yet"
        self._changed = threading.Condition()
        # The numbers of the last attempt that began, that ended, and that a request asked for. They
        # let a request wait for an attempt that began after the request arrived: an earlier one may
        # have read the key set before the key was published.
        self._begun = self._ended = self._wanted = 0
        # When the last few requests asked for an attempt: the budget.
        self._misses = deque([float("-inf")] * MISSES_ANSWERED, MISSES_ANSWERED)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to fetch in the background. Waits for the first attempt, up to ATTEMPT_SECONDS."""
        self._ensure_thread()
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout=ATTEMPT_SECONDS)

    def get(self, kid: str) -> RSAKey | None:
        """The key with that ID. None if the issuer, asked after the request arrived, has none.

        Waits only if the key is not in memory, and for WAIT_SECONDS at most. Raises IssuerError if
        it cannot find out now whether the issuer has such a key.
        """
        self._ensure_thread()
        return self._in_hand(kid) or self._ask_for(kid)

    def unavailable_reason(self) -> str | None:
        """None while a request could be authenticated right now, else the reason's name."""
        if self._clock() < self._good_until:
            return None
        return "keys_too_old" if self._keys else self._failure

    def _in_hand(self, kid: str) -> RSAKey | None:
        return self._keys.get(kid) if self._clock() < self._good_until else None

    def _ask_for(self, kid: str) -> RSAKey | None:
        with self._changed:
            if self._ended >= self._wanted:
                if self._clock() - self._misses[0] < MISS_WINDOW:
                    # The key may have been published since: Okta never repeats after a 401.
                    raise IssuerError(self._failure or "key_unknown_for_now")
                self._misses.append(self._clock())
                self._wanted = self._begun + 1
                self._changed.notify_all()
            attempt, begins_later = self._wanted, self._wanted > self._begun

            def answered() -> bool:
                return self._ended >= attempt or self._in_hand(kid) is not None

            left = self._misses[-1] + WAIT_SECONDS - self._clock()
            if not self._changed.wait_for(answered, timeout=max(0.0, left)):
                raise IssuerError("issuer_slow")
            key = self._in_hand(kid)
            if key is None and (self._failure or not begins_later):
                raise IssuerError(self._failure or "key_unknown_for_now")
            return key

    def _ensure_thread(self) -> None:
        # With gunicorn's --preload a worker is forked from a process that keeps the thread.
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._ended = self._begun
                self._thread = threading.Thread(target=self._keep_fresh, daemon=True)
                self._thread.start()

    def _keep_fresh(self) -> None:
        while True:
            with self._changed:
                self._begun += 1
            try:
                keys, failure = self._fetch(self.issuer), None
            except Exception as error:
                # Whatever the issuer sends, this thread must go on, or no key would be refreshed.
                keys, failure = {}, reason_of(error)
            with self._changed:
                self._take(keys, failure)
                self._ended = self._begun
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._wanted > self._begun,
                    timeout=RETRY_EVERY if failure else REFRESH_EVERY,
                )

    def _take(self, keys: Keys, failure: str | None) -> None:
        now = self._clock()
        if keys:
            if self._failure or keys.keys() != self._keys.keys():
                fields = {"issuer": self.issuer, "keys": len(keys)}
                log.info("keys fetched", extra={"fields": fields})
            self._keys, self._good_until = keys, now + KEEP_FOR
        elif failure != self._failure or self._begun % REMIND_AFTER_ATTEMPTS == 0:
            fields = {"issuer": self.issuer, "reason": failure, "keys_in_hand": len(self._keys)}
            log.warning("keys not fetched", extra={"fields": fields | {"retry_s": RETRY_EVERY}})
        self._failure = failure


def fetch_keys(issuer: str) -> Keys:
    """Fetch the issuer's keys: read its metadata (RFC 8414), then its key set (RFC 7517).

    Raises IssuerError, or an error of `requests` or urllib3.
    """
    with session_for(issuer) as session:
        uri = _jwks_uri(issuer, read_metadata(session, issuer))
        return _usable_keys(_document(session, uri))


def reason_of(error: Exception) -> str:
    """A word for the log and `/readyz`: an IssuerError's own, or the name of another exception."""
    return str(error) if isinstance(error, IssuerError) else type(error).__name__


def session_for(issuer: str) -> requests.Session:
    """A session for requests to the issuer that carries no credentials."""
    session = requests.Session()
    session.verify = True
    # A company's proxy and certificate authority come from the environment, as usual. Do not use a
    # proxy for an issuer on this machine.
    session.trust_env = not is_on_this_machine(issuer)
    # Without this, requests would send the password that .netrc has for the host.
    session.auth = lambda request: request
    session.headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    return session


def read_metadata(session: requests.Session, issuer: str) -> dict[str, Any]:
    """The issuer's metadata (RFC 8414, or OpenID Connect Discovery)."""
    first, second = (issuer + path for path in METADATA_PATHS)
    try:
        metadata = _document(session, first)
    except IssuerError as error:
        if not str(error).startswith("issuer_answered_4"):
            raise
        metadata = _document(session, second)
    if not isinstance(metadata, dict) or metadata.get("issuer") != issuer:
        raise IssuerError("metadata_of_another_issuer")
    return metadata


def _jwks_uri(issuer: str, metadata: dict[str, Any]) -> str:
    uri = metadata.get("jwks_uri")
    if not isinstance(uri, str):
        raise IssuerError("metadata_without_jwks_uri")
    # http is for an issuer on this machine, and must not lead away from it.
    stays_here = is_on_this_machine(issuer) and is_on_this_machine(uri)
    if not uri.startswith(("https://", "http://") if stays_here else "https://"):
        raise IssuerError("jwks_uri_not_https")
    return uri


def _document(session: requests.Session, url: str) -> object:
    """The JSON document at `url`."""
    deadline = time.monotonic() + ATTEMPT_SECONDS
    body = b""
    with session.get(url, stream=True, timeout=ATTEMPT_SECONDS, allow_redirects=False) as response:
        if response.status_code != 200:
            raise IssuerError(f"issuer_answered_{response.status_code}")
        # read1 returns what has arrived; read would wait for all of a body that trickles in.
        while piece := response.raw.read1(16 * 1024):
            body += piece
            if len(body) > MAX_DOCUMENT_BYTES:
                raise IssuerError("issuer_answered_too_much")
            if time.monotonic() > deadline:
                raise requests.ReadTimeout
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise IssuerError("issuer_answered_no_json") from None


def _usable_keys(key_set: object) -> Keys:
    """The keys of a JWK Set (RFC 7517, 5) that may check an RS256 signature, by key ID."""
    members = key_set.get("keys") if isinstance(key_set, dict) else None
    keys: dict[str, RSAKey] = {}
    for member in members if isinstance(members, list) else ():
        # Skip a key of another type or use, as the RFC asks.
        with contextlib.suppress(JoseError, AttributeError, KeyError, TypeError, ValueError):
            if (member.get("use", "sig"), member.get("alg", "RS256")) != ("sig", "RS256"):
                continue
            key = RSAKey.import_key(member)
            # RFC 7518, 3.3: smaller ones are too weak for RS256.
            if key.raw_value.key_size >= 2048:
                keys.setdefault(member["kid"], key)
    if not keys:
        raise IssuerError("key_set_without_usable_key")
    return keys
