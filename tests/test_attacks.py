"""Forged, stolen and mangled tokens.

In the spirit of RFC 8725 (JSON Web Token Best Current Practices) and of the JWS cases of Project
Wycheproof. A token is right except for what its name says, and signed by the issuer's own key
unless the name says otherwise, so a service that overlooked that one thing would accept it. The
first test shows that the unchanged token passes.
"""

import hmac
import json
import re
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection

import pytest
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Response
from flask.testing import FlaskClient
from joserfc import jwe
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import int_to_base64, urlsafe_b64encode

from local_okta.authorization_server import LocalOkta
from local_okta.client import basic_header
from logs import LineFormatter
from tests.support.gunicorn import (
    ACCEPTED,
    BASIC_PAIR,
    EVENT_HOOK,
    HOOK,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    NO_PAIR,
    NO_TOKEN,
    PAYLOAD,
    Service,
    bearer,
    client_of,
    oauth_settings,
    refusal,
)

ABSENT = object()


@dataclass(frozen=True)
class Target:
    """The service, whose issuer has rotated its keys twice, and everything an attacker may have."""

    client: FlaskClient
    okta: LocalOkta
    attacker: LocalOkta
    """The attacker's own server, with the same client ID. Nobody may ever request its keys."""
    withdrawn: RSAKey
    """Once signed tokens, and is no longer in the issuer's key set."""

    @property
    def key(self) -> RSAKey:
        return self.okta.keys[0]

    def token(self, header=None, claims=None, sign=None) -> str:
        """The right token with some members changed; ABSENT leaves one out."""
        header = {"kid": self.key.kid, "alg": "RS256"} | (header or {})
        return self.jws(without_absent(header), self.claims(**(claims or {})), sign)

    def claims(self, **changes) -> dict:
        return without_absent(self.okta.claims(**changes))

    def changed(self, part: str, change) -> str:
        """The right token with the JSON of one part changed before it is signed."""
        parts = {"header": {"kid": self.key.kid, "alg": "RS256"}, "payload": self.claims()}
        return self.jws(**parts | {part: change(json.dumps(parts[part]))})

    def jws(self, header, payload, sign=None) -> str:
        """A JWS from a header and a payload, each given as an object, text or bytes."""
        signing_input = f"{segment(header)}.{segment(payload)}"
        signature = (sign or signed_by(self.key))(signing_input.encode())
        return f"{signing_input}.{urlsafe_b64encode(signature).decode()}"

    def send(self, token: str):
        return self.client.post(HOOK, json=PAYLOAD, headers=bearer(token))


def without_absent(members: dict) -> dict:
    return {name: value for name, value in members.items() if value is not ABSENT}


def segment(content) -> str:
    text = json.dumps(content) if isinstance(content, dict) else content
    return urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode()


def signed_by(key, algorithm="RS256"):
    return lambda message: JWSRegistry.algorithms[algorithm].sign(message, key)


@pytest.fixture(scope="module")
def target():
    with LocalOkta() as okta, LocalOkta(client_id=okta.client_id) as attacker:
        target = Target(client_of(oauth_settings(okta)), okta, attacker, withdrawn=okta.keys[0])
        assert target.send(target.token()).status_code == ACCEPTED
        okta.rotate_keys(keep_old=False)
        okta.rotate_keys()
        # The new kid makes the service fetch the keys again, and forget the withdrawn one.
        assert target.send(target.token()).status_code == ACCEPTED
        yield target


def assert_refused(target, caplog, token, expected=INVALID_TOKEN, reason="[a-z0-9_:]+") -> None:
    """The token is refused. The log says why, the answer does not, and neither shows the token."""
    caplog.clear()
    response = target.send(token)
    records = [record for record in caplog.records if record.name == "logs"]
    [line] = map(LineFormatter("text").format, records)
    if response.status_code == 503:
        # No more refreshes for unknown keys are allowed now: this one may be new.
        assert "reason=key_unknown_for_now " in line
        assert "WWW-Authenticate" not in response.headers
    else:
        assert refusal(response) == expected, line
    # Anybody can cause a refusal, so it is not an error of the service.
    status = response.status_code
    assert re.search(f" WARNING request .*status={status} .*result=refused reason={reason} ", line)
    assert target.attacker.requests.total() == 0
    assert not any(part in line for part in token.split(".") if len(part) > 30)


def test_the_token_that_all_cases_start_from_passes(target):
    other = target.okta.keys[1]
    for token in (
        target.token(),
        target.changed("payload", lambda text: text + " "),
        target.token(header={"typ": "JWT", "x": [1]}, claims={"x": None}),
        target.token(header={"kid": other.kid}, sign=signed_by(other)),
    ):
        assert target.send(token).status_code == ACCEPTED


# Every forged token by its name, made once the keys exist. None of them may pass.
FORGED = {}


def add(about: str, cases, forge=lambda target, case: case(target)) -> None:
    """Add cases; `forge(target, case)` makes the token of each."""
    cases = cases if isinstance(cases, dict) else {json.dumps(case): case for case in cases}
    for name, case in cases.items():
        assert f"{about}: {name}" not in FORGED
        FORGED[f"{about}: {name}"] = lambda target, case=case: forge(target, case)


def header(target, members) -> str:
    return target.token(header=members)


def claims(target, members) -> str:
    return target.token(claims=members)


# The algorithm.

NO_ALGORITHM = {str(alg): {"alg": alg} for alg in ("none", "nOnE", "", None)}
NO_ALGORITHM["absent"] = {"alg": ABSENT}
add("no algorithm, the right signature", NO_ALGORITHM, header)
add(
    "no algorithm, no signature",
    NO_ALGORITHM,
    lambda target, members: target.token(members, sign=lambda text: b""),
)
add(
    "RS256 under another name",
    ["rs256", "RS256 ", "RS256\0", ["RS256", "none"], {"RS256": True}, 256],
    lambda target, alg: target.token({"alg": alg}),
)


def public(encoding, form):
    return lambda key: key.raw_value.public_key().public_bytes(encoding, form)


PEM = public(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
add(
    "HS256 with something public",
    {
        "PEM": PEM,
        "PEM without the last newline": lambda key: PEM(key).rstrip(),
        "DER": public(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": lambda key: json.dumps(key.as_dict(private=False)).encode(),
        "modulus": lambda key: key.as_dict(private=False)["n"].encode(),
        "key ID": lambda key: key.kid.encode(),
        "nothing": lambda key: b"",
    },
    lambda target, secret: target.token(
        {"alg": "HS256"}, sign=lambda text: hmac.digest(secret(target.key), text, "sha256")
    ),
)
add(
    "another algorithm",
    {
        "RS384": lambda t: ("RS384", t.key),
        "RS512": lambda t: ("RS512", t.key),
        "PS256": lambda t: ("PS256", t.key),
        "ES256": lambda t: ("ES256", ECKey.generate_key("P-256")),
        "EdDSA": lambda t: ("EdDSA", OKPKey.generate_key("Ed25519")),
    },
    lambda t, case: t.token({"alg": case(t)[0]}, sign=signed_by(case(t)[1], case(t)[0])),
)
add(
    "calls itself RS256",
    ["RS512", "PS256"],
    lambda target, alg: target.token(sign=signed_by(target.key, alg)),
)

# The key.

NO_KIDS = [ABSENT, "", None, 12345, True, [], {"kid": "x"}, "k" * 4000]
# For some of these, the service asks the issuer whether it has such a key.
UNKNOWN_KIDS = [
    "../../../dev/null", "x' UNION SELECT 'secret' -- ", "$(id)|id;`id`", "__class__", "\0",
    "x\nINFO request status=204", "\u202e\u00e9\U0001f511", "\ud800",
]  # fmt: skip
ODD_KIDS = {f"{type(kid).__name__} {n}": kid for n, kid in enumerate([*NO_KIDS, *UNKNOWN_KIDS])}
add("kid", ODD_KIDS, lambda target, kid: target.token({"kid": kid}))
add(
    "nearly the right kid",
    {
        "with a NUL": lambda kid: f"{kid}\0",
        "in a path": lambda kid: f"./{kid}",
        "without its last character": lambda kid: kid[:-1],
        "in another case": str.swapcase,
        "in a list": lambda kid: [kid],
    },
    lambda target, change: target.token({"kid": change(target.key.kid)}),
)
add(
    "signed by another key",
    {
        "the attacker's under the right kid": lambda t: (t.key.kid, t.attacker.keys[0]),
        "the attacker's under its own kid": lambda t: (t.attacker.keys[0].kid, t.attacker.keys[0]),
        "the attacker's address as kid": lambda t: (t.attacker.jwks_uri, t.attacker.keys[0]),
        "the issuer's other key": lambda t: (t.okta.keys[1].kid, t.key),
        "the withdrawn key": lambda t: (t.withdrawn.kid, t.withdrawn),
        "the withdrawn key under the new kid": lambda t: (t.key.kid, t.withdrawn),
        "the client's key under the right kid": lambda t: (t.key.kid, t.okta.client_key),
    },
    lambda target, which: target.token({"kid": which(target)[0]}, sign=signed_by(which(target)[1])),
)

add(
    "the attacker's key in the header",
    {
        "jku": lambda t: {"jku": t.attacker.jwks_uri},
        "jku, the issuer's as query": lambda t: {"jku": f"{t.attacker.jwks_uri}?{t.okta.jwks_uri}"},
        "jku and its own kid": lambda t: {"jku": t.attacker.jwks_uri, "kid": "attackers-key"},
        "x5u": lambda t: {"x5u": t.attacker.jwks_uri},
    },
    lambda target, where: target.token(where(target), sign=signed_by(target.attacker.keys[0])),
)
# Small enough that its JWK fits into the header that joserfc reads.
SMALL_KEY = rsa.generate_private_key(65537, 1024)
SMALL_JWK = {
    "kty": "RSA",
    "e": "AQAB",
    "n": int_to_base64(SMALL_KEY.public_key().public_numbers().n),
}
add(
    "a small key in the header",
    {"under the right kid": {"jwk": SMALL_JWK}, "without kid": {"jwk": SMALL_JWK, "kid": ABSENT}},
    lambda target, members: target.token(
        members, sign=lambda text: SMALL_KEY.sign(text, padding.PKCS1v15(), SHA256())
    ),
)

# Headers, in a token that the issuer's key has signed.

REFUSED_HEADERS = [
    {"jku": "https://example.com/keys"}, {"jku": None}, {"jwk": {}}, {"x5u": "file:///etc/passwd"},
    {"x5u": "https://example.com/x5u"}, {"x5c": ["MIIB"]},
    {"crit": ["exp"], "exp": 2500000000}, {"crit": ["kid"]}, {"crit": ["crit"]},
    *({"crit": crit} for crit in ([], None, False, "kid", {"kid": 1}, [["kid"]], [1])),
    {"b64": True}, {"b64": True, "crit": ["b64"]}, {"b64": False}, {"b64": False, "crit": ["b64"]},
]  # fmt: skip
add("header refused", REFUSED_HEADERS, header)


def payload_without_base64(target) -> str:
    """RFC 7797: such a payload must not contain a period, so its periods are escaped."""
    head = segment({"kid": target.key.kid, "alg": "RS256", "b64": False, "crit": ["b64"]})
    text = json.dumps(target.claims()).replace(".", "\\u002e")
    signature = signed_by(target.key)(f"{head}.{text}".encode())
    return f"{head}.{text}.{urlsafe_b64encode(signature).decode()}"


# Segments.


def encrypted(target) -> str:
    """A JWE that only the issuer's key can decrypt (RFC 7516)."""
    key = RSAKey.import_key(target.key.as_dict(private=False) | {"use": "enc", "alg": "RSA-OAEP"})
    head = {"alg": "RSA-OAEP", "enc": "A128CBC-HS256", "kid": key.kid}
    return jwe.encrypt_compact(head, json.dumps(target.claims()), key)


def mixed(first: str, second: str, take: str) -> str:
    """Segments of two tokens: "122" is the first's header, the second's payload and signature."""
    parts = zip(first.split("."), second.split("."), take, strict=True)
    return ".".join(mine if which == "1" else other for mine, other, which in parts)


add(
    "segments",
    {
        "two": lambda t: t.token().rpartition(".")[0],
        "four": lambda t: t.token() + ".x",
        "a period at the start": lambda t: "." + t.token(),
        "a period missing": lambda t: t.token().replace(".", "", 1),
        "empty header": lambda t: t.jws("", t.claims()),
        "empty payload": lambda t: t.changed("payload", lambda text: ""),
        "payload without Base64": payload_without_base64,
        "JWE": encrypted,
        "JWE that calls itself RS256": lambda t: ".".join(
            [t.token().split(".")[0], *encrypted(t).split(".")[1:]]
        ),
        "JWS JSON": lambda t: json.dumps(
            dict(zip(("protected", "payload", "signature"), t.token().split("."), strict=True))
        ),
        "the claims, not encoded": lambda t: json.dumps(t.claims()),
        "no JWT at all": lambda t: "kT4mV-9f2c61d0a7_8b",
        "the client's secret": lambda t: t.okta.client_secret,
        "the signature of another token": lambda t: mixed(t.token(), t.token(), "112"),
        "another header": lambda t: mixed(t.token(), t.token({"typ": "JWT"}), "211"),
        "the scope added": lambda t: mixed(t.token(claims={"scp": ["x"]}), t.token(), "121"),
        "a letter outside ASCII": lambda t: t.token() + "\u00e9",
        "padding": lambda t: t.token() + "==",
    },
)


def changed_signature(target, change) -> str:
    modulus = target.key.raw_value.public_key().public_numbers().n
    return target.token(sign=lambda text: change(signed_by(target.key)(text), modulus))


add(
    "signature",
    {
        "empty": lambda signature, n: b"",
        "without its last byte": lambda signature, n: signature[:-1],
        "a zero before it": lambda signature, n: b"\0" + signature,
        "its first bit flipped": lambda signature, n: bytes([signature[0] ^ 128]) + signature[1:],
        "its last bit flipped": lambda signature, n: signature[:-1] + bytes([signature[-1] ^ 1]),
        "zero": lambda signature, n: bytes(256),
        "one": lambda signature, n: bytes(255) + b"\1",
        "the modulus": lambda signature, n: n.to_bytes(256, "big"),
        # The same residue: it differs from the right one only in its length (RFC 8017, 8.2.2).
        "and the modulus": lambda signature, n: (int.from_bytes(signature, "big") + n).to_bytes(
            257, "big"
        ),
    },
    changed_signature,
)

# The JSON.


def with_members(text: str):
    """Add members, as literal JSON, at the end of a JSON object."""
    return lambda json_text: f"{json_text[:-1]}, {text}}}"


DEPTH = 4000
NOT_ONE_OBJECT = [
    '"alg"', '["alg", "kid", "exp"]', "5", "null", "NaN", "alg=RS256", "[" * DEPTH, "[" * 380,
    '{"a":' * (DEPTH // 4), "[" * (DEPTH // 2) + "]" * (DEPTH // 2),
]  # fmt: skip
CHANGED_OBJECT = {
    "a string that contains the object": json.dumps,
    "a list that contains the object": lambda text: f"[{text}]",
    "its last character missing": lambda text: text[:-1],
    "two objects": lambda text: text * 2,
    "not UTF-8": lambda text: with_members('"x": "\u00ff"')(text).encode("latin-1"),
    **{text[:20]: lambda _, text=text: text for text in NOT_ONE_OBJECT},
}
for part in ("header", "payload"):
    add(
        f"{part} is not one JSON object",
        CHANGED_OBJECT,
        lambda target, change, part=part: target.changed(part, change),
    )

# Claims.


def instead_of(claim: str):
    """Forge tokens with a claim whose value is literal JSON."""

    def forge(target, value) -> str:
        text = json.dumps(target.claims(**{claim: ABSENT}))
        return target.changed("payload", lambda _: with_members(f'"{claim}": {value}')(text))

    return forge


NO_TIMES = [
    "NaN", "Infinity", "-Infinity", "1e999", "null", "true", "false", '""', "{}", "[]",
    '"2500000000"', "[2500000000]", '{"value": 2500000000}', "2500000000" * 500,
]  # fmt: skip
for claim in ("exp", "iat", "nbf"):
    add(f"{claim} is not a time", {value[:20]: value for value in NO_TIMES}, instead_of(claim))

MINUTE = 60
# In seconds from now, and well beyond the minute by which clocks may differ.
WRONG_TIMES = [
    {"exp": -2 * MINUTE}, {"exp": -MINUTE - 1.5}, {"iat": -9000 * MINUTE, "exp": -8000 * MINUTE},
    {"iat": 5 * MINUTE}, {"iat": 5 * MINUTE + 0.5}, {"iat": 10.0**300}, {"nbf": 5 * MINUTE},
    {"nbf": 10**400},
]  # fmt: skip


def at_another_time(target, times) -> str:
    return claims(target, {name: int(time.time()) + seconds for name, seconds in times.items()})


add("wrong time", WRONG_TIMES, at_another_time)
add("expired before 1970", [{"exp": exp} for exp in (0, -1, -1e300, -(10**400))], claims)
add("missing", ["exp", "iat"], lambda target, claim: claims(target, {claim: ABSENT}))

NEARLY_RIGHT = [
    *("{}x", "{}/", "{} ", " {}", "{}\0", "{}\n", "{}\u200b", "https://example.com,{}"),
    *("https://example.com/?{}", "*", "other"),
    lambda text: text[:-1],
    lambda text: text[1:],
    str.swapcase,
]
ANOTHER_TYPE = [
    *(lambda text, value=value: value for value in (ABSENT, None, True, 0, "", [], {})),
    lambda text: [text, 1],
    lambda text: [[text]],
    lambda text: {text: True},
]


def changed_claim(claim: str, wrap=lambda value: value):
    def forge(target, change) -> str:
        text = target.claims()[claim]
        changed = change.format(text) if isinstance(change, str) else change(text)
        return claims(target, {claim: wrap(changed)})

    return forge


for claim in ("iss", "aud", "cid"):
    add(f"nearly the right {claim}", dict(enumerate(NEARLY_RIGHT)), changed_claim(claim))
    add(f"{claim} of another type", dict(enumerate(ANOTHER_TYPE)), changed_claim(claim))
# Only aud may be a list that contains the right value.
add("aud in a list", dict(enumerate(NEARLY_RIGHT)), changed_claim("aud", lambda value: [value]))
for claim in ("iss", "cid"):
    add(f"{claim} in a list", {"the right one": "{}"}, changed_claim(claim, lambda value: [value]))
NO_SCOPES = ["hooks", None, True, {"hooks": True}, [["hooks"]], ["hooks", 1], [None, "hooks"]]
add("scp is not a list of strings", NO_SCOPES, lambda target, scp: claims(target, {"scp": scp}))


def id_token(target, **changes) -> str:
    """An ID token that the same server issues when the same client signs a user in."""
    person = {"sub": "00u1", "name": "Ann", "amr": ["pwd"], "idp": "00o1", "nonce": "n"}
    right = {"aud": target.okta.client_id, "cid": ABSENT, "scp": ABSENT}
    return target.token(claims=right | person | changes)


add(
    "for another use",
    {
        "an ID token": id_token,
        "an ID token for both": lambda t: id_token(t, aud=[t.okta.client_id, "api://default"]),
        "another client's, the right one as subject": lambda t: claims(t, {"cid": "0oaOther"}),
        "the client only in other claims": lambda t: claims(
            t, {"cid": ABSENT} | dict.fromkeys(("client_id", "azp", "appid"), t.okta.client_id)
        ),
        "another server's": lambda t: t.attacker.issue(),
        "another server's in the issuer's name": lambda t: t.attacker.issue(iss=t.okta.issuer),
        "another issuer's, the right key": lambda t: claims(t, {"iss": t.attacker.issuer}),
        "the org server's": lambda t: claims(
            t, {"iss": t.okta.issuer.removesuffix("/oauth2/default")}
        ),
        "the client's own assertion": lambda t: private_key_jwt_sign(
            t.okta.client_key, t.okta.client_id, t.okta.token_endpoint, header={"kid": t.key.kid}
        ),
    },
)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(target, caplog, name):
    assert_refused(target, caplog, FORGED[name](target))


# The reasons that docs/troubleshooting.md names.
REASONS = {
    "key_unknown(_for_now)?": lambda t: t.attacker.issue(iss=t.okta.issuer),
    "client_not_admitted": lambda t: claims(t, {"cid": "0oaOther"}),
    "cid_missing": lambda t: claims(t, {"cid": ABSENT}),
    "bad_signature": lambda t: t.token(sign=signed_by(t.attacker.keys[0])),
    "invalid_header_value": lambda t: header(t, {"jku": "https://example.com/keys"}),
    "missing_header": lambda t: header(t, {"kid": ABSENT}),
    "malformed": lambda t: t.changed("payload", lambda text: f"[{text}]"),
    "expired_token:exp": lambda t: claims(t, {"exp": 1}),
    "invalid_claim:iss": lambda t: t.attacker.issue(),
    "invalid_claim:aud": lambda t: claims(t, {"aud": "https://api.example.com"}),
    "invalid_claim:iat": lambda t: claims(t, {"iat": 2500000000}),
    "missing_claim:exp": lambda t: claims(t, {"exp": ABSENT}),
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_log_says_why_a_token_was_refused(target, caplog, reason):
    assert_refused(target, caplog, REASONS[reason](target), reason=reason)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512"])
def test_with_another_algorithm_no_key_is_tried(target, caplog, algorithm):
    assert_refused(
        target, caplog, header(target, {"alg": algorithm}), reason="unsupported_algorithm"
    )


SCOPE_MISSING = [
    [], ["other"], list("hooks"), ["hooks.read", "hook"], ["hooks ", " hooks"], ["hooks other"],
    ["Hooks", "HOOKS"], ["hooks\0"], ["api://default/hooks"], ["*", ".*", "hook?", "%"], [""],
]  # fmt: skip


@pytest.mark.parametrize("scopes", SCOPE_MISSING, ids=str)
def test_a_valid_token_without_the_scope_is_a_403(target, caplog, scopes):
    assert_refused(
        target, caplog, claims(target, {"scp": scopes}), INSUFFICIENT_SCOPE, "scope_missing"
    )


@pytest.mark.parametrize("scope", ["hooks", ["hooks"]], ids=str)
def test_a_scope_in_other_claims_does_not_count(target, caplog, scope):
    others = {"scp": ABSENT} | dict.fromkeys(("scope", "scopes", "SCP", "groups"), scope)
    assert_refused(target, caplog, claims(target, others), INSUFFICIENT_SCOPE, "scope_missing")


# Where in the request the token is. These requests go through gunicorn.


@pytest.fixture(scope="module")
def service(okta, tmp_path_factory):
    with Service(oauth_settings(okta), tmp_path_factory.mktemp("attacks") / "log") as running:
        yield running


def send(
    service,
    headers,
    *,
    method="POST",
    path=HOOK,
    body=None,
    content_type="application/json",
) -> Response:
    """Send exactly these headers, in this order, on a new connection."""
    body = json.dumps(PAYLOAD) if body is None else body
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
        connection.putrequest(method, path)
        fixed = [("Content-Type", content_type), ("Content-Length", len(body))]
        for name, value in [*fixed, *headers]:
            connection.putheader(name, str(value).encode("latin-1"))
        connection.endheaders(body.encode())
        response = connection.getresponse()
        return Response(response.read(), response.status, response.getheaders())


@pytest.mark.parametrize("path", [HOOK, f"{HOOK}/", f"{HOOK}//", f"/.{HOOK}"])
def test_no_redirect_leads_to_the_right_path(okta, service, path):
    """Okta would not follow it."""
    response = send(service, bearer(okta.issue()).items(), path=path)
    assert response.status_code == (ACCEPTED if path == HOOK else 404)


PAIR = basic_header(*BASIC_PAIR)
PAIR_UNDER_BEARER = PAIR.replace("Basic", "Bearer")
# Values of Authorization, one header for each. {} is a good token.
WITH_A_BAD_TOKEN = [
    ["Bearer {}", "Bearer {}"], ["Bearer {}", "Bearer x"], ["Bearer x", "Bearer {}"],
    ["Bearer {}", ""], ["Bearer {}", PAIR], ["Bearer {},{}"], ["Bearer {} x"], ["Bearer Bearer {}"],
    ['Bearer "{}"'], ['Bearer token="{}"'], ["Bearer {}\u00a0"], [PAIR_UNDER_BEARER],
]  # fmt: skip
# RFC 6750, 2.1, and RFC 9110, 11.4: one or more spaces, and nothing else that looks like one.
WITHOUT_A_TOKEN = [
    ["", "Bearer {}"], [PAIR, "Bearer {}"], [""], [PAIR], ["{}"], ["Bearer"], ["Bearer{}"],
    ["Bearer:{}"], [",Bearer {}"], ["Bearer\t{}"], ["Bearer\u00a0{}"], ["Bearer\u0085{}"],
    ["\u00a0Bearer {}"], ["Token {}"], ["DPoP {}"], ["Basic {}"], ["Basic {user}"],
    ["Basic {password}"],
]  # fmt: skip
EVENT_AUTHORIZATION = [
    [PAIR, "Bearer {}"], ["Bearer {}", PAIR], [PAIR, PAIR], [PAIR, ""], [PAIR_UNDER_BEARER],
    ["Basic {}"],
]  # fmt: skip
AUTHORIZATION = [
    *((HOOK, INVALID_TOKEN, values) for values in WITH_A_BAD_TOKEN),
    *((HOOK, NO_TOKEN, values) for values in WITHOUT_A_TOKEN),
    *((EVENT_HOOK, NO_PAIR, values) for values in EVENT_AUTHORIZATION if EVENT_HOOK),
]


@pytest.mark.parametrize(("path", "expected", "values"), AUTHORIZATION, ids=repr)
def test_an_odd_authorization_header_is_refused(okta, service, path, expected, values):
    token = okta.issue()
    as_user, as_password = (basic_header(*pair)[6:] for pair in ((token, ""), ("", token)))
    for place, text in (("{}", token), ("{user}", as_user), ("{password}", as_password)):
        values = [value.replace(place, text) for value in values]
    headers = [("Authorization", value) for value in values]
    assert refusal(send(service, headers, path=path)) == expected
    assert not any(part in service.log for part in (*token.split(".")[1:], as_user, as_password))


# Where some OAuth servers accept a token (RFC 6750, 2.2 and 2.3), or a proxy may put one.
NOT_THE_HEADER = [
    {"path": HOOK + "?access_token={}"},
    {"path": HOOK + ";access_token={}"},
    {"body": "access_token={}", "content_type": "application/x-www-form-urlencoded"},
    {"body": '{"access_token": "{}", "data": {"context": {}}}'},
    {"headers": [("Cookie", "access_token={}; Authorization=Bearer {}")]},
    {"headers": [("X-Access-Token", "{}"), ("X-Amzn-Oidc-Accesstoken", "{}")]},
    {"headers": [("Proxy-Authorization", "Bearer {}"), ("X-Authorization", "Bearer {}")]},
    {"headers": [("X-Forwarded-Authorization", "Bearer {}")]},
    {"headers": [("Authorization_", "Bearer {}"), ("HTTP_AUTHORIZATION", "Bearer {}")]},
]
# Ways around the guard altogether, without a token.
WAYS_AROUND = [
    *({"path": path} for path in (f"/{HOOK}", f"/.{HOOK}", f"/healthz/..{HOOK}")),
    *({"path": path} for path in (f"/healthz%2f..%2f{HOOK[1:]}", "/healthz/", f"/healthz;{HOOK}")),
    *({"path": path} for path in (f"/healthz%00{HOOK}", HOOK.upper(), "/healthz")),
    {"path": f"http://healthz:80{HOOK}?/healthz"},
    {"path": "/healthz", "headers": [("X-HTTP-Method-Override", "GET")]},
    *({"method": method} for method in ("PUT", "OPTIONS", "PURGE")),
    {"method": "GET", "headers": [("X-Original-URL", "/healthz"), ("X-Rewrite-URL", "/healthz")]},
    {"method": "GET", "headers": [("PATH_INFO", "/healthz"), ("SCRIPT_NAME", HOOK)]},
    {"headers": [("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "::1")]},
    {"headers": [("X-Remote-User", "okta"), ("REMOTE_USER", "okta")]},
]


@pytest.mark.parametrize("request_", [*NOT_THE_HEADER, *WAYS_AROUND], ids=str)
def test_without_the_header_there_is_no_way_around_the_guard(okta, service, request_):
    token = okta.issue()
    headers = [(name, value.replace("{}", token)) for name, value in request_.get("headers", [])]
    others = {n: v.replace("{}", token) for n, v in request_.items() if n != "headers"}
    assert refusal(send(service, headers, **others)) == NO_TOKEN
    assert not any(part in service.log for part in token.split(".")[1:])
