"""The local Okta's authorization server over real HTTP: it must be as strict as Okta's."""

import json
import socket

import pytest
import requests
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from authlib.oauth2.rfc7523.client import ASSERTION_TYPE
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64decode

from local_okta.authorization_server import LocalOkta, new_key
from local_okta.endpoints import KEY_ROTATION, METADATA_PATHS

CLIENT_KEY = new_key()


@pytest.fixture(scope="module")
def okta():
    with LocalOkta(client_secret="a secret", scopes=("hooks", "more")) as server:
        yield server


def ask(okta, **form):
    form = {"grant_type": "client_credentials", "scope": "hooks"} | form
    return requests.post(okta.token_endpoint, data=form, timeout=30)


def ask_with_secret(okta, **form):
    client = {"client_id": okta.client_id, "client_secret": okta.client_secret}
    return ask(okta, **client | form)


def ask_with_key(okta, key=None, **claims):
    assertion = private_key_jwt_sign(
        key or okta.client_key, okta.client_id, okta.token_endpoint, claims=claims
    )
    return ask(okta, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)


def published_keys(okta):
    return requests.get(okta.jwks_uri, timeout=30).json()["keys"]


def verified(okta, token):
    return jwt.decode(token, KeySet.import_key_set({"keys": published_keys(okta)}), ["RS256"])


@pytest.mark.parametrize("path", METADATA_PATHS)
def test_metadata_names_the_issuer_and_where_its_endpoints_are(okta, path):
    metadata = requests.get(f"http://127.0.0.1:{okta.port}{path}", timeout=30).json()
    assert metadata["issuer"] == okta.issuer
    assert metadata["jwks_uri"] == okta.jwks_uri
    assert metadata["token_endpoint"] == okta.token_endpoint
    assert metadata["scopes_supported"] == ["hooks", "more"]
    methods = metadata["token_endpoint_auth_methods_supported"]
    assert methods == ["client_secret_post", "private_key_jwt"]


def test_published_keys_are_public(okta):
    for key in published_keys(okta):
        assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}


@pytest.mark.parametrize("ask_for_token", [ask_with_secret, ask_with_key])
def test_a_token_has_the_shape_of_oktas(okta, ask_for_token):
    response = ask_for_token(okta)
    assert response.status_code == 200
    assert response.json()["token_type"] == "Bearer"
    token = verified(okta, response.json()["access_token"])
    assert set(token.header) == {"kid", "alg"}
    claims = token.claims
    assert claims.pop("jti").startswith("AT.")
    assert claims.pop("exp") - claims.pop("iat") == response.json()["expires_in"] == 3600
    assert claims == {
        "ver": 1,
        "iss": okta.issuer,
        "aud": "api://default",
        "cid": okta.client_id,
        "scp": ["hooks"],
        "sub": okta.client_id,
    }


def test_several_scopes_become_a_list(okta):
    token = ask_with_secret(okta, scope="more hooks").json()["access_token"]
    assert verified(okta, token).claims["scp"] == ["more", "hooks"]


WRONG_FORMS = [
    ({"client_secret": "another secret"}, "invalid_client"),
    ({"client_secret": ""}, "invalid_client"),
    ({"client_secret": "sécret"}, "invalid_client"),
    ({"client_id": "0oaNobody"}, "invalid_client"),
    ({"scope": "hooks other"}, "invalid_scope"),
    ({"scope": "hook"}, "invalid_scope"),
    ({"scope": ""}, "invalid_scope"),
    ({"grant_type": "password"}, "unsupported_grant_type"),
]
WRONG_ASSERTIONS = [
    {"aud": "https://elsewhere.example.com"},
    {"exp": 1},
    {"iss": "someone"},
    {"sub": "someone"},
    {"key": new_key()},
]


@pytest.mark.parametrize(("form", "error"), WRONG_FORMS)
def test_a_wrong_request_for_a_token_is_refused(okta, form, error):
    response = ask_with_secret(okta, **form)
    assert (response.status_code, response.json()["error"]) == (400, error)


def test_client_secret_basic_is_refused(okta):
    form = {"grant_type": "client_credentials", "scope": "hooks"}
    pair = (okta.client_id, okta.client_secret)
    response = requests.post(okta.token_endpoint, data=form, auth=pair, timeout=30)
    assert response.json()["error"] == "invalid_client"


@pytest.mark.parametrize("wrong", WRONG_ASSERTIONS, ids=lambda wrong: next(iter(wrong)))
def test_a_wrong_assertion_is_refused(okta, wrong):
    assert ask_with_key(okta, **wrong).json()["error"] == "invalid_client"


def test_an_assertion_is_good_once(okta):
    assert ask_with_key(okta, jti="once").status_code == 200
    assert ask_with_key(okta, jti="once").json()["error"] == "invalid_client"


def test_a_token_can_only_be_posted_for(okta):
    assert requests.get(okta.token_endpoint, timeout=30).status_code == 405


def test_rotation_keeps_the_old_key_beside_the_new_one():
    with LocalOkta(client_key=CLIENT_KEY) as okta:
        before = okta.issue()
        [old] = published_keys(okta)
        url = f"http://127.0.0.1:{okta.port}{KEY_ROTATION}"
        answer = requests.post(url, json={"use": "sig"}, timeout=30)
        assert answer.json() == published_keys(okta)
        new, kept = published_keys(okta)
        assert kept == old
        assert verified(okta, okta.issue()).header["kid"] == new["kid"]
        assert verified(okta, before).header["kid"] == old["kid"]


def test_rotation_can_withdraw_the_old_key():
    with LocalOkta(client_key=CLIENT_KEY) as okta:
        kid = okta.rotate_keys(keep_old=False)
        assert [key["kid"] for key in published_keys(okta)] == [kid]


def test_rotation_wants_to_know_what_the_keys_are_for(okta):
    url = f"http://127.0.0.1:{okta.port}{KEY_ROTATION}"
    assert requests.post(url, json={}, timeout=30).status_code == 400


def test_requests_are_counted_by_path_even_where_they_fail():
    with LocalOkta(client_key=CLIENT_KEY) as okta:
        for path in METADATA_PATHS:
            requests.get(f"http://127.0.0.1:{okta.port}{path}", timeout=30)
        published_keys(okta)
        ask_with_secret(okta)
        okta.app.wsgi_app = out_of_order
        assert requests.get(okta.jwks_uri, timeout=30).status_code == 500
        assert okta.requests["/oauth2/default/v1/keys"] == 2
        assert okta.key_requests == 4


def out_of_order(environ, start_response):
    start_response("500 Out Of Order", [])
    return [b""]


def test_a_stopped_server_refuses_connections_and_returns_on_its_port():
    with LocalOkta(client_key=CLIENT_KEY) as okta:
        issuer = okta.issuer
        okta.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", okta.port))
        okta.start()
        assert okta.issuer == issuer
        assert published_keys(okta)


def test_a_connection_does_not_outlive_its_answer():
    with LocalOkta(client_key=CLIENT_KEY) as okta, requests.Session() as session:
        session.get(okta.jwks_uri, timeout=30)
        okta.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(okta.jwks_uri, timeout=30)


def test_a_taken_port_is_an_os_error(okta):
    with pytest.raises(OSError, match="in use"):
        LocalOkta(port=okta.port).start()


def test_any_token_can_be_made(okta):
    header = {"kid": okta.keys[0].kid, "alg": "none", "jku": "https://example.com"}
    parts = okta.sign({"cid": ["odd"]}, header).split(".")
    assert json.loads(urlsafe_b64decode(parts[0].encode())) == header
    assert json.loads(urlsafe_b64decode(parts[1].encode())) == {"cid": ["odd"]}
    assert parts[2] == ""
    foreign = okta.sign(okta.claims(exp=1), key=new_key())
    with pytest.raises(BadSignatureError):
        verified(okta, foreign)
    assert verified(okta, okta.issue(exp=1)).claims["exp"] == 1
