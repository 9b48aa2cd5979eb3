"""The worker: passes each event of the inbox to its handler, and saves the outcome."""

import asyncio
import inspect
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask

from logs import places_of

from .faults import FaultLog
from .inbox import Claim, GiveUp, Inbox, LeaseLost

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
    save: float = 5
    """How long a stopping worker tries to save outcomes in an unavailable database."""


DEFAULT_TIMES = Times()


@dataclass(eq=False)
class Task:
    """An event in hand: its handler is running, or its outcome is being saved."""

    claim: Claim
    fields: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    is_running: bool = True


class Worker:
    """Threads that each handle one event at a time. A handler that hangs blocks one thread.

    The thread that calls `run` extends the leases of their events.
    """

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
        self._threads = [
            threading.Thread(target=self._work, name="event-worker", daemon=True)
            for _ in range(threads)
        ]
        self._next_turn = threading.Lock()
        # The other threads change this, so loop only over a copy.
        self._tasks: list[Task] = []
        self._next_tend = time.monotonic()
        self._faults = FaultLog(times.remind)
        self._stopping_since: float | None = None

    @property
    def in_hand(self) -> int:
        return len(self._tasks)

    def run(self) -> None:
        """Run until stopped. Then start no more events, and finish those in hand."""
        log.info("event worker started", extra={"fields": {"threads": len(self._threads)}})
        for thread in self._threads:
            thread.start()
        self._tend_until(self._must_stop)
        if self.in_hand:
            fields = {"events": self.in_hand}
            log.info("event worker is finishing what it has begun", extra={"fields": fields})
        self._tend_until(lambda: not any(thread.is_alive() for thread in self._threads))
        log.info("event worker stopped")

    def stop(self) -> float:
        """Start no more events. Returns the time of the first call, on the monotonic clock.

        It does not wait. A signal handler may call it, so it takes no lock.
        """
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
        return self._stopping_since

    def _must_stop(self) -> bool:
        if not self._goes_on():
            self.stop()
        return self._stopping_since is not None

    def _tend_until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            if time.monotonic() >= self._next_tend:
                self._next_tend = time.monotonic() + self._times.tend
                with self._faults.caught():
                    self._tend()
            time.sleep(min(self._times.poll, 0.1))

    def _tend(self) -> None:
        hanging = self._log_hanging()
        self._inbox.extend([task.claim for task in [*self._tasks]])
        self._inbox.show_worker(self._name, len(self._threads), hanging)
        self._inbox.clean_up()
        for key, kind, attempts, error in self._inbox.set_aside_killed():
            fields = {"type": kind, "uuid": key, "attempt": attempts, "error": error}
            log.error("event failed", extra={"fields": fields})
        for kind, number in self._inbox.waiting_without(self._handlers.keys()).items():
            message = "waiting events have no handler here"
            self._faults.log(logging.WARNING, message, kind, type=kind, events=number)

    def _log_hanging(self) -> int:
        """Log the handlers that hang. Returns how many."""
        hanging, now = 0, time.monotonic()
        for task in [*self._tasks]:
            if task.is_running and (seconds := now - task.started) >= self._times.hang:
                hanging += 1
                fields = task.fields | {"running_s": round(seconds)}
                self._faults.log(logging.WARNING, "handler still running", task.claim.key, **fields)
        if hanging == len(self._threads):
            message = "no events are being handled: every thread of the event worker is hanging"
            self._faults.log(logging.ERROR, message, threads=hanging)
        return hanging

    # What each of the other threads does.

    def _work(self) -> None:
        while claim := self._next_claim():
            with self._faults.caught():
                self._handle(claim)

    def _next_claim(self) -> Claim | None:
        """Wait for the next event. None when the worker stops."""
        # One thread polls. The others wait until it has an event.
        with self._next_turn:
            while not self._must_stop():
                pause = self._times.reconnect
                with self._faults.caught():
                    if claim := self._inbox.claim(self._handlers.keys()):
                        return claim
                    pause = self._times.poll
                time.sleep(pause)
        return None

    def _handle(self, claim: Claim) -> None:
        fields = {"type": claim.type, "uuid": claim.key, "attempt": claim.attempts}
        task = Task(claim, fields)
        self._tasks.append(task)
        try:
            log.info("event taken", extra={"fields": fields | {"age_s": _age(claim)}})
            error = self._call_handler(claim)
            task.is_running = False
            fields["ms"] = round((time.monotonic() - task.started) * 1000, 1)
            self._save(task, error)
        finally:
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

    def _save(self, task: Task, error: BaseException | None) -> None:
        """Save the outcome of an event. Retries as long as the database cannot be used."""
        while True:
            with self._faults.caught():
                try:
                    self._save_once(task.claim, task.fields, error)
                except LeaseLost:
                    message = "event ended, but no longer belonged to this worker"
                    log.warning(message, extra={"fields": task.fields})
                return
            if self._must_stop() and time.monotonic() > self.stop() + self._times.save:
                log.error("outcome not saved, will run again", extra={"fields": task.fields})
                return
            time.sleep(self._times.reconnect)

    def _save_once(self, claim: Claim, fields: dict[str, Any], error: BaseException | None) -> None:
        if error is None:
            self._inbox.done(claim)
            log.info("event handled", extra={"fields": fields | {"age_s": _age(claim)}})
            return
        # Leave out the exception's message, which may quote the event.
        reason = f"{type(error).__name__} at {places_of(error)}"
        pause = None
        if isinstance(error, GiveUp):
            self._inbox.set_aside(claim, reason)
        else:
            pause = self._inbox.retry_later(claim, reason)
        trace = error if self._app.debug else None
        fields = fields | {"error": reason, "again_in_s": pause}
        if pause is None:
            log.error("event failed", extra={"fields": fields}, exc_info=trace)
        else:
            log.warning("event attempt failed", extra={"fields": fields}, exc_info=trace)


def _age(claim: Claim) -> float:
    """Seconds since the event was received."""
    return round(max(time.time() - claim.received_at, 0), 1)
