"""Like `flask events work`, but with handlers that write each uuid into a file.

Minutes are shortened to seconds, so that a test can wait for them.
"""

import os
import sys
import time
from typing import Any

from app import create_app
from commands.events import run_until_stopped
from hooks.events import HANDLERS
from inbox.database import Database
from inbox.inbox import Inbox
from inbox.worker import Times, Worker

RECORD = "RECORD_OF_THE_TEST"
INBOX = {"lease_seconds": 2, "first_pause_seconds": 0.1}
TIMES = Times(poll=0.05, reconnect=0.2, tend=0.4, hang=3, remind=2)


def record(event: dict[str, Any]) -> None:
    if event.get("closes_stderr"):
        sys.stderr.close()
    time.sleep(event.get("seconds", 0))
    # One write, so that a line is never incomplete.
    file = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{event['uuid']}\n".encode())
    os.close(file)


def work() -> None:
    app = create_app()
    database = Database(app.config["SETTINGS"].events_database_url)
    inbox = Inbox(database, **INBOX)
    run_until_stopped(Worker(app, inbox, dict.fromkeys(HANDLERS, record), 4, times=TIMES))


if __name__ == "__main__":
    work()
