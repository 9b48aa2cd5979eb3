"""Deliveries of events to a running service, and a worker that records what it handles."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from hooks.event_database import Database
from hooks.events import HANDLERS
from hooks.inbox import Backlog, Inbox
from local_okta.samples import SAMPLES
from tests.recording_worker import RECORD
from tests.service import BASIC_PAIR, PROJECT, Service, basic_settings, environment

PATIENCE = 60
EVENT_TYPE = next(iter(HANDLERS))
PATH = next(sample.path for sample in SAMPLES.values() if sample.kind == "event")


def events_settings(url: sa.URL) -> dict[str, str]:
    return basic_settings(EVENTS_DATABASE_URL=url.render_as_string(hide_password=False))


def an_event(uuid: str, **more) -> dict:
    target = [{"type": "User", "alternateId": "ann@example.com"}]
    return {"uuid": uuid, "eventType": EVENT_TYPE, "target": target} | more


def deliver(service: Service, *events: dict):
    body = {"eventId": "delivery", "data": {"events": [*events]}}
    return service.call(PATH, auth=BASIC_PAIR, json=body)


def backlog(url: sa.URL) -> Backlog:
    with contextlib.closing(Database(url, busy_seconds=10)) as database:
        return Inbox(database).backlog()


def wait_until(condition, otherwise: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)


class RecordingWorker:
    """A worker process, as a context manager that ends it with TERM."""

    def __init__(self, url: sa.URL, folder: Path, *arguments: str):
        self.record_path = folder / "record"
        self.log_path = folder / "worker.log"
        self._arguments = arguments
        self._environment = environment(events_settings(url)) | {RECORD: str(self.record_path)}

    def __enter__(self) -> "RecordingWorker":
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.recording_worker", *self._arguments],
                cwd=PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *exc_info) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def handled(self) -> list[str]:
        """The uuids, one for each time."""
        return self.record_path.read_text().split() if self.record_path.exists() else []
