import pytest

from hooks.user_import import free_login
from tests.hook_app import changed, hook_client, refused_field, without

HOOK = "/userImport"
LOGIN = "data.user.profile.login"
APP_PROFILE = "data.appUser.profile"
PAYLOAD = {
    "data": {
        "context": {"matches": [], "conflicts": ["login"]},
        "action": {"result": "CREATE_USER"},
        "user": {"profile": {"login": "ann@example.com"}},
        "appUser": {
            "profile": {"userName": "ann7", "email": "ann@example.com", "externalId": "u7"}
        },
    }
}

client = hook_client()


def test_a_matched_user_is_linked():
    response = client.post(HOOK, json=changed(PAYLOAD, {"data.user.id": "00u1"}))
    assert response.status_code == 200
    assert response.json == {
        "commands": [
            {"type": "com.okta.action.update", "value": {"result": "LINK_USER"}},
            {"type": "com.okta.user.update", "value": {"id": "00u1"}},
        ]
    }


def test_a_login_in_conflict_is_replaced():
    response = client.post(HOOK, json=PAYLOAD)
    assert response.status_code == 200
    assert response.json == {
        "commands": [
            {"type": "com.okta.user.profile.update", "value": {"login": "ann7@example.com"}}
        ]
    }


@pytest.mark.parametrize(
    "body",
    [
        changed(PAYLOAD, {"data.context.conflicts": []}),
        changed(PAYLOAD, {"data.context.conflicts": ["email", {"login": 1}, None]}),
        without(PAYLOAD, "data.context.conflicts"),
        without(PAYLOAD, "data.appUser"),
        changed(PAYLOAD, {f"{APP_PROFILE}.userName": None}),
        {"data": {}},
    ],
)
def test_everything_else_is_left_to_okta(body):
    response = client.post(HOOK, json=body)
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize(
    ("taken", "user_name", "email", "external_id", "login"),
    [
        ("ann@example.com", "ann7", "ann@example.org", "u7", "ann7@example.org"),
        ("ann@example.com", "ann7", "", "u7", "ann7@example.com"),
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
def test_a_free_login(taken, user_name, email, external_id, login):
    assert free_login(taken, user_name, email, external_id) == login


def test_numbers_serve_as_names():
    body = changed(PAYLOAD, {f"{APP_PROFILE}.userName": 77})
    [command] = client.post(HOOK, json=body).json["commands"]
    assert command["value"] == {"login": "77@example.com"}


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, ("MISSING_FIELD", "data")),
        ({"data": None}, ("WRONG_TYPE", "data")),
        ({"data": []}, ("WRONG_TYPE", "data")),
        *(
            (changed(PAYLOAD, {path: value}), ("WRONG_TYPE", path))
            for path, value in [
                ("data.context", None),
                ("data.context.matches", None),
                ("data.context.conflicts", "login"),
                ("data.action", None),
                ("data.action.result", 1),
                ("data.user", None),
                ("data.user.id", 7),
                ("data.user.profile", None),
                (LOGIN, []),
                ("data.appUser", None),
                (APP_PROFILE, []),
                (f"{APP_PROFILE}.userName", {}),
                (f"{APP_PROFILE}.email", 1),
                (f"{APP_PROFILE}.externalId", False),
            ]
        ),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(body, refusal):
    assert refused_field(client.post(HOOK, json=body)) == refusal
