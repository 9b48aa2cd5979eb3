import pytest

from hooks.registration import is_employee_number, may_register
from local_okta.samples import SAMPLES
from settings import Settings, SettingsError, load_settings
from tests.support.client import changed, hook_client, refused_field, without
from tests.support.gunicorn import basic_settings

SSR, PP, BOTH = "/registrationHookSSR", "/registrationHookPP", "/registrationHookSSRandPP"
PROFILE = "data.userProfile"
EMAIL, LOGIN = f"{PROFILE}.email", f"{PROFILE}.login"
FIRST_NUMBER = f"{PROFILE}.employeeNumber"
ADDED_NUMBER = "data.userProfileUpdate.employeeNumber"
SIGN_UP = SAMPLES["registration-both"].payload
UPDATE = SAMPLES["registration-progressive"].payload
ALLOW = {"type": "com.okta.action.update", "value": {"registration": "ALLOW"}}
DENY = {"type": "com.okta.action.update", "value": {"registration": "DENY"}}


def outcome(response):
    """The one command or, for a denial, the reason and location of each cause."""
    assert response.status_code == 200
    [command] = response.json["commands"]
    if command != DENY:
        assert "error" not in response.json
        return command
    assert response.json["error"]["errorSummary"]
    causes = response.json["error"]["errorCauses"]
    assert {(cause["domain"], cause["locationType"]) for cause in causes} == {("end-user", "body")}
    return [(cause["reason"], cause["location"]) for cause in causes]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("a@okta.com", True),
        ("a@OKTA.com", True),
        ("a@b@okta.com", True),
        ("", False),
        ("okta.com", False),
        ("@okta.com", False),
        ("a@notokta.com", False),
        ("a@sub.okta.com", False),
        ("a@okta.com.evil.example", False),
        ('"x@okta.com"@evil.example', False),
        ("a@okta.com@evil.example", False),
        ("a@okta.com ", False),
        ("a@okta.com\n", False),
        ("a@okta.com.", False),
        ("a@o\N{KELVIN SIGN}ta.com", False),
        ("a@\N{FULLWIDTH LATIN SMALL LETTER O}kta.com", False),
    ],
)
def test_a_domain_is_compared_whole_and_without_case(address, allowed):
    assert may_register(address, {"okta.com"}) is allowed


@pytest.mark.parametrize("number", ["", "123", "12345", "12a4", "-123", "1234\n", "١٢٣٤", "12.0"])
def test_only_four_digits_are_an_employee_number(number):
    assert is_employee_number("0000")
    assert not is_employee_number(number)


WRONG_EMAIL = ("INVALID_EMAIL_DOMAIN", EMAIL)
WRONG_NUMBER = ("INVALID_EMPLOYEE_NUMBER", FIRST_NUMBER)
ELSEWHERE = "ann@example.com"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (SSR, SIGN_UP, ALLOW),
        (SSR, without(SIGN_UP, FIRST_NUMBER), ALLOW),
        (SSR, changed(SIGN_UP, {EMAIL: ELSEWHERE}), [WRONG_EMAIL]),
        # The login counts if there is no email, but not if the email is empty.
        (SSR, without(SIGN_UP, EMAIL), ALLOW),
        (SSR, changed(SIGN_UP, {EMAIL: None, LOGIN: ELSEWHERE}), [(WRONG_EMAIL[0], LOGIN)]),
        (SSR, changed(SIGN_UP, {EMAIL: ""}), [WRONG_EMAIL]),
        (BOTH, SIGN_UP, ALLOW),
        (BOTH, changed(SIGN_UP, {FIRST_NUMBER: 1234}), ALLOW),
        (BOTH, without(SIGN_UP, FIRST_NUMBER), [WRONG_NUMBER]),
        (
            BOTH,
            changed(SIGN_UP, {EMAIL: ELSEWHERE, FIRST_NUMBER: "12"}),
            [WRONG_EMAIL, WRONG_NUMBER],
        ),
    ],
)
def test_who_may_sign_up(client, path, body, expected):
    assert outcome(client.post(path, json=body)) == expected


# As a Classic Engine org sends it, where self-service is the only flow.
CLASSIC = {
    "eventType": "com.okta.user.pre-registration",
    "data": {"userProfile": {"email": "a@okta.com", "login": "a@okta.com"}, "action": None},
}


@pytest.mark.parametrize("body", [CLASSIC, CLASSIC | {"requestType": None}])
def test_a_request_without_a_type_is_self_service(client, body):
    assert outcome(client.post(SSR, json=body)) == ALLOW
    assert outcome(client.post(SSR, json=changed(body, {EMAIL: ELSEWHERE}))) == [WRONG_EMAIL]
    assert client.post(PP, json=body).status_code == 204
    assert outcome(client.post(BOTH, json=body)) == [WRONG_NUMBER]
    assert outcome(client.post(BOTH, json=changed(body, {FIRST_NUMBER: "1234"}))) == ALLOW


def test_the_allowed_domains_are_a_setting():
    domains = frozenset({"example.com", "example.org"})
    own = hook_client(SETTINGS=Settings(registration_allowed_domains=domains))
    assert outcome(own.post(SSR, json=changed(SIGN_UP, {EMAIL: "ann@example.org"}))) == ALLOW
    assert outcome(own.post(SSR, json=SIGN_UP)) == [WRONG_EMAIL]


@pytest.mark.parametrize(("text", "what"), [("a@okta.com", "without @"), (", ,", "empty list")])
def test_an_impossible_domain_in_the_setting_is_named(tmp_path, text, what):
    environ = basic_settings(REGISTRATION_ALLOWED_DOMAINS=text)
    with pytest.raises(SettingsError, match=what):
        load_settings(environ, tmp_path / ".env")


def update_to(number):
    profile = {"employeeNumber": number}
    return {"type": "com.okta.user.progressive.profile.update", "value": profile}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (changed(UPDATE, {ADDED_NUMBER: 1234}), update_to("1234")),
        (changed(UPDATE, {ADDED_NUMBER: "0012"}), update_to("0012")),
        (without(UPDATE, ADDED_NUMBER), [WRONG_NUMBER]),
        *(
            (changed(UPDATE, {ADDED_NUMBER: sent}), [WRONG_NUMBER])
            for sent in ("", "12a4", None, 12, 123.4, -123)
        ),
    ],
)
def test_only_four_digits_are_put_into_the_profile(client, body, expected):
    for path in (PP, BOTH):
        assert outcome(client.post(path, json=body)) == expected


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        *(
            (changed(SIGN_UP, fields), refusal)
            for fields, refusal in [
                ({EMAIL: 1}, ("WRONG_TYPE", EMAIL)),
                ({EMAIL: "\ud800@okta.com"}, ("WRONG_TYPE", EMAIL)),
                ({EMAIL: None, LOGIN: None}, ("MISSING_FIELD", EMAIL)),
                ({EMAIL: None, LOGIN: []}, ("WRONG_TYPE", LOGIN)),
                ({PROFILE: None}, ("MISSING_FIELD", EMAIL)),
                ({PROFILE: []}, ("WRONG_TYPE", PROFILE)),
                ({"data": {}}, ("MISSING_FIELD", EMAIL)),
                ({"requestType": "self.service"}, ("UNKNOWN_VALUE", "requestType")),
                ({"requestType": 7}, ("WRONG_TYPE", "requestType")),
            ]
        ),
        (changed(UPDATE, {ADDED_NUMBER: ["1234"]}), ("WRONG_TYPE", ADDED_NUMBER)),
        (changed(UPDATE, {"data": {}}), ("MISSING_FIELD", "data.userProfileUpdate")),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(client, body, refusal):
    one_type = PP if body["requestType"] == UPDATE["requestType"] else SSR
    for path in (one_type, BOTH):
        assert refused_field(client.post(path, json=body)) == refusal


@pytest.mark.parametrize(("path", "payload"), [(SSR, UPDATE), (PP, SIGN_UP)])
def test_the_other_type_of_request_changes_nothing(client, path, payload):
    response = client.post(path, json=payload)
    assert (response.status_code, response.data) == (204, b"")
