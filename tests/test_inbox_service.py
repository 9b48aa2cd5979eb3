"""Events from the delivery to the end of their handler, with gunicorn and a worker as deployed, on
SQLite. test_inbox_postgresql.py covers what a database server in between can do."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from inbox import inbox
from inbox.database import Database
from tests.support.events import (
    EVENT_TYPE,
    RecordingWorker,
    an_event,
    backlog,
    deliver,
    events_settings,
    inline_hooks_work,
    is_refused_in_time,
)
from tests.support.gunicorn import PROJECT, Service, basic_settings, children_of, environment


@pytest.fixture(scope="module")
def running_service(tmp_path_factory):
    with Service(
        basic_settings(EVENT_THREADS="0"), tmp_path_factory.mktemp("events") / "log"
    ) as service:
        yield service


@pytest.fixture
def url(running_service):
    """Where it stores events unless it is told otherwise. Each test finds none there."""
    url = sa.URL.create("sqlite", database=f"{running_service.log_path.parent}/events.sqlite")
    with (
        contextlib.closing(Database(url)) as database,
        database.begin() as connection,
    ):
        connection.execute(sa.delete(inbox.events))
    return url


@pytest.fixture
def service(running_service, url):
    return running_service


def test_a_delivery_is_answered_before_anything_handles_it(service, url, tmp_path):
    assert deliver(service, an_event("a"), an_event("b")).status_code == 204
    assert "worker started" not in service.log
    assert backlog(url).waiting == 2
    with RecordingWorker(url, tmp_path) as worker:
        worker.wait_until(lambda: backlog(url).waiting == 0)
        assert deliver(service, an_event("b"), an_event("c")).status_code == 204
        worker.wait_until(lambda: len(worker.handled) == 3)
    assert sorted(worker.handled) == ["a", "b", "c"]
    assert f"event already stored type={EVENT_TYPE} uuid=b" in service.log
    assert "ann@example.com" not in service.log + worker.log


def test_a_killed_workers_event_goes_to_the_next_worker_which_finishes_it_after_term(
    service, url, tmp_path
):
    deliver(service, an_event("slow", seconds=1.5))
    with RecordingWorker(url, tmp_path) as worker:
        worker.wait_until(lambda: "event taken" in worker.log)
        worker.kill()
    assert worker.handled == []
    with RecordingWorker(url, tmp_path) as worker:
        worker.wait_until(lambda: worker.log.count("event taken") == 2)
        worker.process.terminate()
        assert worker.process.wait(60) == 0
    assert worker.handled == ["slow"]
    assert f"event handled type={EVENT_TYPE} uuid=slow attempt=2" in worker.log


def test_a_locked_file_is_a_503_in_time_and_delays_no_other_hook(service, url):
    assert deliver(service, an_event("a")).status_code == 204
    with (
        contextlib.closing(sqlite3.connect(url.database, isolation_level=None)) as locker,
        ThreadPoolExecutor(3) as senders,
    ):
        locker.execute("BEGIN EXCLUSIVE")
        refusals = [
            senders.submit(is_refused_in_time, service, an_event(uuid)) for uuid in ("b", "c", "d")
        ]
        assert inline_hooks_work(service)
        assert all(refusal.result() for refusal in refusals)
        assert is_refused_in_time(service, an_event("e"))
    service.wait_until(lambda: deliver(service, an_event("e")).status_code == 204)
    # What came late was stored all the same, and Okta's next delivery of it changes nothing.
    assert backlog(url).waiting >= 2


def test_a_full_disk_is_a_503_and_what_was_stored_is_kept(service, url):
    assert deliver(service, an_event("a")).status_code == 204
    [worker] = children_of(service.process.pid)
    no_limit = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    size = Path(url.database).stat().st_size
    # More than fits into the free pages of the file.
    large = [an_event(f"large-{number}", text="x" * 10_000) for number in range(20)]
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, no_limit[1]))
    try:
        assert is_refused_in_time(service, *large)
        assert backlog(url).waiting == 1
        assert inline_hooks_work(service)
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, no_limit)
    assert deliver(service, *large).status_code == 204
    assert backlog(url).waiting == 21
    assert "xxx" not in service.log


def test_a_worker_does_not_start_with_wrong_settings(sqlite_url):
    wrong = {"BASIC_AUTH_PASSWORD": ""}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "events", "work"],
        cwd=PROJECT,
        env=environment(events_settings(sqlite_url) | wrong) | {"FLASK_SKIP_DOTENV": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "BASIC_AUTH_PASSWORD  is not set" in done.stdout
    assert "Traceback" not in done.stdout


def test_in_development_the_service_has_one_worker_of_its_own(sqlite_url, tmp_path):
    class Development(Service):
        command = ("flask", "run", "--reload")

    settings = events_settings(sqlite_url) | {"EVENT_THREADS": "2"}
    with Development(settings, tmp_path / "log") as service:
        deliver(service, an_event("a"))
        service.wait_until(lambda: "event handled" in service.log)
        assert service.log.count("worker started") == 1
        # The child of the reloader would outlive it.
        for process in children_of(service.process.pid):
            os.kill(process, signal.SIGTERM)
        service.process.wait(60)
    assert backlog(sqlite_url).waiting == 0


def test_a_command_starts_no_worker(sqlite_url):
    command = [sys.executable, "-m", "flask", "events", "list"]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment(events_settings(sqlite_url)), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert "Nothing has been stored yet" in done.stderr
    assert not Path(sa.make_url(sqlite_url).database).exists()


def test_an_unusable_database_is_logged_at_the_start(tmp_path):
    (tmp_path / "events.sqlite").write_text("no database, and longer than a header" * 10)
    with Service(basic_settings(), tmp_path / "log") as service:
        service.wait_until(lambda: "ERROR   events cannot be stored" in service.log)
