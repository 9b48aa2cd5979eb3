import contextlib
import json
import time

import pytest
import sqlalchemy as sa

from hooks import events
from inbox.database import Database
from inbox.inbox import Inbox
from inbox.inbox import events as table
from settings import Settings
from tests.support.client import hook_client, refused_field

PATHS = ["/userDeactivated", "/userCreated"]
CHALLENGE = "X-Okta-Verification-Challenge"
DEACTIVATED = {
    "uuid": "uuid-1",
    "eventType": "user.lifecycle.deactivate",
    "target": [{"type": "User", "alternateId": "ann@example.com"}],
}
CREATED = DEACTIVATED | {"uuid": "uuid-2", "eventType": "user.lifecycle.create"}


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level("INFO")
    return caplog


@pytest.fixture
def inbox(client):
    """The inbox of the client, empty at first."""
    url = client.application.config["SETTINGS"].events_database_url
    with contextlib.closing(Database(url)) as database:
        with database.begin() as connection:
            connection.execute(sa.delete(table))
        yield Inbox(database)


def stored(inbox):
    found = []
    while claim := inbox.claim():
        found.append(json.loads(claim.event))
    return sorted(found, key=lambda event: event["uuid"])


def deliver(client, *items, path="/userDeactivated"):
    return client.post(path, json={"data": {"events": list(items)}})


def lines(log):
    # Threads of other tests may log at any time.
    ours = [record for record in log.records if record.name == "hooks.events"]
    return [(record.message, getattr(record, "fields", {})) for record in ours]


@pytest.mark.parametrize("path", PATHS)
def test_the_one_time_check_is_answered_with_its_challenge(client, path):
    response = client.get(path, headers={CHALLENGE: "c/4+=\xe9"})
    assert (response.status_code, response.json) == (200, {"verification": "c/4+=\xe9"})


@pytest.mark.parametrize("headers", [{}, {CHALLENGE: ""}])
def test_a_check_without_a_challenge_is_refused(client, headers):
    response = client.get("/userCreated", headers=headers)
    assert response.status_code == 400
    [cause] = response.json["error"]["errorCauses"]
    assert (cause["locationType"], cause["location"]) == ("header", CHALLENGE)


@pytest.mark.parametrize("path", PATHS)
def test_both_paths_store_both_events_and_call_no_handler(client, path, inbox, log):
    response = deliver(client, DEACTIVATED, CREATED, path=path)
    assert (response.status_code, response.data) == (204, b"")
    assert lines(log) == [
        ("event stored", {"type": DEACTIVATED["eventType"], "uuid": "uuid-1"}),
        ("event stored", {"type": CREATED["eventType"], "uuid": "uuid-2"}),
    ]
    assert stored(inbox) == [DEACTIVATED, CREATED]


@pytest.mark.parametrize(
    ("event", "message"), [(DEACTIVATED, "user deactivated"), (CREATED, "user created")]
)
def test_the_handlers_of_the_samples_name_the_user(event, message, log):
    events.HANDLERS[event["eventType"]](event)
    named = {"type": event["eventType"], "uuid": event["uuid"], "user": "ann@example.com"}
    assert lines(log) == [(message, named)]


def test_an_event_is_stored_only_once_however_often_it_is_delivered(client, inbox, log):
    assert deliver(client, DEACTIVATED, DEACTIVATED).status_code == 204
    assert deliver(client, DEACTIVATED, CREATED).status_code == 204
    messages = [message for message, _ in lines(log)]
    assert messages == ["event stored", "event already stored", "event stored"]
    assert stored(inbox) == [DEACTIVATED, CREATED]


def test_a_type_that_nothing_handles_is_logged_and_not_stored(client, inbox, log):
    assert deliver(client, {"eventType": "user.session.start", "uuid": 5}).status_code == 204
    assert lines(log) == [("no handler", {"type": "user.session.start", "uuid": None})]
    assert stored(inbox) == []


@pytest.mark.parametrize("bad", [None, [], {}, {"eventType": []}, {"eventType": "\ud800"}])
def test_a_bad_item_does_not_affect_the_others(client, bad, inbox, log):
    assert deliver(client, DEACTIVATED, bad, CREATED).status_code == 204
    assert lines(log)[0] == ("events not readable", {"items": 1})
    assert stored(inbox) == [DEACTIVATED, CREATED]


def test_many_items_that_are_not_events_quickly_get_one_log_line(client, inbox, log):
    items = [0] * 300_000
    started = time.perf_counter()
    assert deliver(client, *items, DEACTIVATED).status_code == 204
    # A line for each would take several seconds.
    assert time.perf_counter() - started < 1.5
    assert lines(log)[0] == ("events not readable", {"items": len(items)})
    assert stored(inbox) == [DEACTIVATED]


@pytest.mark.parametrize("levels", [100, 900])
def test_an_event_may_be_nested_as_deeply_as_a_readable_body(client, levels, inbox):
    nested = "[" * levels + "]" * levels
    body = json.dumps({"data": {"events": [DEACTIVATED | {"x": 0}]}}).replace("0}", nested + "}")
    response = client.post(PATHS[0], data=body, content_type="application/json")
    assert (response.status_code, len(stored(inbox))) in ((204, 1), (400, 0))


def test_events_that_cannot_be_stored_are_a_503_so_that_okta_delivers_them_again(tmp_path, log):
    (tmp_path / "not-a-folder").write_text("")
    url = sa.URL.create("sqlite", database=f"{tmp_path}/not-a-folder/events.sqlite")
    response = deliver(hook_client(SETTINGS=Settings(events_database_url=url)), DEACTIVATED)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "ann@example.com" not in response.text + str([vars(record) for record in log.records])
    [(message, fields)] = lines(log)
    assert message == "events not stored"
    assert "EVENTS_DATABASE_URL must name a file" in str(fields["error"])


@pytest.mark.parametrize(
    ("target", "user"),
    [
        ([{"type": "User", "alternateId": "a"}, {"type": "User", "alternateId": "b"}], "a, b"),
        ([{"type": "App", "alternateId": "x"}, {"type": "User", "alternateId": "a"}], "a"),
        ([{"type": "App", "alternateId": "x"}, {"alternateId": "y"}], "x, y"),
        ([None, 1, {"type": "User", "alternateId": "a"}, {"type": "User"}], "a"),
        ([], None),
        ({}, None),
    ],
)
def test_the_users_an_event_is_about(target, user):
    assert events.users_of({"eventType": "x", "target": target}) == user


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"data": None}, ("WRONG_TYPE", "data")),
        ({"data": {}}, ("MISSING_FIELD", "data.events")),
        ({"data": {"events": {}}}, ("WRONG_TYPE", "data.events")),
    ],
)
def test_a_request_without_a_list_of_events_is_refused(client, body, refusal):
    assert refused_field(client.post("/userCreated", json=body)) == refusal
