"""Store events in the web process, within the time that Okta waits."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import sqlalchemy as sa

from .database import Database, reason_of
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
        """Create the tables in the background. An unusable database is logged at the start."""
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
            # A time-out is an OSError too. Then the store has not ended.
            if storing.done():
                raise NotStored(reason_of(error)) from None
        storing.cancel()
        # This is done when the hanging work has ended, whether it is this store or an earlier one.
        self._next_turn = self._put(lambda: None)
        raise NotStored(f"the database did not answer within {STORE_SECONDS} s")

    def _submit(self, work: Callable[[], Any]) -> Future:
        self._start_in_this_process()
        if self._next_turn and not self._next_turn.done():
            # If requests waited for it, there would be no threads left for the inline hooks.
            raise NotStored("the database still does not answer")
        return self._put(work)

    def _start_in_this_process(self) -> None:
        with self._lock:
            if self._process_id != os.getpid():
                self._inbox = Inbox(Database(self.url))
                self._queue: SimpleQueue[tuple[Future, Callable[[], Any]]] = SimpleQueue()
                self._next_turn = None
                # A thread of ThreadPoolExecutor that hangs would keep the process from exiting.
                Thread(target=self._work, daemon=True).start()
                self._process_id = os.getpid()

    def _put(self, work: Callable[[], Any]) -> Future:
        future: Future = Future()
        self._queue.put((future, work))
        return future

    def _work(self) -> None:
        while True:
            future, work = self._queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)

    def _check(self) -> None:
        try:
            self._inbox.backlog()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            log.error("events cannot be stored", extra={"fields": {"error": reason_of(error)}})
