"""The service: settings, log, guard, hooks, commands. The one place that knows all of them."""

import logging
import sys
from functools import lru_cache

import click
from flask import Flask, Response, current_app, g, jsonify
from flask.helpers import get_debug_flag
from werkzeug.exceptions import HTTPException
from werkzeug.serving import is_running_from_reloader

import auth
import logs
import settings as service_settings
from hooks import register_hooks
from hooks.contract import error_response
from inbox.database import database_url
from settings import Settings, SettingsError

log = logging.getLogger("okta_hooks.app")


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application.

    Without `settings` they are read from the environment and `.env`; where they are wrong the
    process ends with one plain message.
    """
    command = click.get_current_context(silent=True)
    settings = settings or _read_settings(command)
    app = Flask(__name__, static_folder=None)
    app.debug = app.debug and command is not None
    app.json.sort_keys = False
    # Cached: Flask would inspect the same few functions at every request.
    app.ensure_sync = lru_cache(app.ensure_sync)
    app.config.update(
        SETTINGS=settings,
        CHECK_SETTINGS=service_settings.load,
        EVENTS_DATABASE_URL=database_url(settings.events_database_url),
        MAX_CONTENT_LENGTH=settings.max_content_length,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    logs.configure(settings.log_level, settings.log_format, development=command is not None)
    logs.init_app(app)
    keys = app.extensions["issuer_keys"] = auth.init_app(app, settings)
    register_hooks(app)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.register_error_handler(HTTPException, refuse)
    app.register_error_handler(Exception, fail)
    if command:
        add_commands(app)
    if command is None or _will_serve(command):
        if keys:
            keys.start()
        if command:
            # Under gunicorn its master says the notes, once for all workers.
            from commands.events import start_worker  # noqa: PLC0415

            for note in settings.notes:
                log.warning(note)
            start_worker(app)
    return app


def __getattr__(name: str) -> Flask:
    """`gunicorn app:app`, which many people try first, works as well."""
    if name == "app":
        return create_app()
    raise AttributeError(name)


def _read_settings(command: click.Context | None) -> Settings:
    """A command that serves nothing may not need settings: it starts with wrong ones too."""
    try:
        return service_settings.load(development=command is not None)
    except SettingsError as error:
        if command is None or command.info_name == "run":
            raise
        return Settings(error=error)


def add_commands(app: Flask) -> None:
    """`flask events …` and `flask okta …`. A deployed service does not import them."""
    from commands.doctor import doctor_command  # noqa: PLC0415
    from commands.events import event_commands  # noqa: PLC0415
    from local_okta.commands import okta_commands  # noqa: PLC0415

    okta_commands.add_command(doctor_command)
    app.cli.add_command(okta_commands)
    app.cli.add_command(event_commands)


def _will_serve(command: click.Context) -> bool:
    """Whether this `flask` process answers requests: with the reloader, only the child does."""
    reload = command.params.get("reload")
    reloads = get_debug_flag() if reload is None else reload
    return command.info_name == "run" and (not reloads or is_running_from_reloader())


def healthz() -> Response:
    """The process answers."""
    return jsonify(status="ok")


def readyz() -> Response | tuple[Response, int]:
    """A request could be authenticated right now."""
    keys = current_app.extensions["issuer_keys"]
    if keys and (reason := keys.unavailable_reason()):
        return jsonify(status="unavailable", reason=reason), 503
    return jsonify(status="ok")


def refuse(error: HTTPException) -> Response:
    """Every refusal is JSON. Why a credential was refused stays in the log."""
    g.reason = getattr(error, "reason", None)
    # Only the hooks' own words; werkzeug's are for people who type a URL into a browser.
    summary = error.description if error.code in (400, 415) else error.name
    g.error = None if g.reason else summary
    response = error_response(error.code, summary, getattr(error, "causes", ()))
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


def fail(error: Exception) -> Response:
    """A handler broke. Its message may hold values of the request: only its place is logged."""
    g.error = f"{type(error).__name__} at {logs.place_of(error)}"
    if current_app.debug:
        log.error("a handler broke", exc_info=error)
    return error_response(500, "The service could not handle the request")


if __name__ == "__main__":
    sys.exit("Start the service with: flask run (or make run), to deploy it with: gunicorn")
