"""The hooks and samples against Okta's own description of them, if it is beside the project."""

import json
from typing import Any

import pytest
from jsonschema import Draft4Validator

from local_okta.samples import SAMPLES
from tests.support.client import hook_client
from tests.support.gunicorn import INLINE_SAMPLES, PROJECT

CONTRACT = PROJECT.parent / "shared" / "okta-contract"
DESCRIPTION = CONTRACT / "okta-openapi-hooks.json"
REQUESTS = sorted((CONTRACT / "requests").glob("*.json"))
# By the event type of a request: the names of request and answer in Okta's description.
SCHEMAS = {
    "com.okta.user.pre-registration": ("RegistrationInlineHookRequest", "RegistrationResponse"),
    "com.okta.oauth2.tokens.transform": ("TokenRequest", "TokenHookResponse"),
    "com.okta.saml.tokens.transform": ("SAMLPayLoad", "SAMLHookResponse"),
    "com.okta.user.credential.password.import": (
        "PasswordImportRequest",
        "PasswordImportResponse",
    ),
    "com.okta.telephony.provider": ("TelephonyRequest", "TelephonyResponse"),
    "com.okta.import.transform": ("UserImportRequest", "UserImportResponse"),
}
PATHS = {sample.payload["eventType"]: sample.path for sample in SAMPLES.values()}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    if not DESCRIPTION.exists():
        pytest.skip("Okta's description is not here")
    described = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    described["components"]["schemas"] = with_null(described["components"]["schemas"])
    return described


def with_null(schema: Any) -> Any:
    """Let every value be null: Okta's own examples have null where its schemas do not allow it."""
    if isinstance(schema, list):
        return [with_null(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: with_null(each) for name, each in schema.items()}
    if isinstance(schema.get("type"), str):
        changed["type"] = [schema["type"], "null"]
    return changed


def errors(description: dict[str, Any], schema: str, value: Any) -> list[str]:
    validator = Draft4Validator(description | {"$ref": f"#/components/schemas/{schema}"})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def examples(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All of Okta's example requests, by name."""
    described = description["components"]["examples"].items()
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in REQUESTS}
    found |= {name: each["value"] for name, each in described if "eventType" in each["value"]}
    assert len(found) >= 13
    return found


def test_every_example_request_of_okta_gets_an_answer_that_fits_its_schema(description):
    client = hook_client()
    for name, request in examples(description).items():
        event_type = request["eventType"]
        if event_type not in PATHS:
            continue
        response = client.post(PATHS[event_type], json=request)
        assert response.status_code in (200, 204), (name, response.json)
        if response.status_code == 200:
            assert errors(description, SCHEMAS[event_type][1], response.json) == []


@pytest.mark.parametrize("sample", INLINE_SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_and_its_answer_fit_the_schemas_of_okta(description, sample):
    if sample.payload["eventType"] not in SCHEMAS:
        pytest.skip("a hook of your own")
    request, answer = SCHEMAS[sample.payload["eventType"]]
    assert errors(description, request, sample.payload) == []
    response = hook_client().post(sample.path, json=sample.payload)
    assert errors(description, answer, response.json) == []


def test_the_events_of_a_sample_fit_the_schema_of_okta(description):
    for sample in SAMPLES.values():
        if sample.kind == "event":
            for event in sample.payload["data"]["events"]:
                assert errors(description, "LogEvent", event) == []
