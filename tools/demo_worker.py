"""The worker of `make demo`, with a handler that shows what a worker does.

Minutes are shortened to seconds, since somebody is watching the demo.
"""

import time
from typing import Any

from app import create_app
from commands.events import run_until_stopped
from hooks.events import HANDLERS
from inbox.database import Database
from inbox.inbox import Inbox
from inbox.worker import Times, Worker

failures: list[str] = []


def handler(event: dict[str, Any]) -> None:
    """Act as the event's uuid says."""
    uuid = event["uuid"]
    if uuid.startswith("breaks-twice") and failures.count(uuid) < 2:
        failures.append(uuid)
        raise ConnectionError("the ticket system is down")
    if uuid.startswith("slow"):
        time.sleep(1)


def work() -> None:
    app = create_app()
    database = Database(app.config["SETTINGS"].events_database_url)
    inbox = Inbox(database, lease_seconds=2, first_pause_seconds=0.3)
    times = Times(poll=0.1, tend=0.5)
    run_until_stopped(Worker(app, inbox, dict.fromkeys(HANDLERS, handler), 4, times=times))


if __name__ == "__main__":
    work()
