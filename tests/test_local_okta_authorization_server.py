"""The local Okta's authorization server over real HTTP: it must be as strict as Okta's."""

import pytest
import requests
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from authlib.oauth2.rfc7523.client import ASSERTION_TYPE
from joserfc import jwt
from joserfc.jwk import KeySet

from local_okta.authorization_server import LocalOkta, new_key
from local_okta.endpoints import KEY_ROTATION


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


def ask_with_key(okta, key=None, scope="hooks", **claims):
    assertion = private_key_jwt_sign(
        key or okta.client_key, okta.client_id, okta.token_endpoint, claims=claims
    )
    return ask(okta, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion, scope=scope)


def published_keys(okta):
    return requests.get(okta.jwks_uri, timeout=30).json()["keys"]


def verified(okta, token):
    return jwt.decode(token, KeySet.import_key_set({"keys": published_keys(okta)}), ["RS256"])


@pytest.mark.parametrize("ask_for_token", [ask_with_secret, ask_with_key])
def test_a_token_has_the_shape_of_oktas(okta, ask_for_token):
    response = ask_for_token(okta, scope="more hooks")
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
        "scp": ["more", "hooks"],
        "sub": okta.client_id,
    }


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_secret": "another secret"}, "invalid_client"),
        ({"client_secret": "sécret"}, "invalid_client"),
        ({"client_id": "0oaNobody"}, "invalid_client"),
        ({"scope": "hooks other"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_wrong_request_for_a_token_is_refused(okta, form, error):
    response = ask_with_secret(okta, **form)
    assert (response.status_code, response.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    "wrong", [{"aud": "https://elsewhere.example.com"}, {"exp": 1}, {"key": new_key()}], ids=list
)
def test_a_wrong_assertion_is_refused(okta, wrong):
    assert ask_with_key(okta, **wrong).json()["error"] == "invalid_client"


def test_an_assertion_can_be_used_only_once(okta):
    assert ask_with_key(okta, jti="once").status_code == 200
    assert ask_with_key(okta, jti="once").json()["error"] == "invalid_client"


def test_rotation_keeps_the_old_key_beside_the_new_one_and_publishes_no_secret(okta):
    def rotate(body):
        url = f"http://127.0.0.1:{okta.port}{KEY_ROTATION}"
        return requests.post(url, json=body, timeout=30)

    before, old = okta.issue(), published_keys(okta)[0]
    assert rotate({}).status_code == 400
    assert rotate({"use": "sig"}).json() == published_keys(okta)
    new, kept = published_keys(okta)
    assert kept == old
    assert set(new) == {"kty", "use", "alg", "kid", "n", "e"}
    assert verified(okta, okta.issue()).header["kid"] == new["kid"]
    assert verified(okta, before).header["kid"] == old["kid"]


def test_a_stopped_server_refuses_connections_and_restarts_on_its_port(okta):
    with requests.Session() as session:
        session.get(okta.jwks_uri, timeout=30)
        address = okta.jwks_uri
        okta.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(address, timeout=30)
    okta.start()
    assert requests.get(address, timeout=30).status_code == 200
