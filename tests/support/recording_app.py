"""The service, with the handlers and the short times of `recording_worker`, in a middleware."""

from functools import partial

from app import create_app
from hooks.events import HANDLERS
from inbox import background
from inbox.inbox import Inbox
from tests.support.recording_worker import INBOX, TIMES, record

# `flask run` starts the worker in create_app().
HANDLERS.update(dict.fromkeys(HANDLERS, record))
app = create_app()
background.prepare(
    background.Background(
        app,
        app.extensions["event_intake"],
        HANDLERS,
        app.config["SETTINGS"].event_threads,
        make_inbox=partial(Inbox, **INBOX),
        times=TIMES,
    )
)


def application(environ, start_response):
    return app(environ, start_response)
