"""An issuer that fails in every way that an issuer can, over real connections."""

import contextlib
import functools
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey
from joserfc.util import urlsafe_b64encode
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from local_okta.authorization_server import HOST, METADATA_PATHS, LocalOkta, new_key

MB = 1024 * 1024
TRICKLE_SECONDS = 0.1
# Longer than any attempt may take, short enough that a test that fails comes to its end.
ENDLESS_SECONDS = 60.0

Fault = Callable[["Exchange"], Response | None]
_CLIENT_KEY = new_key()


class FaultyIssuer(LocalOkta):
    """LocalOkta, until `fault` is set.

    The fault decides what a request gets; None stands for what LocalOkta says. `open` counts the
    requests whose connection the issuer still holds.
    """

    def __init__(self, fault: Fault | None = None):
        # No test of an issuer's faults needs the client's key, and making one takes time.
        super().__init__(client_key=_CLIENT_KEY)
        self.fault = fault
        self.open = 0
        self.ended = threading.Event()
        self._good = self.app.wsgi_app
        self.app.wsgi_app = self._answer

    def stop(self) -> None:
        self.ended.set()
        super().stop()

    def start(self) -> "FaultyIssuer":
        self.ended.clear()
        super().start()
        return self

    def _answer(self, environ, start_response):
        exchange = Exchange(self, environ)
        with self._counting:
            self.open += 1
        try:
            response = self.fault(exchange) if self.fault else None
            return (response or self._good)(environ, start_response)
        finally:
            with self._counting:
                self.open -= 1


class Exchange:
    """One request to the issuer, and the connection below it."""

    def __init__(self, issuer: FaultyIssuer, environ: dict):
        self.issuer = issuer
        self.path = environ["PATH_INFO"]
        self.connection: socket.socket = environ["werkzeug.socket"]

    @property
    def is_for_metadata(self) -> bool:
        return self.path in METADATA_PATHS

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def pause(self, seconds: float = ENDLESS_SECONDS) -> None:
        """Wait, and end with the connection or the issuer."""
        steps = max(1, round(seconds / 0.05))
        for _ in range(steps):
            if self.issuer.ended.wait(seconds / steps) or self._peer_has_gone():
                self.hang_up()

    def hang_up(self) -> None:
        raise ConnectionAbortedError

    def _peer_has_gone(self) -> bool:
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False


# What an issuer may do with any request.


def answering(body: bytes | Callable[[], Iterator[bytes]], status: int = 200, **headers) -> Fault:
    """One answer to everything; a body of unknown length is a function that yields it."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(exchange: Exchange) -> Response:
        content = body() if callable(body) else body
        return Response(content, status, {"Content-Type": "application/json"} | names)

    return fault


def answering_json(value: object) -> Fault:
    return answering(json.dumps(value).encode())


def slow(seconds: float) -> Fault:
    return lambda exchange: exchange.pause(seconds)


def hanging(exchange: Exchange) -> None:
    """Takes the request and never answers."""
    exchange.pause()
    exchange.hang_up()


def closing(exchange: Exchange) -> None:
    """Closes the connection without a word."""
    exchange.hang_up()


def trickling(beginning: bytes, endless: bytes = b"a") -> Fault:
    """Begins an answer, and goes on byte by byte: no byte comes late, the last never comes."""

    def fault(exchange: Exchange) -> None:
        exchange.write(beginning)
        for _ in range(round(ENDLESS_SECONDS / TRICKLE_SECONDS)):
            exchange.write(endless)
            exchange.pause(TRICKLE_SECONDS)
        exchange.hang_up()

    return fault


def flooding(beginning: bytes, endless: bytes) -> Fault:
    """Sends without an end, as fast as it goes."""

    def fault(exchange: Exchange) -> None:
        # A peer that has gone with bytes unread may leave a write waiting for good.
        exchange.connection.settimeout(3)
        exchange.write(beginning)
        while not exchange.issuer.ended.is_set():
            exchange.write(endless)

    return fault


def sending(data: bytes) -> Fault:
    """Sends just this, which need not be HTTP, and closes the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.write(data)
        exchange.hang_up()

    return fault


def redirecting_to(other: LocalOkta) -> Fault:
    def fault(exchange: Exchange) -> Response:
        address = other.issuer.removesuffix("/oauth2/default") + exchange.path
        return Response(status=302, headers={"Location": address})

    return fault


# What an issuer may say of itself.


def only_metadata(fault: Fault) -> Fault:
    return lambda exchange: fault(exchange) if exchange.is_for_metadata else None


def only_keys(fault: Fault) -> Fault:
    return lambda exchange: None if exchange.is_for_metadata else fault(exchange)


def only_openid(exchange: Exchange) -> Response | None:
    """Has no OAuth metadata, only OpenID Connect's."""
    return NotFound().get_response() if exchange.path == METADATA_PATHS[0] else None


def metadata(**changes: object) -> Fault:
    """The issuer's own metadata with some members changed; None leaves one out."""

    def fault(exchange: Exchange) -> Response:
        members = exchange.issuer.metadata() | changes
        return answering_json({k: v for k, v in members.items() if v is not None})(exchange)

    return only_metadata(fault)


def key_set(*members: object) -> Fault:
    return only_keys(answering_json({"keys": list(members)}))


def zeros(megabytes: int) -> Callable[[], Iterator[bytes]]:
    return lambda: (b"0" * MB for _ in range(megabytes))


def gzip_bomb(megabytes: int, layers: int) -> Fault:
    return answering(
        lambda: iter([_compressed(megabytes, layers)]),
        Content_Encoding=", ".join(["gzip"] * layers),
    )


@functools.cache
def _compressed(megabytes: int, layers: int) -> bytes:
    content = b"0" * (megabytes * MB)
    for _ in range(layers):
        content = gzip.compress(content, 1)
    return content


OK = b"HTTP/1.1 200 OK\r\n"

# Each with the reason's name in the log and on /readyz.
QUICK_FAULTS: dict[str, tuple[Fault, str]] = {
    "closes the connection": (closing, "issuer_unreachable"),
    "no HTTP": (sending(b"SSH-2.0-OpenSSH_9.6\r\n"), "issuer_unreachable"),
    "500": (answering(b"{}", 500), "issuer_answered_500"),
    "503": (answering(b"{}", 503, Retry_After="60"), "issuer_answered_503"),
    "404 on both metadata paths": (answering(b"{}", 404), "issuer_answered_404"),
    "429": (answering(b"{}", 429), "issuer_answered_429"),
    "204": (answering(b"", 204), "issuer_answered_204"),
    "500 on the keys": (only_keys(answering(b"{}", 500)), "issuer_answered_500"),
    "metadata of another issuer": (
        metadata(issuer="https://other.example.com/oauth2/default"),
        "metadata_of_another_issuer",
    ),
    "metadata without issuer": (metadata(issuer=None), "metadata_of_another_issuer"),
    "metadata that is a list": (only_metadata(answering(b"[]")), "metadata_of_another_issuer"),
    "jwks_uri missing": (metadata(jwks_uri=None), "metadata_without_jwks_uri"),
    "jwks_uri a number": (metadata(jwks_uri=7), "metadata_without_jwks_uri"),
    "jwks_uri http elsewhere": (
        metadata(jwks_uri="http://keys.example.com/v1/keys"),
        "jwks_uri_not_https",
    ),
    "jwks_uri http with this machine as user name": (
        metadata(jwks_uri="http://127.0.0.1@keys.example.com/v1/keys"),
        "jwks_uri_not_https",
    ),
    "jwks_uri file": (metadata(jwks_uri="file:///etc/passwd"), "jwks_uri_not_https"),
    "key set empty": (key_set(), "key_set_without_usable_key"),
    "key set {}": (only_keys(answering(b"{}")), "key_set_is_no_jwk_set"),
    "key set null": (only_keys(answering(b"null")), "key_set_is_no_jwk_set"),
    "keys an object": (only_keys(answering_json({"keys": {}})), "key_set_is_no_jwk_set"),
    "HTML": (
        answering(b"<html>Sign in</html>", Content_Type="text/html"),
        "issuer_answered_no_json",
    ),
    "empty body": (answering(b""), "issuer_answered_no_json"),
    "not UTF-8": (only_keys(answering(b'{"keys": "\xff\xfe"}')), "issuer_answered_no_json"),
    "deeply nested JSON": (
        only_keys(answering(b'{"keys": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
        "issuer_answered_no_json",
    ),
    "a number of 100,000 digits": (
        only_keys(answering(b'{"keys": ' + b"9" * 100_000 + b"}")),
        "issuer_answered_no_json",
    ),
    "cut off": (
        sending(OK + b'Content-Length: 1000\r\n\r\n{"keys": ['),
        "request_failed_ChunkedEncodingError",
    ),
    "50 MB": (answering(zeros(50), Content_Length=str(50 * MB)), "issuer_answered_too_much"),
    "50 MB of keys": (only_keys(answering(zeros(50))), "issuer_answered_too_much"),
    "gzip bomb": (only_keys(gzip_bomb(10, layers=1)), "issuer_answered_too_much"),
    "gzip bomb in gzip": (only_keys(gzip_bomb(10, layers=2)), "issuer_answered_too_much"),
    "not the encoding it says": (
        answering(b'{"keys": []}', Content_Encoding="gzip"),
        "request_failed_ContentDecodingError",
    ),
}

SLOW_FAULTS: dict[str, Fault] = {
    "hangs": hanging,
    "hangs on the keys": only_keys(hanging),
    "slower than an attempt may be": slow(5),
    "slow twice": slow(1.5),
    "trickles the status line": trickling(b"HTTP/1.1 200 O"),
    "trickles a header": trickling(OK + b"X-Note: "),
    "trickles headers": trickling(OK, b"X-Note: a\r\n"),
    "trickles the body": trickling(OK + b"Content-Length: 100000\r\n\r\n"),
    "trickles chunks": trickling(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "says 100 Continue for ever": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


def _jwk(key, **parameters) -> dict:
    return key.as_dict(private=False) | parameters


def _without(member: dict, *names: str) -> dict:
    return {name: value for name, value in member.items() if name not in names}


def _short_key() -> dict:
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    modulus = urlsafe_b64encode(numbers.n.to_bytes(128, "big")).decode()
    return {"kty": "RSA", "kid": "k", "n": modulus, "e": "AQAB"}


_PUBLIC = _jwk(new_key())
_SHORT = _short_key()

# Members of a key set that can check no RS256 signature of an issuer.
UNUSABLE_MEMBERS: dict[str, object] = {
    "EC": _jwk(ECKey.generate_key("P-256"), kid="k", use="sig"),
    "EC that says RSA": _jwk(ECKey.generate_key("P-256"), kid="k", kty="RSA"),
    "oct": {"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "k", "alg": "HS256"},
    "oct that says RS256": OctKey.generate_key(256).as_dict(private=True) | {"kid": "k"},
    "for encryption": _PUBLIC | {"use": "enc"},
    "for RS512": _PUBLIC | {"alg": "RS512"},
    "only to encrypt": _PUBLIC | {"key_ops": ["encrypt"]},
    "key_ops a string": _PUBLIC | {"key_ops": "verify"},
    "RSA of 1024 bits": _SHORT,
    "RSA of 1024 bits behind zeros": _SHORT | {"n": _SHORT["n"].rjust(342, "A")},
    "RSA of 10,000 bits": _PUBLIC | {"n": "w" * 1667},
    "no n": _without(_PUBLIC, "n"),
    "n a number": _PUBLIC | {"n": 65537},
    "n not Base64url": _PUBLIC | {"n": "!" * 342},
    "n not ASCII": _PUBLIC | {"n": "ä" * 342},
    "n zero": _PUBLIC | {"n": "A" * 342},
    "no e": _without(_PUBLIC, "e"),
    "e a number": _PUBLIC | {"e": 65537},
    "e empty": _PUBLIC | {"e": ""},
    "e one": _PUBLIC | {"e": "AQ"},
    "e even": _PUBLIC | {"e": "Ag"},
    "e larger than n": _PUBLIC | {"e": "_" * 342},
    "no kid": _without(_PUBLIC, "kid"),
    "kid empty": _PUBLIC | {"kid": ""},
    "kid a number": _PUBLIC | {"kid": 7},
    "a string": "key",
    "null": None,
}


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port where a connection is neither taken nor refused, as behind a firewall."""
    with socket.create_server((HOST, 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        # The kernel itself takes one more than the backlog; of the others it drops the packets.
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]
