"""The service with event handlers that keep it busy, for `make bench`."""

import time
from collections.abc import Callable

from flask import Flask

from app import create_app
from hooks.events import HANDLERS
from inbox import background
from inbox.background import Background

HANDLER_SECONDS = 0.2


def waiting() -> Flask:
    """As if a handler waited for another machine."""
    return service_with(lambda event: time.sleep(HANDLER_SECONDS))


def computing() -> Flask:
    return service_with(compute)


def compute(event: dict) -> None:
    end = time.thread_time() + HANDLER_SECONDS
    while time.thread_time() < end:
        sum(range(1000))


def service_with(handler: Callable[[dict], None]) -> Flask:
    app = create_app()
    handlers = dict.fromkeys(HANDLERS, handler)
    threads = app.config["SETTINGS"].event_threads
    background.prepare(Background(app, app.extensions["event_intake"], handlers, threads))
    return app
