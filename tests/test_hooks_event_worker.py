"""The worker: threads that give events to handlers, on SQLite and on PostgreSQL."""

import contextlib
import json
import threading
import time

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from hooks import event_worker
from hooks import inbox as inbox_module
from hooks.event_database import Database
from hooks.event_worker import Worker
from hooks.events import HANDLERS
from hooks.inbox import GiveUp, Inbox
from hooks.inbox import events as table

PATIENCE = 60


@pytest.fixture(autouse=True)
def log(caplog, monkeypatch):
    caplog.set_level("INFO", "okta_hooks")
    monkeypatch.setattr(event_worker, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(event_worker, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(inbox_module, "FIRST_PAUSE_SECONDS", 0.05)
    return caplog


@pytest.fixture
def database(database_url):
    with contextlib.closing(Database(database_url, busy_seconds=10)) as database:
        yield database


@pytest.fixture
def inbox(database):
    return Inbox(database)


@contextlib.contextmanager
def working(inbox, **options):
    """A worker at work; at the end it is stopped, and has ended what it began."""
    worker = Worker(Flask("handlers").app_context, inbox, **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def store(inbox, *uuids, kind="test"):
    inbox.store(
        {uuid: {"uuid": uuid, "eventType": kind, "login": "ann@example.com"} for uuid in uuids}
    )


def handles(monkeypatch, handler):
    monkeypatch.setitem(HANDLERS, "test", handler)


def lines(log):
    return [
        (record.message, record.fields.get("uuid"))
        for record in log.records
        if record.message.startswith("event")
    ]


def everything(log):
    return str([vars(record) for record in log.records])


def test_each_event_is_given_to_its_handler_once_with_the_app_at_hand(inbox, monkeypatch, log):
    given = []
    handles(monkeypatch, lambda event: given.append((event, current_app.name)))
    store(inbox, *(f"uuid-{number}" for number in range(30)))
    with working(inbox):
        wait_until(lambda: inbox.backlog().waiting == 0)
    assert sorted(event["uuid"] for event, _ in given) == sorted(f"uuid-{n}" for n in range(30))
    assert given[0][0].keys() == {"uuid", "eventType", "login"}
    assert {name for _, name in given} == {"handlers"}
    assert inbox.backlog().worker_seen is not None
    assert [text for text, uuid in lines(log) if uuid == "uuid-7"] == [
        "event taken",
        "event handled",
    ]
    assert "ann@example.com" not in everything(log)


def test_a_handler_that_breaks_twice_gets_the_event_a_third_time(inbox, database, monkeypatch, log):
    attempts = []

    def breaks_twice(event):
        attempts.append(event["uuid"])
        if len(attempts) < 3:
            raise LookupError(event["login"])

    handles(monkeypatch, breaks_twice)
    store(inbox, "uuid-1")
    with working(inbox):
        wait_until(lambda: inbox.backlog().waiting == 0)
    assert attempts == ["uuid-1"] * 3
    taken, broke, handled = (f"event {what}" for what in ("taken", "broke", "handled"))
    assert [text for text, _ in lines(log)] == [taken, broke, taken, broke, taken, handled]
    first = next(record.fields for record in log.records if record.message == broke)
    assert first["error"].startswith("LookupError at tests/test_hooks_event_worker.py:")
    assert (first["attempt"], first["again_in_s"]) == (1, 0.05)
    assert "ann@example.com" not in everything(log)


def test_a_handler_that_gives_up_does_not_get_the_event_again(inbox, database, monkeypatch, log):
    def gives_up(event):
        raise GiveUp(event["login"])

    handles(monkeypatch, gives_up)
    store(inbox, "uuid-1")
    store(inbox, "uuid-2", kind="a type whose handler was removed")
    monkeypatch.setattr(inbox_module, "ATTEMPTS", 12)
    with working(inbox):
        wait_until(lambda: inbox.backlog().failed == 1)
    [failure] = inbox.failures()
    assert (failure.key, failure.attempts) == ("uuid-1", 1)
    assert failure.error.startswith("GiveUp at tests/test_hooks_event_worker.py:")
    assert ("event failed", "uuid-1") in lines(log)
    with database.begin() as connection:
        other = connection.execute(sa.select(table).where(table.c.key == "uuid-2")).one()
    assert other.error.startswith("KeyError at hooks/event_worker.py:")
    assert other.due_at is not None


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, RecursionError, MemoryError])
def test_whatever_a_handler_raises_the_thread_goes_on(error, inbox, monkeypatch):
    handled = []

    def handler(event):
        if event["uuid"] == "bad":
            raise error
        handled.append(event["uuid"])

    handles(monkeypatch, handler)
    store(inbox, "bad", "good")
    with working(inbox, threads=1):
        wait_until(lambda: handled)
    assert handled == ["good"]


def test_a_handler_that_hangs_holds_up_its_own_thread_alone(inbox, monkeypatch):
    goes_on, handled = threading.Event(), []

    def handler(event):
        if event["uuid"] == "a":
            goes_on.wait(PATIENCE)
        handled.append(event["uuid"])

    handles(monkeypatch, handler)
    store(inbox, "a", *(f"b{number}" for number in range(20)))
    with working(inbox, threads=2) as worker:
        wait_until(lambda: len(handled) == 20)
        assert "a" not in handled
        # What was begun is ended, and noted.
        worker.stop()
        goes_on.set()
    assert handled[-1] == "a"
    assert inbox.backlog().waiting == 0


def test_two_workers_share_the_events(inbox, database_url, monkeypatch):
    given = []
    handles(monkeypatch, lambda event: given.append(event["uuid"]))
    uuids = [f"uuid-{number}" for number in range(60)]
    store(inbox, *uuids)
    with (
        contextlib.closing(Database(database_url, busy_seconds=10)) as other,
        working(inbox),
        working(Inbox(other)),
    ):
        wait_until(lambda: inbox.backlog().waiting == 0)
    assert sorted(given) == sorted(uuids)


def test_what_the_handler_did_is_noted_once_the_database_is_back(inbox, database, monkeypatch, log):
    """The table is away between the end of the handler and the note of it."""
    given = []

    def rename(old, new):
        with database.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))

    def handler(event):
        given.append(event["uuid"])
        rename("okta_events_1", "elsewhere")

    handles(monkeypatch, handler)
    store(inbox, "uuid-1")
    with working(inbox):
        wait_until(lambda: "the database is away" in log.text)
        rename("elsewhere", "okta_events_1")
        wait_until(lambda: ("event handled", "uuid-1") in lines(log))
    assert given == ["uuid-1"]
    assert "the database is back" in log.text


def test_an_event_that_killed_its_worker_each_time_fails(inbox, monkeypatch, log):
    handles(monkeypatch, lambda event: pytest.fail("it has no attempt left"))
    monkeypatch.setattr(inbox_module, "LEASE_SECONDS", 0.001)
    store(inbox, "uuid-1")
    for _ in range(inbox_module.ATTEMPTS):
        wait_until(inbox.claim)
    time.sleep(0.01)
    with working(inbox):
        wait_until(lambda: inbox.backlog().failed == 1)
    assert inbox.failures()[0].error == "the worker was killed each time"
    assert json.dumps(lines(log)) == '[["event failed", "uuid-1"]]'
