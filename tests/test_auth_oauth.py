"""OAuth 2.0 bearer tokens in front of inline hooks, asked of a real gunicorn.

What must be refused, however it is dressed up, is in test_attacks.py.
"""

import time

import pytest

from app import create_app
from local_okta import client
from settings import Settings
from tests.service import (
    BASIC_PAIR,
    BEARER,
    EVENT_PAYLOAD,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    NO_PAIR,
    NO_TOKEN,
    PAYLOAD,
    bearer,
    refusal,
)

CHALLENGE = "WWW-Authenticate"
WRONG_PAIR = ("okta", "wrong")


def ask(service, headers=None, **arguments):
    return service.call("/tokenHook", json=PAYLOAD, headers=headers, **arguments)


def with_secret(okta):
    return client.client_secret(
        okta.token_endpoint, okta.client_id, okta.client_secret, okta.scopes[0]
    )


def with_key(okta):
    return client.private_key(okta.token_endpoint, okta.client_id, okta.client_key, okta.scopes[0])


@pytest.mark.parametrize("credentials", [with_secret, with_key])
def test_a_token_from_the_token_endpoint_passes(okta, oauth_service, credentials):
    url = oauth_service.url + "/tokenHook"
    answer = client.send(url, PAYLOAD, kind="token", credentials=credentials(okta))
    assert (answer.status, answer.error) == (204, None)


ACCEPTED = {
    "as Okta issues it": {},
    "aud a list with the audience": {"aud": ["https://elsewhere.example.com", "api://default"]},
    "several scopes": {"scp": ["other", "hooks"]},
    "claims of one's own": {"groups": ["Everyone"], "tier": 3, "nested": {"a": [None]}},
    "times with a fraction": {"iat": 1700000000.5},
    "nbf in the past": {"nbf": 1700000000},
    "another subject": {"sub": "ann@example.com", "uid": "00u1"},
    "long": {"groups": [f"group-{number:04}" for number in range(380)]},
}


@pytest.mark.parametrize("claims", ACCEPTED.values(), ids=ACCEPTED)
def test_a_good_token_passes(okta, oauth_service, claims):
    assert ask(oauth_service, bearer(okta.issue(**claims))).status_code == 204


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_case_insensitive_and_spaces_follow_it(okta, oauth_service, scheme):
    headers = {"Authorization": f"{scheme} {okta.issue()}"}
    assert ask(oauth_service, headers).status_code == 204


# In seconds from now. Time passes between the making of a token and its check, so the values that
# time moves towards the border keep a distance from it.
CLOCK_SKEW = [
    ("exp", -40, 204),
    ("exp", -61, 401),
    ("iat", 59, 204),
    ("iat", 120, 401),
    ("nbf", 59, 204),
    ("nbf", 120, 401),
]


@pytest.mark.parametrize(("claim", "seconds", "status"), CLOCK_SKEW)
def test_clocks_may_differ_by_a_minute(okta, oauth_service, claim, seconds, status):
    token = okta.issue(**{claim: int(time.time()) + seconds})
    assert ask(oauth_service, bearer(token)).status_code == status


def test_a_token_used_before_is_refused_once_it_expires(okta, oauth_service):
    status = None
    # On a slow machine a token may expire before its first use.
    while status != 204:
        headers = bearer(okta.issue(exp=int(time.time()) - 60 + 2))
        status = ask(oauth_service, headers).status_code
    oauth_service.wait_until(
        lambda: ask(oauth_service, headers).status_code == 401, "it never expires"
    )


NOT_A_TOKEN = {
    "nothing": {},
    "the Basic pair": {"auth": BASIC_PAIR},
    "another scheme": {"headers": {"Authorization": "Token abc"}},
    "the scheme alone": {"headers": {"Authorization": "Bearer"}},
    "an empty header": {"headers": {"Authorization": ""}},
}


@pytest.mark.parametrize("arguments", NOT_A_TOKEN.values(), ids=NOT_A_TOKEN)
def test_without_a_token_the_challenge_has_no_error_code(oauth_service, arguments):
    assert refusal(ask(oauth_service, **arguments)) == NO_TOKEN


@pytest.mark.parametrize("scopes", [["other"], ["hooks.read", "hook", "Hooks"], []])
def test_a_valid_token_without_the_scope_is_forbidden(okta, oauth_service, scopes):
    assert refusal(ask(oauth_service, bearer(okta.issue(scp=scopes)))) == INSUFFICIENT_SCOPE


def test_event_hooks_take_basic_alone(okta, oauth_service):
    for path in ("/userCreated", "/userDeactivated"):
        challenge = {"X-Okta-Verification-Challenge": "c1"}
        response = oauth_service.call(path, method="GET", headers=challenge, auth=BASIC_PAIR)
        assert response.json() == {"verification": "c1"}
        assert oauth_service.call(path, json=EVENT_PAYLOAD, auth=BASIC_PAIR).status_code == 204
        for credentials in ({}, {"headers": bearer(okta.issue())}, {"auth": WRONG_PAIR}):
            assert refusal(oauth_service.call(path, json=EVENT_PAYLOAD, **credentials)) == NO_PAIR


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]


@pytest.mark.parametrize("method", METHODS)
def test_without_credentials_every_path_and_method_looks_the_same(oauth_service, method):
    for path in ("/", "/tokenHook", "/no-such-path", "/healthz/", "/tokenHook/"):
        response = oauth_service.call(path, method=method)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, BEARER)
    # Only the challenge tells an event hook apart: it names what Okta is to send there.
    assert oauth_service.call("/userCreated", method=method).status_code == 401


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [({"auth": WRONG_PAIR}, NO_TOKEN), ({"headers": bearer("x.y.z")}, INVALID_TOKEN)],
    ids=["pair", "token"],
)
def test_wrong_credentials_do_not_tell_which_inline_hooks_there_are(
    oauth_service, credentials, expected
):
    for path in ("/tokenHook", "/", "/no-such-path", "/tokenHook/", "/userCreated/"):
        assert refusal(oauth_service.call(path, **credentials)) == expected


# method, path, status with a token, status with the Basic pair
WITH_CREDENTIALS = [
    ("POST", "/no-such-path", 404, 404),
    ("GET", "/", 404, 404),
    ("POST", "/tokenHook/", 404, 404),
    ("GET", "/tokenHook", 405, (401, 405)),
    ("OPTIONS", "/tokenHook", 405, (401, 405)),
    ("PUT", "/userCreated", (401, 405), 405),
    ("OPTIONS", "/userCreated", (401, 405), 405),
    ("POST", "/healthz", 405, (401, 405)),
]


@pytest.mark.parametrize(("method", "path", "with_token", "with_pair"), WITH_CREDENTIALS)
def test_with_credentials_an_unknown_path_is_404_and_a_wrong_method_405(
    okta, oauth_service, method, path, with_token, with_pair
):
    pair = client.basic_header(*BASIC_PAIR)
    for credentials, expected in (
        ({"headers": bearer(okta.issue())}, with_token),
        ({"auth": BASIC_PAIR}, with_pair),
        # The scheme is compared without case here as well.
        ({"headers": {"Authorization": pair.replace("Basic", "bAsIc")}}, with_pair),
        ({"headers": bearer(okta.issue(exp=1))}, 401),
        ({"auth": WRONG_PAIR}, 401),
    ):
        response = oauth_service.call(path, method=method, **credentials)
        allowed = expected if isinstance(expected, tuple) else (expected,)
        assert response.status_code in allowed
        assert "error" in response.json()


def app_with(okta, **settings):
    """A client of the app in this process, with settings of its own."""
    issuer = {"auth_mode": "oauth", "okta_issuer": okta.issuer}
    return create_app(Settings(**issuer | settings)).test_client()


def test_without_a_basic_pair_event_hooks_are_off(okta):
    client = app_with(okta, okta_client_id={okta.client_id})
    assert client.post("/tokenHook", json=PAYLOAD, headers=bearer(okta.issue())).status_code == 204
    for credentials in (
        {},
        {"headers": bearer(okta.issue())},
        {"auth": BASIC_PAIR},
        {"auth": ("", "")},
        {"auth": ("None", "None")},
    ):
        response = client.post("/userCreated", json=EVENT_PAYLOAD, **credentials)
        assert (response.status_code, response.json, response.headers[CHALLENGE]) == NO_PAIR
    assert client.post("/no-such-path", auth=("", "")).status_code == 401


# settings, then the status for claims that the other settings would refuse
ONE_CHECK_ALONE = {
    "the client alone": (
        {"okta_client_id": {"0oaFirst"}},
        [
            ({"cid": "0oaFirst", "scp": ["other"]}, 204),
            ({"cid": "0oaFirst", "scp": []}, 204),
            ({"cid": "0oaOther"}, 401),
        ],
    ),
    "the scope alone": (
        {"okta_scope": "hooks"},
        [
            ({"cid": "0oaOther"}, 204),
            ({"scp": ["other"]}, 403),
            ({"cid": None}, 401),
            ({"cid": ""}, 401),
            ({"cid": ["0oaOther"]}, 401),
        ],
    ),
    "one of several clients": (
        {"okta_client_id": {"0oaFirst", "0oaSecond"}},
        [
            ({"cid": "0oaFirst"}, 204),
            ({"cid": "0oaSecond"}, 204),
            ({"cid": "0oaThird"}, 401),
            ({"cid": "0oaFirst,0oaSecond"}, 401),
            ({"cid": "0oaFirst, 0oaSecond"}, 401),
        ],
    ),
}


@pytest.mark.parametrize(("others", "expected"), ONE_CHECK_ALONE.values(), ids=ONE_CHECK_ALONE)
def test_the_settings_say_which_tokens_open_the_hooks(okta, others, expected):
    client = app_with(okta, **others)
    for claims, status in expected:
        headers = bearer(okta.issue(**claims))
        assert client.post("/tokenHook", json=PAYLOAD, headers=headers).status_code == status


def test_the_log_says_who_passed_and_never_the_token(okta, oauth_service):
    for request_id, token, fields in (
        ("oauth-1", okta.issue(), f"status=204 auth=oauth caller={okta.client_id} result=accepted"),
        ("oauth-2", okta.issue(scp=["x"]), "status=403 auth=oauth result=refused"),
    ):
        ask(oauth_service, bearer(token) | {"X-Okta-Request-Id": request_id})
        assert f" {fields} " in oauth_service.line_of(request_id)
        for part in token.split(".")[1:]:
            assert part not in oauth_service.log
