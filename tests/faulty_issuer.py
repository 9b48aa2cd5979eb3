"""An issuer that fails in every way that an issuer can, over real connections."""

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
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


OK = b"HTTP/1.1 200 OK\r\n"
NO_KEY = "key_set_without_usable_key"
NO_JSON = "issuer_answered_no_json"
TOO_MUCH = "issuer_answered_too_much"
ANOTHER_ISSUER = "metadata_of_another_issuer"
NOT_HTTPS = "jwks_uri_not_https"
GZIP = gzip.compress(b"0" * 10 * MB)

# Each with the reason's name in the log and on /readyz.
QUICK_FAULTS: dict[str, tuple[Fault, str]] = {
    "closes the connection": (closing, "issuer_unreachable"),
    "not HTTP": (sending(b"SSH-2.0-OpenSSH_9.6\r\n"), "issuer_unreachable"),
    "500": (answering(b"{}", 500), "issuer_answered_500"),
    "503": (answering(b"{}", 503, Retry_After="60"), "issuer_answered_503"),
    "404 on both metadata paths": (answering(b"{}", 404), "issuer_answered_404"),
    "429": (answering(b"{}", 429), "issuer_answered_429"),
    "204": (answering(b"", 204), "issuer_answered_204"),
    "500 on the keys": (only_keys(answering(b"{}", 500)), "issuer_answered_500"),
    "metadata of another issuer": (metadata(issuer="https://example.com"), ANOTHER_ISSUER),
    "metadata without issuer": (metadata(issuer=None), ANOTHER_ISSUER),
    "metadata that is a list": (only_metadata(answering(b"[]")), ANOTHER_ISSUER),
    "jwks_uri missing": (metadata(jwks_uri=None), "metadata_without_jwks_uri"),
    "jwks_uri a number": (metadata(jwks_uri=7), "metadata_without_jwks_uri"),
    "jwks_uri http": (metadata(jwks_uri="http://example.com/v1/keys"), NOT_HTTPS),
    "jwks_uri http, loopback as user": (
        metadata(jwks_uri="http://127.0.0.1@a.com/"),
        NOT_HTTPS,
    ),
    "jwks_uri file": (metadata(jwks_uri="file:///etc/passwd"), NOT_HTTPS),
    "key set empty": (key_set(), NO_KEY),
    "key set {}": (only_keys(answering(b"{}")), NO_KEY),
    "key set null": (only_keys(answering(b"null")), NO_KEY),
    "keys an object": (only_keys(answering_json({"keys": {}})), NO_KEY),
    "HTML": (answering(b"<html>Sign in</html>", Content_Type="text/html"), NO_JSON),
    "empty body": (answering(b""), NO_JSON),
    "not UTF-8": (only_keys(answering(b'{"keys": "\xff\xfe"}')), NO_JSON),
    "deeply nested": (only_keys(answering(b"[" * 100_000 + b"]" * 100_000)), NO_JSON),
    "a number of 100,000 digits": (only_keys(answering(b"9" * 100_000)), NO_JSON),
    "cut off": (sending(OK + b'Content-Length: 1000\r\n\r\n{"keys": ['), "request_failed"),
    "50 MB": (answering(zeros(50), Content_Length=str(50 * MB)), TOO_MUCH),
    "50 MB of keys": (only_keys(answering(zeros(50))), TOO_MUCH),
    "gzip nobody asked for": (answering(GZIP, Content_Encoding="gzip"), NO_JSON),
}

SLOW_FAULTS: dict[str, Fault] = {
    "hangs": hanging,
    "hangs on the keys": only_keys(hanging),
    "trickles the body": trickling(OK + b"Content-Length: 100000\r\n\r\n"),
    "trickles chunks": trickling(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}

# These hold up the attempt, which must hold up nothing else.
ENDLESS_FAULTS: dict[str, Fault] = {
    "trickles the status line": trickling(b"HTTP/1.1 200 O"),
    "trickles a header": trickling(OK + b"X-Note: "),
    "trickles headers": trickling(OK, b"X-Note: a\r\n"),
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
    "RSA of 1024 bits": _SHORT,
    "RSA of 1024 bits behind zeros": _SHORT | {"n": _SHORT["n"].rjust(342, "A")},
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
    "kid a number": _PUBLIC | {"kid": 7},
    "a string": "key",
    "null": None,
}


class HttpsIssuer(ThreadingHTTPServer):
    """https://issuer.example.com, reached through this server as HTTPS_PROXY.

    Its certificate is in `certificate`, and trusted by nobody who is not told to.
    """

    issuer = "https://issuer.example.com"
    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__((HOST, 0), _HttpsHandler)
        self.proxy = f"http://{HOST}:{self.server_port}"
        self.certificate = folder / "certificate.pem"
        self.metadata = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        self.seen: list[dict[str, str]] = []
        key = rsa.generate_private_key(65537, 2048)
        key_path = folder / "key.pem"
        key_path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        self.certificate.write_bytes(_certificate(key).public_bytes(Encoding.PEM))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.certificate, key_path)

    def handle_error(self, request, client_address):
        """A client that does not trust the certificate, which is what some tests are about."""


class _HttpsHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = (self.connection.makefile(mode, 0) for mode in ("rb", "wb"))
        self.close_connection = False

    def finish(self):
        super().finish()
        self.connection.close()

    def do_GET(self):
        self.server.seen.append(dict(self.headers))
        is_for_keys = self.path == "/keys"
        body = json.dumps({"keys": [_PUBLIC]} if is_for_keys else self.server.metadata).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer.example.com")])
    now = datetime.now(UTC)
    others = "content_commitment key_encipherment data_encipherment key_agreement crl_sign"
    usage = dict.fromkeys(f"{others} encipher_only decipher_only".split(), False)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1)
    )
    for extension, critical in (
        (x509.SubjectAlternativeName([x509.DNSName("issuer.example.com")]), False),
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, SHA256())
