"""The worker: gives each event of the inbox to its handler, and notes what became of it."""

import asyncio
import contextlib
import inspect
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import Flask

from logs import places_of

from .database import is_temporary, reason_of
from .inbox import Claim, GiveUp, Inbox, LeaseLost

Fields = dict[str, Any]
Handlers = Mapping[str, Callable[[dict[str, Any]], Any]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Times:
    """In seconds. Tests and the demo shorten them."""

    poll: float = 0.5
    """An empty inbox is looked at this often: one statement, which finds nothing in an index."""
    away: float = 2
    """Until a database that is away is tried again."""
    tend: float = 15
    """How often leases are extended: a few times may fail before one runs out."""
    hang: float = 300
    """A handler that runs for longer than this is said to hang."""
    remind: float = 600
    """How often a fault that lasts is logged."""
    note: float = 5
    """How long a stopping worker tries to note what is done in a database that is away."""


DEFAULT_TIMES = Times()


class DatabaseAway(Exception):
    """What was tried did not happen, as far as is known. It has been logged."""


@dataclass(eq=False)
class Task:
    """An event whose handler runs, or has ended and is being noted."""

    claim: Claim
    fields: Fields
    started: float = field(default_factory=time.monotonic)
    is_running: bool = True
    is_held: bool = True
    hangs: bool = False


class Worker:
    """Threads that each handle one event after the other. A handler that hangs holds up one."""

    def __init__(
        self,
        app: Flask,
        inbox: Inbox,
        handlers: Handlers,
        threads: int,
        *,
        times: Times = DEFAULT_TIMES,
        goes_on: Callable[[], bool] = lambda: True,
    ):
        """A handler runs in the context of `app`. Events of other types are not touched.

        `goes_on` is asked before each event; false means the same as a call of `stop()`.
        """
        self._app = app
        self._inbox = inbox
        self._handlers = handlers
        self._times = times
        self._goes_on = goes_on
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._threads = [self._new_thread() for _ in range(threads)]
        self._next_turn = threading.Lock()
        self._tasks: list[Task] = []
        # Held while a task ends, and while leases are extended: what has ended is not extended.
        self._ending = threading.Lock()
        # A plain value: a signal handler must not take a lock.
        self._stopping_since: float | None = None
        self._fault: str | None = None
        self._reminded: dict[tuple[str, object], float] = {}

    def run(self) -> None:
        """Until it is stopped. Then no event is begun, and those in hand are ended."""
        log.info("event worker started", extra={"fields": {"threads": len(self._threads)}})
        for thread in self._threads:
            thread.start()
        next_tend = time.monotonic()
        says_stop = True
        while not self._has_ended():
            if self.in_hand and self.stopping_since is not None and says_stop:
                says_stop = False
                fields = {"events": self.in_hand}
                log.info("event worker ends what it has begun", extra={"fields": fields})
            try:
                self._look_after_threads()
                if time.monotonic() >= next_tend:
                    next_tend = time.monotonic() + self._times.tend
                    with contextlib.suppress(DatabaseAway), self._using_database():
                        self._tend()
            except Exception as error:
                # Without this thread, the leases of the others would run out.
                self._log_break("event worker broke, and goes on", error)
            time.sleep(min(self._times.poll, 0.1))
        log.info("event worker stopped")

    def stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()

    @property
    def stopping_since(self) -> float | None:
        """On the monotonic clock; None until it is told to stop."""
        if self._stopping_since is None and not self._goes_on():
            self.stop()
        return self._stopping_since

    @property
    def in_hand(self) -> int:
        return len(self._tasks)

    def _has_ended(self) -> bool:
        if self.stopping_since is None:
            return False
        return not any(thread.is_alive() for thread in self._threads)

    # What the thread of run() does.

    def _tend(self) -> None:
        self._extend_leases()
        self._inbox.show_worker(self._name, len(self._threads), self._stuck_threads())
        self._inbox.forget_old()
        self._inbox.mend_due_times()
        for key, kind, attempts, error in self._inbox.fail_killed():
            fields = {"type": kind, "uuid": key, "attempt": attempts, "error": error}
            log.error("event failed", extra={"fields": fields})
        for kind, number in self._inbox.waiting_without(self._handlers.keys()).items():
            message = "events wait that have no handler here"
            self._remind(logging.WARNING, message, type=kind, events=number)

    def _extend_leases(self) -> None:
        with self._ending:
            held = {task.claim.key: task for task in self._tasks if task.is_held}
            for claim in self._inbox.extend([task.claim for task in held.values()]):
                task = held[claim.key]
                task.is_held = False
                message = "event is no longer this worker's, and its handler still runs"
                log.warning(message, extra={"fields": task.fields})

    def _look_after_threads(self) -> None:
        for task in [*self._tasks]:
            seconds = time.monotonic() - task.started
            if task.is_running and not task.hangs and seconds >= self._times.hang:
                task.hangs = True
                fields = task.fields | {"running_s": round(seconds)}
                log.warning("handler has run for long", extra={"fields": fields})
        if self.stopping_since is not None:
            return
        for place, thread in enumerate(self._threads):
            if not thread.is_alive():
                self._threads[place] = self._new_thread()
                self._threads[place].start()
        if self._stuck_threads() == len(self._threads):
            message = "no event is handled: every thread of the event worker hangs"
            self._remind(logging.ERROR, message, threads=len(self._threads))

    def _stuck_threads(self) -> int:
        hanging = sum(task.hangs for task in [*self._tasks])
        return hanging + sum(not thread.is_alive() for thread in self._threads)

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._work, name="event-worker", daemon=True)

    # What each of the other threads does.

    def _work(self) -> None:
        try:
            while claim := self._next_claim():
                self._handle(claim)
        except BaseException as error:
            # Another thread takes its place.
            self._log_break("thread of the event worker broke, another takes its place", error)

    def _next_claim(self) -> Claim | None:
        """The next event, which may take long to come; None when the worker stops."""
        # One thread asks for it, the others wait until that one has an event.
        with self._next_turn:
            while self.stopping_since is None:
                try:
                    with self._using_database():
                        claim = self._inbox.claim(self._handlers.keys())
                        if claim and self.stopping_since is not None:
                            self._inbox.give_back(claim)
                            return None
                except DatabaseAway:
                    time.sleep(self._times.away)
                    continue
                if claim:
                    return claim
                time.sleep(self._times.poll)
        return None

    def _handle(self, claim: Claim) -> None:
        fields = {"type": claim.type, "uuid": claim.key, "attempt": claim.attempts}
        task = Task(claim, fields)
        with self._ending:
            self._tasks.append(task)
        try:
            log.info("event taken", extra={"fields": fields | {"age_s": _age(claim)}})
            error = self._call_handler(claim)
            task.is_running = False
            fields["ms"] = round((time.monotonic() - task.started) * 1000, 1)
            self._note_end(task, error)
        finally:
            with self._ending:
                self._tasks.remove(task)

    def _call_handler(self, claim: Claim) -> BaseException | None:
        """What the handler raised, if anything."""
        try:
            with self._app.app_context():
                returned = self._handlers[claim.type](json.loads(claim.event))
                if inspect.iscoroutine(returned):
                    asyncio.run(returned)
        # SystemExit too: it would end this thread, and not the process.
        except BaseException as error:
            # Without this method, which every traceback would begin with.
            return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        return None

    def _note_end(self, task: Task, error: BaseException | None) -> None:
        """Write down what became of an event, however long the database is away."""
        while True:
            try:
                with self._using_database(), self._ending:
                    self._write_end(task, error)
                    task.is_held = False
                return
            except LeaseLost:
                message = "event ended, but was no longer this worker's"
                log.warning(message, extra={"fields": task.fields})
                return
            except DatabaseAway:
                stopping = self.stopping_since
                if stopping is not None and time.monotonic() > stopping + self._times.note:
                    log.error("event not noted, to be handled again", extra={"fields": task.fields})
                    return
            time.sleep(self._times.away)

    def _write_end(self, task: Task, error: BaseException | None) -> None:
        claim, fields = task.claim, task.fields
        if error is None:
            self._inbox.done(claim)
            log.info("event handled", extra={"fields": fields | {"age_s": _age(claim)}})
            return
        # Not its message, which may quote the event.
        fields["error"] = f"{type(error).__name__} at {places_of(error)}"
        pause = None
        if isinstance(error, GiveUp):
            self._inbox.failed(claim, fields["error"])
        else:
            pause = self._inbox.broke(claim, fields["error"])
        trace = error if self._app.debug else None
        if pause is None:
            log.error("event failed", extra={"fields": fields}, exc_info=trace)
        else:
            again = fields | {"again_in_s": pause}
            log.warning("event broke", extra={"fields": again}, exc_info=trace)

    # What they share.

    @contextlib.contextmanager
    def _using_database(self) -> Iterator[None]:
        """Log when the database goes away and when it is back. Raises DatabaseAway."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if is_temporary(error):
                message = "the database is away, the worker waits for it"
            else:
                message = "the database cannot be used, and waiting does not mend it"
            self._fault = message
            self._remind(logging.ERROR, message, error=reason_of(error))
            raise DatabaseAway from None
        if self._fault:
            self._reminded.pop((self._fault, None), None)
            self._fault = None
            log.info("the database is back")

    def _remind(self, level: int, message: str, **fields: object) -> None:
        """Log what lasts, now and then."""
        about, now = (message, fields.get("type")), time.monotonic()
        if about not in self._reminded or now >= self._reminded[about] + self._times.remind:
            self._reminded[about] = now
            log.log(level, message, extra={"fields": fields})

    def _log_break(self, message: str, error: BaseException) -> None:
        fields = {"error": f"{type(error).__name__} at {places_of(error)}"}
        log.error(message, extra={"fields": fields})


def _age(claim: Claim) -> float:
    """Seconds since the event was received."""
    return round(max(time.time() - claim.received_at, 0), 1)
