"""The judge says what Okta would do. Its rules are those of Okta's reference for each hook."""

import json
import re

import pytest

from local_okta.client import Answer
from local_okta.judge import Verdict, judge, judge_verification
from tests.support.gunicorn import PROJECT

PATIENT = {"attributes": {"NameFormat": "basic"}, "attributeValues": [{"value": "1235"}]}
TOKEN = {"claims": {"email": "ann@example.com", "team": ["a"], "job": {"title": "Dr"}}}
SAML = {
    "claims": {"department": {"attributeValues": [{"value": "Care"}]}},
    "authentication": {"sessionIndex": "1"},
}
# By a short name: the kind of hook, and as much of a request as the judge looks at.
REQUESTS = {
    "event": ("event", {}),
    "sign-up": ("registration", {"requestType": "self.service.registration"}),
    "profile": ("registration", {"requestType": "progressive.profile"}),
    "token": ("token", {"data": {"identity": TOKEN, "access": TOKEN}}),
    "saml": ("saml", {"data": {"assertion": SAML}}),
    "password": ("password-import", {}),
    "telephony": ("telephony", {}),
    "import": ("user-import", {}),
}


def judged(name, body, status=200):
    kind, payload = REQUESTS[name]
    content = b"" if body is None else json.dumps(body).encode()
    return judge(kind, payload, Answer(status=status, body=content))


def commands(*pairs):
    return {"commands": [{"type": f"com.okta.{name}", "value": value} for name, value in pairs]}


def action(**value):
    return commands(("action.update", value))


def profile(which="user.profile", **value):
    return commands((f"{which}.update", value))


def patch(token, op, path, *value):
    operation = {"op": op, "path": path} | dict(zip(["value"], value, strict=False))
    return commands((f"{token}.patch", [operation]))


def sent(**report):
    return commands(("telephony.action", [report]))


def error(**members):
    return {"error": members}


LIFETIME = "/token/lifetime/expiration"
DELIVERY = {"status": "SUCCESSFUL", "provider": "twilio", "transactionId": "SM1"}
EMAIL = {"errorSummary": "A.", "location": "data.userProfile.email"}
NUMBER = {"errorSummary": "B.", "location": "data.userProfileUpdate.employeeNumber"}
DONE = [
    ("sign-up", action(registration="ALLOW"), "allows the registration"),
    (
        "sign-up",
        action(registration="DENY"),
        "denies the registration and shows 'Registration denied.'",
    ),
    ("sign-up", profile(title="Dr", nickName="J"), "sets title, nickName in the new profile"),
    ("profile", profile("user.progressive.profile", employeeNumber="1"), "sets employeeNumber in"),
    (
        "profile",
        action(registration="DENY"),
        "denies the profile update and shows 'Profile update denied.'",
    ),
    ("token", patch("identity", "add", "/claims/a~1b~0c", "1"), "adds a/b~c to the ID token"),
    ("token", patch("identity", "remove", "/claims/email"), "removes email from the ID token"),
    (
        "token",
        patch("identity", "remove", "/claims/email", None),
        "removes email from the ID token",
    ),
    ("token", patch("identity", "replace", "/claims/team/0", "1"), "replaces team in the ID token"),
    ("token", patch("identity", "remove", "/claims/team/0"), "removes team from the ID token"),
    ("token", patch("identity", "add", "/claims/team/0", "b"), "adds team to the ID token"),
    ("token", patch("identity", "add", "/claims/team/1", "b"), "adds team to the ID token"),
    ("token", patch("identity", "add", "/claims/team/-", "b"), "adds team to the ID token"),
    ("token", patch("identity", "add", "/claims/job/level", 7), "adds job to the ID token"),
    ("token", patch("identity", "add", "/claims/email", "b"), "adds email to the ID token"),
    ("token", patch("access", "add", "/claims/sub", "b"), "adds sub to the access token"),
    ("token", patch("access", "replace", LIFETIME, 300), "sets the lifetime of the access token"),
    ("token", patch("identity", "replace", LIFETIME, 86_400), "sets the lifetime of the ID token"),
    ("token", patch("access", "replace", LIFETIME, 600), "sets the lifetime of the access token"),
    ("saml", patch("assertion", "add", "/claims/extId", PATIENT), "adds extId to the assertion"),
    (
        "saml",
        patch("assertion", "replace", "/claims/department/attributeValues/0/value", "1"),
        "replaces department in the assertion",
    ),
    (
        "saml",
        patch("assertion", "add", "/authentication/sessionLifetime", 300),
        "adds sessionLifetime to the assertion",
    ),
    (
        "saml",
        patch("assertion", "add", "/claims/department/attributeValues/-", {"value": "1"}),
        "adds department to the assertion",
    ),
    ("password", action(credential="VERIFIED"), "imports the password"),
    ("password", action(credential="UNVERIFIED"), "does not let the user sign in"),
    ("telephony", sent(**DELIVERY), "counts the code as sent by twilio"),
    ("telephony", sent(status="PENDING"), "counts the code as on its way by an unnamed provider"),
    ("telephony", sent(**DELIVERY | {"status": "FAILED"}), "counts the code as not sent by twilio"),
    (
        "telephony",
        commands(("telephony.action", [DELIVERY | {"status": "FAILED"}, {"status": "SUCCESSFUL"}])),
        "counts the code as not sent by twilio and sent by an unnamed provider",
    ),
    (
        "import",
        commands(("action.update", {"result": "LINK_USER"}), ("user.update", {"id": "00u1"})),
        "treats the user as an existing one and links it to 00u1",
    ),
    ("import", action(result="CREATE_USER"), "creates the user"),
    ("import", profile(login="kim"), "sets login in the user's profile"),
    ("import", profile("appUser.profile", plan="PRO"), "sets plan in the app user's profile"),
    ("sign-up", error(errorCauses=[EMAIL]), "denies the registration and shows 'A.' at the email"),
    (
        "profile",
        error(errorCauses=[EMAIL, NUMBER]),
        "denies the profile update and shows 'A.' at the email field "
        "and 'B.' at the employeeNumber field",
    ),
    (
        "sign-up",
        error(errorCauses=[{"location": "data.userProfile.email"}]),
        "denies the registration and shows 'Registration cannot be completed at",
    ),
    ("sign-up", error(), "denies the registration and shows 'Registration cannot be completed at"),
    ("profile", error(errorSummary="No."), "denies the profile update and shows 'We found some er"),
    ("token", error(errorSummary="No."), "answers the app with the OAuth error server_error and"),
    ("token", error(), "answers the app with the OAuth error server_error and 'The callback"),
    ("telephony", error(errorSummary="No."), "notes 'No.' and sends the code through"),
    ("import", error() | action(result="CREATE_USER"), "notes 'The callback service returned an"),
]


@pytest.mark.parametrize(("name", "body", "words"), DONE)
def test_what_a_good_answer_does_is_described(name, body, words):
    verdict = judged(name, body)
    assert verdict.accepted, verdict.sentence
    assert verdict.sentence.startswith(f"Okta {words}")


DROPPED = [
    ("saml", patch("identity", "add", "/claims/x", "1"), "is not a command of this hook"),
    ("token", {"commands": [{"value": []}]}, "None is not a command of this hook"),
    ("token", {"commands": [{"type": ["com.okta.identity.patch"]}]}, "is not a command"),
    ("token", {"commands": {"type": "com.okta.identity.patch"}}, "not a list of objects"),
    ("token", {"commands": ["com.okta.identity.patch"]}, "not a list of objects"),
    ("token", patch("identity", "replace", "/claims/absent", "1"), "it does not exist"),
    ("token", patch("identity", "replace", "/claims/team/1", "1"), "not an index"),
    ("token", patch("identity", "replace", "/claims/team/-", "1"), "not an index"),
    ("token", patch("identity", "add", "/claims/team/2", "1"), "not an index"),
    ("token", patch("identity", "add", "/claims/team/00", "1"), "not an index"),
    ("token", patch("identity", "add", "/claims/team/7/x", "1"), "beyond the end"),
    ("token", patch("identity", "add", "/claims/absent/x", "1"), "claims/absent does not exist"),
    ("token", patch("identity", "add", "/claims/absent/0", "1"), "claims/absent does not exist"),
    ("token", patch("identity", "add", "/claims/email/x", "1"), "neither an object nor an array"),
    ("token", patch("identity", "remove", "/claims/email", "1"), "a value other than null"),
    ("token", patch("identity", None, "/claims/email", "1"), "has no op"),
    ("token", patch("identity", "add", "/claims/aud", "1"), "Okta's own claims in an ID token"),
    ("token", patch("identity", "replace", "/claims/sub", "1"), "Okta's own claims"),
    ("token", patch("access", "add", "/claims/cid", "1"), "Okta's own claims in an access token"),
    ("token", patch("access", "replace", LIFETIME, 299), "not between 300 and 86400 s"),
    ("token", patch("access", "replace", LIFETIME, 86_401), "not between 300 and 86400 s"),
    ("token", patch("identity", "remove", "/claims/absent"), "it does not exist"),
    ("token", patch("identity", "move", "/claims/email", 1), "not an operation"),
    ("token", patch("identity", "add", "/claims/x"), "has no value"),
    ("token", patch("identity", "add", "claims/x", "1"), "is not a path"),
    ("token", patch("identity", "add", "/claims", "1"), "is not the path of a claim"),
    ("token", patch("identity", "add", "/scopes/x", "1"), "is not the path of a claim"),
    ("token", patch("identity", "add", "/claims/iss", "1"), "Okta's own claims"),
    ("token", patch("identity", "add", "/claims/jti", "1"), "Okta's own claims"),
    ("token", patch("identity", "add", "/claims/token_type", "1"), "Okta's own claims"),
    ("token", patch("identity", "add", "/claims/ver", "1"), "Okta's own claims"),
    ("token", patch("access", "add", LIFETIME, 600), "is replaced"),
    ("token", patch("access", "replace", LIFETIME, "600"), "whole seconds"),
    ("token", patch("access", "replace", LIFETIME, True), "whole seconds"),
    ("token", commands(("identity.patch", [])), "not a list of operations"),
    ("token", commands(("identity.patch", {"op": "add"})), "not a list of operations"),
    ("saml", patch("assertion", "add", "/claims/x", "1235"), "no attributes.NameFormat"),
    (
        "saml",
        patch("assertion", "add", "/claims/x", PATIENT | {"attributes": {}}),
        "no attributes.NameFormat",
    ),
    ("saml", patch("assertion", "add", "/absent/x", PATIENT), "cannot be changed"),
    ("saml", patch("assertion", "add", "/subject/nameId", "a"), "subject does not exist"),
    ("saml", patch("assertion", "add", "/claims", {}), "cannot be changed"),
    ("saml", patch("assertion", "remove", "/claims/department"), "not an operation"),
    ("saml", patch("assertion", "replace", "/claims/absent", "1"), "it does not exist"),
    ("saml", patch("assertion", "replace", "/lifetime/expiration", 1), "cannot be changed"),
    ("sign-up", action(registration="allow"), "can only be ALLOW or DENY"),
    ("sign-up", commands(("action.update", "DENY")), "can only be ALLOW or DENY"),
    ("sign-up", profile("user.progressive.profile", a="1"), "progressive profile only"),
    ("sign-up", profile(), "names no attribute"),
    ("sign-up", profile(password="x"), "No command can change a user's password"),
    ("profile", profile(title="Dr"), "self-service only"),
    ("password", action(credential=True), "can only be VERIFIED or UNVERIFIED"),
    ("telephony", commands(("telephony.action", ["sent"])), "can only be SUCCESSFUL"),
    ("telephony", commands(("telephony.action", [])), "is empty"),
    ("telephony", sent(status="SENT"), "can only be SUCCESSFUL"),
    ("telephony", sent(**DELIVERY | {"provider": 7}), "provider is not a string"),
    ("import", action(result="LINK_USER"), "LINK_USER also needs com.okta.user.update"),
    ("import", commands(("user.update", {"id": None})), "has no id"),
    ("import", action(result="MERGE"), "can only be CREATE"),
    ("token", [], "not a JSON object"),
    ("token", {"error": "no"}, "error is not an object"),
    ("sign-up", {"error": {"errorCauses": ["no"]}}, "list of objects"),
]


@pytest.mark.parametrize(("name", "body", "reason"), DROPPED)
def test_an_unusable_answer_is_explained(name, body, reason):
    verdict = judged(name, body)
    assert not verdict.accepted
    assert reason in verdict.sentence


def test_operations_build_on_one_another():
    add_object = {"op": "add", "path": "/claims/unit", "value": {}}
    add_member = {"op": "add", "path": "/claims/unit/name", "value": "Care"}
    in_order = commands(("identity.patch", [add_object, add_member]))
    assert judged("token", in_order).accepted
    assert not judged("token", commands(("identity.patch", [add_member, add_object]))).accepted
    # The request itself is not changed.
    assert "unit" not in TOKEN["claims"]


# Okta's own examples, if its description is beside the project.

DESCRIPTION = PROJECT.parent / "shared" / "okta-contract" / "okta-openapi-hooks.json"
SLIPS = {
    "ProfileEnrollmentResponse": "com.action.update is not a command of this hook",
    "ProgressiveProfileResponse": "com.okta.user.progressive.profile.update' is not a command",
    "TelephonyFailureResponse": "error is not an object",
}
KINDS = {
    "PasswordImport": "password-import",
    "ProfileEnrollment": "registration",
    "Progressive": "registration",
    "SAML": "saml",
    "Telephony": "telephony",
    "Token": "token",
    "UserImport": "user-import",
}
# Claims that the example answers change and the example requests lack.
TOKEN_CLAIMS = {
    "birthdate": "1990-01-01",
    "external_guid": "1",
    "extPatientId": "1",
    "preferred_airports": ["sjc", "sfo", "oak"],
    "employee_profile": {"email": "ann@example.com"},
}
URI_CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/foo"


@pytest.fixture(scope="module")
def examples():
    if not DESCRIPTION.exists():
        pytest.skip("Okta's description is not here")
    described = json.loads(DESCRIPTION.read_text(encoding="utf-8"))["components"]["examples"]
    return {name: example["value"] for name, example in described.items()}


def test_oktas_own_example_answers_are_usable_except_for_its_slips(examples):
    token = {"claims": TOKEN_CLAIMS}
    saml = examples["SAMLPayLoadExample"]["data"]["assertion"]
    saml["claims"][URI_CLAIM] = saml["claims"]["middle"]
    requests = {
        "ProfileEnrollment": {"requestType": "self.service.registration"},
        "Progressive": {"requestType": "progressive.profile"},
        "SAML": {"data": {"assertion": saml}},
        "Token": {"data": {"identity": token, "access": token}},
    }
    answers = {name: value for name, value in examples.items() if {"commands", "error"} & {*value}}
    assert len(answers) == 25
    for name, value in answers.items():
        [prefix] = [prefix for prefix in KINDS if name.startswith(prefix)]
        body = json.dumps(value).encode()
        verdict = judge(KINDS[prefix], requests.get(prefix, {}), Answer(status=200, body=body))
        assert verdict.accepted == (name not in SLIPS), (name, verdict.sentence)
        assert SLIPS.get(name, "Okta") in verdict.sentence


@pytest.mark.parametrize("data", [5, {"identity": TOKEN}])
def test_a_command_for_a_token_that_was_not_asked_for_drops_the_whole_answer(data):
    both = [*patch("identity", "add", "/claims/x", "1")["commands"]]
    both += patch("access", "add", "/claims/x", "1")["commands"]
    answer = Answer(status=200, body=json.dumps({"commands": both}).encode())
    verdict = judge("token", {"data": data}, answer)
    assert not verdict.accepted
    assert verdict.sentence.endswith("token: Okta issues the tokens unchanged")


@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "event"])
@pytest.mark.parametrize(("status", "body"), [(204, None), (200, {}), (200, {"commands": []})])
def test_an_empty_answer_changes_nothing(name, status, body):
    verdict = judged(name, body, status)
    assert verdict.accepted
    assert re.search("unchanged|its default, UNVERIFIED|its own provider", verdict.sentence)


@pytest.mark.parametrize("status", [200, 204])
def test_only_the_status_decides_whether_an_event_is_delivered(status):
    assert judged("event", None, status) == Verdict(True, "Okta counts the events as delivered")


@pytest.mark.parametrize("name", ["event", "token"])
@pytest.mark.parametrize("status", [201, 300, 302, 400, 503])
def test_other_statuses_are_failures(name, status):
    verdict = judged(name, {}, status)
    assert not verdict.accepted
    words = f"Status {status} is {'a redirect' if 300 <= status < 400 else 'neither'}"
    assert verdict.sentence.startswith(words)


NO_ANSWER = [
    ("telephony", Answer(None, timed_out=True), "No answer in time: Okta sends the code through"),
    ("event", Answer(None, timed_out=True, attempts=2), "No answer in time in 2 attempts: Okta co"),
    ("password-import", Answer(None, error="no access token"), "No answer (no access token): Okta"),
    ("saml", Answer(200, body=b"<html>"), "The body of a 200 is not a JSON object"),
    ("saml", Answer(200, body=b"{}".ljust(256 * 1024)), "The answer is 256 KB or larger"),
]


@pytest.mark.parametrize(("kind", "answer", "words"), NO_ANSWER)
def test_what_okta_does_without_an_answer_that_it_can_read(kind, answer, words):
    verdict = judge(kind, {}, answer)
    assert not verdict.accepted
    assert verdict.sentence.startswith(words)


def test_an_answer_just_below_256_kilobytes_is_read():
    assert judge("saml", {}, Answer(status=200, body=b"{}".ljust(256 * 1024 - 1))).accepted


VERIFICATIONS = [
    (200, b'{"verification": "the challenge"}', True),
    (200, b'{"verification": "the chall"}', False),
    (200, b'{"verification": "the challenge, and more"}', False),
    (204, b"", False),
    (401, b'{"verification": "the challenge"}', False),
]


@pytest.mark.parametrize(("status", "body", "accepted"), VERIFICATIONS)
def test_an_event_hook_is_verified_by_its_challenge(status, body, accepted):
    verdict = judge_verification("the challenge", Answer(status=status, body=body))
    assert verdict.accepted is accepted
    assert ("does not verify" in verdict.sentence) is not accepted
