import pytest

from hooks.registration import is_employee_number, may_register
from tests.hook_app import changed, hook_client, refused_field, without

SSR, PP, BOTH = "/registrationHookSSR", "/registrationHookPP", "/registrationHookSSRandPP"
EMAIL = "data.userProfile.email"
LOGIN = "data.userProfile.login"
FIRST_NUMBER = "data.userProfile.employeeNumber"
ADDED_NUMBER = "data.userProfileUpdate.employeeNumber"
SIGN_UP = {
    "requestType": "self.service.registration",
    "data": {
        "userProfile": {"login": "ann@okta.com", "email": "ann@okta.com", "employeeNumber": "1234"}
    },
}
UPDATE = {
    "requestType": "progressive.profile",
    "data": {"userProfileUpdate": {"employeeNumber": "1234"}},
}
ALLOW = {"type": "com.okta.action.update", "value": {"registration": "ALLOW"}}
DENY = {"type": "com.okta.action.update", "value": {"registration": "DENY"}}

client = hook_client()


def outcome(response):
    """The one command, or for a denial reason and location of each cause."""
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
        ('"x y"@okta.com', True),
        ("", False),
        ("okta.com", False),
        ("@okta.com", False),
        ("a@", False),
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


@pytest.mark.parametrize("number", ["1234", "0000"])
def test_four_digits_are_an_employee_number(number):
    assert is_employee_number(number)


@pytest.mark.parametrize("number", ["", "123", "12345", "12a4", "-123", "1234\n", "١٢٣٤", "12.0"])
def test_anything_else_is_not(number):
    assert not is_employee_number(number)


@pytest.mark.parametrize("path", [SSR, BOTH])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ALLOW),
        ({EMAIL: "ann@example.com"}, [("INVALID_EMAIL_DOMAIN", EMAIL)]),
        # The login counts where there is no email, but never makes an empty one good.
        ({EMAIL: None}, ALLOW),
        ({EMAIL: None, LOGIN: "ann@example.com"}, [("INVALID_EMAIL_DOMAIN", LOGIN)]),
        ({EMAIL: ""}, [("INVALID_EMAIL_DOMAIN", EMAIL)]),
    ],
)
def test_who_may_sign_up(path, fields, expected):
    assert outcome(client.post(path, json=changed(SIGN_UP, fields))) == expected


def test_the_login_counts_where_the_email_is_absent():
    assert outcome(client.post(SSR, json=without(SIGN_UP, EMAIL))) == ALLOW


@pytest.mark.parametrize("path", [SSR, BOTH])
@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({EMAIL: 1}, ("WRONG_TYPE", EMAIL)),
        ({EMAIL: "\ud800@okta.com"}, ("WRONG_TYPE", EMAIL)),
        ({EMAIL: None, LOGIN: None}, ("MISSING_FIELD", EMAIL)),
        ({EMAIL: None, LOGIN: []}, ("WRONG_TYPE", LOGIN)),
        ({"data.userProfile": None}, ("WRONG_TYPE", "data.userProfile")),
        ({"data.userProfile": {}}, ("MISSING_FIELD", EMAIL)),
        ({"data": None}, ("WRONG_TYPE", "data")),
        ({"data": {}}, ("MISSING_FIELD", EMAIL)),
        ({"requestType": "self.service"}, ("UNKNOWN_VALUE", "requestType")),
        ({"requestType": None}, ("WRONG_TYPE", "requestType")),
    ],
)
def test_a_sign_up_that_cannot_be_read_is_refused(path, fields, refusal):
    assert refused_field(client.post(path, json=changed(SIGN_UP, fields))) == refusal


def test_the_allowed_domains_are_a_setting():
    own = hook_client(REGISTRATION_ALLOWED_DOMAINS=frozenset({"example.com", "example.org"}))
    assert outcome(own.post(SSR, json=changed(SIGN_UP, {EMAIL: "ann@example.org"}))) == ALLOW
    assert outcome(own.post(SSR, json=SIGN_UP)) == [("INVALID_EMAIL_DOMAIN", EMAIL)]


@pytest.mark.parametrize("path", [PP, BOTH])
@pytest.mark.parametrize(
    ("sent", "number"), [("1234", "1234"), ("0012", "0012"), (1234, "1234"), (1234.0, "1234")]
)
def test_four_digits_are_put_into_the_profile(path, sent, number):
    command = outcome(client.post(path, json=changed(UPDATE, {ADDED_NUMBER: sent})))
    assert command["type"] == "com.okta.user.progressive.profile.update"
    assert command["value"] == {"employeeNumber": number}


@pytest.mark.parametrize("path", [PP, BOTH])
@pytest.mark.parametrize("sent", ["", "123", "١٢٣٤", None, 12, 12345, 123.4, -123])
def test_any_other_number_is_denied(path, sent):
    response = client.post(path, json=changed(UPDATE, {ADDED_NUMBER: sent}))
    assert outcome(response) == [("INVALID_EMPLOYEE_NUMBER", ADDED_NUMBER)]


@pytest.mark.parametrize("path", [PP, BOTH])
@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        *(({ADDED_NUMBER: sent}, ("WRONG_TYPE", ADDED_NUMBER)) for sent in (True, [], ["1234"])),
        ({"data.userProfileUpdate": None}, ("WRONG_TYPE", "data.userProfileUpdate")),
        ({"data": {}}, ("MISSING_FIELD", "data.userProfileUpdate")),
        ({"requestType": None}, ("WRONG_TYPE", "requestType")),
    ],
)
def test_an_update_that_cannot_be_read_is_refused(path, fields, refusal):
    assert refused_field(client.post(path, json=changed(UPDATE, fields))) == refusal


@pytest.mark.parametrize(("path", "payload"), [(PP, UPDATE), (BOTH, UPDATE)])
def test_an_absent_number_is_denied(path, payload):
    response = client.post(path, json=without(payload, ADDED_NUMBER))
    assert outcome(response) == [("INVALID_EMPLOYEE_NUMBER", ADDED_NUMBER)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({FIRST_NUMBER: 1234}, ALLOW),
        ({FIRST_NUMBER: "0012"}, ALLOW),
        ({FIRST_NUMBER: None}, [("INVALID_EMPLOYEE_NUMBER", FIRST_NUMBER)]),
        (
            {EMAIL: "ann@example.com", FIRST_NUMBER: "12"},
            [("INVALID_EMAIL_DOMAIN", EMAIL), ("INVALID_EMPLOYEE_NUMBER", FIRST_NUMBER)],
        ),
    ],
)
def test_both_asks_for_a_number_at_the_sign_up_too(fields, expected):
    assert outcome(client.post(BOTH, json=changed(SIGN_UP, fields))) == expected


@pytest.mark.parametrize(("path", "payload"), [(SSR, UPDATE), (PP, SIGN_UP)])
def test_the_other_type_of_request_changes_nothing(path, payload):
    response = client.post(path, json=payload)
    assert (response.status_code, response.data) == (204, b"")
