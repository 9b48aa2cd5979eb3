"""OAuth 2.0 bearer tokens in front of inline hooks, and Basic in front of event hooks.

test_attacks.py holds the tokens that must be refused.
"""

import time

import pytest

from auth.caller import Refusal
from auth.oauth import OktaAccessTokenValidator
from local_okta.client import basic_header
from local_okta.samples import SAMPLES
from tests.support.gunicorn import (
    ACCEPTED,
    BASIC_PAIR,
    EVENT_HOOK,
    EVENT_PAYLOAD,
    HOOK,
    INVALID_TOKEN,
    NO_PAIR,
    NO_TOKEN,
    PAYLOAD,
    bearer,
    client_of,
    log_lines,
    needs_event_hooks,
    oauth_settings,
    refusal,
)

NO_BASIC_PAIR = {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASSWORD": ""}
WRONG_PAIR = ("okta", "wrong")


@pytest.fixture(scope="module")
def client(okta):
    return client_of(oauth_settings(okta))


def status(client, token: str) -> int:
    return client.post(HOOK, json=PAYLOAD, headers=bearer(token)).status_code


GOOD_CLAIMS = {
    "as Okta issues it": {},
    "aud a list with the audience": {"aud": ["https://elsewhere.example.com", "api://default"]},
    "several scopes": {"scp": ["other", "hooks"]},
    "other claims": {"groups": ["Everyone"], "tier": 3, "nested": {"a": [None]}},
    "times with a fraction": {"iat": 1700000000.5, "exp": 2.5e9, "nbf": 1700000000.5},
    "another subject": {"sub": "ann@example.com", "uid": "00u1"},
    "long": {"groups": [f"group-{number:04}" for number in range(380)]},
}


@pytest.mark.parametrize("claims", GOOD_CLAIMS.values(), ids=GOOD_CLAIMS)
def test_a_good_token_passes(okta, client, claims):
    assert status(client, okta.issue(**claims)) == ACCEPTED


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_case_insensitive_and_spaces_follow_it(okta, client, scheme):
    headers = {"Authorization": f"{scheme} {okta.issue()}"}
    assert client.post(HOOK, json=PAYLOAD, headers=headers).status_code == ACCEPTED


# In seconds from now. Time passes between making a token and checking it, so the values that time
# moves towards the limit keep a distance from it.
CLOCK_SKEW = [
    ("exp", -40, ACCEPTED),
    ("exp", -61, 401),
    ("iat", 59, ACCEPTED),
    ("iat", 120, 401),
    ("nbf", 59, ACCEPTED),
    ("nbf", 120, 401),
]


@pytest.mark.parametrize(("claim", "seconds", "expected"), CLOCK_SKEW)
def test_clocks_may_differ_by_a_minute(okta, client, claim, seconds, expected):
    assert status(client, okta.issue(**{claim: int(time.time()) + seconds})) == expected


def test_a_token_used_before_is_refused_once_it_expires(okta, client, monkeypatch):
    token = okta.issue()
    assert status(client, token) == ACCEPTED
    later = time.time() + 2 * 3600
    monkeypatch.setattr("time.time", lambda: later)
    assert status(client, token) == 401


def test_the_log_says_why_credentials_are_refused(okta, capsys):
    client = client_of(oauth_settings(okta))
    unknown = okta.sign(okta.claims(), {"kid": "another"})
    for header, reason in (
        (None, "no_credentials"),
        (basic_header(*BASIC_PAIR), "not_a_bearer_token"),
        ("Bearer x", "decode_error"),
        (f"Bearer {unknown}", "key_unknown"),
    ):
        client.post(HOOK, headers=header and {"Authorization": header})
        [line] = log_lines(capsys)
        assert f" auth=oauth result=refused reason={reason} " in line


def test_a_token_of_another_issuer_is_refused_before_its_key_is_looked_for(okta):
    key_ids = []
    validator = OktaAccessTokenValidator(
        issuer="https://example.com",
        audience="api://default",
        client_ids=(),
        key_for=key_ids.append,
    )
    with pytest.raises(Refusal) as raised:
        validator.authenticate_token(okta.issue())
    assert raised.value.reason == "invalid_claim:iss"
    assert key_ids == []


def test_event_hooks_accept_only_basic(okta, client):
    for path in {sample.path for sample in SAMPLES.values() if sample.kind == "event"}:
        assert client.post(path, json=EVENT_PAYLOAD, auth=BASIC_PAIR).status_code == 204
        for credentials in ({}, {"headers": bearer(okta.issue())}, {"auth": WRONG_PAIR}):
            assert refusal(client.post(path, json=EVENT_PAYLOAD, **credentials)) == NO_PAIR


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize(
    ("credentials", "expected"),
    [({}, NO_TOKEN), ({"auth": WRONG_PAIR}, NO_TOKEN), ({"headers": bearer("x")}, INVALID_TOKEN)],
    ids=["none", "pair", "token"],
)
def test_without_good_credentials_every_path_and_method_looks_the_same(
    client, method, credentials, expected
):
    for path in ("/", HOOK, "/no-such-path", "/healthz/", f"{HOOK}/", f"{EVENT_HOOK}/"):
        assert refusal(client.open(path, method=method, **credentials)) == expected
    # Only the challenge tells an event hook apart: it names what Okta must send there.
    assert client.open(EVENT_HOOK or "/", method=method, **credentials).status_code == 401


# method, path, the right statuses with a token, the right statuses with the Basic pair
WITH_CREDENTIALS = [
    ("POST", "/no-such-path", {404}, {404}),
    ("GET", "/", {404}, {404}),
    ("POST", f"{HOOK}/", {404}, {404}),
    ("GET", HOOK, {405}, {401, 405}),
    ("OPTIONS", HOOK, {405}, {401, 405}),
    *((method, EVENT_HOOK, {401, 405}, {405}) for method in ("PUT", "OPTIONS") if EVENT_HOOK),
    ("POST", "/healthz", {405}, {401, 405}),
]


@pytest.mark.parametrize(("method", "path", "with_token", "with_pair"), WITH_CREDENTIALS)
def test_with_credentials_an_unknown_path_is_404_and_a_wrong_method_405(
    okta, client, method, path, with_token, with_pair
):
    for authorization, expected in (
        (f"Bearer {okta.issue()}", with_token),
        (basic_header(*BASIC_PAIR), with_pair),
        # The scheme is compared without case here as well.
        (basic_header(*BASIC_PAIR).replace("Basic", "bAsIc"), with_pair),
        (f"Bearer {okta.issue(exp=1)}", {401}),
        (basic_header(*WRONG_PAIR), {401}),
    ):
        response = client.open(path, method=method, headers={"Authorization": authorization})
        assert response.status_code in expected
        assert "error" in response.json


@needs_event_hooks
def test_without_a_basic_pair_event_hooks_are_off(okta):
    client = client_of(oauth_settings(okta, **NO_BASIC_PAIR))
    assert status(client, okta.issue()) == ACCEPTED
    for credentials in (
        {},
        {"headers": bearer(okta.issue())},
        {"auth": BASIC_PAIR},
        {"auth": ("", "")},
        {"auth": ("None", "None")},
    ):
        assert refusal(client.post(EVENT_HOOK, json=EVENT_PAYLOAD, **credentials)) == NO_PAIR
    assert client.post("/no-such-path", auth=("", "")).status_code == 401


# settings, then the status for claims that the other settings would refuse
ONLY_ONE_CHECK = {
    "only the client": (
        {"OKTA_SCOPE": ""},
        [({"scp": ["other"]}, ACCEPTED), ({"scp": []}, ACCEPTED), ({"cid": "0oaOther"}, 401)],
    ),
    "only the scope": (
        {"OKTA_CLIENT_ID": ""},
        [
            ({"cid": "0oaOther"}, ACCEPTED),
            ({"scp": ["other"]}, 403),
            ({"cid": None}, 401),
            ({"cid": ""}, 401),
            ({"cid": ["0oaOther"]}, 401),
        ],
    ),
    "one of several clients": (
        {"OKTA_CLIENT_ID": "0oaFirst, 0oaSecond"},
        [
            ({"cid": "0oaFirst"}, ACCEPTED),
            ({"cid": "0oaSecond"}, ACCEPTED),
            ({"cid": "0oaThird"}, 401),
            ({"cid": "0oaFirst, 0oaSecond"}, 401),
        ],
    ),
}


@pytest.mark.parametrize(("others", "cases"), ONLY_ONE_CHECK.values(), ids=ONLY_ONE_CHECK)
def test_the_settings_decide_which_tokens_are_accepted(okta, others, cases):
    client = client_of(oauth_settings(okta, **others))
    for claims, expected in cases:
        assert status(client, okta.issue(**claims)) == expected


def test_the_log_says_who_passed_but_never_the_token(okta, capsys):
    client = client_of(oauth_settings(okta))
    for token, fields in (
        (okta.issue(), f"status={ACCEPTED} auth=oauth caller={okta.client_id} result=accepted"),
        (okta.issue(scp=["x"]), "status=403 auth=oauth result=refused reason=scope_missing"),
    ):
        capsys.readouterr()
        status(client, token)
        [line] = log_lines(capsys)
        assert f" {fields} " in line
        assert not any(part in line for part in token.split(".")[1:])
