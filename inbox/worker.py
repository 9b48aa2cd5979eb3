"""The worker: passes each event of the inbox to its handler, and saves the outcome."""

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
    """How often to check an empty inbox. The check is one statement that only reads an index."""
    reconnect: float = 2
    """How long to wait before trying an unavailable database again."""
    tend: float = 15
    """How often to extend leases. A few attempts may fail before a lease runs out."""
    hang: float = 300
    """A handler that runs for longer than this counts as hanging."""
    remind: float = 600
    """How often to log a fault that persists."""
    note: float = 5
    """How long a stopping worker tries to save outcomes in an unavailable database."""


DEFAULT_TIMES = Times()


class DatabaseUnavailable(Exception):
    """The operation failed, as far as is known. The failure has been logged."""


@dataclass(eq=False)
class Task:
    """An event whose handler is running, or whose outcome is being saved."""

    claim: Claim
    fields: Fields
    started: float = field(default_factory=time.monotonic)
    is_running: bool = True
    is_held: bool = True
    hangs: bool = False


class Worker:
    """Threads that each handle one event at a time. A handler that hangs blocks one thread."""

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
        """Handlers run in the context of `app`. Events without a handler are left alone.

        `goes_on` is called before each event. If it returns false, the worker stops, as if
        `stop()` were called.
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
        # Held while a task ends and while leases are extended, so no ended task is extended.
        self._ending = threading.Lock()
        # A plain value: a signal handler must not take a lock.
        self._stopping_since: float | None = None
        self._fault: str | None = None
        self._reminded: dict[tuple[str, object], float] = {}

    def run(self) -> None:
        """Run until stopped. Then start no more events, and finish those in hand."""
        log.info("event worker started", extra={"fields": {"threads": len(self._threads)}})
        for thread in self._threads:
            thread.start()
        next_tend = time.monotonic()
        says_stop = True
        while not self._has_ended():
            if self.in_hand and self.stopping_since is not None and says_stop:
                says_stop = False
                fields = {"events": self.in_hand}
                log.info("event worker finishes what it has begun", extra={"fields": fields})
            try:
                self._look_after_threads()
                if time.monotonic() >= next_tend:
                    next_tend = time.monotonic() + self._times.tend
                    with contextlib.suppress(DatabaseUnavailable), self._using_database():
                        self._tend()
            except Exception as error:
                # Without this thread, the leases of the others would run out.
                self._log_break("event worker raised an exception, and continues", error)
            time.sleep(min(self._times.poll, 0.1))
        log.info("event worker stopped")

    def stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()

    @property
    def stopping_since(self) -> float | None:
        """The time of the request to stop, on the monotonic clock. None before that."""
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
        self._fail_killed()
        self._remind_of_unhandled()

    def _extend_leases(self) -> None:
        with self._ending:
            held = {task.claim.key: task for task in self._tasks if task.is_held}
            for claim in self._inbox.extend([task.claim for task in held.values()]):
                task = held[claim.key]
                task.is_held = False
                message = "event no longer belongs to this worker, but its handler still runs"
                log.warning(message, extra={"fields": task.fields})

    def _fail_killed(self) -> None:
        for key, kind, attempts, error in self._inbox.fail_killed():
            fields = {"type": kind, "uuid": key, "attempt": attempts, "error": error}
            log.error("event failed", extra={"fields": fields})

    def _remind_of_unhandled(self) -> None:
        for kind, number in self._inbox.waiting_without(self._handlers.keys()).items():
            message = "waiting events have no handler here"
            self._remind(logging.WARNING, message, type=kind, events=number)

    def _look_after_threads(self) -> None:
        for task in [*self._tasks]:
            seconds = time.monotonic() - task.started
            if task.is_running and not task.hangs and seconds >= self._times.hang:
                task.hangs = True
                fields = task.fields | {"running_s": round(seconds)}
                log.warning("handler still running", extra={"fields": fields})
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
            # Another thread replaces this one.
            self._log_break("event worker thread raised an exception, another replaces it", error)

    def _next_claim(self) -> Claim | None:
        """Wait for the next event. None when the worker stops."""
        # One thread polls. The others wait until it has an event.
        with self._next_turn:
            while self.stopping_since is None:
                try:
                    with self._using_database():
                        claim = self._inbox.claim(self._handlers.keys())
                        if claim and self.stopping_since is not None:
                            self._inbox.give_back(claim)
                            return None
                except DatabaseUnavailable:
                    time.sleep(self._times.reconnect)
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
        # SystemExit too: it would end this thread, but not the process.
        except BaseException as error:
            # Leave out this method, since every traceback would begin with it.
            return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        return None

    def _note_end(self, task: Task, error: BaseException | None) -> None:
        """Save the outcome of an event. Retries as long as the database is unavailable."""
        while True:
            try:
                with self._using_database(), self._ending:
                    self._write_end(task, error)
                    task.is_held = False
                return
            except LeaseLost:
                message = "event ended, but no longer belonged to this worker"
                log.warning(message, extra={"fields": task.fields})
                return
            except DatabaseUnavailable:
                stopping = self.stopping_since
                if stopping is not None and time.monotonic() > stopping + self._times.note:
                    log.error("outcome not saved, will run again", extra={"fields": task.fields})
                    return
            time.sleep(self._times.reconnect)

    def _write_end(self, task: Task, error: BaseException | None) -> None:
        claim, fields = task.claim, task.fields
        if error is None:
            self._inbox.done(claim)
            log.info("event handled", extra={"fields": fields | {"age_s": _age(claim)}})
            return
        # Leave out the exception's message, which may quote the event.
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
            log.warning("event attempt failed", extra={"fields": again}, exc_info=trace)

    # What all threads share.

    @contextlib.contextmanager
    def _using_database(self) -> Iterator[None]:
        """Log when the database becomes unavailable and when it is back.

        Raises DatabaseUnavailable.
        """
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if is_temporary(error):
                message = "the database is unavailable, the worker waits for it"
            else:
                message = "the database cannot be used, and waiting will not help"
            self._fault = message
            self._remind(logging.ERROR, message, error=reason_of(error))
            raise DatabaseUnavailable from None
        if self._fault:
            self._reminded.pop((self._fault, None), None)
            self._fault = None
            log.info("the database is available again")

    def _remind(self, level: int, message: str, **fields: object) -> None:
        """Log a fault that persists, but only from time to time."""
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
