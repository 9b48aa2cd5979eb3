"""Store events in the web process, within the time that Okta waits."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import sqlalchemy as sa

from .database import Database, is_temporary, reason_of
from .inbox import Inbox

STORE_SECONDS = 1.5
"""Okta gives up after 3 seconds, which include the time to connect and to return the answer."""

log = logging.getLogger(__name__)


class NotStored(Exception):
    """`str()` is the reason, for the log."""


class Intake:
    """A thread with the only connection of this process that stores events.

    If the database hangs, only this thread waits for it. Requests are refused in time.
    Thread and connection are created on first use in each process, since a fork inherits neither.
    """

    def __init__(self, url: sa.URL):
        self.url = url
        self._lock = Lock()
        self._process_id: int | None = None
        self._next_turn: Future | None = None

    def open(self) -> None:
        """Create the tables in the background. An unavailable database is logged at the start."""
        self._submit(self._check)

    def store(self, events: dict[str, dict]) -> set[str]:
        """Store events, given by key. Returns the keys of those that are new.

        Raises NotStored. The events may still be stored after that: Okta delivers them again, and
        their keys are known then.
        """
        storing = self._submit(lambda: self._inbox.store(events))
        try:
            return storing.result(STORE_SECONDS)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if storing.done():
                raise NotStored(reason_of(error)) from None
        storing.cancel()
        # This is done when the hanging work has ended, whether it is this store or an earlier one.
        self._next_turn = self._put(lambda: None)
        raise NotStored(f"the database does not answer within {STORE_SECONDS} s")

    def _submit(self, work: Callable[[], Any]) -> Future:
        with self._lock:
            if self._process_id != os.getpid():
                self._queue: SimpleQueue = SimpleQueue()
                self._inbox = Inbox(Database(self.url))
                self._next_turn = None
                # A thread of ThreadPoolExecutor that hangs would keep the process from exiting.
                Thread(target=_work_off, args=(self._queue,), daemon=True).start()
                self._process_id = os.getpid()
            if self._next_turn and not self._next_turn.done():
                # If requests waited for it, there would be no threads left for the inline hooks.
                raise NotStored("the database still does not answer")
            return self._put(work)

    def _put(self, work: Callable[[], Any]) -> Future:
        future: Future = Future()
        self._queue.put((future, work))
        return future

    def _check(self) -> None:
        try:
            self._inbox.backlog()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            more = "" if is_temporary(error) else ", and waiting will not help"
            fields = {"error": reason_of(error)}
            log.error(f"events cannot be stored{more}", extra={"fields": fields})


def _work_off(queue: SimpleQueue) -> None:
    while True:
        future, work = queue.get()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
