import pytest

from hooks import events
from tests.hook_app import hook_client, refused_field

PATHS = ["/userDeactivated", "/userCreated"]
DEACTIVATED = {
    "uuid": "uuid-1",
    "eventType": "user.lifecycle.deactivate",
    "target": [{"type": "User", "alternateId": "ann@example.com"}],
}
CREATED = {
    "uuid": "uuid-2",
    "eventType": "user.lifecycle.create",
    "target": [{"type": "User", "alternateId": "bob@example.com"}],
}

client = hook_client()


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level("INFO", "okta_hooks")
    return caplog


def deliver(*items, path="/userDeactivated"):
    return client.post(path, json={"data": {"events": list(items)}})


def lines(log):
    # Threads of other tests may write at any time.
    ours = [record for record in log.records if record.name == "okta_hooks.events"]
    return [(record.message, getattr(record, "fields", {})) for record in ours]


@pytest.mark.parametrize("path", PATHS)
def test_the_one_time_check_is_answered_with_its_challenge(path):
    response = client.get(path, headers={"X-Okta-Verification-Challenge": "c/4+=\xe9"})
    assert response.status_code == 200
    assert response.json == {"verification": "c/4+=\xe9"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{}, {"X-Okta-Verification-Challenge": ""}])
def test_a_check_without_challenge_is_refused(path, headers):
    response = client.get(path, headers=headers)
    assert response.status_code == 400
    [cause] = response.json["error"]["errorCauses"]
    assert cause["locationType"] == "header"
    assert cause["location"] == "X-Okta-Verification-Challenge"


@pytest.mark.parametrize("path", PATHS)
def test_both_paths_take_both_events_and_name_the_user(path, log):
    response = deliver(DEACTIVATED, CREATED, path=path)
    assert (response.status_code, response.data) == (204, b"")
    assert lines(log) == [
        (
            "user deactivated",
            {"type": DEACTIVATED["eventType"], "uuid": "uuid-1", "user": "ann@example.com"},
        ),
        (
            "user created",
            {"type": CREATED["eventType"], "uuid": "uuid-2", "user": "bob@example.com"},
        ),
    ]


def test_a_type_that_nothing_handles_is_logged(log):
    assert deliver({"eventType": "user.session.start", "uuid": 5}).status_code == 204
    assert lines(log) == [("no handler", {"type": "user.session.start", "uuid": None})]


@pytest.mark.parametrize(
    "bad", [None, [], "text", {}, {"eventType": None}, {"eventType": []}, {"eventType": "\ud800"}]
)
def test_a_bad_item_does_not_lose_the_others(bad, log):
    assert deliver(DEACTIVATED, bad, CREATED).status_code == 204
    assert [message for message, _ in lines(log)] == [
        "user deactivated",
        "event not readable",
        "user created",
    ]


def test_a_handler_that_breaks_makes_okta_deliver_again_but_stops_no_other_event(log, monkeypatch):
    def breaks(event):
        raise LookupError(event["target"][0]["alternateId"])

    monkeypatch.setitem(events.HANDLERS, "user.lifecycle.deactivate", breaks)
    response = deliver(DEACTIVATED, CREATED)
    assert response.status_code == 500
    assert "ann@example.com" not in response.text
    (message, fields), (other, _) = lines(log)
    assert (message, other) == ("handler broke", "user created")
    assert fields["uuid"] == "uuid-1"
    assert fields["error"].startswith("LookupError at test_hooks_events.py:")
    assert "ann@example.com" not in log.text


@pytest.mark.parametrize(
    ("target", "user"),
    [
        ([{"type": "User", "alternateId": "a"}, {"type": "User", "alternateId": "b"}], "a, b"),
        ([{"type": "App", "alternateId": "x"}, {"type": "User", "alternateId": "a"}], "a"),
        ([{"type": "App", "alternateId": "x"}, {"alternateId": "y"}], "x, y"),
        ([{"type": "User", "alternateId": None}], None),
        ([None, 1, {"type": "User", "alternateId": "a"}, {"type": "User"}], "a"),
        ([], None),
        ({}, None),
        (None, None),
    ],
)
def test_the_users_an_event_is_about(target, user):
    assert events.users_of({"eventType": "x", "target": target}) == user


def test_no_events_are_no_mistake():
    assert deliver().status_code == 204


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, ("MISSING_FIELD", "data.events")),
        ({"data": None}, ("WRONG_TYPE", "data")),
        ({"data": {}}, ("MISSING_FIELD", "data.events")),
        ({"data": {"events": None}}, ("WRONG_TYPE", "data.events")),
        ({"data": {"events": {}}}, ("WRONG_TYPE", "data.events")),
    ],
)
def test_a_call_without_a_list_of_events_is_refused(body, refusal):
    assert refused_field(client.post("/userCreated", json=body)) == refusal
