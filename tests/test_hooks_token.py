import pytest

from hooks import token
from tests.hook_app import changed, hook_client, refused_field, without

HOOK = "/tokenHook"
USERNAME = "data.identity.claims.preferred_username"
LOGIN = "data.context.user.profile.login"
PAYLOAD = {
    "data": {
        "context": {"user": {"profile": {"login": "michelle.test@example.com"}}},
        "identity": {"claims": {"preferred_username": "michelle.test@example.com"}},
        "access": {"claims": {"sub": "michelle.test@example.com"}},
    }
}

client = hook_client()


def patch(kind, patient_id):
    claim = {"op": "add", "path": "/claims/extPatientId", "value": patient_id}
    return {"type": f"com.okta.{kind}.patch", "value": [claim]}


@pytest.mark.parametrize(
    ("username", "patient_id"),
    [
        ("michelle.test@example.com", "1235"),
        ("raj.gupta@example.com", "6789"),
        ("mark.christie2777@example.com", "4235"),
        ("Raj.Gupta@Example.COM", "6789"),
    ],
)
def test_a_patient_gets_the_claim(username, patient_id):
    response = client.post(HOOK, json=changed(PAYLOAD, {USERNAME: username}))
    assert response.status_code == 200
    assert response.json == {"commands": [patch("identity", patient_id)]}


@pytest.mark.parametrize(
    "username", ["ann@example.com", "", "mar\N{KELVIN SIGN}.christie2777@example.com"]
)
def test_nobody_else_does(username):
    response = client.post(HOOK, json=changed(PAYLOAD, {USERNAME: username}))
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize("body", [without(PAYLOAD, USERNAME), changed(PAYLOAD, {USERNAME: None})])
def test_the_login_counts_where_the_token_has_no_username(body):
    body["data"]["context"]["user"]["profile"]["login"] = "raj.gupta@example.com"
    assert client.post(HOOK, json=body).json == {"commands": [patch("identity", "6789")]}


def test_without_an_id_token_nothing_changes():
    response = client.post(HOOK, json=without(PAYLOAD, "data.identity"))
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        (PAYLOAD, ["identity", "access"]),
        (without(PAYLOAD, "data.access"), ["identity"]),
        (without(PAYLOAD, "data.identity"), ["access"]),
    ],
)
def test_with_one_line_changed_the_access_token_gets_the_claim_too(body, kinds, monkeypatch):
    monkeypatch.setattr(token, "ENRICHED_TOKENS", ("identity", "access"))
    response = client.post(HOOK, json=body)
    assert response.json == {"commands": [patch(kind, "1235") for kind in kinds]}
    response = client.post(HOOK, json=changed(PAYLOAD, {"data.access": None}))
    assert refused_field(response) == ("WRONG_TYPE", "data.access")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, ("MISSING_FIELD", "data")),
        (changed(PAYLOAD, {"data": None}), ("WRONG_TYPE", "data")),
        (changed(PAYLOAD, {"data.identity": None}), ("WRONG_TYPE", "data.identity")),
        (changed(PAYLOAD, {"data.identity": []}), ("WRONG_TYPE", "data.identity")),
        (changed(PAYLOAD, {"data.identity.claims": None}), ("WRONG_TYPE", "data.identity.claims")),
        (changed(PAYLOAD, {USERNAME: 7}), ("WRONG_TYPE", USERNAME)),
        (changed(PAYLOAD, {USERNAME: None, LOGIN: True}), ("WRONG_TYPE", LOGIN)),
        (changed(PAYLOAD, {USERNAME: None, LOGIN: None}), ("MISSING_FIELD", USERNAME)),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(body, refusal):
    assert refused_field(client.post(HOOK, json=body)) == refusal
