import pytest

from local_okta.samples import SAMPLES
from tests.support.client import changed, refused_field, without

HOOK = "/SAMLHook"
LOGIN = "data.context.user.profile.login"
PAYLOAD = SAMPLES["saml"].payload


@pytest.mark.parametrize(
    ("login", "patient_id"),
    [
        ("michelle.test@example.com", "1235"),
        ("Bob.Uncle@example.com", "6789"),
        # The token hook's guide gives Jessie a different number.
        ("jessie.smith@example.com", "4235"),
    ],
)
def test_a_patient_gets_the_attribute(client, login, patient_id):
    response = client.post(HOOK, json=changed(PAYLOAD, {LOGIN: login}))
    assert response.status_code == 200
    attribute = {
        "attributes": {"NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"},
        "attributeValues": [{"attributes": {"xsi:type": "xs:string"}, "value": patient_id}],
    }
    operation = {"op": "add", "path": "/claims/extPatientId", "value": attribute}
    assert response.json == {
        "commands": [{"type": "com.okta.assertion.patch", "value": [operation]}]
    }


@pytest.mark.parametrize("login", ["ann@example.com", "kim.sato@example.com"])
def test_a_user_who_is_not_a_patient_gets_no_attribute(client, login):
    response = client.post(HOOK, json=changed(PAYLOAD, {LOGIN: login}))
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(without(PAYLOAD, LOGIN), "MISSING_FIELD"), (changed(PAYLOAD, {LOGIN: None}), "WRONG_TYPE")],
)
def test_a_request_without_login_is_refused(client, body, reason):
    assert refused_field(client.post(HOOK, json=body)) == (reason, LOGIN)
