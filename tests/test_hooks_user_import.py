import pytest

from hooks.user_import import free_login
from local_okta.samples import SAMPLES
from tests.support.client import changed, refused_field, without

HOOK = "/userImport"
CONFLICTS = "data.context.conflicts"
APP_PROFILE = "data.appUser.profile"
USER_NAME = f"{APP_PROFILE}.userName"
PAYLOAD = SAMPLES["user-import"].payload


def commands(client, body):
    response = client.post(HOOK, json=body)
    assert response.status_code == 200
    assert response.json.keys() == {"commands"}
    return [(each["type"], each["value"]) for each in response.json["commands"]]


def test_a_matched_user_is_linked(client):
    assert commands(client, changed(PAYLOAD, {"data.user.id": "00u1"})) == [
        ("com.okta.action.update", {"result": "LINK_USER"}),
        ("com.okta.user.update", {"id": "00u1"}),
    ]


@pytest.mark.parametrize(
    ("user_name", "login"), [("kim7", "kim7@example.com"), (77, "77@example.com")]
)
def test_a_login_in_conflict_is_replaced(client, user_name, login):
    [command] = commands(client, changed(PAYLOAD, {USER_NAME: user_name}))
    assert command == ("com.okta.user.profile.update", {"login": login})


@pytest.mark.parametrize(
    "body",
    [
        changed(PAYLOAD, {CONFLICTS: ["email", {"login": 1}, None]}),
        without(PAYLOAD, CONFLICTS),
        without(PAYLOAD, "data.appUser"),
        changed(PAYLOAD, {USER_NAME: None}),
        {"data": {}},
        {"data": {"action": None, "appUser": None, "context": None, "user": None}},
    ],
)
def test_everything_else_is_left_to_okta(client, body):
    response = client.post(HOOK, json=body)
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("taken", "user_name", "email", "external_id", "login"),
    [
        ("ann@example.com", "ann7", "ann@example.org", "u7", "ann7@example.org"),
        ("ann@example.com", "ann7", "no address", "u7", "ann7@example.com"),
        ("ann@example.com", "ann7@example.net", "ann@example.org", "u7", "ann7@example.net"),
        ("ann@example.com", "ann", "ann@example.com", "u7", "ann.u7@example.com"),
        ("ann@example.com", "Ann@Example.com", "", "u7", "Ann.u7@Example.com"),
        ("ann@example.com", "ann", "", "", None),
        ("ann@example.com", "", "ann@example.org", "u7", None),
        ("ann", "ann7", "", "u7", None),
        ("ann@example.com", "@example.com", "", "u7", None),
    ],
)
def test_a_free_login_is_found_if_there_is_one(taken, user_name, email, external_id, login):
    assert free_login(taken, user_name, email, external_id) == login


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data", None),
        ("data.context", []),
        ("data.context.matches", {}),
        (CONFLICTS, "login"),
        ("data.action.result", 1),
        ("data.user", ""),
        ("data.user.id", 7),
        ("data.user.profile.login", []),
        (APP_PROFILE, []),
        (USER_NAME, {}),
        (f"{APP_PROFILE}.email", 1),
        (f"{APP_PROFILE}.externalId", False),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(client, path, value):
    response = client.post(HOOK, json=changed(PAYLOAD, {path: value}))
    assert refused_field(response) == ("WRONG_TYPE", path)


def test_a_request_without_data_is_refused(client):
    assert refused_field(client.post(HOOK, json={})) == ("MISSING_FIELD", "data")
