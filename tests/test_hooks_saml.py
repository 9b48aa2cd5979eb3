import pytest

from tests.hook_app import changed, hook_client, refused_field, without

HOOK = "/SAMLHook"
LOGIN = "data.context.user.profile.login"
PAYLOAD = {
    "data": {
        "context": {"user": {"profile": {"login": "raj.gupta@example.com"}}},
        "assertion": {"claims": {}},
    }
}

client = hook_client()


def test_a_patient_gets_the_attribute():
    response = client.post(HOOK, json=PAYLOAD)
    assert response.status_code == 200
    attribute = {
        "attributes": {"NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"},
        "attributeValues": [{"attributes": {"xsi:type": "xs:string"}, "value": "6789"}],
    }
    operation = {"op": "add", "path": "/claims/extPatientId", "value": attribute}
    assert response.json == {
        "commands": [{"type": "com.okta.assertion.patch", "value": [operation]}]
    }


def test_nobody_else_does():
    response = client.post(HOOK, json=changed(PAYLOAD, {LOGIN: "ann@example.com"}))
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, ("MISSING_FIELD", LOGIN)),
        (without(PAYLOAD, LOGIN), ("MISSING_FIELD", LOGIN)),
        (changed(PAYLOAD, {LOGIN: None}), ("WRONG_TYPE", LOGIN)),
        (changed(PAYLOAD, {"data.context.user": None}), ("WRONG_TYPE", "data.context.user")),
    ],
)
def test_a_request_without_login_is_refused(body, refusal):
    assert refused_field(client.post(HOOK, json=body)) == refusal
