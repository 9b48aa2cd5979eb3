import json

import pytest
from flask import Flask, g

from hooks.contract import (
    ANSWER_LIMIT,
    Payload,
    UnreadableRequest,
    add_claim,
    answer,
    command,
    error,
)
from tests.hook_app import CALLS, changed, hook_client, refused_field

client = hook_client()
HOOK = "/registrationHookSSR"


@pytest.fixture
def app():
    app = Flask(__name__)
    with app.test_request_context():
        yield app


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_json_is_read(content_type):
    response = client.post(HOOK, data=json.dumps(CALLS[HOOK]), content_type=content_type)
    assert response.status_code == 200


@pytest.mark.parametrize("content_type", [None, "text/json", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused(content_type):
    response = client.post(HOOK, data=json.dumps(CALLS[HOOK]), content_type=content_type)
    assert response.status_code == 415
    assert "application/json" in response.json["error"]["errorSummary"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        json.dumps({"a": 1}).encode("utf-16"),
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' + b"1" * 10_000 + b"}",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_what_is_no_json_object_is_refused(body):
    response = client.post(HOOK, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json["error"]["errorSummary"].startswith("The body ")
    assert response.json["error"]["errorCauses"] == []


def test_a_body_too_large_is_refused():
    small = hook_client(MAX_CONTENT_LENGTH=20)
    response = small.post(HOOK, json=CALLS[HOOK])
    assert response.status_code == 413
    assert response.json["error"]["errorCauses"] == []


def test_fields_nobody_reads_never_hurt():
    body = changed(HOOK, {"data.more": {"half": "\ud800"}, "large": 1e300, "eventTypeVersion": 1})
    assert client.post(HOOK, json=body).status_code == 200


@pytest.mark.parametrize(
    ("event_id", "noted"), [("delivery-7", "delivery-7"), (7, None), (None, None), ("\udfff", None)]
)
def test_the_event_id_is_noted_for_the_log(event_id, noted):
    with client.application.test_request_context(method="POST", json={"eventId": event_id}):
        Payload.current()
        assert g.event_id == noted


def test_a_call_is_parsed_once():
    with client.application.test_request_context(method="POST", json={}):
        assert Payload.current() is Payload.current()


class TestReading:
    call = Payload(
        {
            "text": "x",
            "half": "\ud800",
            "null": None,
            "true": True,
            "list": [1],
            "object": {"text": "y", "null": None},
        }
    )

    def test_text(self):
        assert self.call.text("text") == "x"
        assert self.call.text("object.text") == "y"

    @pytest.mark.parametrize("path", ["half", "null", "true", "list", "object"])
    def test_what_is_no_text_is_refused(self, path):
        with pytest.raises(UnreadableRequest, match=f"^400 Bad Request: {path} must be a string$"):
            self.call.text(path)

    @pytest.mark.parametrize("path", ["none", "object.none", "none.none.none"])
    def test_a_missing_field_is_named_whole(self, path):
        for read in (self.call.text, self.call.text_or_number, self.call.object, self.call.list):
            with pytest.raises(UnreadableRequest) as refusal:
                read(path)
            assert refusal.value.causes[0]["reason"] == "MISSING_FIELD"
            assert refusal.value.causes[0]["location"] == path
            assert read(path, optional=True) is None

    @pytest.mark.parametrize(
        ("path", "parent"),
        [
            ("null.x", "null"),
            ("text.x.y", "text"),
            ("list.0", "list"),
            ("object.null.x", "object.null"),
        ],
    )
    def test_a_parent_that_is_no_object_is_refused_even_if_the_field_is_optional(
        self, path, parent
    ):
        for read in (self.call.text, self.call.text_or_number, self.call.object, self.call.list):
            with pytest.raises(UnreadableRequest) as refusal:
                read(path, optional=True)
            assert refusal.value.causes[0]["reason"] == "WRONG_TYPE"
            assert refusal.value.causes[0]["location"] == parent

    def test_null_stands_for_an_absent_text_only(self):
        assert self.call.text("null", optional=True) is None
        assert self.call.text_or_number("null", optional=True) is None
        for read in (self.call.object, self.call.list):
            with pytest.raises(UnreadableRequest):
                read("null", optional=True)

    def test_objects_and_lists(self):
        assert self.call.object("object") == {"text": "y", "null": None}
        assert self.call.list("list") == [1]
        for read, path in ((self.call.object, "list"), (self.call.list, "object")):
            with pytest.raises(UnreadableRequest):
                read(path)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("0012", "0012"),
            (12, "12"),
            (12.0, "12"),
            (12.5, "12.5"),
            (9876543210, "9876543210"),
            (1e300, str(int(1e300))),
            pytest.param(10**309, "1" + 309 * "0", id="too large for a float"),
        ],
    )
    def test_text_or_number(self, value, text):
        assert Payload({"field": value}).text_or_number("field") == text

    @pytest.mark.parametrize("value", [True, False, [], {}, float("inf"), "\udc00"])
    def test_neither_text_nor_number(self, value):
        for optional in (True, False):
            with pytest.raises(UnreadableRequest):
                Payload({"field": value}).text_or_number("field", optional=optional)

    def test_the_first_text_that_is_there(self):
        assert self.call.first_text("none", "null", "text", "object.text") == ("text", "x")
        with pytest.raises(UnreadableRequest, match="none is missing"):
            self.call.first_text("none", "null")


def test_a_refusal_names_the_field_and_never_its_value():
    response = client.post(HOOK, json=changed(HOOK, {"data.userProfile.email": {"secret": 4711}}))
    assert refused_field(response) == ("WRONG_TYPE", "data.userProfile.email")
    assert b"secret" not in response.data
    assert b"4711" not in response.data


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("extPatientId", "/claims/extPatientId"),
        ("a/b", "/claims/a~1b"),
        ("a~b", "/claims/a~0b"),
        ("~1", "/claims/~01"),
        ("https://example.com/role", "/claims/https:~1~1example.com~1role"),
    ],
)
def test_a_claim_name_becomes_a_json_pointer(name, path):
    assert add_claim(name, 1) == {"op": "add", "path": path, "value": 1}


@pytest.mark.usefixtures("app")
def test_an_answer_holds_commands_and_error_only_where_there_are_some():
    assert answer(command("x", 1)).json == {"commands": [{"type": "x", "value": 1}]}
    assert answer(error=error("No.")).json == {"error": {"errorSummary": "No.", "errorCauses": []}}


@pytest.mark.usefixtures("app")
def test_an_answer_that_okta_would_not_take_is_an_error(caplog):
    empty = answer(command("x", "")).calculate_content_length()
    fits = answer(command("x", "y" * (ANSWER_LIMIT - 1 - empty)))
    assert (fits.status_code, len(fits.data)) == (200, ANSWER_LIMIT - 1)
    assert caplog.records == []

    too_large = answer(command("x", "y" * (ANSWER_LIMIT - empty)))
    assert too_large.status_code == 500
    assert "commands" not in too_large.json
    [record] = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "answer too large")
    assert record.fields == {"bytes": ANSWER_LIMIT, "limit": ANSWER_LIMIT}
