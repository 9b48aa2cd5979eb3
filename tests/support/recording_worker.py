"""`flask events work`, with handlers that write each uuid into the file named by the environment.

What takes minutes there takes seconds here, so that a test can wait for it.
"""

import os
import time

from flask.cli import cli

from hooks import events
from inbox import inbox
from inbox import worker as event_worker

RECORD = "RECORD_OF_THE_TEST"


def record(event: dict) -> None:
    time.sleep(event.get("seconds", 0))
    # One write: a line is there as a whole or not at all.
    file = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{event['uuid']}\n".encode())
    os.close(file)


if __name__ == "__main__":
    inbox.LEASE_SECONDS = 2
    inbox.FIRST_PAUSE_SECONDS = 0.1
    event_worker.POLL_SECONDS = 0.05
    event_worker.AWAY_SECONDS = 0.2
    for event_type in events.HANDLERS:
        events.HANDLERS[event_type] = record
    cli.main(["--app", "app", "events", "work"])
