"""The worker of `make demo`: `flask events work`, with a handler that shows what a worker is for.

What takes minutes elsewhere takes seconds here, since somebody is watching.
"""

import time

from flask.cli import cli

from hooks import events
from inbox import inbox
from inbox import worker as event_worker

inbox.LEASE_SECONDS = 2
inbox.FIRST_PAUSE_SECONDS = 0.3
event_worker.POLL_SECONDS = 0.1

broke: list[str] = []


def handler(event: dict) -> None:
    """What it does, the event's uuid says."""
    uuid = event["uuid"]
    if uuid.startswith("breaks-twice") and broke.count(uuid) < 2:
        broke.append(uuid)
        raise ConnectionError("the ticket system is down")
    if uuid.startswith("slow"):
        time.sleep(1)


if __name__ == "__main__":
    for event_type in events.HANDLERS:
        events.HANDLERS[event_type] = handler
    cli.main(["--app", "app", "events", "work"])
