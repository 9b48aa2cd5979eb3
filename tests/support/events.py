"""Deliveries of events to a running service, and a worker that records what it handles."""

import contextlib
import random
import threading
import time
from pathlib import Path

import requests
import sqlalchemy as sa

from hooks.events import HANDLERS
from inbox.database import Database
from inbox.inbox import Backlog, Inbox
from local_okta.samples import SAMPLES
from tests.support.gunicorn import BASIC_PAIR, HOOK, PAYLOAD, Service, basic_settings
from tests.support.recording_worker import RECORD

EVENT_TYPE = next(iter(HANDLERS))
PATH = next(sample.path for sample in SAMPLES.values() if sample.kind == "event")
OKTA_WAITS_SECONDS = 3


def events_settings(url: sa.URL) -> dict[str, str]:
    text = url.render_as_string(hide_password=False)
    # The test runs its own worker, which records what it handles.
    return basic_settings(EVENTS_DATABASE_URL=text, EVENT_THREADS="0")


def an_event(uuid: str, **more) -> dict:
    target = [{"type": "User", "alternateId": "ann@example.com"}]
    return {"uuid": uuid, "eventType": EVENT_TYPE, "target": target} | more


def deliver(service: Service, *events: dict):
    body = {"eventId": "delivery", "data": {"events": [*events]}}
    return service.request(PATH, auth=BASIC_PAIR, json=body)


def store_directly(url: sa.URL, event: dict) -> None:
    """Store it without a service."""
    with contextlib.closing(Database(url)) as database:
        Inbox(database).store({event["uuid"]: event})


def ends(process, seconds: float) -> int:
    """Wait for a process, which must end within this time. Returns its exit status."""
    started = time.monotonic()
    status = process.wait(60)
    assert time.monotonic() - started < seconds
    return status


def refusal_seconds(service: Service, *events: dict) -> float:
    """How long it took to refuse a delivery that could not be stored."""
    response = deliver(service, *events)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {"error": {"errorSummary": "Service Unavailable", "errorCauses": []}}
    return response.elapsed.total_seconds()


def is_refused_in_time(service: Service, *events: dict) -> bool:
    # On a busy machine, one may be late.
    return any(refusal_seconds(service, *events) < OKTA_WAITS_SECONDS for _ in range(3))


def inline_hooks_work(service: Service) -> bool:
    answer = service.request(HOOK, auth=BASIC_PAIR, json=PAYLOAD)
    return answer.ok and service.request("/readyz", method="GET").ok


def backlog(url: sa.URL) -> Backlog:
    with contextlib.closing(Database(url)) as database:
        return Inbox(database).backlog()


class Senders:
    """Three threads that deliver until the end of the block, and record what got a 204."""

    def __init__(self, service: Service, seed: int):
        self.accepted: list[str] = []
        self.refused = 0
        self._service = service
        self._is_over = False
        self._threads = [
            threading.Thread(target=self._send, args=(sender, random.Random(seed + sender)))
            for sender in range(3)
        ]

    def __enter__(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def _send(self, sender: int, chance: random.Random) -> None:
        number = 0
        while not self._is_over:
            uuids = [f"{sender}-{number + more}" for more in range(chance.randint(1, 3))]
            number += len(uuids)
            events = [an_event(uuid, seconds=chance.choice([0, 0, 0.05])) for uuid in uuids]
            # Okta tries once more. These try a third time, so that not all of them fail.
            for _ in range(3):
                with contextlib.suppress(requests.RequestException):
                    if deliver(self._service, *events).status_code == 204:
                        self.accepted += uuids
                        break
                self.refused += 1
                time.sleep(0.2)


class Recording(Service):
    """A process that handles events. Its log and the record of what it has handled outlive it."""

    def __init__(self, url: sa.URL, folder: Path, log_name: str, *, threads: int = 0, **options):
        self._record_path = folder / "record"
        settings = {"EVENT_THREADS": str(threads), RECORD: str(self._record_path)}
        super().__init__(events_settings(url) | settings, folder / log_name, **options)

    @property
    def handled(self) -> list[str]:
        """The uuid of each event, once for each time that it was handled."""
        return self._record_path.read_text().split() if self._record_path.exists() else []


class RecordingService(Recording):
    """gunicorn."""

    def __init__(self, url: sa.URL, folder: Path, *arguments, threads: int = 1, workers: int = 1):
        arguments = (*arguments, "tests.support.recording_app:application")
        super().__init__(url, folder, "log", threads=threads, workers=workers, arguments=arguments)


class RecordingWorker(Recording):
    """As `flask events work`."""

    command = ("tests.support.recording_worker",)

    def __init__(self, url: sa.URL, folder: Path):
        super().__init__(url, folder, "worker.log")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        return True
