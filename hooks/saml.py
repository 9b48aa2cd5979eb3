"""SAML assertion inline hook: adds a patient ID to an assertion before Okta sends it.

Reads    data.context.user.profile.login
Answers  com.okta.assertion.patch, add /claims/extPatientId; 204 for a user who is not a patient
Guide    https://developer.okta.com/docs/guides/saml-inline-hook/
"""

from typing import Any

from flask.typing import ResponseReturnValue

from .contract import NO_CHANGE, HookBlueprint, Payload, add_claim, answer, command
from .sample_data import patient_id_for_assertion

bp = HookBlueprint("saml", __name__, kind="inline", event_type="com.okta.saml.tokens.transform")


@bp.post("/SAMLHook")
def enrich_assertion() -> ResponseReturnValue:
    payload = Payload.current()
    attributes = extra_attributes(payload.text("data.context.user.profile.login"))
    if not attributes:
        return NO_CHANGE
    operations = [add_claim(name, as_saml(value)) for name, value in attributes.items()]
    return answer(command("com.okta.assertion.patch", operations))


def extra_attributes(login: str) -> dict[str, str]:
    """The rule: which attributes to add to a user's assertion."""
    patient_id = patient_id_for_assertion(login)
    return {} if patient_id is None else {"extPatientId": patient_id}


def as_saml(value: str) -> dict[str, Any]:
    """A string as a SAML attribute (SAML 2.0 core, sections 2.7.3.1 and 8.2.3), in Okta's JSON."""
    return {
        "attributes": {"NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"},
        "attributeValues": [{"attributes": {"xsi:type": "xs:string"}, "value": value}],
    }
