"""How Ctrl-C and TERM end `flask run` and `flask events work` while a handler runs."""

import signal

import pytest

from tests.support.events import (
    RecordingService,
    RecordingWorker,
    an_event,
    backlog,
    deliver,
    ends,
    store_directly,
)

pytestmark = pytest.mark.usefixtures("ctrl_c")


class FlaskRun(RecordingService):
    command = ("flask", "--app", "tests.support.recording_app:app", "run")

    def __init__(self, url, folder):
        super().__init__(url, folder)
        self._arguments = []


def test_ctrl_c_of_flask_run_lets_a_handler_finish(sqlite_url, tmp_path):
    with FlaskRun(sqlite_url, tmp_path) as service:
        deliver(service, an_event("slow", seconds=1))
        service.wait_until(lambda: "event taken" in service.log)
        service.process.send_signal(signal.SIGINT)
        assert ends(service.process, 10) == 0
    assert service.handled == ["slow"]
    assert backlog(sqlite_url).waiting == 0


def test_a_second_ctrl_c_of_flask_run_does_not_wait(sqlite_url, tmp_path):
    with FlaskRun(sqlite_url, tmp_path) as service:
        deliver(service, an_event("endless", seconds=600))
        service.wait_until(lambda: "event taken" in service.log)
        service.process.send_signal(signal.SIGINT)
        service.wait_until(lambda: "is finishing what it has begun" in service.log)
        service.process.send_signal(signal.SIGINT)
        ends(service.process, 5)
    assert "Traceback" not in service.log
    assert backlog(sqlite_url).waiting == 1


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_a_worker_finish_its_handlers(signal_number, sqlite_url, tmp_path):
    store_directly(sqlite_url, an_event("slow", seconds=1))
    with RecordingWorker(sqlite_url, tmp_path) as worker:
        worker.wait_until(lambda: "event taken" in worker.log)
        worker.process.send_signal(signal_number)
        assert ends(worker.process, 10) == 0
    assert worker.handled == ["slow"]
    assert backlog(sqlite_url).waiting == 0


def test_the_second_signal_ends_a_worker_at_once(sqlite_url, tmp_path):
    store_directly(sqlite_url, an_event("endless", seconds=600))
    with RecordingWorker(sqlite_url, tmp_path) as worker:
        worker.wait_until(lambda: "event taken" in worker.log)
        worker.process.send_signal(signal.SIGINT)
        worker.wait_until(lambda: "is finishing what it has begun" in worker.log)
        assert worker.process.poll() is None
        worker.process.send_signal(signal.SIGINT)
        assert ends(worker.process, 5) == -signal.SIGINT
    assert "Traceback" not in worker.log
    assert backlog(sqlite_url).waiting == 1
