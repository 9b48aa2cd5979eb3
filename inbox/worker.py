"""The worker: gives each event of the inbox to its handler, and notes what became of it."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from flask import current_app

from logs import places_of

from .database import reason_of
from .inbox import LEASE_SECONDS, Claim, GiveUp, Inbox, LeaseOver

THREADS = 4
"""Handlers wait for other machines most of the time: so many may do so at once."""

POLL_SECONDS = 0.5
"""An empty inbox is looked at this often: one statement, which finds nothing in an index."""

AWAY_SECONDS = 2
"""So long until a database that is away is tried again."""

TEND_SECONDS = 15
SEEN_LATELY_SECONDS = 60
"""A worker shows itself this often; who was not seen for this long is gone, or cannot write."""

STOP_SECONDS = 10
"""So long a worker that was told to stop tries to note what is done in a database that is away."""

log = logging.getLogger(__name__)


class Worker:
    """Threads that each handle one event after the other. A handler that hangs holds up one."""

    def __init__(
        self,
        app_context: Callable,
        inbox: Inbox,
        handlers: Mapping[str, Callable],
        threads: int = THREADS,
    ):
        """`app_context` is the app's, since a handler may use `current_app`.

        `handlers` has a function for each event type.
        """
        self._app_context = app_context
        self._inbox = inbox
        self._handlers = handlers
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._next_turn = threading.Lock()
        # A plain value: a signal handler must not take a lock.
        self._stopping_since: float | None = None
        self._is_away = False

    def run(self) -> None:
        """Until `stop()`. What was begun by then is ended."""
        log.info("worker started", extra={"fields": {"threads": len(self._threads)}})
        for thread in self._threads:
            thread.start()
        tended = None
        while not self._stopping_since:
            if tended is None or time.monotonic() > tended + TEND_SECONDS:
                self._try(self._inbox.tend, self._name)
                tended = time.monotonic()
            time.sleep(0.1)
        log.info("worker stops, and ends what it has begun")
        # After its lease an event is another worker's.
        end = time.monotonic() + LEASE_SECONDS
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        log.info("worker stopped")

    def stop(self) -> None:
        self._stopping_since = time.monotonic()

    def _work(self) -> None:
        while not self._stopping_since:
            # One thread asks for the next event, the others wait until it has one.
            with self._next_turn:
                claim = self._next()
            if claim:
                self._handle(claim)

    def _next(self) -> Claim | None:
        while not self._stopping_since:
            reached, claim = self._try(self._inbox.claim)
            if claim:
                return claim
            time.sleep(POLL_SECONDS if reached else AWAY_SECONDS)
        return None

    def _handle(self, claim: Claim) -> None:
        fields = {"type": claim.type, "uuid": claim.key, "attempt": claim.attempts}
        if claim.attempts_left < 0:
            self._note(fields, self._inbox.failed, claim, "the worker was killed each time")
            return
        log.info("event taken", extra={"fields": fields | {"age_s": _age(claim)}})
        started = time.perf_counter()
        error = None
        try:
            with self._app_context():
                # An async one would else return before it has run.
                handler = current_app.ensure_sync(self._handlers[claim.type])
                handler(json.loads(claim.event))
        # SystemExit too: it would end this thread, and no other.
        except BaseException as exc:
            error = exc
        fields["ms"] = round((time.perf_counter() - started) * 1000, 1)
        if error is None:
            self._note(fields, self._inbox.done, claim)
            return
        # Not its message, which may quote the event.
        broke = f"{type(error).__name__} at {places_of(error)}"
        write = self._inbox.failed if isinstance(error, GiveUp) else self._inbox.broke
        self._note(fields | {"error": broke}, write, claim, broke)

    def _note(self, fields: dict, write: Callable, claim: Claim, *error: str) -> None:
        """Write down what became of an event, however long the database is away."""
        end = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                noted, pause = self._try(write, claim, *error)
            except LeaseOver:
                log.warning("event took longer than its lease", extra={"fields": fields})
                return
            if noted:
                break
            if time.monotonic() > (self._stopping_since or end) + STOP_SECONDS:
                log.error("event not noted, to be handled again", extra={"fields": fields})
                return
            time.sleep(AWAY_SECONDS)
        if not error:
            log.info("event handled", extra={"fields": fields | {"age_s": _age(claim)}})
        elif pause:
            log.warning("event broke", extra={"fields": fields | {"again_in_s": pause}})
        else:
            log.error("event failed", extra={"fields": fields})

    def _try(self, work: Callable, *arguments) -> tuple[bool, Any]:
        """Whether the database could be reached, and what it said. Logs when that changes."""
        try:
            result = work(*arguments)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if not self._is_away:
                fields = {"error": reason_of(error)}
                log.error("the database is away, the worker waits for it", extra={"fields": fields})
            self._is_away = True
            return False, None
        if self._is_away:
            log.info("the database is back")
        self._is_away = False
        return True, result


def _age(claim: Claim) -> float:
    """Seconds since the event was received."""
    return round(max(time.time() - claim.received_at, 0), 1)
