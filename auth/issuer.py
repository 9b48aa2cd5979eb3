"""Asks an issuer for its public keys: metadata, then key set, in one bounded attempt.

Sources: RFC 8414 (metadata), RFC 7517 (key sets), and Okta's authorization servers, which publish
their metadata below the issuer's own path.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from requests.adapters import HTTPAdapter

from settings import is_loopback

ATTEMPT_SECONDS = 2.0
# An authorization server's metadata has about 3 KB and its key set 2 KB.
MAX_DOCUMENT_BYTES = 256 * 1024
METADATA_PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
# Smaller keys are too weak for RS256 (RFC 7518, 3.3); larger ones make a verification costly.
RSA_KEY_BITS = range(2048, 8192 + 1)
# What such a modulus measures in Base64url, to tell before any arithmetic is done.
RSA_MODULUS_LENGTHS = range(342, 1366 + 1)


class IssuerError(Exception):
    """The keys could not be had; `reason` is a short name for the log and `/readyz`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class IssuerKey(RSAKey):
    """A public key of the issuer. It equals only itself: fetched anew, it is another key.

    So what was verified with it can be remembered, and is forgotten with it.
    """

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@dataclass(frozen=True)
class IssuerAnswer:
    """What an issuer says of itself."""

    keys: Mapping[str, IssuerKey]
    """Its usable signing keys by key ID, never none of them."""
    metadata: dict
    date: str | None
    """The Date header that came with the metadata (RFC 9110, 6.6.1)."""


def fetch_keys(issuer: str) -> Mapping[str, IssuerKey]:
    """The issuer's usable signing keys by key ID. As bounded as `ask`, and raises the same."""
    return ask(issuer).keys


def ask(issuer: str) -> IssuerAnswer:
    """Ask for metadata and keys.

    Ends within ATTEMPT_SECONDS, whatever the issuer does. Raises IssuerError.
    """
    return _Attempt(issuer).result()


def keys_of(key_set: object) -> Mapping[str, IssuerKey]:
    """The keys of a JWK Set (RFC 7517, 5) that may check an RS256 signature.

    A member that cannot is left out, as the RFC asks. Raises IssuerError where none is left.
    """
    members = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(members, list):
        raise IssuerError("key_set_is_no_jwk_set")
    keys: dict[str, IssuerKey] = {}
    for member in members:
        key = _signing_key(member)
        if key is not None:
            keys.setdefault(key.kid, key)
    if not keys:
        raise IssuerError("key_set_without_usable_key")
    return keys


def _signing_key(member: object) -> IssuerKey | None:
    if not isinstance(member, dict):
        return None
    kid, modulus, operations = member.get("kid"), member.get("n"), member.get("key_ops", ["verify"])
    if not (
        isinstance(kid, str)
        and kid
        and isinstance(modulus, str)
        and len(modulus) in RSA_MODULUS_LENGTHS
        and member.get("kty") == "RSA"
        and member.get("use", "sig") == "sig"
        and member.get("alg", "RS256") == "RS256"
        and isinstance(operations, list)
        and "verify" in operations
    ):
        return None
    try:
        # The public members alone, whatever else was published by mistake.
        key = IssuerKey.import_key(
            {"kty": "RSA", "n": modulus, "e": member["e"]},
            {"kid": kid, "use": "sig", "alg": "RS256"},
        )
    except (JoseError, KeyError, TypeError, ValueError):
        return None
    return key if key.raw_value.key_size in RSA_KEY_BITS else None


class _Attempt:
    """One attempt, in a thread of its own.

    Name resolution, a TLS handshake and an answer that trickles in byte by byte each have time
    limits of their own, or none. The only bound on their sum is to stop waiting, and to shut the
    connections down so that the thread ends too.
    """

    def __init__(self, issuer: str):
        self._issuer = issuer
        self._connections: list[socket.socket] = []
        self._given_up = False
        self._answer: IssuerAnswer | None = None
        self._reason = "issuer_timed_out"
        self._ended = threading.Event()

    def result(self) -> IssuerAnswer:
        threading.Thread(target=self._run, name="issuer-attempt", daemon=True).start()
        if not self._ended.wait(ATTEMPT_SECONDS):
            self._give_up()
            raise IssuerError("issuer_timed_out")
        if self._answer is None:
            raise IssuerError(self._reason)
        return self._answer

    def _run(self) -> None:
        try:
            with self._session() as session:
                metadata, date = self._metadata(session)
                key_set, _ = self._document(session, self._jwks_uri(metadata))
                self._answer = IssuerAnswer(keys_of(key_set), metadata, date)
        except IssuerError as error:
            self._reason = error.reason
        except requests.RequestException as error:
            self._reason = _reason_of(error)
        except Exception as error:
            self._reason = f"unexpected_{type(error).__name__}"
        finally:
            for connection in self._connections:
                connection.close()
            self._ended.set()

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.verify = True
        # A company's proxy and certificate authority come from the environment, as everywhere
        # else; a loopback issuer is not reached through a proxy. No .netrc password is ever sent.
        session.trust_env = not _is_loopback_url(self._issuer)
        session.auth = _no_auth
        session.headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        adapter = _ReportingAdapter(self._opened)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def _metadata(self, session: requests.Session) -> tuple[dict, str | None]:
        first, second = (self._issuer + path for path in METADATA_PATHS)
        try:
            metadata, date = self._document(session, first)
        except IssuerError as error:
            if not error.reason.startswith("issuer_answered_4"):
                raise
            metadata, date = self._document(session, second)
        if not isinstance(metadata, dict) or metadata.get("issuer") != self._issuer:
            raise IssuerError("metadata_of_another_issuer")
        return metadata, date

    def _jwks_uri(self, metadata: dict) -> str:
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise IssuerError("metadata_without_jwks_uri")
        if not uri.startswith("https://") and not (
            # http is for an issuer on this machine, which must not point elsewhere.
            _is_loopback_url(self._issuer) and uri.startswith("http://") and _is_loopback_url(uri)
        ):
            raise IssuerError("jwks_uri_not_https")
        return uri

    def _document(self, session: requests.Session, url: str) -> tuple[object, str | None]:
        """The JSON document at `url`, and the date of the answer that brought it."""
        with session.get(
            url, stream=True, timeout=ATTEMPT_SECONDS, allow_redirects=False
        ) as response:
            if response.status_code != 200:
                raise IssuerError(f"issuer_answered_{response.status_code}")
            body = bytearray()
            for chunk in response.iter_content(16 * 1024):
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise IssuerError("issuer_answered_too_much")
        try:
            return json.loads(bytes(body)), response.headers.get("Date")
        except (ValueError, RecursionError):
            raise IssuerError("issuer_answered_no_json") from None

    def _opened(self, connection: socket.socket) -> None:
        # A handle of our own: TLS takes over the original, and which object reads from it later
        # depends on the proxy.
        connection = connection.dup()
        self._connections.append(connection)
        if self._given_up:
            self._shut_down(connection)

    def _give_up(self) -> None:
        # In this order: a connection opened meanwhile finds the flag, or is in the list already.
        self._given_up = True
        for connection in list(self._connections):
            self._shut_down(connection)

    @staticmethod
    def _shut_down(connection: socket.socket) -> None:
        # A connection that has ended by itself is as good.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _ReportingAdapter(HTTPAdapter):
    """Reports each connection it opens, so that another thread can shut it down."""

    def __init__(self, opened: Callable[[socket.socket], None]):
        super().__init__(max_retries=0)
        self._opened = opened

    def get_connection_with_tls_context(self, *args, **kwargs):
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        opened, connection_class = self._opened, pool.ConnectionCls

        class ReportedConnection(connection_class):
            # Not connect(), which ends after a proxy's answer and the TLS handshake.
            def _new_conn(self):
                connection = super()._new_conn()
                opened(connection)
                return connection

        pool.ConnectionCls = ReportedConnection
        return pool


def _is_loopback_url(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason_of(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "issuer_timed_out"
    if isinstance(error, requests.exceptions.SSLError):
        return "issuer_certificate_not_trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "proxy_refused"
    if isinstance(error, requests.ConnectionError):
        return "issuer_unreachable"
    return f"request_failed_{type(error).__name__}"
