"""Storing in time: what a delivery is told while the database hangs, and what becomes of it."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inbox.database import Database
from inbox.inbox import Inbox
from inbox.intake import Intake, NotStored
from tests.support.gunicorn import PROJECT

SECONDS_IN_ALL = 2
"""The contract's, for the answer to a delivery."""


@pytest.fixture
def inbox(sqlite_url):
    """What is stored, seen from elsewhere."""
    with contextlib.closing(Database(sqlite_url)) as database:
        inbox = Inbox(database)
        inbox.backlog()
        yield inbox


@pytest.fixture
def intake(sqlite_url, inbox):
    return Intake(sqlite_url)


@contextlib.contextmanager
def hanging(url):
    """As SQLite sees it, another process writes all the time."""
    with contextlib.closing(sqlite3.connect(url.database, isolation_level=None)) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        yield


def store(intake, *uuids):
    return intake.store({uuid: {"eventType": "test"} for uuid in uuids})


def refused(intake, *uuids):
    """The reason, and how many seconds it took."""
    started = time.monotonic()
    with pytest.raises(NotStored) as raised:
        store(intake, *uuids)
    return str(raised.value), time.monotonic() - started


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def store_when_it_is_back(intake, *uuids):
    def is_stored():
        with contextlib.suppress(NotStored):
            return store(intake, *uuids) is not None
        return False

    wait_until(is_stored)


def claimed(inbox):
    return {claim.key for claim in iter(inbox.claim, None)}


def test_only_the_first_delivery_waits_for_a_database_that_hangs(intake, inbox, sqlite_url):
    store(intake, "a")
    with hanging(sqlite_url):
        reason, seconds = refused(intake, "late")
        assert reason == "the database did not answer within 1.5 s"
        assert seconds < SECONDS_IN_ALL
        for _ in range(3):
            reason, seconds = refused(intake, "refused")
            assert reason == "the database still does not answer"
            assert seconds < 0.5
    wait_until(lambda: inbox.backlog().waiting == 2)
    store_when_it_is_back(intake, "b")
    assert claimed(inbox) == {"a", "late", "b"}


def test_an_event_stored_too_late_is_recognized_in_the_next_delivery(intake, inbox, sqlite_url):
    with hanging(sqlite_url):
        refused(intake, "late")
    wait_until(lambda: inbox.backlog().waiting == 1)
    store_when_it_is_back(intake, "late", "new")
    assert claimed(inbox) == {"late", "new"}


def test_a_refused_store_that_had_not_started_never_starts(intake, inbox, sqlite_url):
    with hanging(sqlite_url), ThreadPoolExecutor(4) as pool:
        reasons = [pool.submit(refused, intake, str(number)) for number in range(4)]
        assert all(reason.result()[1] < SECONDS_IN_ALL for reason in reasons)
        assert refused(intake, "more")[1] < 0.5
    wait_until(lambda: inbox.backlog().waiting)
    store_when_it_is_back(intake, "b")
    assert len(claimed(inbox)) == 2


def test_a_first_check_that_hangs_counts_as_a_store(intake, sqlite_url):
    with hanging(sqlite_url):
        intake.open()
        assert refused(intake, "a")[1] < SECONDS_IN_ALL
        assert refused(intake, "b")[1] < 0.5
    store_when_it_is_back(intake, "b")


def test_a_thread_that_could_not_be_started_is_started_later(intake, monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            store(intake, "a")
    assert store(intake, "a") == {"a"}


def test_a_database_that_cannot_be_used_is_logged_at_the_start(sqlite_url, caplog):
    Path(sqlite_url.database).mkdir()
    Intake(sqlite_url).open()
    wait_until(lambda: caplog.records)
    assert caplog.records[0].message == "events cannot be stored"
    assert "EVENTS_DATABASE_URL" in caplog.records[0].fields["error"]


def test_a_store_that_hangs_does_not_keep_the_process_from_exiting(intake, sqlite_url):
    store(intake, "a")
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    assert all(thread.daemon for thread in others)


FORK = """
import os, sys
import sqlalchemy as sa
from inbox.intake import Intake

intake = Intake(sa.make_url(sys.argv[1]))

def store(uuid):
    assert intake.store({uuid: {"eventType": "test"}}) == {uuid}

store("before")
child = os.fork()
if child == 0:
    store("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store("after")
"""


def test_a_fork_has_a_thread_and_a_connection_of_its_own(database_url):
    url = database_url.render_as_string(hide_password=False)
    command = [sys.executable, "-W", "ignore", "-c", FORK, url]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with contextlib.closing(Database(database_url)) as database:
        assert claimed(Inbox(database)) == {"before", "child", "after"}
