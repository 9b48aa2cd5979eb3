"""What storing events costs, and how many a worker handles: a part of `make bench`.

In this process, without a server: the same request with and without the inbox, and the inbox with
one worker whose handler does nothing. Then deliveries to gunicorn, as many as it takes.
"""

import contextlib
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from uuid import uuid4

import requests
import sqlalchemy as sa

from app import create_app
from inbox.database import Database
from inbox.inbox import Inbox
from inbox.worker import Worker
from local_okta.samples import SAMPLES
from local_okta.terminal import say
from settings import load_settings
from tests.support.gunicorn import BASIC_PAIR, Service, basic_settings
from tests.support.postgresql import PostgreSQL, initdb

SAMPLE = next(sample for sample in SAMPLES.values() if sample.kind == "event")
EVENT = SAMPLE.payload["data"]["events"][0]
REQUESTS = 300
CLAIMS = 300
BACKLOG = 100_000
THREADS = 2
HANDLED_SECONDS = 4
DELIVERY_SECONDS = 5
SENDERS = 8


def main() -> None:
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        urls = {"SQLite": sa.URL.create("sqlite", database=str(folder / "events.sqlite"))}
        if initdb():
            urls["PostgreSQL"] = running.enter_context(PostgreSQL()).empty_database()
        else:
            say("PostgreSQL is not installed here, so SQLite alone is measured.")
        for name, url in urls.items():
            say(f"\nEvents stored in {name}", bold=True)
            report_storing(url)
            report_handling(url)
            report_deliveries(url, folder)


def report_storing(url: sa.URL) -> None:
    """The same request twice: with an event that is stored, and with one that nothing handles."""
    times = {"not stored": [], "stored": []}
    client = create_app(load_settings(quiet_settings(url))).test_client()
    for _ in range(REQUESTS):
        for way, event_type in (("not stored", "user.session.start"), ("stored", None)):
            body = a_delivery(event_type)
            started = time.perf_counter()
            response = client.post(SAMPLE.path, json=body, auth=BASIC_PAIR)
            times[way].append((time.perf_counter() - started) * 1000)
            expect_204(response.status_code)
    for way, each in times.items():
        say(f"  {way:<42} median {median(each):6.2f} ms   p99 {p99(each):6.2f} ms")


def report_handling(url: sa.URL) -> None:
    with contextlib.closing(Database(url)) as database:
        inbox = Inbox(database)
        drain(inbox)
        empty = claim_milliseconds(inbox)
        drain(inbox)
        fill(inbox, BACKLOG)
        full = claim_milliseconds(inbox)
        say(f"  claim and done, nothing else waits         median {empty:6.2f} ms")
        say(f"  the same with {BACKLOG:,} more that wait     median {full:6.2f} ms")
        app = create_app(load_settings(quiet_settings(url)))
        worker = Worker(app, inbox, {"nothing": lambda event: None}, THREADS)
        before, started = inbox.backlog().waiting, time.perf_counter()
        threading.Timer(HANDLED_SECONDS, worker.stop).start()
        worker.run()
        seconds = time.perf_counter() - started
        rate = (before - inbox.backlog().waiting) / seconds
        say(f"  handled by one worker                      {rate:6.0f} events a second")


def report_deliveries(url: sa.URL, folder: Path) -> None:
    with (
        Service(quiet_settings(url), folder / "log", workers=2) as service,
        ThreadPoolExecutor(SENDERS) as senders,
    ):
        end = time.monotonic() + DELIVERY_SECONDS
        sending = [
            senders.submit(send_until, end, service.url + SAMPLE.path) for _ in range(SENDERS)
        ]
        times = [each for future in sending for each in future.result()]
    rate = len(times) / DELIVERY_SECONDS
    say(
        f"  delivered to gunicorn, {SENDERS} at a time          {rate:6.0f} a second   "
        f"median {median(times):6.2f} ms   p99 {p99(times):6.2f} ms"
    )


def send_until(end: float, url: str) -> list[float]:
    times = []
    with requests.Session() as session:
        while time.monotonic() < end:
            started = time.perf_counter()
            response = session.post(url, json=a_delivery(), auth=BASIC_PAIR, timeout=10)
            times.append((time.perf_counter() - started) * 1000)
            expect_204(response.status_code)
    return times


def claim_milliseconds(inbox: Inbox) -> float:
    """For an event that has just come, as it is when a worker keeps up."""
    times = []
    for _ in range(CLAIMS):
        fill(inbox, 1)
        started = time.perf_counter()
        inbox.done(inbox.claim())
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


def fill(inbox: Inbox, number: int) -> None:
    event = EVENT | {"eventType": "nothing"}
    for first in range(0, number, 1000):
        inbox.store({str(uuid4()): event for _ in range(first, min(first + 1000, number))})


def drain(inbox: Inbox) -> None:
    while claim := inbox.claim():
        inbox.done(claim)


def a_delivery(event_type: str | None = None) -> dict:
    """The sample, with a uuid of its own."""
    event = EVENT | {"uuid": str(uuid4()), "eventType": event_type or EVENT["eventType"]}
    return SAMPLE.payload | {"data": {"events": [event]}}


def quiet_settings(url: sa.URL) -> dict[str, str]:
    text = url.render_as_string(hide_password=False)
    return basic_settings(EVENTS_DATABASE_URL=text, LOG_LEVEL="ERROR")


def expect_204(status: int) -> None:
    if status != 204:
        raise SystemExit(f"The service answers {status}, so this measures nothing.")


def p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


if __name__ == "__main__":
    main()
