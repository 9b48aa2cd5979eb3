"""Events from the delivery to the end of their handler, with gunicorn and a worker as deployed."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from hooks import inbox
from hooks.event_database import Database
from local_okta.samples import SAMPLES
from tests.event_service import (
    EVENT_TYPE,
    RecordingWorker,
    an_event,
    backlog,
    deliver,
    events_settings,
    wait_until,
)
from tests.service import BASIC_PAIR, PROJECT, Service, environment

OKTA_WAITS_SECONDS = 3


@pytest.fixture
def sqlite_url(tmp_path):
    return sa.URL.create("sqlite", database=str(tmp_path / "events.sqlite"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request, tmp_path_factory):
    if request.param == "sqlite":
        return sa.URL.create("sqlite", database=f"{tmp_path_factory.mktemp('events')}/sqlite")
    return request.getfixturevalue("postgresql").new_database()


@pytest.fixture(scope="module")
def running_service(database_url, tmp_path_factory):
    log_path = tmp_path_factory.mktemp("service") / "log"
    with Service(events_settings(database_url), log_path) as service:
        yield service


@pytest.fixture
def service(running_service, database_url):
    """One for several tests, each of which finds it without an event."""
    with (
        contextlib.closing(Database(database_url, busy_seconds=10)) as database,
        database.begin() as connection,
    ):
        connection.execute(sa.delete(inbox.events))
    return running_service


def children_of(process: subprocess.Popen) -> list[int]:
    pgrep = ["pgrep", "-P", str(process.pid)]
    found = subprocess.run(pgrep, capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def twenty_more(accepted):
    number = len(accepted) + 20
    wait_until(lambda: len(accepted) >= number, "nothing is accepted any more")


def is_refused_in_time(service, uuid):
    started = time.monotonic()
    response = deliver(service, an_event(uuid))
    assert time.monotonic() - started < OKTA_WAITS_SECONDS
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {"error": {"errorSummary": "Service Unavailable", "errorCauses": []}}
    return True


def inline_hooks_work(service):
    sample = next(sample for sample in SAMPLES.values() if sample.kind != "event")
    answer = service.call(sample.path, auth=BASIC_PAIR, json=sample.payload)
    return answer.ok and service.call("/readyz", method="GET").ok


def test_a_delivery_is_answered_before_anything_handles_it(service, database_url, tmp_path):
    assert deliver(service, an_event("a"), an_event("b")).status_code == 204
    # gunicorn starts no worker of its own.
    time.sleep(0.5)
    assert backlog(database_url).waiting == 2
    with RecordingWorker(database_url, tmp_path) as worker:
        wait_until(lambda: backlog(database_url).waiting == 0, worker.log)
        assert deliver(service, an_event("b"), an_event("c")).status_code == 204
        wait_until(lambda: len(worker.handled) == 3, worker.log)
    assert sorted(worker.handled) == ["a", "b", "c"]
    assert f"event known already type={EVENT_TYPE} uuid=b" in service.log
    assert "ann@example.com" not in service.log + worker.log


def test_term_lets_a_worker_end_what_it_has_begun(service, database_url, tmp_path):
    deliver(service, an_event("slow", seconds=1.5))
    with RecordingWorker(database_url, tmp_path) as worker:
        wait_until(lambda: "event taken" in worker.log, worker.log)
        deliver(service, an_event("next"))
        worker.process.terminate()
        assert worker.process.wait(60) == 0
    assert "slow" in worker.handled
    assert f"event handled type={EVENT_TYPE} uuid=slow attempt=1" in worker.log


def test_an_event_of_a_killed_worker_is_handled_by_the_next(service, database_url, tmp_path):
    deliver(service, an_event("slow", seconds=1))
    with RecordingWorker(database_url, tmp_path) as worker:
        wait_until(lambda: "event taken" in worker.log, worker.log)
        worker.kill()
        assert worker.handled == []
    with RecordingWorker(database_url, tmp_path) as worker:
        wait_until(lambda: worker.handled == ["slow"], worker.log)
        wait_until(lambda: "uuid=slow attempt=2" in worker.log, worker.log)


def test_a_locked_file_is_a_503_in_time_and_holds_up_no_other_hook(sqlite_url, tmp_path):
    with Service(events_settings(sqlite_url), tmp_path / "log") as service:
        assert deliver(service, an_event("a")).status_code == 204
        locker = sqlite3.connect(sqlite_url.database, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        deliveries = [
            threading.Thread(target=is_refused_in_time, args=(service, f"b{n}")) for n in range(3)
        ]
        for thread in deliveries:
            thread.start()
        assert inline_hooks_work(service)
        for thread in deliveries:
            thread.join()
        assert is_refused_in_time(service, "b")
        locker.execute("ROLLBACK")
        locker.close()
        wait_until(lambda: deliver(service, an_event("b")).status_code == 204, service.log)
        assert "events not stored error=" in service.log
    # What came late was stored all the same, and Okta's next delivery of it changes nothing.
    assert backlog(sqlite_url).waiting >= 2


def test_a_full_disk_is_a_503_and_what_was_stored_is_kept(sqlite_url, tmp_path):
    with Service(events_settings(sqlite_url), tmp_path / "log") as service:
        assert deliver(service, an_event("a")).status_code == 204
        [worker] = children_of(service.process)
        no_limit = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        size = (tmp_path / "events.sqlite").stat().st_size
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, no_limit[1]))
        # More than fits into the free pages of the file.
        large = [an_event(f"large-{number}", text="x" * 10_000) for number in range(20)]
        response = deliver(service, *large)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert backlog(sqlite_url).waiting == 1
        assert inline_hooks_work(service)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, no_limit)
        assert deliver(service, *large).status_code == 204
        assert "events not stored error=" in service.log
        assert "xxx" not in service.log
    assert backlog(sqlite_url).waiting == 21
    with RecordingWorker(sqlite_url, tmp_path) as worker:
        wait_until(lambda: len(worker.handled) == 21, worker.log)


def test_a_postgresql_that_is_away_or_hangs_is_a_503_in_time(postgresql, tmp_path):
    url = postgresql.new_database()
    with (
        Service(events_settings(url), tmp_path / "log") as service,
        RecordingWorker(url, tmp_path) as worker,
    ):
        assert deliver(service, an_event("a")).status_code == 204
        with postgresql.hanging():
            for number in range(3):
                assert is_refused_in_time(service, f"b{number}")
            assert inline_hooks_work(service)
        wait_until(lambda: deliver(service, an_event("c")).status_code == 204, service.log)
        postgresql.stop()
        assert is_refused_in_time(service, "d")
        assert inline_hooks_work(service)
        wait_until(lambda: "the database is away, the worker waits" in worker.log, worker.log)
        postgresql.start()
        assert deliver(service, an_event("d")).status_code == 204
        wait_until(lambda: {"a", "c", "d"} <= set(worker.handled), worker.log)
        assert "the database is back" in worker.log
    for secret in (url.password, url.render_as_string(hide_password=False), "p%40ss"):
        assert secret not in service.log + worker.log


def test_a_postgresql_that_is_restarted_under_load_loses_nothing(postgresql, tmp_path):
    url = postgresql.new_database()
    accepted, is_over = [], threading.Event()

    def send(sender):
        for number in range(10_000):
            uuid = f"{sender}-{number}"
            if deliver(service, an_event(uuid)).status_code == 204:
                accepted.append(uuid)
            if is_over.is_set():
                return

    with (
        Service(events_settings(url), tmp_path / "log") as service,
        RecordingWorker(url, tmp_path) as worker,
    ):
        senders = [threading.Thread(target=send, args=(number,)) for number in range(2)]
        for thread in senders:
            thread.start()
        for _ in range(2):
            twenty_more(accepted)
            postgresql.stop()
            postgresql.start()
        twenty_more(accepted)
        is_over.set()
        for thread in senders:
            thread.join()
        wait_until(lambda: set(accepted) <= set(worker.handled), worker.log)
    assert backlog(url).failed == 0


def flask_events(command, url, **settings):
    return subprocess.run(
        [sys.executable, "-m", "flask", "events", command],
        cwd=PROJECT,
        env=environment(events_settings(url) | settings) | {"FLASK_SKIP_DOTENV": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_worker_does_not_start_with_settings_that_gunicorn_refuses(sqlite_url):
    published = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}
    done = flask_events("work", sqlite_url, **published)
    assert done.returncode == 1
    assert "BASIC_AUTH_PASSWORD  is the one printed in Okta's guide" in done.stdout
    assert "Traceback" not in done.stdout


def test_to_look_at_events_needs_no_other_setting(sqlite_url):
    with contextlib.closing(Database(sqlite_url, busy_seconds=1)) as database:
        inbox.Inbox(database).store({"a": an_event("a")})
    done = flask_events("list", sqlite_url, BASIC_AUTH_PASSWORD="")
    assert done.returncode == 0
    assert done.stdout.startswith("waiting      1 ")
    done = flask_events("list", sa.make_url("sqlite:///events.sqlite"))
    assert done.returncode == 1
    assert "EVENTS_DATABASE_URL  must name a file by its full path" in done.stdout


@pytest.mark.parametrize("reload", ["--reload", "--no-reload"])
def test_in_development_the_service_has_one_worker_of_its_own(reload, sqlite_url, tmp_path):
    class Development(Service):
        command = ("flask", "run", reload)

    with Development(events_settings(sqlite_url), tmp_path / "log") as service:
        deliver(service, an_event("a"))
        wait_until(lambda: "event handled" in service.log, service.log)
        assert service.log.count("worker started") == 1
        # With the reloader it has a child, which would outlive it.
        for process in children_of(service.process) or [service.process.pid]:
            os.kill(process, signal.SIGINT)
        service.process.wait(60)
    assert backlog(sqlite_url).waiting == 0
