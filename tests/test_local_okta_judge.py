"""The judge says what Okta would do. Its rules are those of Okta's reference for each hook."""

import json

import pytest

from local_okta.client import Answer
from local_okta.judge import judge, judge_verification
from local_okta.samples import SAMPLES

PATIENT = {"attributes": {"NameFormat": "basic"}, "attributeValues": [{"value": "1235"}]}
SELF_SERVICE = {"requestType": "self.service.registration"}
TOKEN = {"claims": {"email": "ann@example.com", "amr": ["pwd"]}}
SAML = {"claims": {"department": {"attributeValues": [{"value": "Care"}]}}}
# By the name of a sample: the kind of hook, and as much of a request as the judge looks at.
REQUESTS = {
    "event-user-created": ("event", {}),
    "registration-self-service": ("registration", SELF_SERVICE),
    "registration-both": ("registration", SELF_SERVICE),
    "registration-progressive": ("registration", {"requestType": "progressive.profile"}),
    "token": ("token", {"data": {"identity": TOKEN, "access": TOKEN}}),
    "saml": ("saml", {"data": {"assertion": SAML}}),
    "password-import": ("password-import", {}),
    "telephony": ("telephony", {}),
    "user-import": ("user-import", {}),
    "user-import-matched": ("user-import", {}),
}


def sentence(name, body, *, accepted, status=200):
    kind, payload = REQUESTS[name]
    content = b"" if body is None else json.dumps(body).encode()
    verdict = judge(kind, payload, Answer(status=status, body=content))
    assert verdict.accepted is accepted, verdict.sentence
    return verdict.sentence


def commands(*pairs):
    return {"commands": [{"type": f"com.okta.{name}", "value": value} for name, value in pairs]}


def patch(token, **operation):
    return commands((f"{token}.patch", [operation]))


def add(path, value="1235"):
    return {"op": "add", "path": path, "value": value}


def replace(path, value="1235"):
    return {"op": "replace", "path": path, "value": value}


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        (
            "registration-self-service",
            commands(("action.update", {"registration": "ALLOW"})),
            "Okta allows the registration",
        ),
        (
            "registration-self-service",
            commands(("action.update", {"registration": "DENY"})),
            "Okta denies the registration with a general message",
        ),
        (
            "registration-self-service",
            commands(("user.profile.update", {"title": "Dr", "nickName": "J"})),
            "Okta sets title, nickName in the new profile",
        ),
        (
            "registration-progressive",
            commands(("user.progressive.profile.update", {"employeeNumber": "1234"})),
            "Okta sets employeeNumber in the profile",
        ),
        (
            "registration-progressive",
            commands(("action.update", {"registration": "DENY"})),
            "Okta denies the profile update with a general message",
        ),
        (
            "token",
            patch("identity", **add("/claims/extPatientId")),
            "Okta adds extPatientId to the ID token",
        ),
        (
            "token",
            commands(
                ("identity.patch", [add("/claims/a~1b~0c")]),
                ("access.patch", [replace("/token/lifetime/expiration", 600)]),
            ),
            "Okta adds a/b~c to the ID token and sets the lifetime of the access token",
        ),
        (
            "token",
            patch("identity", op="remove", path="/claims/email"),
            "Okta removes email from the ID token",
        ),
        (
            "token",
            patch("identity", **replace("/claims/amr/0")),
            "Okta replaces amr in the ID token",
        ),
        (
            "saml",
            patch("assertion", **add("/claims/extPatientId", PATIENT)),
            "Okta adds extPatientId to the assertion",
        ),
        (
            "saml",
            patch("assertion", **replace("/claims/department/attributeValues/0/value")),
            "Okta replaces department in the assertion",
        ),
        (
            "password-import",
            commands(("action.update", {"credential": "VERIFIED"})),
            "Okta imports the password",
        ),
        (
            "password-import",
            commands(("action.update", {"credential": "UNVERIFIED"})),
            "Okta does not let the user sign in",
        ),
        (
            "telephony",
            commands(
                (
                    "telephony.action",
                    [{"status": "SUCCESSFUL", "provider": "twilio", "transactionId": "SM1"}],
                )
            ),
            "Okta takes the code as sent by twilio",
        ),
        (
            "user-import-matched",
            commands(("action.update", {"result": "LINK_USER"}), ("user.update", {"id": "00u1"})),
            "Okta takes the user for one that it has and links it to 00u1",
        ),
        (
            "user-import",
            commands(("action.update", {"result": "CREATE_USER"})),
            "Okta creates the user",
        ),
        (
            "user-import",
            commands(
                ("user.profile.update", {"login": "kim.sato"}),
                ("appUser.profile.update", {"accountType": "PRO"}),
            ),
            "Okta sets login in the user's profile and sets accountType in the app user's profile",
        ),
    ],
)
def test_what_commands_do(name, body, words):
    assert sentence(name, body, accepted=True) == words


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("token", patch("assertion", **add("/claims/x", PATIENT)), "is not a command of this hook"),
        ("saml", patch("identity", **add("/claims/x")), "is not a command of this hook"),
        ("token", {"commands": [{"value": []}]}, "None is not a command of this hook"),
        ("token", {"commands": [{"type": ["com.okta.identity.patch"]}]}, "is not a command"),
        ("token", {"commands": {"type": "com.okta.identity.patch"}}, "not a list of objects"),
        ("token", {"commands": ["com.okta.identity.patch"]}, "not a list of objects"),
        ("token", patch("identity", **replace("/claims/absent")), "it is not there"),
        ("token", patch("identity", **replace("/claims/amr/7")), "it is not there"),
        ("token", patch("identity", op="remove", path="/claims/absent"), "it is not there"),
        ("token", patch("identity", op="move", path="/claims/email", value=1), "not an operation"),
        ("token", patch("identity", op="add", path="/claims/x"), "has no value"),
        ("token", patch("identity", **add("claims/x")), "is not a path"),
        ("token", patch("identity", **add("/claims")), "is not the path of a claim"),
        ("token", patch("identity", **add("/scopes/x")), "is not the path of a claim"),
        *(
            ("token", patch("identity", **add(f"/claims/{claim}")), "Okta's own claims")
            for claim in ("iss", "jti", "token_type", "ver")
        ),
        ("token", patch("access", **add("/token/lifetime/expiration", 600)), "is replaced"),
        ("token", patch("access", **replace("/token/lifetime/expiration", "600")), "whole seconds"),
        ("token", patch("access", **replace("/token/lifetime/expiration", True)), "whole seconds"),
        ("token", commands(("identity.patch", [])), "not a list of operations"),
        ("token", commands(("identity.patch", add("/claims/x"))), "not a list of operations"),
        ("saml", patch("assertion", **add("/claims/x", "1235")), "no attributes.NameFormat"),
        (
            "saml",
            patch("assertion", **add("/claims/x", PATIENT | {"attributes": {}})),
            "no attributes.NameFormat",
        ),
        ("saml", patch("assertion", **add("/subject/nameId", PATIENT)), "whole claim"),
        ("saml", patch("assertion", op="remove", path="/claims/department"), "not an operation"),
        ("saml", patch("assertion", **replace("/claims/absent")), "it is not there"),
        ("saml", patch("assertion", **replace("/lifetime/expiration", 1)), "cannot be changed"),
        (
            "registration-self-service",
            commands(("action.update", {"registration": "allow"})),
            "can only be ALLOW or DENY",
        ),
        (
            "registration-self-service",
            commands(("action.update", "DENY")),
            "can only be ALLOW or DENY",
        ),
        (
            "registration-progressive",
            commands(("user.profile.update", {"title": "Dr"})),
            "self-service only",
        ),
        (
            "registration-self-service",
            commands(("user.progressive.profile.update", {"employeeNumber": "1"})),
            "progressive profile only",
        ),
        ("registration-self-service", commands(("user.profile.update", {})), "names no attribute"),
        (
            "password-import",
            commands(("action.update", {"credential": True})),
            "can only be VERIFIED or UNVERIFIED",
        ),
        ("telephony", commands(("telephony.action", [])), "can only be SUCCESSFUL"),
        (
            "telephony",
            commands(("telephony.action", [{"status": "SENT"}])),
            "can only be SUCCESSFUL",
        ),
        (
            "telephony",
            commands(("telephony.action", [{"status": "SUCCESSFUL", "provider": "twilio"}])),
            "no transactionId",
        ),
        (
            "user-import",
            commands(("action.update", {"result": "LINK_USER"})),
            "LINK_USER needs com.okta.user.update",
        ),
        ("user-import", commands(("user.update", {"id": None})), "has no id"),
        ("user-import", commands(("action.update", {"result": "MERGE"})), "can only be CREATE"),
        ("token", [], "not a JSON object"),
        ("token", None, "not a JSON object"),
        ("token", {"error": "no"}, "error is not an object"),
        ("registration-self-service", {"error": {"errorCauses": ["no"]}}, "list of objects"),
    ],
)
def test_what_okta_drops(name, body, reason):
    assert reason in sentence(name, body, accepted=False)


def test_a_command_for_a_token_that_was_not_asked_for_drops_the_whole_answer():
    payload = {"data": {"identity": TOKEN}}
    body = commands(
        ("identity.patch", [add("/claims/extPatientId")]),
        ("access.patch", [add("/claims/extPatientId")]),
    )
    verdict = judge("token", payload, Answer(status=200, body=json.dumps(body).encode()))
    assert not verdict.accepted
    assert verdict.sentence == (
        "com.okta.access.patch, but the request asks for no access token: "
        "Okta issues the tokens unchanged"
    )


def cause(message, location):
    return {"errorSummary": message, "location": location}


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (
            "registration-self-service",
            {"errorCauses": [cause("Not this domain.", "data.userProfile.email")]},
            "Okta denies the registration and shows 'Not this domain.' at the email field",
        ),
        (
            "registration-progressive",
            {"errorCauses": [cause("Four digits.", "data.userProfileUpdate.employeeNumber")]},
            "Okta denies the profile update and shows 'Four digits.' at the employeeNumber field",
        ),
        (
            "registration-both",
            {"errorCauses": [cause("A.", "data.x.email"), cause("B.", "data.x.employeeNumber")]},
            "Okta denies the registration and shows 'A.' at the email field "
            "and 'B.' at the employeeNumber field",
        ),
        (
            "registration-self-service",
            {"errorSummary": "No."},
            "Okta denies the registration and shows a general message",
        ),
        (
            "registration-self-service",
            {},
            "Okta denies the registration and shows a general message",
        ),
        (
            "token",
            {"errorSummary": "No."},
            "Okta answers the app with the OAuth error server_error and 'No.'",
        ),
        ("token", {}, "'The callback service returned an error'"),
        ("telephony", {"errorSummary": "No."}, "Okta notes 'No.' and sends the code itself"),
        ("user-import", {"errorSummary": "No."}, "Okta notes 'No.' and imports the user unchanged"),
    ],
)
def test_what_an_error_does(name, error, words):
    assert words in sentence(name, {"error": error}, accepted=True)


def test_an_error_beats_the_commands_beside_it():
    body = commands(("action.update", {"registration": "ALLOW"})) | {"error": {}}
    assert "denies" in sentence("registration-self-service", body, accepted=True)


@pytest.mark.parametrize("name", [name for name in REQUESTS if not name.startswith("event")])
@pytest.mark.parametrize(("status", "body"), [(204, None), (200, {}), (200, {"commands": []})])
def test_no_change(name, status, body):
    words = sentence(name, body, accepted=True, status=status)
    assert words.endswith(("unchanged", "in the call", "its own provider"))


@pytest.mark.parametrize("status", [200, 204])
def test_an_event_is_delivered_by_its_status_alone(status):
    words = sentence("event-user-created", None, accepted=True, status=status)
    assert words == "Okta takes the events as delivered"


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("status", [201, 300, 301, 400, 401, 404, 500, 503])
def test_other_statuses_are_failures(name, status):
    assert f"Status {status} is" in sentence(name, {}, accepted=False, status=status)


def test_what_okta_does_without_an_answer():
    verdict = judge("telephony", {}, Answer(status=None, timed_out=True))
    assert verdict.sentence == (
        "No answer in time: Okta sends the code itself through its own provider"
    )
    verdict = judge("event", {}, Answer(status=None, timed_out=True, attempts=2))
    assert verdict.sentence == (
        "No answer in time in 2 attempts: Okta counts the delivery as failed"
    )
    verdict = judge("password-import", {}, Answer(status=None, error="no access token"))
    assert verdict.sentence.startswith("No answer (no access token): Okta does not let the user")


@pytest.mark.parametrize(("size", "accepted"), [(256 * 1024 - 1, True), (256 * 1024, False)])
def test_an_answer_of_256_kilobytes_is_dropped(size, accepted):
    body = b"{}" + b" " * (size - 2)
    assert judge("saml", {}, Answer(status=200, body=body)).accepted is accepted


def test_an_answer_that_is_no_json_is_dropped():
    assert not judge("saml", {}, Answer(status=200, body=b"<html>")).accepted


@pytest.mark.parametrize(
    ("status", "body", "accepted"),
    [
        (200, b'{"verification": "the challenge"}', True),
        (200, b'{"verification": "another"}', False),
        (200, b'{"verification": "the chall"}', False),
        (200, b'{"verification": "the challenge, and more"}', False),
        (200, b"the challenge", False),
        (204, b"", False),
        (401, b'{"verification": "the challenge"}', False),
    ],
)
def test_an_event_hook_is_verified_by_its_challenge(status, body, accepted):
    verdict = judge_verification("the challenge", Answer(status=status, body=body))
    assert verdict.accepted is accepted
    assert ("does not verify" in verdict.sentence) is not accepted


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_sample_is_a_call_of_its_kind(sample):
    event_types = {
        "event": "com.okta.event_hook",
        "registration": "com.okta.user.pre-registration",
        "token": "com.okta.oauth2.tokens.transform",
        "saml": "com.okta.saml.tokens.transform",
        "password-import": "com.okta.user.credential.password.import",
        "telephony": "com.okta.telephony.provider",
        "user-import": "com.okta.import.transform",
    }
    assert sample.payload["eventType"] == event_types[sample.kind]
    assert isinstance(sample.payload["data"], dict)
