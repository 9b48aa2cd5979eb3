"""OAuth 2.0 bearer tokens in front of inline hooks, asked of a real gunicorn.

What must be refused, however it is dressed up, is in test_attacks.py.
"""

import time
from dataclasses import asdict

import pytest
from flask import g

from app import create_app
from auth.keys import keys_of
from auth.oauth import OktaAccessTokenValidator, TokenRefused
from local_okta import client
from local_okta.authorization_server import new_key
from settings import Settings
from tests.service import BASIC_PAIR, Service, bearer, oauth_settings

TOKEN_CALL = {"eventId": "e1", "data": {"context": {}}}
EVENT_CALL = {"eventId": "e2", "data": {"events": []}}
UNAUTHORIZED = {"error": {"errorSummary": "Unauthorized", "errorCauses": []}}
FORBIDDEN = {"error": {"errorSummary": "Forbidden", "errorCauses": []}}
BEARER = 'Bearer realm="okta-hooks"'
NO_TOKEN = (401, UNAUTHORIZED, BEARER)
INVALID_TOKEN = (401, UNAUTHORIZED, f'{BEARER}, error="invalid_token"')
INSUFFICIENT_SCOPE = (403, FORBIDDEN, f'{BEARER}, error="insufficient_scope"')
NO_PAIR = (401, UNAUTHORIZED, 'Basic realm="okta-hooks", charset="UTF-8"')


def ask(service, headers=None, **arguments):
    return service.call("/tokenHook", json=TOKEN_CALL, headers=headers, **arguments)


def refusal(response):
    return response.status_code, response.json(), response.headers["WWW-Authenticate"]


def with_secret(okta):
    return client.client_secret(
        okta.token_endpoint, okta.client_id, okta.client_secret, okta.scopes[0]
    )


def with_key(okta):
    return client.private_key(okta.token_endpoint, okta.client_id, okta.client_key, okta.scopes[0])


@pytest.mark.parametrize("credentials", [with_secret, with_key])
def test_a_token_from_the_token_endpoint_passes(okta, oauth_service, credentials):
    url = oauth_service.url + "/tokenHook"
    answer = client.send(url, TOKEN_CALL, kind="token", credentials=credentials(okta))
    assert (answer.status, answer.error) == (204, None)


ACCEPTED = {
    "as Okta issues it": {},
    "aud a list with the audience": {"aud": ["https://elsewhere.example.com", "api://default"]},
    "several scopes": {"scp": ["other", "hooks"]},
    "claims of one's own": {"groups": ["Everyone"], "tier": 3, "nested": {"a": [None]}},
    "times with a fraction": {"iat": 1700000000.5},
    "nbf in the past": {"nbf": 1700000000},
    "another subject": {"sub": "ann@example.com", "uid": "00u1"},
}


@pytest.mark.parametrize("claims", ACCEPTED.values(), ids=ACCEPTED)
def test_a_good_token_passes(okta, oauth_service, claims):
    assert ask(oauth_service, bearer(okta.issue(**claims))).status_code == 204


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_case_insensitive_and_spaces_follow_it(okta, oauth_service, scheme):
    headers = {"Authorization": f"{scheme} {okta.issue()}"}
    assert ask(oauth_service, headers).status_code == 204


def test_a_long_token_passes(okta, oauth_service):
    groups = [f"group-{number:04}" for number in range(380)]
    token = okta.issue(groups=groups)
    assert 7000 < len(token) < 8000
    assert ask(oauth_service, bearer(token)).status_code == 204


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


def test_a_token_used_before_is_verified_anew_with_another_key(okta):
    """A key that is withdrawn, or replaced under its own ID, takes with it what it signed."""
    keys = dict(keys_of(okta.key_set()))
    validator = OktaAccessTokenValidator(
        issuer=okta.issuer,
        audience="api://default",
        client_ids=frozenset({okta.client_id}),
        key_for=keys.__getitem__,
        realm="okta-hooks",
    )
    token = okta.issue()
    kid = okta.keys[0].kid
    for _ in range(2):
        assert validator.authenticate_token(token).client_id == okta.client_id
    keys |= keys_of({"keys": [new_key().as_dict(private=False) | {"kid": kid}]})
    with pytest.raises(TokenRefused) as refused:
        validator.authenticate_token(token)
    assert refused.value.reason == "bad_signature"
    del keys[kid]
    with pytest.raises(KeyError):
        validator.authenticate_token(token)


def test_a_good_token_makes_no_other_signature_good(okta, oauth_service):
    token = okta.issue()
    assert ask(oauth_service, bearer(token)).status_code == 204
    signed, _, signature = token.rpartition(".")
    other = okta.issue(jti="another").rpartition(".")[2]
    for forged in (f"{signed}.{other}", f"{signed}.{signature[:-4]}", f"{signed}.", signed):
        assert refusal(ask(oauth_service, bearer(forged))) == INVALID_TOKEN
    assert ask(oauth_service, bearer(token)).status_code == 204


def test_without_credentials_the_challenge_has_no_error_code(oauth_service):
    assert refusal(ask(oauth_service)) == NO_TOKEN


NOT_A_TOKEN = {
    "the Basic pair": {"auth": BASIC_PAIR},
    "another scheme": {"headers": {"Authorization": "Token abc"}},
    "the scheme alone": {"headers": {"Authorization": "Bearer"}},
    "an empty header": {"headers": {"Authorization": ""}},
}


@pytest.mark.parametrize("arguments", NOT_A_TOKEN.values(), ids=NOT_A_TOKEN)
def test_on_an_inline_hook_anything_but_a_token_is_answered_alike(oauth_service, arguments):
    assert refusal(ask(oauth_service, **arguments)) == NO_TOKEN


def test_the_answer_never_tells_why_a_token_was_refused(okta, oauth_service):
    token = okta.issue()
    refused = [
        "abc",
        token[:-8],
        okta.sign(okta.claims(), {"alg": "none"}),
        okta.sign(okta.claims(), {"kid": "unknown"}),
        *(okta.issue(**claim) for claim in ({"exp": 1}, {"aud": "x"}, {"cid": "x"}, {"scp": "x"})),
    ]
    for token in refused:
        assert refusal(ask(oauth_service, bearer(token))) == INVALID_TOKEN


@pytest.mark.parametrize("scopes", [["other"], ["hooks.read", "hook", "Hooks"], []])
def test_a_valid_token_without_the_scope_is_forbidden(okta, oauth_service, scopes):
    assert refusal(ask(oauth_service, bearer(okta.issue(scp=scopes)))) == INSUFFICIENT_SCOPE


def test_event_hooks_take_basic_alone(okta, oauth_service):
    for path in ("/userCreated", "/userDeactivated"):
        challenge = {"X-Okta-Verification-Challenge": "c1"}
        response = oauth_service.call(path, method="GET", headers=challenge, auth=BASIC_PAIR)
        assert response.json() == {"verification": "c1"}
        assert oauth_service.call(path, json=EVENT_CALL, auth=BASIC_PAIR).status_code == 204
        for credentials in ({}, {"headers": bearer(okta.issue())}, {"auth": ("okta", "wrong")}):
            assert refusal(oauth_service.call(path, json=EVENT_CALL, **credentials)) == NO_PAIR


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]


@pytest.mark.parametrize("method", METHODS)
def test_without_credentials_every_path_and_method_looks_the_same(oauth_service, method):
    for path in ("/", "/tokenHook", "/no-such-path", "/healthz/", "/tokenHook/"):
        response = oauth_service.call(path, method=method)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == BEARER
    # Only the challenge tells an event hook apart: it names what Okta is to send there.
    assert oauth_service.call("/userCreated", method=method).status_code == 401


@pytest.mark.parametrize(
    "credentials",
    [{"auth": ("okta", "wrong")}, {"headers": bearer("x.y.z")}],
    ids=["pair", "token"],
)
def test_wrong_credentials_do_not_tell_which_inline_hooks_there_are(oauth_service, credentials):
    known = refusal(oauth_service.call("/tokenHook", **credentials))
    for path in ("/", "/no-such-path", "/tokenHook/", "/userCreated/"):
        assert refusal(oauth_service.call(path, **credentials)) == known


# method, path, status with a token, status with the Basic pair
WITH_CREDENTIALS = [
    ("POST", "/no-such-path", 404, 404),
    ("GET", "/", 404, 404),
    ("POST", "/tokenHook/", 404, 404),
    ("GET", "/tokenHook", 405, 401),
    ("OPTIONS", "/tokenHook", 405, 401),
    ("PUT", "/userCreated", 401, 405),
    ("OPTIONS", "/userCreated", 401, 405),
    ("POST", "/healthz", 405, 401),
]


@pytest.mark.parametrize(("method", "path", "with_token", "with_pair"), WITH_CREDENTIALS)
def test_with_credentials_an_unknown_path_is_404_and_a_wrong_method_405(
    okta, oauth_service, method, path, with_token, with_pair
):
    for credentials, status in (
        ({"headers": bearer(okta.issue())}, with_token),
        ({"auth": BASIC_PAIR}, with_pair),
        ({"headers": bearer(okta.issue(exp=1))}, 401),
        ({"auth": ("okta", "wrong")}, 401),
    ):
        response = oauth_service.call(path, method=method, **credentials)
        assert response.status_code == status
        assert "error" in response.json()


def test_health_is_open_and_ready(oauth_service):
    for path in ("/healthz", "/readyz"):
        response = oauth_service.call(path, method="GET")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_without_a_basic_pair_event_hooks_are_off(okta, tmp_path):
    settings = oauth_settings(okta, BASIC_AUTH_USER="", BASIC_AUTH_PASSWORD="")
    with Service(settings, tmp_path / "log") as service:
        assert ask(service, bearer(okta.issue())).status_code == 204
        for credentials in (
            {},
            {"headers": bearer(okta.issue())},
            {"auth": BASIC_PAIR},
            {"auth": ("", "")},
            {"auth": ("None", "None")},
        ):
            assert refusal(service.call("/userCreated", json=EVENT_CALL, **credentials)) == NO_PAIR
        assert service.call("/no-such-path", auth=("", "")).status_code == 401
        assert service.log.count("event hooks are off") == 1


# settings, then the status for claims that the other settings would refuse
ONE_CHECK_ALONE = {
    "the client alone": (
        {"OKTA_SCOPE": ""},
        [({"scp": ["other"]}, 204), ({"scp": []}, 204), ({"cid": "0oaOther"}, 401)],
    ),
    "the scope alone": (
        {"OKTA_CLIENT_ID": ""},
        [({"cid": "0oaOther"}, 204), ({"scp": ["other"]}, 403), ({"cid": None}, 401)],
    ),
    "one of several clients": (
        {"OKTA_CLIENT_ID": "0oaFirst, 0oaSecond"},
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
def test_the_settings_say_which_tokens_may_call(okta, tmp_path, others, expected):
    with Service(oauth_settings(okta, **others), tmp_path / "log") as service:
        for claims, status in expected:
            assert ask(service, bearer(okta.issue(**claims))).status_code == status


def test_the_log_says_who_passed_and_why_not_and_never_the_token(okta, oauth_service):
    calls = {
        "oauth-log-1": (okta.issue(), ["status=204", f"caller={okta.client_id}", "event_id=e1"]),
        "oauth-log-2": (okta.issue(exp=1), ["status=401", "reason=expired_token:exp"]),
        "oauth-log-3": (okta.issue(scp=["x"]), ["status=403", "reason=scope_missing"]),
    }
    for request_id, (token, _) in calls.items():
        ask(oauth_service, bearer(token) | {"X-Okta-Request-Id": request_id})
    log = oauth_service.log
    for request_id, (token, fields) in calls.items():
        line = next(line for line in log.splitlines() if f"request_id={request_id}" in line)
        result = "accepted" if request_id == "oauth-log-1" else "refused"
        for field in ("hook=token", "auth=oauth", f"result={result}", *fields):
            assert field in line
        _, payload, signature = token.split(".")
        assert payload not in log
        assert signature not in log


OAUTH_CALLER = {"method": "oauth", "user": None}
BASIC_CALLER = {"method": "basic", "user": "okta", "client_id": None, "scopes": frozenset()}


def test_a_hook_knows_its_caller(okta):
    app = create_app(
        Settings(
            auth_mode="oauth",
            basic_auth_user="okta",
            basic_auth_password="secret",
            okta_issuer=okta.issuer,
            okta_client_id=frozenset({okta.client_id}),
            okta_scope=okta.scopes[0],
        )
    )
    seen = callers_seen(app)
    client = app.test_client()
    token = okta.issue(scp=["hooks", "other"])
    assert client.post("/tokenHook", json=TOKEN_CALL, headers=bearer(token)).status_code == 204
    assert client.post("/userCreated", json=EVENT_CALL, auth=("okta", "secret")).status_code == 204
    scopes = frozenset({"hooks", "other"})
    assert seen == [OAUTH_CALLER | {"client_id": okta.client_id, "scopes": scopes}, BASIC_CALLER]


def test_a_hook_knows_its_caller_in_basic_mode():
    app = create_app(Settings(basic_auth_user="okta", basic_auth_password="secret"))
    seen = callers_seen(app)
    client = app.test_client()
    assert client.post("/tokenHook", json=TOKEN_CALL, auth=("okta", "secret")).status_code == 204
    assert seen == [BASIC_CALLER]


def callers_seen(app) -> list[dict]:
    """What the hooks find in `g.caller`, call by call."""
    seen = []
    for endpoint, view in app.view_functions.items():

        def noting(view=view):
            seen.append(asdict(g.caller))
            return view()

        app.view_functions[endpoint] = noting
    return seen
