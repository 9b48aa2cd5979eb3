"""Handle events in the background of a process that serves requests.

The process that creates the app may not be the one that serves it, since gunicorn may fork later.
So the app only calls `prepare`. The code that runs the process starts and stops the background.
"""

import atexit
import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from flask import Flask

from .database import Database
from .faults import FaultLog
from .inbox import Inbox
from .intake import Intake
from .worker import DEFAULT_TIMES, Handlers, Times, Worker

HANDLER_SECONDS = 10
"""How long a process that ends by itself waits for running handlers. gunicorn waits as long."""

WATCH_SECONDS = 60
"""How often a process without a worker checks whether another process has one."""

LAST_WORDS_SECONDS = 0.5
"""The time left for the log before gunicorn kills a process that does not exit in time."""

log = logging.getLogger(__name__)


class Background:
    """The intake and the worker of one process."""

    def __init__(
        self,
        app: Flask,
        intake: Intake,
        handlers: Handlers,
        threads: int,
        *,
        make_inbox: Callable[[Database], Inbox] = Inbox,
        times: Times = DEFAULT_TIMES,
    ):
        """If `threads` is 0, another process is expected to handle the events."""
        for event_type, handler in handlers.items():
            if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
                raise TypeError(f"the handler of {event_type} yields, so it would never run")
        self._app = app
        self._intake = intake
        self._handlers = handlers
        self._threads = threads
        self._make_inbox = make_inbox
        self._times = times
        self._worker: Worker | None = None

    def start(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Call this in the process that serves, since a fork inherits no threads.

        Once `goes_on` returns false, it starts no more events.
        """
        self._intake.open()
        inbox = self._make_inbox(Database(self._intake.url))
        if self._threads == 0:
            threading.Thread(target=watch, args=(inbox, goes_on), daemon=True).start()
            return
        self._worker = Worker(
            self._app, inbox, self._handlers, self._threads, times=self._times, goes_on=goes_on
        )
        self._thread = threading.Thread(target=self._worker.run, daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Let handlers finish, until `seconds` after the worker was told to stop."""
        if self._worker is None:
            return
        end = self._worker.stop() + seconds - LAST_WORDS_SECONDS
        # A second Ctrl-C ends the wait.
        with contextlib.suppress(KeyboardInterrupt):
            self._thread.join(max(end - time.monotonic(), 0))
        if in_hand := self._worker.in_hand:
            message = "handlers did not finish in time and will run again"
            log.warning(message, extra={"fields": {"events": in_hand}})


_prepared: Background | None = None
# A handler may create another app, which prepares another background.
_started: Background | None = None


def prepare(background: Background) -> None:
    """Set what `start` starts, in this process or in a fork.

    A server cannot ask the app for it, since the app may be wrapped in a middleware.
    """
    global _prepared  # noqa: PLW0603
    _prepared = background


def start(goes_on: Callable[[], bool] = lambda: True) -> None:
    global _started  # noqa: PLW0603
    if _prepared:
        _started = _prepared
        _started.start(goes_on)


def stop(seconds: float) -> None:
    if _started:
        _started.stop(seconds)


def start_until_exit() -> None:
    """Start in a process such as `flask run`. When it exits, running handlers finish first."""
    start()
    atexit.register(stop, HANDLER_SECONDS)


def watch(
    inbox: Inbox,
    goes_on: Callable[[], bool],
    *,
    every: float = WATCH_SECONDS,
    remind: float = DEFAULT_TIMES.remind,
) -> None:
    """Log now and then that events are waiting and no worker runs."""
    faults = FaultLog(remind)
    while goes_on():
        time.sleep(every)
        # The intake logs it when the database is unavailable.
        with contextlib.suppress(sa.exc.SQLAlchemyError, OSError):
            backlog = inbox.backlog()
            if backlog.has_no_worker and (backlog.oldest or 0) >= every:
                message = "events are waiting, EVENT_THREADS is 0, and no worker is running"
                faults.log(logging.WARNING, message, waiting=backlog.waiting)
