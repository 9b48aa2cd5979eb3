import pytest

from hooks import token
from local_okta.samples import SAMPLES
from tests.support.client import changed, refused_field, without

HOOK = "/tokenHook"
USERNAME = "data.identity.claims.preferred_username"
LOGIN = "data.context.user.profile.login"
PAYLOAD = SAMPLES["token"].payload


def patch(kind, patient_id):
    claim = {"op": "add", "path": "/claims/extPatientId", "value": patient_id}
    return {"type": f"com.okta.{kind}.patch", "value": [claim]}


@pytest.mark.parametrize(
    ("fields", "patient_id"),
    [
        ({}, "1235"),
        ({USERNAME: "jessie.smith@example.com"}, "1235"),
        ({USERNAME: "kim.sato@example.com"}, "6789"),
        ({USERNAME: "rajiv.tal@example.com"}, "4235"),
        ({USERNAME: "michelle.test@example.com"}, "1235"),
        ({USERNAME: "Raj.Gupta@Example.COM"}, "6789"),
        ({USERNAME: "mark.christie2777@example.com"}, "4235"),
        # Without a user name in the token, the login is used.
        ({USERNAME: None, LOGIN: "raj.gupta@example.com"}, "6789"),
    ],
)
def test_a_patient_gets_the_claim(client, fields, patient_id):
    response = client.post(HOOK, json=changed(PAYLOAD, fields))
    assert response.status_code == 200
    assert response.json == {"commands": [patch("identity", patient_id)]}


@pytest.mark.parametrize(
    "body",
    [
        changed(PAYLOAD, {USERNAME: "ann@example.com"}),
        changed(PAYLOAD, {USERNAME: ""}),
        changed(PAYLOAD, {USERNAME: "bob.uncle@example.com"}),
        changed(PAYLOAD, {USERNAME: "mar\N{KELVIN SIGN}.christie2777@example.com"}),
        without(PAYLOAD, "data.identity"),
        changed(PAYLOAD, {"data.identity": None}),
    ],
)
def test_another_user_or_a_request_without_an_id_token_gets_no_claim(client, body):
    response = client.post(HOOK, json=body)
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        (PAYLOAD, ["identity", "access"]),
        (without(PAYLOAD, "data.access"), ["identity"]),
        (without(PAYLOAD, "data.identity"), ["access"]),
    ],
)
def test_with_one_line_changed_the_access_token_gets_the_claim_too(
    client, body, kinds, monkeypatch
):
    monkeypatch.setattr(token, "ENRICHED_TOKENS", ("identity", "access"))
    response = client.post(HOOK, json=body)
    assert response.json == {"commands": [patch(kind, "1235") for kind in kinds]}
    response = client.post(HOOK, json=changed(PAYLOAD, {"data.access": "yes"}))
    assert refused_field(response) == ("WRONG_TYPE", "data.access")


def test_an_access_token_of_a_client_without_a_user_is_left_unchanged(client, monkeypatch):
    monkeypatch.setattr(token, "ENRICHED_TOKENS", ("identity", "access"))
    body = without(PAYLOAD, "data.identity", "data.context.user")
    response = client.post(HOOK, json=body)
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, ("MISSING_FIELD", "data")),
        (changed(PAYLOAD, {"data": None}), ("WRONG_TYPE", "data")),
        (changed(PAYLOAD, {"data.identity": "yes"}), ("WRONG_TYPE", "data.identity")),
        (changed(PAYLOAD, {USERNAME: 7}), ("WRONG_TYPE", USERNAME)),
        (changed(PAYLOAD, {USERNAME: None, LOGIN: True}), ("WRONG_TYPE", LOGIN)),
        (changed(PAYLOAD, {USERNAME: None, LOGIN: None}), ("MISSING_FIELD", USERNAME)),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(client, body, refusal):
    assert refused_field(client.post(HOOK, json=body)) == refusal
