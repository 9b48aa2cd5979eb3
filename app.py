"""The service: settings, log, guard, hooks, commands. The one place that knows all of them."""

import io
import logging
import sys
from functools import cache

import click
from flask import Flask, Response, current_app, g, jsonify
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

import auth
import errors
import logs
from hooks import register_hooks
from inbox import background
from settings import PROJECT, Settings, SettingsError, load_settings
from settings.dotenv import notes_on_other_files

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """Create the WSGI application.

    If `settings` is None, they are read from the environment and `.env`. If they are wrong, the
    process exits with one plain message.
    """
    # The flask command that needs the app. Under gunicorn there is none.
    command = click.get_current_context(silent=True)
    error = None
    if settings is None:
        settings, error = _load_settings(command)
    app = errors.Service(__name__, static_folder=None)
    # Tracebacks are for development, even if FLASK_DEBUG is set in production.
    app.debug = app.debug and command is not None
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider
    app.config.update(
        SETTINGS=settings,
        SETTINGS_ERROR=error,
        MAX_CONTENT_LENGTH=settings.max_content_length,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    logs.configure(settings.log_level, settings.log_format)
    logs.init_app(app)
    errors.init_app(app)
    keys = app.extensions["issuer_keys"] = auth.init_app(app, settings)
    register_hooks(app)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    if command:
        # The reloader's parent process serves nothing, but prints the banner.
        logs.keep_banner_of_development_server()
        add_commands(app)
    if command is None or _will_serve(command):
        if keys:
            keys.start()
        if command:
            # Under gunicorn, the master process logs the notes once for all workers.
            for note in settings.notes:
                log.warning(note)
            background.start_until_exit()
    return app


@cache
def __getattr__(name: str) -> Flask:
    """Make `gunicorn app:app` work too, since many people try it first."""
    if name == "app":
        return create_app()
    raise AttributeError(name)


def add_commands(app: Flask) -> None:
    """Add `flask events …` and `flask okta …`. A deployed service does not import them."""
    from commands.doctor import doctor_command  # noqa: PLC0415
    from commands.events import event_commands  # noqa: PLC0415
    from commands.register import register_command  # noqa: PLC0415
    from local_okta.commands import okta_commands  # noqa: PLC0415

    # Print an escape for a character that the terminal cannot show, instead of failing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    okta_commands.add_command(doctor_command)
    okta_commands.add_command(register_command)
    app.cli.add_command(okta_commands)
    app.cli.add_command(event_commands)


def _load_settings(command: click.Context | None) -> tuple[Settings, SettingsError | None]:
    """The settings. A command that may not need them gets the defaults and the error instead."""
    if command is None:
        return load_settings(), None
    if command.info_name == "run":
        return load_settings(used_by="flask run"), None
    for note in notes_on_other_files(PROJECT):
        click.secho(f"Note: {note}", fg="yellow", err=True)
    try:
        return load_settings(used_by="flask command"), None
    except SettingsError as error:
        return Settings(), error


def _will_serve(command: click.Context) -> bool:
    """Whether this `flask` process answers requests. With the reloader, only its child does."""
    reload = command.params.get("reload")
    reloads = get_debug_flag() if reload is None else reload
    return command.info_name == "run" and (not reloads or is_running_from_reloader())


def healthz() -> Response:
    """Report that the process is running."""
    return jsonify(status="ok")


def readyz() -> Response | tuple[Response, int]:
    """Report whether a request could be authenticated right now."""
    keys = current_app.extensions["issuer_keys"]
    if keys and (reason := keys.unavailable_reason()):
        g.error = reason
        return jsonify(status="unavailable", reason=reason), 503
    return jsonify(status="ok")


if __name__ == "__main__":
    sys.exit("Start the service with: flask run (or make run). In production, use: gunicorn")
