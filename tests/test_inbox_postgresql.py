"""Events in a PostgreSQL that stops, hangs and comes back, with gunicorn and a worker as
deployed."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import pytest

from tests.support.events import (
    OKTA_WAITS_SECONDS,
    RecordingWorker,
    Senders,
    an_event,
    backlog,
    deliver,
    events_settings,
    inline_hooks_work,
    is_refused_in_time,
    refusal_seconds,
)
from tests.support.gunicorn import Service


@pytest.fixture(scope="module")
def running(postgresql, tmp_path_factory):
    url, folder = postgresql.empty_database(), tmp_path_factory.mktemp("service")
    with (
        Service(events_settings(url), folder / "log") as service,
        RecordingWorker(url, folder) as worker,
    ):
        yield service, worker, url


def test_a_postgresql_that_is_down_or_hangs_is_a_503_in_time(running, postgresql):
    service, worker, url = running
    assert deliver(service, an_event("a")).status_code == 204
    worker.wait_until(lambda: worker.handled == ["a"])
    # Five for each thread of the service: only the first one of a thread may wait.
    more = [an_event(f"more-{number}") for number in range(20)]
    with postgresql.hanging(), ThreadPoolExecutor(len(more)) as senders:
        assert median(senders.map(partial(refusal_seconds, service), more)) < OKTA_WAITS_SECONDS
        assert inline_hooks_work(service)
    service.wait_until(lambda: deliver(service, an_event("e")).status_code == 204)
    postgresql.stop()
    assert is_refused_in_time(service, an_event("f"))
    assert inline_hooks_work(service)
    worker.wait_until(lambda: "the database cannot be used; the worker keeps trying" in worker.log)
    postgresql.start()
    assert deliver(service, an_event("f")).status_code == 204
    worker.wait_until(lambda: {"e", "f"} <= set(worker.handled))
    assert "the database can be used again" in worker.log
    for secret in (url.password, url.render_as_string(hide_password=False), "p%40ss"):
        assert secret not in service.log + worker.log


def test_a_postgresql_that_is_restarted_under_load_loses_nothing(running, postgresql):
    service, worker, url = running
    with Senders(service, seed=1) as senders:

        def is_accepted():
            return len(senders.accepted) >= enough

        for restarts in range(3):
            enough = len(senders.accepted) + 20
            service.wait_until(is_accepted)
            if restarts < 2:
                postgresql.stop()
                postgresql.start()
    accepted = set(senders.accepted)
    worker.wait_until(lambda: accepted <= set(worker.handled))
    assert backlog(url).failed == 0
