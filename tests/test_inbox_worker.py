"""The worker: threads that give events to handlers. Nothing of it depends on the database."""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from inbox import background
from inbox.database import Database
from inbox.faults import DATABASE_FAULT, FaultLog
from inbox.inbox import GiveUp, Inbox
from inbox.inbox import events as table
from inbox.intake import Intake
from inbox.worker import Times, Worker

PATIENCE = 60
TIMES = Times(poll=0.02, reconnect=0.05, tend=0.1)


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level("INFO")
    return caplog


@pytest.fixture
def database(sqlite_url):
    with contextlib.closing(Database(sqlite_url)) as database:
        yield database


@pytest.fixture
def clock():
    return SimpleNamespace(skew=0.0)


@pytest.fixture
def inbox(database, clock):
    return Inbox(database, lambda: time.time() + clock.skew, first_pause_seconds=0.05)


@contextlib.contextmanager
def working(inbox, handler, *, app=None, threads=4, times=TIMES, **options):
    """A worker at work; at the end it is stopped, and has ended what it began."""
    app = app or Flask("handlers")
    worker = Worker(app, inbox, {"test": handler}, threads, times=times, **options)
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
    return inbox.store(
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


def said(log, message):
    return [record for record in log.records if record.message == message]


def test_each_event_reaches_its_handler_once_in_an_app_context(inbox, log):
    given = []
    uuids = [f"uuid-{number}" for number in range(30)]
    store(inbox, *uuids)
    handle_all(inbox, lambda event: given.append((event["uuid"], len(event), current_app.name)))
    assert sorted(given) == sorted((uuid, 3, "handlers") for uuid in uuids)
    assert inbox.backlog().worker_seen is not None
    assert messages(log) == ["event taken", "event handled"]


def test_an_async_handler_is_awaited_in_an_app_context(inbox, log):
    ran = []

    async def handler(event):
        await asyncio.sleep(0)
        ran.append(current_app.name)
        if len(ran) == 1:
            raise LookupError

    store(inbox, "uuid-1")
    handle_all(inbox, handler)
    assert ran == ["handlers"] * 2
    assert messages(log) == ["event taken", "event attempt failed", "event taken", "event handled"]


def test_a_handler_that_fails_twice_gets_the_event_a_third_time(inbox, log):
    attempts = []

    def breaks_twice(event):
        attempts.append(event["uuid"])
        if len(attempts) < 3:
            raise LookupError(event["login"])

    store(inbox, "uuid-1")
    handle_all(inbox, breaks_twice)
    assert attempts == ["uuid-1"] * 3
    assert messages(log) == ["event taken", "event attempt failed"] * 2 + [
        "event taken",
        "event handled",
    ]
    first = next(
        record.fields for record in log.records if record.message == "event attempt failed"
    )
    assert first["error"].startswith("LookupError at tests/test_inbox_worker.py:")
    assert (first["attempt"], first["again_in_s"]) == (1, 0.05)


def test_a_handler_that_gives_up_does_not_get_the_event_again(inbox, log):
    def gives_up(event):
        raise GiveUp(event["login"])

    store(inbox, "uuid-1")
    handle_all(inbox, gives_up)
    [failure] = inbox.failures()
    assert (failure.key, failure.attempts) == ("uuid-1", 1)
    assert failure.error.startswith("GiveUp at tests/test_inbox_worker.py:")
    assert messages(log) == ["event taken", "event failed"]


@pytest.mark.parametrize("debug", [True, False])
def test_the_traceback_of_a_handler_is_logged_in_development_only(debug, inbox, log):
    def breaks(event):
        raise LookupError("the message")

    app = Flask("handlers")
    app.debug = debug
    store(inbox, "uuid-1")
    with working(inbox, breaks, app=app):
        wait_until(lambda: "event attempt failed" in messages(log))
    assert ("LookupError: the message" in log.text) == debug
    assert ("Traceback" in log.text) == debug


def test_an_event_without_a_handler_waits_and_is_logged_now_and_then(inbox, database, log):
    store(inbox, "uuid-1", "uuid-2", kind="other")
    store(inbox, "uuid-3")
    handled = []
    with working(inbox, handled.append):
        wait_until(lambda: handled and said(log, "waiting events have no handler here"))
        time.sleep(5 * TIMES.tend)
    with database.begin() as connection:
        others = sa.select(table.c.attempts, table.c.error).where(table.c.type == "other")
        assert [tuple(row) for row in connection.execute(others)] == [(0, None)] * 2
    [record] = said(log, "waiting events have no handler here")
    assert (record.levelname, record.fields) == ("WARNING", {"type": "other", "events": 2})
    store(inbox, "uuid-4", kind="another")
    log.clear()
    with working(inbox, handled.append, times=replace(TIMES, remind=0.1)):
        wait_until(lambda: len(said(log, "waiting events have no handler here")) > 3)
    types = {each.fields["type"] for each in said(log, "waiting events have no handler here")}
    assert types == {"another", "other"}


def handle_a_bad_and_a_good_event(inbox, error) -> None:
    """The handler raises for the first. The same thread must handle the second."""
    handled = []

    def handler(event):
        if event["uuid"] == "bad":
            raise error
        handled.append(event["uuid"])

    store(inbox, "bad", "good")
    with working(inbox, handler, threads=1):
        wait_until(lambda: handled)
    assert handled == ["good"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, RecursionError, MemoryError])
def test_the_thread_continues_whatever_a_handler_raises(error, inbox, log):
    handle_a_bad_and_a_good_event(inbox, error)
    assert messages(log, "bad")[:2] == ["event taken", "event attempt failed"]


def test_a_handler_that_hangs_blocks_only_its_own_thread(inbox):
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


def rename(database, old, new):
    with contextlib.closing(sqlite3.connect(database.file)) as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")


@pytest.mark.parametrize("stops", [False, True])
def test_the_outcome_is_saved_once_the_database_is_back(stops, inbox, database, log):
    """The table is missing between the end of the handler and the saving of its outcome."""
    given = []

    def handler(event):
        given.append(event["uuid"])
        rename(database, "okta_events_2", "elsewhere")

    store(inbox, "uuid-1")
    with working(inbox, handler, times=replace(TIMES, hang=0.5, save=PATIENCE)) as worker:
        wait_until(lambda: said(log, DATABASE_FAULT))
        if stops:
            worker.stop()
        time.sleep(1)
        rename(database, "elsewhere", "okta_events_2")
        wait_until(lambda: "event handled" in messages(log))
    assert given == ["uuid-1"]
    assert len(said(log, DATABASE_FAULT)) == 1
    # The handler itself does not hang.
    assert messages(log) == ["event taken", "event handled"]
    assert "the database can be used again" in log.text


def test_a_fault_that_persists_is_logged_now_and_then(log):
    faults = FaultLog(0.3)

    def is_logged_again():
        faults.log(logging.WARNING, "it persists")
        return len(said(log, "it persists")) > 1

    assert not is_logged_again()
    wait_until(is_logged_again)


def test_each_outage_of_the_database_is_logged_once_with_its_end(log):
    faults = FaultLog(PATIENCE)

    def use_database(*errors):
        with faults.caught():
            for error in errors:
                raise error

    for _ in range(2):
        use_database()
        use_database(OSError("away"))
        use_database(OSError("still away"))
        use_database()
    outage = [DATABASE_FAULT, "the database can be used again"]
    assert [record.message for record in log.records] == outage * 2
    assert log.records[0].fields == {"error": "OSError: away"}


def test_a_worker_pauses_before_it_uses_a_database_again_that_has_failed(database):
    class Broken(Inbox):
        claims = 0

        def claim(self, types):
            self.claims += 1
            raise OSError("away")

    inbox = Broken(database)
    with working(inbox, None, times=replace(TIMES, reconnect=1)):
        time.sleep(25 * TIMES.poll)
    assert inbox.claims == 1


def test_only_one_thread_looks_for_events(database):
    class Counting(Inbox):
        claims = 0

        def claim(self, types):
            self.claims += 1
            return super().claim(types)

    inbox = Counting(database)
    with working(inbox, None, threads=8, times=replace(TIMES, reconnect=2)):
        time.sleep(25 * TIMES.poll)
    assert 1 < inbox.claims <= 30


def test_an_event_that_killed_its_worker_each_time_fails(inbox, clock, log):
    store(inbox, "uuid-1")
    while inbox.claim():
        clock.skew += 100
    handle_all(inbox, lambda event: pytest.fail("it has no attempt left"))
    [failure] = inbox.failures()
    assert failure.error == "its worker was killed during the last attempt"
    assert messages(log) == ["event failed"]


def test_a_handler_may_take_longer_than_a_lease(database, log):
    inbox = Inbox(database, lease_seconds=0.5)
    another = Inbox(database, lease_seconds=0.5)
    taken_away = []

    def handler(event):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            taken_away.extend(filter(None, [another.claim()]))
            time.sleep(0.05)

    store(inbox, "uuid-1")
    handle_all(inbox, handler)
    assert taken_away == []
    assert messages(log) == ["event taken", "event handled"]


def test_a_lost_lease_is_logged_and_the_thread_continues(inbox, clock, log):
    handled = []

    def handler(event):
        if event["uuid"] == "uuid-1":
            # As if the database had been unavailable for longer than a lease.
            clock.skew += 100
            assert inbox.claim().key == "uuid-1"
        handled.append(event["uuid"])

    store(inbox, "uuid-1")
    # Leases are not extended between the two claims.
    with working(inbox, handler, threads=1, times=replace(TIMES, tend=0.5)):
        wait_until(lambda: handled)
        store(inbox, "uuid-2")
        wait_until(lambda: len(handled) == 2)
        assert inbox.backlog().waiting == 1
    assert messages(log) == [
        "event taken",
        "event ended, but no longer belonged to this worker",
    ]


def test_a_handler_that_runs_for_long_is_logged_and_all_of_them_are_an_error(inbox, log):
    goes_on = threading.Event()
    times = replace(TIMES, hang=0.3, remind=0.3)
    store(inbox, "uuid-1")
    with working(inbox, lambda event: goes_on.wait(PATIENCE), threads=2, times=times):
        wait_until(lambda: "handler still running" in messages(log))
        time.sleep(3 * TIMES.tend)
        error = "no events are being handled: every thread of the event worker is hanging"
        assert not said(log, error)
        assert inbox.backlog().stuck_workers == 0
        store(inbox, "uuid-2")
        wait_until(lambda: "handler still running" in messages(log, "uuid-2"))
        # Both are said again, now and then.
        wait_until(lambda: len(said(log, error)) > 1)
        wait_until(lambda: inbox.backlog().stuck_workers)
        assert inbox.backlog().in_hand == 2
        goes_on.set()
        wait_until(lambda: not inbox.backlog().stuck_workers)
    assert len(messages(log)) > 3
    assert {*messages(log)[1:-1]} == {"handler still running"}
    assert said(log, error)[0].levelname == "ERROR"


class Broken(Inbox):
    """Raises what no database raises, the first time that each of two methods is called."""

    def __init__(self, database):
        super().__init__(database)
        self.broken = set()

    def break_once(self, name):
        if name not in self.broken:
            self.broken.add(name)
            raise ZeroDivisionError

    def claim(self, types):
        self.break_once("claim")
        return super().claim(types)

    def show_worker(self, *arguments):
        self.break_once("show_worker")
        super().show_worker(*arguments)


def test_an_unexpected_exception_ends_no_thread(database, log):
    inbox = Broken(database)
    store(inbox, "uuid-1")
    handled = []
    with working(inbox, handled.append, threads=1):
        wait_until(lambda: handled and inbox.backlog().worker_seen is not None)
    both = said(log, "event worker raised an exception, and continues")
    assert len(both) == 2
    assert all("ZeroDivisionError at " in record.fields["error"] for record in both)


class Untraceable(Exception):
    def with_traceback(self, traceback):
        raise ValueError


def test_an_exception_that_cannot_be_reported_ends_no_thread(inbox, log):
    handle_a_bad_and_a_good_event(inbox, Untraceable)
    assert said(log, "event worker raised an exception, and continues")


def test_a_worker_reports_regularly_that_it_runs(inbox, clock, log):
    with working(inbox, None):
        wait_until(lambda: inbox.backlog().worker_seen is not None)
        clock.skew += 1000
        wait_until(lambda: inbox.backlog().worker_seen < 60)


def test_a_worker_deletes_what_is_old(inbox, clock):
    store(inbox, "uuid-1")
    with working(inbox, lambda event: None):
        wait_until(lambda: inbox.backlog().waiting == 0)
        assert store(inbox, "uuid-1") == set()
        clock.skew += 14 * 24 * 3600
        wait_until(lambda: store(inbox, "uuid-1") == {"uuid-1"})


@pytest.mark.parametrize("way", ["stop", "goes_on"])
def test_a_stopped_worker_finishes_its_events_and_starts_no_other(way, inbox, log):
    goes_on, stops, handled = threading.Event(), threading.Event(), []

    def handler(event):
        goes_on.wait(PATIENCE)
        handled.append(event["uuid"])

    store(inbox, "uuid-1")
    with working(inbox, handler, goes_on=lambda: not stops.is_set()) as worker:
        wait_until(lambda: messages(log))
        if way == "stop":
            worker.stop()
        stops.set()
        wait_until(lambda: said(log, "event worker is finishing what it has begun"))
        store(inbox, "uuid-2")
        time.sleep(5 * TIMES.poll)
        goes_on.set()
    assert handled == ["uuid-1"]
    assert inbox.backlog().waiting == 1
    assert inbox.claim().attempts == 1


def test_a_stopping_worker_still_extends_its_leases(database):
    goes_on, inbox = threading.Event(), Inbox(database, lease_seconds=1)
    store(inbox, "uuid-1")
    with working(inbox, lambda event: goes_on.wait(PATIENCE)) as worker:
        wait_until(lambda: inbox.backlog().in_hand)
        worker.stop()
        time.sleep(2)
        assert inbox.claim() is None
        goes_on.set()


def test_a_worker_stopped_while_the_database_is_down_ends_and_logs_the_lost_outcome(
    inbox, database, log
):
    def handler(event):
        rename(database, "okta_events_2", "elsewhere")

    store(inbox, "uuid-1")
    with working(inbox, handler, times=replace(TIMES, save=0.1)):
        wait_until(lambda: said(log, DATABASE_FAULT))
    assert messages(log) == ["event taken", "outcome not saved, will run again"]


@pytest.mark.parametrize("way", ["stop", "goes_on"])
def test_the_time_to_save_an_outcome_begins_when_the_worker_is_told_to_stop(way, database, log):
    """Even if the thread that extends the leases waits for the database at that moment."""

    class Locked(Inbox):
        def extend(self, claims):
            time.sleep(5)

        def done(self, claim):
            raise OSError("locked")

    inbox, stops = Locked(database), threading.Event()
    store(inbox, "uuid-1")
    options = {"threads": 1, "goes_on": lambda: not stops.is_set()}
    with working(inbox, lambda _: None, times=replace(TIMES, save=0.1), **options) as worker:
        wait_until(lambda: said(log, DATABASE_FAULT))
        before = time.monotonic()
        worker.stop() if way == "stop" else stops.set()
        wait_until(lambda: "outcome not saved, will run again" in messages(log))
        assert time.monotonic() - before < 2


@pytest.mark.parametrize(("threads", "watches"), [(0, True), (1, False)])
def test_a_process_looks_for_a_worker_if_it_has_none(threads, watches, sqlite_url, monkeypatch):
    watching = threading.Event()
    monkeypatch.setattr(background, "watch", lambda inbox, goes_on: watching.set())
    started = background.Background(Flask("handlers"), Intake(sqlite_url), {}, threads)
    started.start()
    assert watching.wait(1) == watches
    started.stop(10)


def background_with(sqlite_url, handler, log, goes_on=lambda: True):
    """A background with a handler that is running."""
    intake = Intake(sqlite_url)
    started = background.Background(Flask("handlers"), intake, {"test": handler}, 1, times=TIMES)
    started.start(goes_on)
    intake.store({"uuid-1": {"uuid": "uuid-1", "eventType": "test"}})
    wait_until(lambda: messages(log))
    return started


async def yields_asynchronously(event):
    yield event


@pytest.mark.parametrize("handler", [lambda event: (yield event), yields_asynchronously])
def test_a_handler_that_yields_stops_the_service_from_starting(sqlite_url, handler):
    with pytest.raises(TypeError, match="the handler of test yields, so it would never run"):
        background.Background(Flask("handlers"), Intake(sqlite_url), {"test": handler}, 1)


def test_a_background_that_stops_lets_a_handler_finish(sqlite_url, log):
    handled = []

    def handler(event):
        time.sleep(0.5)
        handled.append(event["uuid"])

    background_with(sqlite_url, handler, log).stop(PATIENCE)
    assert handled == ["uuid-1"]
    assert said(log, "event worker stopped")
    assert not said(log, "handlers did not finish in time and will run again")


def test_the_background_that_was_started_is_stopped_even_if_another_was_prepared(
    sqlite_url, log, monkeypatch
):
    """As when a handler calls create_app()."""
    for name in ("_prepared", "_started"):
        monkeypatch.setattr(background, name, None)
    first, second = (
        background.Background(Flask("handlers"), Intake(sqlite_url), {}, 1, times=TIMES)
        for _ in range(2)
    )
    background.prepare(first)
    background.start()
    background.prepare(second)
    background.stop(PATIENCE)
    assert said(log, "event worker stopped")


def test_a_background_waits_for_a_limited_time_after_it_was_told_to_stop(sqlite_url, log):
    stops, ends = threading.Event(), threading.Event()

    def handler(event):
        ends.wait(PATIENCE)

    started = background_with(sqlite_url, handler, log, lambda: not stops.is_set())
    stops.set()
    wait_until(lambda: said(log, "event worker is finishing what it has begun"))
    time.sleep(1)
    before = time.monotonic()
    # Half a second is left for the log.
    started.stop(2)
    assert time.monotonic() - before < 0.8
    [record] = said(log, "handlers did not finish in time and will run again")
    assert record.fields == {"events": 1}
    ends.set()
    wait_until(lambda: said(log, "event worker stopped"))


def test_a_process_without_a_worker_logs_that_events_wait(inbox, clock, log):
    clock.skew = 60
    store(inbox, "uuid-1")
    is_over, message = (
        threading.Event(),
        "events are waiting, EVENT_THREADS is 0, and no worker is running",
    )
    arguments = (inbox, lambda: not is_over.is_set())
    watch = partial(background.watch, *arguments, every=0.05, remind=0.1)
    thread = threading.Thread(target=watch)
    # An event that has just been stored may still find a worker.
    clock.skew = 0
    thread.start()
    time.sleep(0.5)
    assert not said(log, message)
    clock.skew = 61
    wait_until(lambda: len(said(log, message)) > 1)
    inbox.show_worker("another", 1, 0)
    time.sleep(0.5)
    before = len(said(log, message))
    time.sleep(0.5)
    assert len(said(log, message)) == before
    is_over.set()
    thread.join()
