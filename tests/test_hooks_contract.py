import json

import pytest
from flask import g

from hooks.contract import (
    ANSWER_LIMIT,
    NO_CHANGE,
    HookBlueprint,
    Payload,
    UnreadableRequest,
    add_claim,
    answer,
    command,
)
from local_okta.samples import SAMPLES
from tests.support.client import hook_client, refused_field

PATH = "/contract"
PAYLOAD = {"eventType": "com.example.own", "data": {"text": "x"}}


@pytest.fixture
def client():
    """A client of an app with one small hook, whose view reads one field."""
    bp = HookBlueprint("own", __name__, kind="inline", event_type="com.example.own")

    @bp.post(PATH)
    def view():
        Payload.current().text("data.text")
        return NO_CHANGE

    client = hook_client()
    client.application.register_blueprint(bp)
    return client


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 204),
        (None, 415),
        ("text/json", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
def test_only_json_is_read(client, content_type, status):
    response = client.post(PATH, data=json.dumps(PAYLOAD), content_type=content_type)
    assert response.status_code == status
    if status == 415:
        assert "application/json" in response.json["error"]["errorSummary"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        json.dumps({"a": 1}).encode("utf-16"),
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' + b"1" * 10_000 + b"}",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_what_is_not_a_json_object_is_refused(client, body):
    response = client.post(PATH, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json["error"]["errorSummary"].startswith("The body ")
    assert response.json["error"]["errorCauses"] == []


def test_a_body_that_is_cut_short_is_said_to_be_incomplete(client):
    length = {"CONTENT_LENGTH": "50"}
    body = {"data": "{", "content_type": "application/json"}
    response = client.post(PATH, **body, environ_overrides=length)
    assert response.status_code == 400
    assert response.json["error"]["errorSummary"] == "The body is incomplete"


def test_fields_that_no_hook_reads_are_ignored(client):
    others = {"more": {"half": "\ud800"}, "large": 1e300, "eventTypeVersion": 1, "eventType": []}
    assert client.post(PATH, json=PAYLOAD | others).status_code == 204


@pytest.mark.parametrize(
    ("event_type", "warnings"),
    [("com.example.own", 0), (None, 0), (7, 0), ("com.okta.saml.tokens.transform", 1)],
)
def test_a_request_for_another_kind_of_hook_is_answered_and_logged(
    client, caplog, event_type, warnings
):
    assert client.post(PATH, json=PAYLOAD | {"eventType": event_type}).status_code == 204
    noted = {"path": PATH, "event_type": event_type, "expected": "com.example.own"}
    assert [record.fields for record in caplog.records] == [noted] * warnings


def test_every_sample_has_the_event_type_that_its_path_expects(caplog):
    client = hook_client()
    for sample in SAMPLES.values():
        client.post(sample.path, json=sample.payload)
    assert "another kind" not in caplog.text


@pytest.mark.parametrize(
    ("event_id", "noted"), [("delivery-7", "delivery-7"), (7, None), ("\udfff", None)]
)
def test_the_event_id_is_noted_for_the_log(client, event_id, noted):
    with client.application.test_request_context(method="POST", json={"eventId": event_id}):
        Payload.current()
        assert g.event_id == noted


def test_a_refusal_names_the_field_and_never_its_value(client):
    response = client.post(PATH, json={"data": {"text": {"secret": 4711}}})
    assert refused_field(response) == ("WRONG_TYPE", "data.text")
    assert b"secret" not in response.data
    assert b"4711" not in response.data


BODY = {
    "text": "x",
    "half": "\ud800",
    "null": None,
    "true": True,
    "infinite": float("inf"),
    "list": [1],
    "object": {"text": "y", "null": None},
}
READERS = ("text", "text_or_number", "object", "list")


def read(reader, *paths, **options):
    """What is read, or the reason and location of the refusal."""
    try:
        return getattr(Payload(BODY), reader)(*paths, **options)
    except UnreadableRequest as refusal:
        [cause] = refusal.causes
        return cause["reason"], cause["location"]


@pytest.mark.parametrize(
    ("reader", "path", "value"),
    [
        ("text", "object.text", "y"),
        ("text_or_number", "text", "x"),
        ("object", "object", BODY["object"]),
        ("list", "list", [1]),
    ],
)
def test_a_field_is_read_by_its_path(reader, path, value):
    assert read(reader, path) == value


@pytest.mark.parametrize(
    ("reader", "paths"),
    [
        ("text", ["half", "null", "true", "list", "object"]),
        ("text_or_number", ["half", "null", "true", "list", "object", "infinite"]),
        ("object", ["null", "list", "text"]),
        ("list", ["null", "object", "text"]),
    ],
)
def test_a_value_of_another_type_is_refused(reader, paths):
    for path in paths:
        assert read(reader, path) == ("WRONG_TYPE", path)
        assert path == "null" or read(reader, path, optional=True) == ("WRONG_TYPE", path)


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_field_is_named_by_its_full_path(reader):
    for path in ("none", "object.none", "none.none.none"):
        assert read(reader, path) == ("MISSING_FIELD", path)
        assert read(reader, path, optional=True) is None


@pytest.mark.parametrize("reader", READERS)
def test_a_parent_of_another_type_is_refused_even_if_the_field_is_optional(reader):
    for parent in ("text", "list", "object.text"):
        assert read(reader, f"{parent}.0.y", optional=True) == ("WRONG_TYPE", parent)


@pytest.mark.parametrize("reader", READERS)
def test_null_has_no_fields(reader):
    for parent in ("null", "object.null"):
        assert read(reader, f"{parent}.0.y", optional=True) is None
        assert read(reader, f"{parent}.0.y") == ("WRONG_TYPE", parent)


@pytest.mark.parametrize("reader", ["text", "text_or_number"])
def test_null_counts_as_an_absent_text(reader):
    assert read(reader, "null", optional=True) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0012", "0012"),
        (12, "12"),
        (12.0, "12"),
        (12.5, "12.5"),
        pytest.param(10**309, "1" + 309 * "0", id="too large for a float"),
    ],
)
def test_a_number_is_read_as_text(value, text):
    assert Payload({"field": value}).text_or_number("field") == text


def test_the_first_text_that_is_present_is_read():
    assert read("first_text", "none", "null", "text", "object.text") == ("text", "x")
    assert read("first_text", "none", "null") == ("MISSING_FIELD", "none")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("extPatientId", "/claims/extPatientId"),
        ("~1", "/claims/~01"),
        ("https://example.com/role", "/claims/https:~1~1example.com~1role"),
    ],
)
def test_a_claim_name_becomes_a_json_pointer(name, path):
    assert add_claim(name, 1) == {"op": "add", "path": path, "value": 1}


def test_an_answer_too_large_for_okta_is_an_error(client, caplog):
    with client.application.app_context():
        empty = answer(command("x", "")).calculate_content_length()
        fits = answer(command("x", "y" * (ANSWER_LIMIT - 1 - empty)))
        assert (fits.status_code, len(fits.data)) == (200, ANSWER_LIMIT - 1)
        assert caplog.records == []
        too_large = answer(command("x", "y" * (ANSWER_LIMIT - empty)))
    assert (too_large.status_code, too_large.json.keys()) == (500, {"error"})
    [record] = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "answer too large")
    assert record.fields == {"bytes": ANSWER_LIMIT, "limit": ANSWER_LIMIT}


def test_a_kind_of_hook_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"kind of the hook own must be .* not 'inlin'"):
        HookBlueprint("own", __name__, kind="inlin")
