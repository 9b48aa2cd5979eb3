"""Measure the cost of storing events, the rate of handling them, and the effect on inline hooks.

Part of `make bench`. It first measures without a server: the same request with and without the
inbox, and the inbox with one worker whose handler does nothing. Then it measures deliveries to
gunicorn, and an inline hook while handlers are busy. To measure an empty PostgreSQL database too:
EVENTS_DATABASE_URL=postgresql+psycopg://… make bench
"""

import contextlib
import os
import sys
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
from tools.bench import WORKERS, progress, request_bytes
from tools.load import load
from tools.serving import BASIC_PAIR, basic_authorization, basic_settings, gunicorn

SAMPLE = next(sample for sample in SAMPLES.values() if sample.kind == "event")
EVENT = SAMPLE.payload["data"]["events"][0]
REQUESTS = 300
CLAIMS = 300
BACKLOG = 100_000
THREADS = 2
HANDLED_SECONDS = 4
DELIVERY_SECONDS = 5
SENDERS = 8
BUSY_EVENTS = 20_000
BUSY_SECONDS = 5.0
BUSY_APPS = {
    "no event waits": (0, "app:create_app()"),
    "handlers wait, 0.2 s an event": (BUSY_EVENTS, "tools.busy_app:waiting()"),
    "handlers compute, 0.2 s an event": (BUSY_EVENTS, "tools.busy_app:computing()"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        urls = [sa.URL.create("sqlite", database=str(folder / "events.sqlite"))]
        if given := os.environ.get("EVENTS_DATABASE_URL"):
            urls.append(sa.make_url(given))
        for url in urls:
            refuse_a_database_in_use(url)
            say(f"\nEvents stored in {url.get_backend_name()}", bold=True)
            report_storing(url)
            report_handling(url)
            report_deliveries(url, folder)
        report_inline_hook(folder)


def refuse_a_database_in_use(url: sa.URL) -> None:
    """Exit if events are waiting, since the benchmark would discard them."""
    with contextlib.closing(Database(url)) as database:
        if database.exists() and Inbox(database).backlog().waiting:
            sys.exit(f"Events are waiting in {url}: name an empty database.")


def report_storing(url: sa.URL) -> None:
    """Send the same request with an event that is stored, and with one that has no handler."""
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
        say(f"  claim and done, no other event waiting     median {empty:6.2f} ms")
        say(f"  the same with {BACKLOG:,} more waiting       median {full:6.2f} ms")
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
        gunicorn(quiet_settings(url) | {"EVENT_THREADS": "0"}, folder, workers=WORKERS) as server,
        ThreadPoolExecutor(SENDERS) as senders,
    ):
        address = f"http://127.0.0.1:{server.port}{SAMPLE.path}"
        end = time.monotonic() + DELIVERY_SECONDS
        sending = [senders.submit(send_until, end, address) for _ in range(SENDERS)]
        times = [each for future in sending for each in future.result()]
    rate = len(times) / DELIVERY_SECONDS
    say(
        f"  delivered to gunicorn, {SENDERS} at a time          {rate:6.0f} a second   "
        f"median {median(times):6.2f} ms   p99 {p99(times):6.2f} ms"
    )


def report_inline_hook(folder: Path) -> None:
    """Measure an inline hook while the event threads of the same processes are fully busy."""
    say(f"\nAn inline hook beside event handlers, {SENDERS} at a time", bold=True)
    for name, (events, app) in BUSY_APPS.items():
        progress(f"{name} ...")
        file = folder / f"{name}.sqlite"
        url = sa.URL.create("sqlite", database=str(file))
        with contextlib.closing(Database(url)) as database:
            fill(Inbox(database), events, EVENT["eventType"])
        with gunicorn(quiet_settings(url), folder, app, workers=WORKERS) as server:
            done = load(server.port, request_bytes(basic_authorization()), SENDERS, BUSY_SECONDS)
        progress("")
        say(f"  {name:<42} {done.rate:6.0f} requests a second   p99 {done.p99:6.2f} ms")


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
    """The median for an event that has just arrived, as when a worker keeps up."""
    times = []
    for _ in range(CLAIMS):
        fill(inbox, 1)
        started = time.perf_counter()
        inbox.done(inbox.claim())
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


def fill(inbox: Inbox, number: int, event_type: str = "nothing") -> None:
    event = EVENT | {"eventType": event_type}
    for first in range(0, number, 1000):
        inbox.store({str(uuid4()): event for _ in range(first, min(first + 1000, number))})


def drain(inbox: Inbox) -> None:
    while claim := inbox.claim(["nothing"]):
        inbox.done(claim)


def a_delivery(event_type: str | None = None) -> dict:
    """The sample, with a new uuid."""
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
