"""Events handled by gunicorn's own processes, and how those processes end."""

import signal
import socket
import time

import psutil
import pytest

from tests.support.events import (
    RecordingService,
    RecordingWorker,
    an_event,
    backlog,
    deliver,
    ends,
    events_settings,
    store_directly,
)
from tests.support.gunicorn import Service, children_of


@pytest.mark.parametrize("arguments", [(), ("--preload",)])
def test_gunicorn_needs_no_other_process_to_handle_events(arguments, sqlite_url, tmp_path):
    settings = events_settings(sqlite_url) | {"EVENT_THREADS": "2"}
    with Service(settings, tmp_path / "log", workers=2, arguments=arguments) as service:
        service.wait_until(lambda: service.log.count("worker started threads=2") == 2)
        deliver(service, an_event("a"))
        service.wait_until(lambda: "event handled" in service.log)
        assert psutil.Process(service.process.pid).num_threads() == 1
    assert backlog(sqlite_url).waiting == 0


def test_without_event_threads_gunicorn_handles_no_events(sqlite_url, tmp_path):
    with RecordingService(sqlite_url, tmp_path, threads=0) as service:
        deliver(service, an_event("a"))
        time.sleep(1)
        assert service.handled == []
        assert "worker started" not in service.log


def test_term_lets_a_handler_finish_and_starts_no_other(sqlite_url, tmp_path):
    with RecordingService(sqlite_url, tmp_path, "--graceful-timeout", "4") as service:
        deliver(service, an_event("slow", seconds=1))
        service.wait_until(lambda: "event taken" in service.log)
        deliver(service, an_event("next"))
        # A request that never ends keeps gunicorn waiting while the handler finishes.
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(0.5)
            service.process.terminate()
            assert ends(service.process, 12) == 0
    assert service.handled == ["slow"]
    assert backlog(sqlite_url).waiting == 1
    assert "event worker stopped" in service.log


def test_hup_lets_a_handler_finish_and_a_new_process_handles_later_events(sqlite_url, tmp_path):
    with RecordingService(sqlite_url, tmp_path) as service:
        [before] = children_of(service.process.pid)
        deliver(service, an_event("slow", seconds=2))
        service.wait_until(lambda: "event taken" in service.log)
        service.process.send_signal(signal.SIGHUP)
        service.wait_until(lambda: f"Worker exiting (pid: {before})" in service.log)
        deliver(service, an_event("next"))
        service.wait_until(lambda: backlog(sqlite_url).waiting == 0)
        service.wait_until(lambda: before not in children_of(service.process.pid))
    assert sorted(service.handled) == ["next", "slow"]
    assert service.log.count("event taken") == 2


def test_an_endless_handler_keeps_no_process_alive_and_its_event_is_tried_again(
    sqlite_url, tmp_path
):
    with RecordingService(sqlite_url, tmp_path, "--graceful-timeout", "2") as service:
        deliver(service, an_event("endless", seconds=600))
        service.wait_until(lambda: "event taken" in service.log)
        service.process.terminate()
        assert ends(service.process, 10) == 0
    assert "handlers did not finish in time and will run again events=1" in service.log
    assert service.handled == []
    with RecordingWorker(sqlite_url, tmp_path) as worker:
        worker.wait_until(lambda: "attempt=2" in worker.log)
        worker.kill()


def test_a_handler_that_closes_stderr_ends_only_the_log(sqlite_url, tmp_path):
    with RecordingService(sqlite_url, tmp_path) as service:
        deliver(service, an_event("a", closes_stderr=True))
        service.wait_until(lambda: service.handled == ["a"])
        assert deliver(service, an_event("b")).status_code == 204
        service.wait_until(lambda: service.handled == ["a", "b"])
        service.wait_until(lambda: backlog(sqlite_url).waiting == 0)


def test_two_services_on_one_database_do_not_take_each_others_events(database_url, tmp_path):
    """The other service stores events of a type that has no handler here."""
    with RecordingService(database_url, tmp_path) as service:
        store_directly(database_url, an_event("theirs", eventType="zone.update"))
        deliver(service, an_event("ours"))
        service.wait_until(lambda: service.handled == ["ours"])
        line = "waiting events have no handler here type=zone.update events=1"
        service.wait_until(lambda: line in service.log)
    assert backlog(database_url).waiting == 1
