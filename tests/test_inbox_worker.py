"""The worker: threads that give events to handlers. Nothing of it depends on the database."""

import contextlib
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from inbox import inbox as inbox_module
from inbox import worker as event_worker
from inbox.database import Database
from inbox.inbox import GiveUp, Inbox
from inbox.inbox import events as table
from inbox.worker import Worker

PATIENCE = 60


@pytest.fixture(autouse=True)
def log(caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(event_worker, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(event_worker, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(inbox_module, "FIRST_PAUSE_SECONDS", 0.05)
    return caplog


@pytest.fixture
def database(sqlite_url):
    with contextlib.closing(Database(sqlite_url)) as database:
        yield database


@pytest.fixture
def inbox(database):
    return Inbox(database)


@contextlib.contextmanager
def working(inbox, handler, **options):
    """A worker at work; at the end it is stopped, and has ended what it began."""
    worker = Worker(Flask("handlers").app_context, inbox, {"test": handler}, **options)
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


def handle_all(inbox, handler):
    with working(inbox, handler):
        wait_until(lambda: inbox.backlog().waiting == 0)


def store(inbox, *uuids, kind="test"):
    inbox.store(
        {uuid: {"uuid": uuid, "eventType": kind, "login": "ann@example.com"} for uuid in uuids}
    )


def messages(log, uuid="uuid-1"):
    """What the log says of an event."""
    assert "ann@example.com" not in str([vars(record) for record in log.records])
    return [
        record.message
        for record in log.records
        if getattr(record, "fields", {}).get("uuid") == uuid
    ]


def test_each_event_is_given_to_its_handler_once_with_the_app_at_hand(inbox, log):
    given = []
    uuids = [f"uuid-{number}" for number in range(30)]
    store(inbox, *uuids)
    handle_all(inbox, lambda event: given.append((event["uuid"], len(event), current_app.name)))
    assert sorted(given) == sorted((uuid, 3, "handlers") for uuid in uuids)
    assert inbox.backlog().worker_seen is not None
    assert messages(log) == ["event taken", "event handled"]


def test_an_async_handler_runs_or_breaks(inbox, log):
    """It needs Flask[async]. Called as if it were a plain function, it would never run."""
    ran = []

    async def handler(event):
        ran.append(event)

    store(inbox, "uuid-1")
    with working(inbox, handler):
        wait_until(lambda: len(messages(log)) > 1)
    assert messages(log)[1] == ("event handled" if ran else "event broke")


def test_a_handler_that_breaks_twice_gets_the_event_a_third_time(inbox, log):
    attempts = []

    def breaks_twice(event):
        attempts.append(event["uuid"])
        if len(attempts) < 3:
            raise LookupError(event["login"])

    store(inbox, "uuid-1")
    handle_all(inbox, breaks_twice)
    assert attempts == ["uuid-1"] * 3
    assert messages(log) == ["event taken", "event broke"] * 2 + ["event taken", "event handled"]
    first = next(record.fields for record in log.records if record.message == "event broke")
    assert first["error"].startswith("LookupError at inbox/worker.py:")
    assert (first["attempt"], first["again_in_s"]) == (1, 0.05)


def test_a_handler_that_gives_up_does_not_get_the_event_again(inbox, log):
    def gives_up(event):
        raise GiveUp(event["login"])

    store(inbox, "uuid-1")
    handle_all(inbox, gives_up)
    [failure] = inbox.failures()
    assert (failure.key, failure.attempts) == ("uuid-1", 1)
    assert failure.error.startswith("GiveUp at inbox/worker.py:")
    assert messages(log) == ["event taken", "event failed"]


def test_an_event_whose_handler_was_removed_is_kept_and_tried_again(inbox, database, log):
    store(inbox, "uuid-1", kind="removed")
    with working(inbox, None):
        wait_until(lambda: "event broke" in messages(log))
    with database.begin() as connection:
        row = connection.execute(sa.select(table)).one()
    assert row.error.startswith("KeyError at inbox/worker.py:")
    assert row.due_at is not None


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, RecursionError, MemoryError])
def test_whatever_a_handler_raises_the_thread_goes_on(error, inbox):
    handled = []

    def handler(event):
        if event["uuid"] == "bad":
            raise error
        handled.append(event["uuid"])

    store(inbox, "bad", "good")
    with working(inbox, handler, threads=1):
        wait_until(lambda: handled)
    assert handled == ["good"]


def test_a_handler_that_hangs_holds_up_its_own_thread_alone(inbox):
    goes_on, handled = threading.Event(), []

    def handler(event):
        if event["uuid"] == "a":
            goes_on.wait(PATIENCE)
        handled.append(event["uuid"])

    store(inbox, "a", *(f"b{number}" for number in range(20)))
    with working(inbox, handler, threads=2) as worker:
        wait_until(lambda: len(handled) == 20)
        assert "a" not in handled
        # What was begun is ended, and noted.
        worker.stop()
        goes_on.set()
    assert handled[-1] == "a"
    assert inbox.backlog().waiting == 0


def test_what_the_handler_did_is_noted_once_the_database_is_back(inbox, database, log):
    """The table is away between the end of the handler and the note of it."""
    given = []

    def rename(old, new):
        with contextlib.closing(sqlite3.connect(database.file)) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def handler(event):
        given.append(event["uuid"])
        rename("okta_events_1", "elsewhere")

    store(inbox, "uuid-1")
    with working(inbox, handler):
        wait_until(lambda: "the database is away" in log.text)
        rename("elsewhere", "okta_events_1")
        wait_until(lambda: "event handled" in messages(log))
    assert given == ["uuid-1"]
    assert "the database is back" in log.text


def test_an_event_that_killed_its_worker_each_time_fails(inbox, monkeypatch, log):
    monkeypatch.setattr(inbox_module, "LEASE_SECONDS", 0.001)
    store(inbox, "uuid-1")
    for _ in range(inbox_module.ATTEMPTS):
        wait_until(inbox.claim)
    time.sleep(0.01)
    handle_all(inbox, lambda event: pytest.fail("it has no attempt left"))
    [failure] = inbox.failures()
    assert failure.error == "the worker was killed each time"
    assert failure.attempts == inbox_module.ATTEMPTS
    assert messages(log) == ["event failed"]
