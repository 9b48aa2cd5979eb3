import pytest

from local_okta.samples import SAMPLES
from tests.support.client import changed, hook_client, refused_field, without

HOOK = "/SAMLHook"
LOGIN = "data.context.user.profile.login"
PAYLOAD = SAMPLES["saml"].payload

client = hook_client()


def test_a_patient_gets_the_attribute():
    response = client.post(HOOK, json=PAYLOAD)
    assert response.status_code == 200
    attribute = {
        "attributes": {"NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"},
        "attributeValues": [{"attributes": {"xsi:type": "xs:string"}, "value": "1235"}],
    }
    operation = {"op": "add", "path": "/claims/extPatientId", "value": attribute}
    assert response.json == {
        "commands": [{"type": "com.okta.assertion.patch", "value": [operation]}]
    }


def test_nobody_else_does():
    response = client.post(HOOK, json=changed(PAYLOAD, {LOGIN: "ann@example.com"}))
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(without(PAYLOAD, LOGIN), "MISSING_FIELD"), (changed(PAYLOAD, {LOGIN: None}), "WRONG_TYPE")],
)
def test_a_request_without_login_is_refused(body, reason):
    assert refused_field(client.post(HOOK, json=body)) == (reason, LOGIN)
