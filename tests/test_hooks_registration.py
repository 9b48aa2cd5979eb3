import pytest

from hooks.registration import is_employee_number, may_register
from tests.hook_app import CALLS, changed, hook_client, refused_field, without

SSR, PP, BOTH = "/registrationHookSSR", "/registrationHookPP", "/registrationHookSSRandPP"
EMAIL = "data.userProfile.email"
LOGIN = "data.userProfile.login"
FIRST_NUMBER = "data.userProfile.employeeNumber"
ADDED_NUMBER = "data.userProfileUpdate.employeeNumber"

client = hook_client()


def allowed(response):
    return response.json == {
        "commands": [{"type": "com.okta.action.update", "value": {"registration": "ALLOW"}}]
    }


def denied_for(response):
    """Reasons and locations of a denial."""
    assert response.status_code == 200
    assert response.json["commands"] == [
        {"type": "com.okta.action.update", "value": {"registration": "DENY"}}
    ]
    assert response.json["error"]["errorSummary"]
    causes = response.json["error"]["errorCauses"]
    assert {(cause["domain"], cause["locationType"]) for cause in causes} == {("end-user", "body")}
    return [(cause["reason"], cause["location"]) for cause in causes]


def updated_number(response):
    assert response.status_code == 200
    [command] = response.json["commands"]
    assert command["type"] == "com.okta.user.progressive.profile.update"
    assert set(response.json) == {"commands"}
    return command["value"]["employeeNumber"]


@pytest.mark.parametrize("address", ["a@okta.com", "a@OKTA.com", "a@b@okta.com", '"x y"@okta.com'])
def test_the_domain_is_compared_without_case(address):
    assert may_register(address, {"okta.com"})


@pytest.mark.parametrize(
    "address",
    [
        "",
        "okta.com",
        "@okta.com",
        "a@",
        "a@notokta.com",
        "a@sub.okta.com",
        "a@okta.com.evil.example",
        '"x@okta.com"@evil.example',
        "a@okta.com@evil.example",
        "a@okta.com ",
        "a@okta.com\n",
        "a@okta.com.",
        "a@o\N{KELVIN SIGN}ta.com",
        "a@\N{FULLWIDTH LATIN SMALL LETTER O}kta.com",
    ],
)
def test_a_domain_is_compared_whole(address):
    assert not may_register(address, {"okta.com"})


@pytest.mark.parametrize("number", ["1234", "0000"])
def test_four_digits_are_an_employee_number(number):
    assert is_employee_number(number)


@pytest.mark.parametrize("number", ["", "123", "12345", "12a4", "-123", "1234\n", "١٢٣٤", "12.0"])
def test_anything_else_is_not(number):
    assert not is_employee_number(number)


@pytest.mark.parametrize("path", [SSR, BOTH])
class TestSelfService:
    def test_an_allowed_domain_may_register(self, path):
        assert allowed(client.post(path, json=CALLS[path]))

    def test_another_domain_may_not(self, path):
        response = client.post(path, json=changed(path, {EMAIL: "ann@example.com"}))
        assert denied_for(response) == [("INVALID_EMAIL_DOMAIN", EMAIL)]

    @pytest.mark.parametrize("email", [{}, {EMAIL: None}])
    def test_the_login_counts_where_there_is_no_email(self, path, email):
        body = without(path, EMAIL)
        body["data"]["userProfile"] |= {name.rpartition(".")[2]: email[name] for name in email}
        body["data"]["userProfile"]["login"] = "ann@okta.com"
        assert allowed(client.post(path, json=body))
        body["data"]["userProfile"]["login"] = "ann@example.com"
        assert denied_for(client.post(path, json=body)) == [("INVALID_EMAIL_DOMAIN", LOGIN)]

    def test_an_empty_email_is_not_made_good_by_the_login(self, path):
        response = client.post(path, json=changed(path, {EMAIL: "", LOGIN: "ann@okta.com"}))
        assert denied_for(response) == [("INVALID_EMAIL_DOMAIN", EMAIL)]

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
        ],
    )
    def test_a_call_without_address_is_refused(self, path, fields, refusal):
        assert refused_field(client.post(path, json=changed(path, fields))) == refusal


def test_the_allowed_domains_are_a_setting():
    own = hook_client(REGISTRATION_ALLOWED_DOMAINS=frozenset({"example.com", "example.org"}))
    assert allowed(own.post(SSR, json=changed(SSR, {EMAIL: "ann@example.org"})))
    assert denied_for(own.post(SSR, json=CALLS[SSR]))


@pytest.mark.parametrize("path", [PP, BOTH])
class TestProgressiveProfile:
    @pytest.mark.parametrize(
        ("sent", "number"), [("1234", "1234"), ("0012", "0012"), (1234, "1234"), (1234.0, "1234")]
    )
    def test_four_digits_are_put_into_the_profile(self, path, sent, number):
        response = client.post(path, json=changed(PP, {ADDED_NUMBER: sent}))
        assert updated_number(response) == number

    @pytest.mark.parametrize("sent", ["", "123", "١٢٣٤", None, 12, 12345, 123.4, -123])
    def test_anything_else_is_denied(self, path, sent):
        response = client.post(path, json=changed(PP, {ADDED_NUMBER: sent}))
        assert denied_for(response) == [("INVALID_EMPLOYEE_NUMBER", ADDED_NUMBER)]

    def test_no_number_is_denied(self, path):
        response = client.post(path, json=without(PP, ADDED_NUMBER))
        assert denied_for(response) == [("INVALID_EMPLOYEE_NUMBER", ADDED_NUMBER)]

    @pytest.mark.parametrize("sent", [True, [], {}, ["1234"]])
    def test_a_number_of_another_type_is_refused(self, path, sent):
        response = client.post(path, json=changed(PP, {ADDED_NUMBER: sent}))
        assert refused_field(response) == ("WRONG_TYPE", ADDED_NUMBER)

    def test_a_call_without_the_update_is_refused(self, path):
        update = "data.userProfileUpdate"
        response = client.post(path, json=without(PP, update))
        assert refused_field(response) == ("MISSING_FIELD", update)
        response = client.post(path, json=changed(PP, {update: None}))
        assert refused_field(response) == ("WRONG_TYPE", update)


class TestBoth:
    @pytest.mark.parametrize("sent", [1234, "0012"])
    def test_a_registration_with_a_number_is_allowed(self, sent):
        assert allowed(client.post(BOTH, json=changed(BOTH, {FIRST_NUMBER: sent})))

    def test_no_number_is_denied(self):
        response = client.post(BOTH, json=without(BOTH, FIRST_NUMBER))
        assert denied_for(response) == [("INVALID_EMPLOYEE_NUMBER", FIRST_NUMBER)]

    def test_each_thing_wrong_is_a_cause(self):
        body = changed(BOTH, {EMAIL: "ann@example.com", FIRST_NUMBER: "12"})
        assert denied_for(client.post(BOTH, json=body)) == [
            ("INVALID_EMAIL_DOMAIN", EMAIL),
            ("INVALID_EMPLOYEE_NUMBER", FIRST_NUMBER),
        ]


@pytest.mark.parametrize(("path", "other"), [(SSR, PP), (PP, SSR)])
def test_the_other_type_of_request_changes_nothing(path, other):
    response = client.post(path, json=CALLS[other])
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize("path", [SSR, PP, BOTH])
def test_a_type_of_request_that_okta_does_not_have_is_refused(path):
    body = changed(path, {"requestType": "self.service"})
    assert refused_field(client.post(path, json=body)) == ("UNKNOWN_VALUE", "requestType")
    body = changed(path, {"requestType": None})
    assert refused_field(client.post(path, json=body)) == ("WRONG_TYPE", "requestType")
    body = without(path, "requestType")
    assert refused_field(client.post(path, json=body)) == ("MISSING_FIELD", "requestType")
