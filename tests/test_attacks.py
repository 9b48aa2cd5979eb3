"""Forged, stolen and mangled tokens, each tried on a real gunicorn.

In the spirit of RFC 8725 (JSON Web Token Best Current Practices) and of the JWS cases of Project
Wycheproof. A case is right in all but what its name says, and signed by the issuer's own key
unless it says otherwise: were that one thing let through, the call would be. The tests at the
start show that the same token passes untouched.
"""

import base64
import hmac
import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from itertools import count

import pytest
import requests
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import int_to_base64, urlsafe_b64decode, urlsafe_b64encode

from local_okta.authorization_server import LocalOkta
from tests.service import BASIC_PAIR, Service, oauth_settings

TOKEN_CALL = {"eventId": "e1", "data": {"context": {}}}
UNAUTHORIZED = {"error": {"errorSummary": "Unauthorized", "errorCauses": []}}
FORBIDDEN = {"error": {"errorSummary": "Forbidden", "errorCauses": []}}
NO_TOKEN = 'Bearer realm="okta-hooks"'
INVALID_TOKEN = f'{NO_TOKEN}, error="invalid_token"'
INSUFFICIENT_SCOPE = f'{NO_TOKEN}, error="insufficient_scope"'
NO_PAIR = 'Basic realm="okta-hooks", charset="UTF-8"'

# The guard reads the header, joserfc the rest: which of them finds a token unreadable is no matter.
MALFORMED = ("malformed", "decode_error", "exceeded_size")
ABSENT = object()
NUMBERS = count(1)


@dataclass(frozen=True)
class Target:
    """The service, whose issuer has rotated its keys twice, and all that an attacker may have."""

    service: Service
    okta: LocalOkta
    attacker: LocalOkta
    """A server of the attacker's, the same client ID on it. It must never be asked for its keys."""
    withdrawn: RSAKey
    """Signed the tokens once, and is no longer in the issuer's key set."""

    @property
    def key(self) -> RSAKey:
        return self.okta.keys[0]

    def token(self, header=None, claims=None, sign=None) -> str:
        """The right token but for some members; ABSENT takes one away."""
        header = {"kid": self.key.kid, "alg": "RS256"} | (header or {})
        return self.jws(without_absent(header), self.claims(**(claims or {})), sign)

    def claims(self, **changes) -> dict:
        return without_absent(self.okta.claims(**changes))

    def claims_text(self) -> str:
        return json.dumps(self.claims())

    def header_text(self) -> str:
        return json.dumps({"kid": self.key.kid, "alg": "RS256"})

    def jws(self, header, payload, sign=None) -> str:
        """From a header and a payload each given as object, text or bytes."""
        return self.seal(segment(header), segment(payload), sign)

    def seal(self, header: str, payload: str, sign=None) -> str:
        """A signature over two segments, whatever is in them."""
        signing_input = f"{header}.{payload}".encode("latin-1")
        signature = (sign or signed_by(self.key))(signing_input)
        return f"{header}.{payload}.{urlsafe_b64encode(signature).decode()}"

    def segments(self) -> tuple[str, str, str]:
        header, payload, signature = self.token().split(".")
        return header, payload, signature


def without_absent(members: dict) -> dict:
    return {name: value for name, value in members.items() if value is not ABSENT}


def segment(content) -> str:
    text = json.dumps(content) if isinstance(content, dict | list) else content
    return urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode()


def signed_by(key, algorithm="RS256"):
    return lambda message: JWSRegistry.algorithms[algorithm].sign(message, key)


def unsigned(message):
    return b""


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    log_path = tmp_path_factory.mktemp("attacks") / "log"
    with (
        LocalOkta() as okta,
        LocalOkta(client_id=okta.client_id) as attacker,
        Service(oauth_settings(okta), log_path) as service,
    ):
        target = Target(service, okta, attacker, withdrawn=okta.keys[0])
        assert send(target, bearer(target.token()))[0] == 204
        okta.rotate_keys(keep_old=False)
        okta.rotate_keys()
        # The new kid makes the service ask once more, and forget the withdrawn key.
        assert send(target, bearer(target.token()))[0] == 204
        yield target


def bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


def send(
    target, headers, *, method="POST", path="/tokenHook", body=None, content_type="application/json"
) -> tuple[int, HTTPMessage, bytes]:
    """One call with these headers as they are, in this order, on a connection of its own."""
    body = json.dumps(TOKEN_CALL) if body is None else body
    with closing(HTTPConnection("127.0.0.1", target.service.port, timeout=30)) as connection:
        connection.putrequest(method, path)
        for name, value in [
            ("Content-Type", content_type),
            ("Content-Length", len(body)),
            *headers,
        ]:
            connection.putheader(name, str(value).encode("latin-1"))
        connection.endheaders(body.encode())
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def refuse(target, headers, reason, *, status=401, challenge=INVALID_TOKEN, **arguments):
    """The call is refused; the log says why, the answer does not, neither shows the token."""
    request_id = f"attack-{next(NUMBERS)}"
    asked = target.attacker.requests.total()
    headers = [("X-Okta-Request-Id", request_id), *headers]
    answered, answer_headers, body = send(target, headers, **arguments)
    line = next(line for line in log_of(target, headers) if f"request_id={request_id} " in line)
    assert answered == status, line
    assert json.loads(body) == (UNAUTHORIZED if status == 401 else FORBIDDEN)
    assert answer_headers.get_all("WWW-Authenticate") == [challenge]
    fields = dict(re.findall(r"(\w+)=(\S+)", line))
    assert (fields["status"], fields["result"]) == (str(status), "refused")
    assert fields["reason"] in ((reason,) if isinstance(reason, str) else reason)
    assert target.attacker.requests.total() == asked


def log_of(target, headers) -> list[str]:
    """The lines of the service's log, in which nothing of these headers' tokens stands."""
    log = target.service.log
    for _, value in headers:
        for part in re.split(r"[^A-Za-z0-9_+/=-]+", value):
            assert len(part) < 30 or part not in log
    return log.splitlines()


def test_the_token_that_all_cases_are_made_of_passes(target):
    for token in (
        target.token(),
        target.jws(target.header_text(), target.claims_text()),
        target.token(header={"typ": "JWT", "x": [1]}, claims={"x": None}),
        target.token(claims={"nbf": 1, "iat": 0.5, "exp": 2.5e9, "aud": ["x", "api://default"]}),
        target.token(header={"kid": target.okta.keys[1].kid}, sign=signed_by(target.okta.keys[1])),
    ):
        assert send(target, bearer(token))[0] == 204


def test_the_attackers_server_would_notice(target):
    asked = target.attacker.requests.total()
    assert requests.get(target.attacker.jwks_uri, timeout=30).json()["keys"]
    assert target.attacker.requests.total() == asked + 1


NO_ALGORITHM = ["none", "None", "NONE", "nOnE", "none ", "", None, ABSENT]
NO_RS256 = [
    "rs256",
    "RS256 ",
    " RS256",
    "RS256\0",
    "RS-256",
    "RS2",
    "SHA256withRSA",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "\uff32\uff33256",
    ["RS256"],
    ["RS256", "none"],
    {"RS256": True},
    256,
    True,
]


def name_of(value) -> str:
    return "absent" if value is ABSENT else json.dumps(value)


@pytest.mark.parametrize("algorithm", NO_ALGORITHM, ids=name_of)
@pytest.mark.parametrize("signature", ["no signature", "the right signature", "another signature"])
def test_no_algorithm(target, algorithm, signature):
    sign = {
        "no signature": unsigned,
        "the right signature": signed_by(target.key),
        "another signature": lambda message: b"\0" * 256,
    }[signature]
    token = target.token(header={"alg": algorithm}, sign=sign)
    refuse(target, bearer(token), "algorithm_not_allowed")


@pytest.mark.parametrize("algorithm", NO_RS256, ids=name_of)
def test_rs256_under_another_name(target, algorithm):
    refuse(target, bearer(target.token(header={"alg": algorithm})), "algorithm_not_allowed")


def public(encoding, form):
    return lambda key: key.raw_value.public_key().public_bytes(encoding, form)


PUBLIC_KEY_AS_SECRET = {
    "PEM": public(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PEM without the last newline": lambda key: PUBLIC_KEY_AS_SECRET["PEM"](key).rstrip(),
    "PKCS 1 PEM": public(Encoding.PEM, PublicFormat.PKCS1),
    "DER": public(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "PKCS 1 DER": public(Encoding.DER, PublicFormat.PKCS1),
    "JWK": lambda key: json.dumps(key.as_dict(private=False)).encode(),
    "JWK without spaces": lambda key: json.dumps(
        key.as_dict(private=False), separators=(",", ":")
    ).encode(),
    "modulus": lambda key: urlsafe_b64decode(key.as_dict(private=False)["n"].encode()),
    "modulus in Base64": lambda key: key.as_dict(private=False)["n"].encode(),
    "key ID": lambda key: key.kid.encode(),
    "nothing": lambda key: b"",
}


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", PUBLIC_KEY_AS_SECRET.values(), ids=PUBLIC_KEY_AS_SECRET)
def test_hmac_with_what_everybody_knows_as_secret(target, algorithm, secret):
    def sign(message):
        return hmac.digest(secret(target.key), message, f"sha{algorithm[2:]}")

    token = target.token(header={"alg": algorithm}, sign=sign)
    refuse(target, bearer(token), "algorithm_not_allowed")


OTHER_ALGORITHMS = {
    **dict.fromkeys(["RS384", "RS512", "PS256", "PS384", "PS512"]),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "ES384": lambda: ECKey.generate_key("P-384"),
    "ES512": lambda: ECKey.generate_key("P-521"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
}


@pytest.mark.parametrize("algorithm", OTHER_ALGORITHMS)
def test_another_algorithm(target, algorithm):
    own_key = OTHER_ALGORITHMS[algorithm]
    sign = signed_by(own_key() if own_key else target.key, algorithm)
    refuse(target, bearer(target.token({"alg": algorithm}, sign=sign)), "algorithm_not_allowed")


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_another_algorithm_that_calls_itself_rs256(target, algorithm):
    token = target.token(sign=signed_by(target.key, algorithm))
    refuse(target, bearer(token), "bad_signature")


def test_ecdsa_signature_of_zeros(target):
    token = target.token({"alg": "ES256"}, sign=lambda message: b"\0" * 64)
    refuse(target, bearer(token), "algorithm_not_allowed")


KIDS = {
    "absent": (ABSENT, "kid_missing"),
    "empty": ("", "kid_missing"),
    "null": (None, "kid_missing"),
    "zero": (0, "kid_missing"),
    "number": (12345, "kid_missing"),
    "fraction": (1.5, "kid_missing"),
    "boolean": (True, "kid_missing"),
    "empty list": ([], "kid_missing"),
    "object": ({"kid": "x"}, "kid_missing"),
    "blank": (" ", "key_unknown"),
    "long": ("k" * 200, "key_unknown"),
    "very long": ("k" * 4000, MALFORMED),
    "path traversal": ("../../../../../../dev/null", "key_unknown"),
    "absolute path": ("/proc/sys/kernel/randomize_va_space", "key_unknown"),
    "SQL": ("x' UNION SELECT 'secret' -- ", "key_unknown"),
    "shell": ("$(id)|id;`id`", "key_unknown"),
    "LDAP": ("*)(kid=*", "key_unknown"),
    "template": ("{{7*7}}${7*7}%s%n", "key_unknown"),
    "NUL": ("\0", "key_unknown"),
    "newline": ("x\nINFO call status=204", "key_unknown"),
    "Unicode": ("\u202e\u00e9\U0001f511", "key_unknown"),
    "lone surrogate": ("\ud800", "key_unknown"),
    "attribute name": ("__class__", "key_unknown"),
}


@pytest.mark.parametrize(("kid", "reason"), KIDS.values(), ids=KIDS)
def test_odd_kid(target, kid, reason):
    refuse(target, bearer(target.token(header={"kid": kid})), reason)


OF_A_KID = {
    "with a NUL": lambda kid: f"{kid}\0",
    "with a space": lambda kid: f"{kid} ",
    "in a path": lambda kid: f"./{kid}",
    "less a character": lambda kid: kid[:-1],
    "in another case": str.swapcase,
    "twice": lambda kid: f"{kid},{kid}",
}


@pytest.mark.parametrize("change", OF_A_KID.values(), ids=OF_A_KID)
def test_nearly_the_right_kid(target, change):
    refuse(target, bearer(target.token(header={"kid": change(target.key.kid)})), "key_unknown")


@pytest.mark.parametrize(
    "wrap", [lambda kid: [kid], lambda kid: {"kid": kid}], ids=["list", "object"]
)
def test_the_right_kid_within(target, wrap):
    refuse(target, bearer(target.token(header={"kid": wrap(target.key.kid)})), "kid_missing")


WRONG_KEYS = {
    "the attacker's under the right kid": (
        lambda t: t.token(sign=signed_by(t.attacker.keys[0])),
        "bad_signature",
    ),
    "the attacker's under its own kid": (
        lambda t: t.token({"kid": t.attacker.keys[0].kid}, sign=signed_by(t.attacker.keys[0])),
        "key_unknown",
    ),
    "the attacker's under its key set's address as kid": (
        lambda t: t.token({"kid": t.attacker.jwks_uri}, sign=signed_by(t.attacker.keys[0])),
        "key_unknown",
    ),
    "the issuer's other key": (lambda t: t.token({"kid": t.okta.keys[1].kid}), "bad_signature"),
    "the withdrawn key": (
        lambda t: t.token({"kid": t.withdrawn.kid}, sign=signed_by(t.withdrawn)),
        "key_unknown",
    ),
    "the withdrawn key under the new kid": (
        lambda t: t.token(sign=signed_by(t.withdrawn)),
        "bad_signature",
    ),
    "the client's key under the right kid": (
        lambda t: t.token(sign=signed_by(t.okta.client_key)),
        "bad_signature",
    ),
}


@pytest.mark.parametrize(("forge", "reason"), WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_signed_by_another_key(target, forge, reason):
    refuse(target, bearer(forge(target)), reason)


# Small enough that its JWK fits into the header that joserfc reads.
SMALL_KEY = rsa.generate_private_key(65537, 1024)
SMALL_JWK = {
    "kty": "RSA",
    "e": "AQAB",
    "n": int_to_base64(SMALL_KEY.public_key().public_numbers().n),
}


def signed_by_small_key(message):
    return SMALL_KEY.sign(message, padding.PKCS1v15(), SHA256())


# Where a validator is to find the attacker's key.
KEYS_IN_THE_HEADER = {
    "jku": lambda t: {"jku": t.attacker.jwks_uri},
    "jku, the issuer's host as user name": lambda t: {
        "jku": t.attacker.jwks_uri.replace("//", f"//127.0.0.1:{t.okta.port}@")
    },
    "jku, the issuer's key set as query": lambda t: {
        "jku": f"{t.attacker.jwks_uri}?{t.okta.jwks_uri}"
    },
    "x5u": lambda t: {"x5u": t.attacker.jwks_uri},
    "jwk": lambda t: {"jwk": t.attacker.keys[0].as_dict(private=False)},
    "jku and x5u": lambda t: {"jku": t.attacker.jwks_uri, "x5u": t.attacker.jwks_uri},
}
ATTACKERS_KID = {
    "the right kid": lambda t: t.key.kid,
    "the attacker's kid": lambda t: t.attacker.keys[0].kid,
    "no kid": lambda t: ABSENT,
}


@pytest.mark.parametrize("kid", ATTACKERS_KID.values(), ids=ATTACKERS_KID)
@pytest.mark.parametrize("where", KEYS_IN_THE_HEADER.values(), ids=KEYS_IN_THE_HEADER)
def test_the_attackers_key_in_the_header(target, where, kid):
    sign = signed_by(target.attacker.keys[0])
    token = target.token({"kid": kid(target)} | where(target), sign=sign)
    # A JWK of 2048 bits makes the header longer than any that is read.
    refuse(target, bearer(token), ("header_not_allowed", *MALFORMED))


@pytest.mark.parametrize("kid", ATTACKERS_KID.values(), ids=ATTACKERS_KID)
def test_the_attackers_small_key_in_the_header(target, kid):
    token = target.token({"kid": kid(target), "jwk": SMALL_JWK}, sign=signed_by_small_key)
    refuse(target, bearer(token), "header_not_allowed")


# Each of them in a token that the issuer's key has signed.
HEADERS_NOT_ALLOWED = {
    "jku": {"jku": "https://example.com/keys"},
    "jku null": {"jku": None},
    "jwk an object without key": {"jwk": {}},
    "x5u a file": {"x5u": "file:///etc/passwd"},
    "x5c": {"x5c": ["MIIB"]},
    "x5c a number": {"x5c": 1},
    "crit names an unknown header": {"crit": ["exp"], "exp": 2500000000},
    "crit names an absent header": {"crit": ["http://example.com/UNDEFINED"]},
    "crit names kid": {"crit": ["kid"]},
    "crit names itself": {"crit": ["crit"]},
    "crit names something twice": {"crit": ["kid", "kid"]},
    "crit empty": {"crit": []},
    "crit null": {"crit": None},
    "crit false": {"crit": False},
    "crit a number": {"crit": 1},
    "crit a text": {"crit": "kid"},
    "crit an object": {"crit": {"kid": 1}},
    "crit a list of lists": {"crit": [["kid"]]},
    "crit a list of numbers": {"crit": [1]},
    "b64 true": {"b64": True},
    "b64 true and critical": {"b64": True, "crit": ["b64"]},
    "b64 false, though the payload is encoded": {"b64": False},
    "b64 false and critical, though the payload is encoded": {"b64": False, "crit": ["b64"]},
    "b64 a text": {"b64": "false", "crit": ["b64"]},
}


@pytest.mark.parametrize("header", HEADERS_NOT_ALLOWED.values(), ids=HEADERS_NOT_ALLOWED)
def test_header_not_allowed(target, header):
    refuse(target, bearer(target.token(header)), "header_not_allowed")


def test_payload_without_base64(target):
    # RFC 7797: such a payload must hold no period, so they are escaped.
    header = {"kid": target.key.kid, "alg": "RS256", "b64": False, "crit": ["b64"]}
    payload = target.claims_text().replace(".", "\\u002e")
    refuse(target, bearer(target.seal(segment(header), payload)), "header_not_allowed")


def encrypted(target) -> str:
    """A JWE that only the issuer's key opens (RFC 7516)."""
    key = RSAKey.import_key(target.key.as_dict(private=False) | {"use": "enc", "alg": "RSA-OAEP"})
    header = {"alg": "RSA-OAEP", "enc": "A128CBC-HS256", "kid": key.kid}
    return jwe.encrypt_compact(header, target.claims_text(), key)


def json_serialization(target, *, flattened: bool) -> str:
    header, payload, signature = target.segments()
    signed = {"protected": header, "signature": signature}
    return json.dumps({"payload": payload} | (signed if flattened else {"signatures": [signed]}))


SEGMENTS = {
    "one": lambda t: t.segments()[0],
    "two": lambda t: ".".join(t.segments()[:2]),
    "four": lambda t: ".".join([*t.segments(), t.segments()[2]]),
    "a period at the end": lambda t: t.token() + ".",
    "a period at the start": lambda t: "." + t.token(),
    "a period too many": lambda t: t.token().replace(".", "..", 1),
    "a period too few": lambda t: t.token().replace(".", "", 1),
    "periods alone": lambda t: "..",
    "another separator": lambda t: t.token().replace(".", ":"),
    "empty header": lambda t: t.seal("", t.segments()[1]),
    "empty payload": lambda t: t.seal(t.segments()[0], ""),
    "JWE": encrypted,
    "JWE that calls itself RS256": lambda t: ".".join(
        [t.segments()[0], *encrypted(t).split(".")[1:]]
    ),
    "JWS JSON, flattened": lambda t: json_serialization(t, flattened=True),
    "JWS JSON, general": lambda t: json_serialization(t, flattened=False),
    "the claims, not encoded": lambda t: t.claims_text(),
    "no JWT at all": lambda t: "kT4mV-9f2c61d0a7_8b",
    "the client's secret": lambda t: t.okta.client_secret,
}


@pytest.mark.parametrize("forge", SEGMENTS.values(), ids=SEGMENTS)
def test_malformed_segments(target, forge):
    refuse(target, bearer(forge(target)), (*MALFORMED, "algorithm_not_allowed"))


def noncanonical(text: str) -> str:
    """Another text that a lenient decoder reads as the same bytes (RFC 4648, 3.5)."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    decoded = {base64.urlsafe_b64decode(each + "==") for each in (text, changed)}
    assert len(decoded) == 1
    return changed


# Of a segment that has a minus and an underscore and would need padding.
CHANGED_BASE64 = {
    "padding": lambda text: text + "=" * (-len(text) % 4),
    "too much padding": lambda text: text + "====",
    "noncanonical last bits": noncanonical,
    "the standard alphabet": lambda text: text.replace("-", "+").replace("_", "/"),
    "a space": lambda text: f"{text[:9]} {text[9:]}",
    "a tab": lambda text: f"{text[:9]}\t{text[9:]}",
    "a comma": lambda text: f"{text[:9]},{text[9:]}",
    "an exclamation mark at the end": lambda text: f"{text}!",
    "a letter outside ASCII": lambda text: f"{text[:9]}\u00e9{text[9:]}",
    "a length that no bytes have": lambda text: text + "A" * ((1 - len(text)) % 4),
    "percent-encoded": lambda text: text.replace("-", "%2D"),
}


def awkward(text: str) -> str:
    """A segment of this JSON object that every one of the changes above has an effect on."""
    texts = (
        f'{text[:-1]}, "x": "{"y" * shift}???>>>"}}' + " " * spaces
        for shift in range(3)
        for spaces in range(3)
    )
    return next(each for each in map(segment, texts) if is_awkward(each))


def is_awkward(segment: str) -> bool:
    return len(segment) % 4 != 0 and {"-", "_"} <= set(segment)


@pytest.mark.parametrize("change", CHANGED_BASE64.values(), ids=CHANGED_BASE64)
@pytest.mark.parametrize("part", ["header", "payload"])
def test_signed_but_not_base64url(target, part, change):
    parts = {"header": awkward(target.header_text()), "payload": awkward(target.claims_text())}
    assert send(target, bearer(target.seal(**parts)))[0] == 204
    refuse(target, bearer(target.seal(**parts | {part: change(parts[part])})), MALFORMED)


@pytest.mark.parametrize("change", CHANGED_BASE64.values(), ids=CHANGED_BASE64)
def test_signature_not_base64url(target, change):
    tokens = (target.segments() for _ in count())
    header, payload, signature = next(token for token in tokens if is_awkward(token[2]))
    assert send(target, bearer(f"{header}.{payload}.{signature}"))[0] == 204
    refuse(target, bearer(f"{header}.{payload}.{change(signature)}"), "bad_signature")


def as_number(signature: bytes) -> int:
    return int.from_bytes(signature, "big")


CHANGED_SIGNATURES = {
    "empty": lambda signature, n: b"",
    "one byte": lambda signature, n: signature[:1],
    "without its first byte": lambda signature, n: signature[1:],
    "without its last byte": lambda signature, n: signature[:-1],
    "a zero before it": lambda signature, n: b"\0" + signature,
    "a zero after it": lambda signature, n: signature + b"\0",
    "twice": lambda signature, n: signature * 2,
    "reversed": lambda signature, n: signature[::-1],
    "its first bit flipped": lambda signature, n: bytes([signature[0] ^ 128]) + signature[1:],
    "its last bit flipped": lambda signature, n: signature[:-1] + bytes([signature[-1] ^ 1]),
    "zero": lambda signature, n: bytes(256),
    "one": lambda signature, n: bytes(255) + b"\1",
    "all ones": lambda signature, n: b"\xff" * 256,
    "the modulus": lambda signature, n: n.to_bytes(256, "big"),
    # Of the same residue, so that arithmetic alone does not tell them apart (RFC 8017, 8.2.2).
    "and the modulus": lambda signature, n: (as_number(signature) + n).to_bytes(257, "big"),
    "less the modulus": lambda signature, n: (n - as_number(signature)).to_bytes(256, "big"),
    "as text": lambda signature, n: urlsafe_b64encode(signature),
}


@pytest.mark.parametrize("change", CHANGED_SIGNATURES.values(), ids=CHANGED_SIGNATURES)
def test_changed_signature(target, change):
    modulus = target.key.raw_value.public_key().public_numbers().n
    token = target.token(sign=lambda text: change(signed_by(target.key)(text), modulus))
    refuse(target, bearer(token), ("bad_signature", *MALFORMED))


def mixed(first: str, second: str, take: str) -> str:
    """Segments of two tokens: "122" is the first's header, the second's payload and signature."""
    parts = zip(first.split("."), second.split("."), take, strict=True)
    return ".".join(mine if which == "1" else other for mine, other, which in parts)


MIXED = {
    "the signature of another token": lambda t: mixed(t.token(), t.token(), "112"),
    "the payload of another token": lambda t: mixed(t.token(), t.token(), "121"),
    "a header that says the same in other words": lambda t: mixed(
        t.token(), t.token({"typ": "JWT"}), "211"
    ),
    "the scope added": lambda t: mixed(t.token(claims={"scp": ["x"]}), t.token(), "121"),
    "the attacker's payload": lambda t: mixed(t.token(), t.attacker.issue(), "121"),
}


@pytest.mark.parametrize("forge", MIXED.values(), ids=MIXED)
def test_segments_of_two_tokens(target, forge):
    refuse(target, bearer(forge(target)), "bad_signature")


def with_members(text: str) -> Callable[[str], str]:
    """Adds members, written as they are, at the end of a JSON object."""
    return lambda json_text: f"{json_text[:-1]}, {text}}}"


# Of a header and of claims alike, the signature being right.
NOT_ONE_OBJECT = {
    "a text": lambda text: '"alg"',
    "a text that holds the object": json.dumps,
    "a list": lambda text: '["alg", "kid", "exp"]',
    "a list that holds the object": lambda text: f"[{text}]",
    "a number": lambda text: "5",
    "null": lambda text: "null",
    "true": lambda text: "true",
    "NaN": lambda text: "NaN",
    "no JSON": lambda text: "alg=RS256",
    "its last character missing": lambda text: text[:-1],
    "a character too many": lambda text: text + "}",
    "two objects": lambda text: text * 2,
    "single quotes": lambda text: text.replace('"', "'"),
    "a trailing comma": lambda text: text[:-1] + ",}",
    "a comment": lambda text: text + " // no more",
    "a NUL after it": lambda text: text + "\0",
    "a member twice": with_members('"x": 1, "x": 1'),
    "a member twice, once escaped": with_members('"x": 1, "\\u0078": 1'),
    "a member twice in a member": with_members('"x": {"y": 1, "y": 1}'),
    "a member NaN": with_members('"x": NaN'),
    "a member Infinity": with_members('"x": [-Infinity]'),
    "bytes that are no UTF-8": lambda text: with_members('"x": "\u00ff"')(text).encode("latin-1"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32-le"),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
}


@pytest.mark.parametrize("change", NOT_ONE_OBJECT.values(), ids=NOT_ONE_OBJECT)
@pytest.mark.parametrize("part", ["header", "payload"])
def test_signed_but_not_one_json_object(target, part, change):
    parts = {"header": target.header_text(), "payload": target.claims_text()}
    token = target.jws(**parts | {part: change(parts[part])})
    refuse(target, bearer(token), MALFORMED)


REPEATED = {
    "kid": ("header", '"kid": "x"'),
    "alg": ("header", '"alg": "none"'),
    "iss": ("payload", '"iss": "https://example.com"'),
    "aud": ("payload", '"aud": "x"'),
    "cid": ("payload", '"cid": "x"'),
    "scp": ("payload", '"scp": []'),
    "exp": ("payload", '"exp": 1'),
    "iat": ("payload", '"iat": 2500000000'),
}


@pytest.mark.parametrize("order", ["wrong first", "wrong last"])
@pytest.mark.parametrize(("part", "wrong"), REPEATED.values(), ids=REPEATED)
def test_a_right_and_a_wrong_member_of_one_name(target, part, wrong, order):
    parts = {"header": target.header_text(), "payload": target.claims_text()}
    last = order == "wrong last"
    parts[part] = with_members(wrong)(parts[part]) if last else f"{{{wrong}, {parts[part][1:]}"
    refuse(target, bearer(target.jws(**parts)), "malformed")


DEPTH = 4000
NESTED = {
    "lists": "[" * DEPTH,
    "objects": '{"a":' * (DEPTH // 4),
    "lists in a claim": '{"exp": ' + "[" * DEPTH,
    "lists that end": "[" * (DEPTH // 2) + "]" * (DEPTH // 2),
}


@pytest.mark.parametrize("payload", NESTED.values(), ids=NESTED)
def test_signed_and_deeply_nested(target, payload):
    refuse(target, bearer(target.jws(target.header_text(), payload)), "malformed")


def test_header_deeply_nested(target):
    refuse(target, bearer(target.jws("[" * DEPTH, target.claims_text())), "malformed")
    refuse(target, bearer(target.jws("[" * 380, target.claims_text())), "malformed")


# Instead of a time: JSON as it stands in the token.
NO_TIMES = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e999": "1e999",
    "-1e999": "-1e999",
    "null": "null",
    "true": "true",
    "false": "false",
    "text": '"2500000000"',
    "empty text": '""',
    "date": '"2049-01-01T00:00:00Z"',
    "list": "[2500000000]",
    "empty list": "[]",
    "object": '{"value": 2500000000}',
    "empty object": "{}",
    "hexadecimal": "0x95000000",
    "leading zero": "02500000000",
    "plus sign": "+2500000000",
    "without the zero": ".5",
}


@pytest.mark.parametrize("value", NO_TIMES.values(), ids=NO_TIMES)
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_no_time(target, claim, value):
    text = with_members(f'"{claim}": {value}')(json.dumps(target.claims(**{claim: ABSENT})))
    reasons = ("malformed", f"invalid_claim:{claim}", f"missing_claim:{claim}")
    refuse(target, bearer(target.jws(target.header_text(), text)), reasons)


MINUTE = 60
# In seconds from now; in each case well beyond the minute by which clocks may differ.
WRONG_TIMES = {
    "expired": ({"exp": -2 * MINUTE}, "expired_token:exp"),
    "expired, a fraction": ({"exp": -MINUTE - 1.5}, "expired_token:exp"),
    "expired long ago": ({"iat": -9000 * MINUTE, "exp": -8000 * MINUTE}, "expired_token:exp"),
    "issued in the future": ({"iat": 5 * MINUTE}, "invalid_claim:iat"),
    "issued in the future, a fraction": ({"iat": 5 * MINUTE + 0.5}, "invalid_claim:iat"),
    "issued in far future": ({"iat": 10.0**300}, "invalid_claim:iat"),
    "not yet valid": ({"nbf": 5 * MINUTE}, "invalid_claim:nbf"),
    "not valid for long": ({"nbf": 10**400}, "invalid_claim:nbf"),
    "in milliseconds": ({"iat": 10**12}, "invalid_claim:iat"),
}


@pytest.mark.parametrize(("times", "reason"), WRONG_TIMES.values(), ids=WRONG_TIMES)
def test_wrong_time(target, times, reason):
    now = int(time.time())
    claims = {claim: now + seconds for claim, seconds in times.items()}
    refuse(target, bearer(target.token(claims=claims)), reason)


@pytest.mark.parametrize("expiry", [0, -1, -(2**63), -1e300, -(10**400)])
def test_expired_before_1970(target, expiry):
    refuse(target, bearer(target.token(claims={"exp": expiry})), "expired_token:exp")


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_a_time_of_5000_digits(target, claim):
    digits = ("-" if claim == "exp" else "") + "9" * 5000
    text = with_members(f'"{claim}": {digits}')(json.dumps(target.claims(**{claim: ABSENT})))
    refuse(target, bearer(target.jws(target.header_text(), text)), "malformed")


# What the log says where a claim is absent, and where it is another text.
REASONS = {
    "iss": ("missing_claim:iss", "invalid_claim:iss"),
    "aud": ("missing_claim:aud", "invalid_claim:aud"),
    "exp": ("missing_claim:exp", "invalid_claim:exp"),
    "iat": ("missing_claim:iat", "invalid_claim:iat"),
    "cid": ("cid_missing", "client_not_admitted"),
}


@pytest.mark.parametrize("claim", REASONS)
def test_claim_absent(target, claim):
    missing, _ = REASONS[claim]
    refuse(target, bearer(target.token(claims={claim: ABSENT})), missing)
    capital = {claim: ABSENT, claim.upper(): target.claims()[claim]}
    refuse(target, bearer(target.token(claims=capital)), missing)


NEARLY_RIGHT = {
    "its beginning": lambda text: text[:-1],
    "its end": lambda text: text[1:],
    "a letter after it": lambda text: text + "x",
    "a slash after it": lambda text: text + "/",
    "a space after it": lambda text: text + " ",
    "a space before it": lambda text: " " + text,
    "a NUL after it": lambda text: text + "\0",
    "a newline after it": lambda text: text + "\n",
    "a zero-width space after it": lambda text: text + "\u200b",
    "in another case": str.swapcase,
    "in full-width letters": lambda text: text[:-1] + chr(ord(text[-1]) + 0xFEE0),
    "beside another": lambda text: f"https://example.com,{text}",
    "as a query": lambda text: f"https://example.com/?{text}",
    "a wildcard": lambda text: "*",
    "another text": lambda text: "other",
}


@pytest.mark.parametrize("change", NEARLY_RIGHT.values(), ids=NEARLY_RIGHT)
@pytest.mark.parametrize("claim", ["iss", "aud", "cid"])
def test_nearly_the_right_text(target, claim, change):
    _, wrong = REASONS[claim]
    value = change(target.claims()[claim])
    refuse(target, bearer(target.token(claims={claim: value})), wrong)
    if claim == "aud":
        refuse(target, bearer(target.token(claims={claim: [value]})), wrong)


ANOTHER_TYPE = {
    "null": lambda value: None,
    "true": lambda value: True,
    "zero": lambda value: 0,
    "number": lambda value: 1.5,
    "empty text": lambda value: "",
    "empty list": lambda value: [],
    "empty object": lambda value: {},
    "list with a number": lambda value: [value, 1],
    "list with a null": lambda value: [value, None],
    "list with a list": lambda value: [[value]],
    "object with it as value": lambda value: {"value": value},
    "object with it as name": lambda value: {value: True},
}


@pytest.mark.parametrize("change", ANOTHER_TYPE.values(), ids=ANOTHER_TYPE)
@pytest.mark.parametrize("claim", ["iss", "aud", "cid"])
def test_claim_of_another_type(target, claim, change):
    value = change(target.claims()[claim])
    refuse(target, bearer(target.token(claims={claim: value})), REASONS[claim])


@pytest.mark.parametrize("claim", ["iss", "cid"])
def test_claim_in_a_list(target, claim):
    claims = {claim: [target.claims()[claim]]}
    refuse(target, bearer(target.token(claims=claims)), REASONS[claim])


NO_SCOPES = {
    "text": "hooks",
    "scopes with a space between": "other hooks",
    "scopes with a comma between": "hooks,other",
    "null": None,
    "true": True,
    "number": 1,
    "object": {"hooks": True},
    "list in a list": [["hooks"]],
    "list with a number": ["hooks", 1],
    "list with a null": [None, "hooks"],
}


@pytest.mark.parametrize("scopes", NO_SCOPES.values(), ids=NO_SCOPES)
def test_scopes_that_are_no_list_of_texts(target, scopes):
    token = target.token(claims={"scp": scopes})
    refuse(target, bearer(token), "scp_is_no_list_of_strings")


SCOPE_MISSING = {
    "absent": ABSENT,
    "none": [],
    "another": ["other"],
    "its beginning": ["hook"],
    "its end": ["ooks"],
    "letter by letter": list("hooks"),
    "more than it": ["hooks.read"],
    "a part of another": ["webhooks", "hooks2"],
    "with a space": ["hooks ", " hooks"],
    "two in one": ["hooks other"],
    "in another case": ["Hooks", "HOOKS"],
    "with a NUL": ["hooks\0"],
    "with a slash": ["hooks/", "/hooks"],
    "with the audience": ["api://default/hooks"],
    "wildcards": ["*", ".*", "hook?", "%"],
    "empty": [""],
}


@pytest.mark.parametrize("scopes", SCOPE_MISSING.values(), ids=SCOPE_MISSING)
def test_valid_but_without_the_scope(target, scopes):
    token = target.token(claims={"scp": scopes})
    refuse(target, bearer(token), "scope_missing", status=403, challenge=INSUFFICIENT_SCOPE)


def test_the_scope_in_another_claim(target):
    for claim in ("scope", "scopes", "SCP", "groups"):
        for value in (["hooks"], "hooks"):
            token = target.token(claims={"scp": ABSENT, claim: value})
            refuse(target, bearer(token), "scope_missing", status=403, challenge=INSUFFICIENT_SCOPE)


def test_the_client_in_another_claim(target):
    for claim in ("client_id", "azp", "appid"):
        token = target.token(claims={"cid": ABSENT, claim: target.okta.client_id})
        refuse(target, bearer(token), "cid_missing")


def id_token(target, **claims) -> str:
    """As the same server issues it when the same client signs a user in."""
    person = {"sub": "00u1", "name": "Ann", "amr": ["pwd"], "idp": "00o1", "nonce": "n"}
    claims = {"aud": target.okta.client_id, "cid": ABSENT, "scp": ABSENT} | person | claims
    return target.token(claims=claims)


TOKENS_FOR_ANOTHER_USE = {
    "an ID token": (id_token, "invalid_claim:aud"),
    "an ID token for both audiences": (
        lambda t: id_token(t, aud=[t.okta.client_id, "api://default"]),
        "cid_missing",
    ),
    "another client's access token": (
        lambda t: t.token(claims={"cid": "0oaOther", "sub": "0oaOther"}),
        "client_not_admitted",
    ),
    "another client's, the right one as subject": (
        lambda t: t.token(claims={"cid": "0oaOther"}),
        "client_not_admitted",
    ),
    "an access token for another audience": (
        lambda t: t.token(claims={"aud": "https://api.example.com"}),
        "invalid_claim:aud",
    ),
    "another server's access token": (lambda t: t.attacker.issue(), "key_unknown"),
    "another server's, in the issuer's name": (
        lambda t: t.attacker.issue(iss=t.okta.issuer),
        "key_unknown",
    ),
    "another issuer's, signed by the right key": (
        lambda t: t.token(claims={"iss": t.attacker.issuer}),
        "invalid_claim:iss",
    ),
    "the organization's own server's": (
        lambda t: t.token(claims={"iss": t.okta.issuer.removesuffix("/oauth2/default")}),
        "invalid_claim:iss",
    ),
    "the client's own assertion": (
        lambda t: private_key_jwt_sign(
            t.okta.client_key, t.okta.client_id, t.okta.token_endpoint, header={"kid": t.key.kid}
        ),
        "bad_signature",
    ),
}


@pytest.mark.parametrize(
    ("forge", "reason"), TOKENS_FOR_ANOTHER_USE.values(), ids=TOKENS_FOR_ANOTHER_USE
)
def test_token_for_another_use(target, forge, reason):
    refuse(target, bearer(forge(target)), reason)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


BASIC = basic(":".join(BASIC_PAIR))


# Values of Authorization, of which {} is a good token, and what the log says.
NO_TOKEN_AT_ALL = "not_a_bearer_token"
AUTHORIZATION = {
    "two headers, both good": (["Bearer {}", "Bearer {}"], (*MALFORMED, "bad_signature")),
    "two headers, good and bad": (["Bearer {}", "Bearer x"], "bad_signature"),
    "two headers, bad and good": (["Bearer x", "Bearer {}"], MALFORMED),
    "two headers, good and empty": (["Bearer {}", ""], "bad_signature"),
    "two headers, empty and good": (["", "Bearer {}"], NO_TOKEN_AT_ALL),
    "two headers, Basic and good": ([BASIC, "Bearer {}"], NO_TOKEN_AT_ALL),
    "two headers, good and Basic": (["Bearer {}", BASIC], "bad_signature"),
    "joined by a comma": (["Bearer {}, Bearer {}"], MALFORMED),
    "tokens joined by a comma": (["Bearer {},{}"], MALFORMED),
    "tokens joined by a space": (["Bearer {} {}"], MALFORMED),
    "text after the token": (["Bearer {} x"], "bad_signature"),
    "parameter after the token": (["Bearer {}, realm=x"], "bad_signature"),
    "the scheme twice": (["Bearer Bearer {}"], MALFORMED),
    "in quotes": (['Bearer "{}"'], MALFORMED),
    "in angle brackets": (["Bearer <{}>"], MALFORMED),
    "as a parameter": (['Bearer token="{}"'], MALFORMED),
    "a no-break space after the token": (["Bearer {}\u00a0"], "bad_signature"),
    "without a scheme": (["{}"], NO_TOKEN_AT_ALL),
    "the scheme alone": (["Bearer"], NO_TOKEN_AT_ALL),
    "nothing between": (["Bearer{}"], NO_TOKEN_AT_ALL),
    "a colon between": (["Bearer:{}"], NO_TOKEN_AT_ALL),
    "an equals sign between": (["Bearer={}"], NO_TOKEN_AT_ALL),
    "a comma before": ([",Bearer {}"], NO_TOKEN_AT_ALL),
    # RFC 6750, 2.1, and RFC 9110, 11.4: one or more spaces, and nothing else that looks like one.
    "a tab between": (["Bearer\t{}"], NO_TOKEN_AT_ALL),
    "a no-break space between": (["Bearer\u00a0{}"], NO_TOKEN_AT_ALL),
    "a next-line character between": (["Bearer\u0085{}"], NO_TOKEN_AT_ALL),
    "a no-break space before": (["\u00a0Bearer {}"], NO_TOKEN_AT_ALL),
    "another scheme": (["Token {}"], NO_TOKEN_AT_ALL),
    "JWT as scheme": (["JWT {}"], NO_TOKEN_AT_ALL),
    "DPoP as scheme": (["DPoP {}"], NO_TOKEN_AT_ALL),
    "Basic as scheme": (["Basic {}"], NO_TOKEN_AT_ALL),
    "the Basic pair under Bearer": (
        [BASIC.replace("Basic", "Bearer")],
        MALFORMED,
    ),
}


@pytest.mark.parametrize(("values", "reason"), AUTHORIZATION.values(), ids=AUTHORIZATION)
def test_odd_authorization_header(target, values, reason):
    token = target.token()
    headers = [("Authorization", value.replace("{}", token)) for value in values]
    challenge = NO_TOKEN if reason == NO_TOKEN_AT_ALL else INVALID_TOKEN
    refuse(target, headers, reason, challenge=challenge)


def test_the_token_as_password(target):
    for pair in (f"{target.token()}:", f":{target.token()}", f"Bearer:{target.token()}"):
        headers = [("Authorization", basic(pair))]
        refuse(target, headers, NO_TOKEN_AT_ALL, challenge=NO_TOKEN)


EVENT_AUTHORIZATION = {
    "Basic and Bearer": [BASIC, "Bearer {}"],
    "Bearer and Basic": ["Bearer {}", BASIC],
    "Basic twice": [BASIC] * 2,
    "Basic, joined by a comma": [", ".join([BASIC] * 2)],
    "Basic and an empty one": [BASIC, ""],
    "the Basic pair under Bearer": [BASIC.replace("Basic", "Bearer")],
    "a token": ["Bearer {}"],
    "a token under Basic": ["Basic {}"],
}


@pytest.mark.parametrize("values", EVENT_AUTHORIZATION.values(), ids=EVENT_AUTHORIZATION)
def test_odd_authorization_header_on_an_event_hook(target, values):
    token = target.token()
    headers = [("Authorization", value.replace("{}", token)) for value in values]
    refuse(target, headers, "not_basic", challenge=NO_PAIR, path="/userCreated")


FORM = "application/x-www-form-urlencoded"
# Where a token may stand in some OAuth servers (RFC 6750, 2.2 and 2.3), or in what a proxy sends.
NOT_THE_HEADER = {
    "query": {"path": "/tokenHook?access_token={}"},
    "form body": {"body": "access_token={}", "content_type": FORM},
    "JSON body": {"body": '{"access_token": "{}", "data": {"context": {}}}'},
    "path": {"path": "/tokenHook;access_token={}"},
    **{
        name: {"headers": [(name, "Bearer {}")]}
        for name in (
            "Proxy-Authorization",
            "X-Authorization",
            "X-Forwarded-Authorization",
            "Authorization_",
            "HTTP_AUTHORIZATION",
        )
    },
    **{name: {"headers": [(name, "{}")]} for name in ("X-Access-Token", "X-Amzn-Oidc-Accesstoken")},
    "Cookie": {"headers": [("Cookie", "access_token={}; Authorization=Bearer {}")]},
}


@pytest.mark.parametrize("call", NOT_THE_HEADER.values(), ids=NOT_THE_HEADER)
def test_the_token_in_another_place(target, call):
    token = target.token()
    headers = [(name, value.replace("{}", token)) for name, value in call.get("headers", [])]
    others = {
        name: value.replace("{}", token) if name in ("path", "body") else value
        for name, value in call.items()
        if name != "headers"
    }
    refuse(target, headers, "no_credentials", challenge=NO_TOKEN, **others)


WAYS_AROUND = {
    "two slashes": {"path": "//tokenHook"},
    "a dot": {"path": "/./tokenHook"},
    "out of an open path": {"path": "/healthz/../tokenHook"},
    "out of an open path, encoded": {"path": "/healthz%2f..%2ftokenHook"},
    "a slash after an open path": {"path": "/healthz/"},
    "a parameter of an open path": {"path": "/healthz;/tokenHook"},
    "a NUL after an open path": {"path": "/healthz%00/tokenHook"},
    "in another case": {"path": "/TOKENHOOK"},
    "the whole address": {"path": "http://127.0.0.1/tokenHook"},
    "a port in the whole address": {"path": "http://healthz:80/tokenHook?/healthz"},
    "an open path by another method": {"path": "/healthz"},
    "the method in a header": {"path": "/healthz", "headers": [("X-HTTP-Method-Override", "GET")]},
    "another method": {"method": "PUT"},
    "an unknown method": {"method": "PURGE"},
    "the path in a header": {"headers": [("X-Original-URL", "/healthz")]},
    "the path in another header": {"headers": [("X-Rewrite-URL", "/healthz")]},
    "the path in a WSGI variable": {"headers": [("PATH_INFO", "/healthz")]},
    "a trusted address": {"headers": [("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "::1")]},
    "a user from a proxy": {"headers": [("X-Remote-User", "okta"), ("REMOTE_USER", "okta")]},
}


@pytest.mark.parametrize("call", WAYS_AROUND.values(), ids=WAYS_AROUND)
def test_no_way_around_the_guard(target, call):
    call = {"headers": []} | call
    refuse(target, reason="no_credentials", challenge=NO_TOKEN, **call)


# gunicorn refuses these bytes before there is a call: status, and its name for what was wrong.
NO_HTTP = {
    "8 KB of token": ("Authorization", "Bearer {}" + "x" * 8192, 431, "LimitRequestHeaders"),
    "a NUL": ("Authorization", "Bearer {}\0", 400, "InvalidHeader"),
    "a folded line": ("Authorization", "Bearer\r\n {}", 400, "ObsoleteFolding"),
    "a form feed between": ("Authorization", "Bearer\f{}", 400, "InvalidHeader"),
    "a space before the colon": ("Authorization ", "Bearer {}", 400, "InvalidHeaderName"),
}


@pytest.mark.parametrize(("name", "value", "status", "error"), NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http(target, name, value, status, error):
    lines = len(target.service.log.splitlines())
    headers = [(name, value.replace("{}", target.token()))]
    answered, _, body = send(target, headers)
    assert answered == status
    assert json.loads(body)["error"]["errorSummary"] in ("Bad Request", "Header Too Large")
    assert f"no readable HTTP error={error} " in "".join(log_of(target, headers)[lines:])
