"""The service: settings, log, guard, hooks, commands. The one place that knows all of them."""

import logging
import os
import sys
import traceback
from functools import lru_cache

import click
from flask import Flask, Response, g, jsonify
from flask.helpers import get_debug_flag
from werkzeug.exceptions import HTTPException
from werkzeug.serving import is_running_from_reloader

import auth
import logs
import settings as service_settings
from auth.keys import IssuerKeys
from doctor import doctor_command
from hooks import register_hooks
from hooks.contract import error_response
from hooks.telephony_providers import console, twilio_sender
from local_okta.commands import okta_commands
from settings import Settings

log = logging.getLogger("okta_hooks.app")

PROJECT = os.path.dirname(os.path.abspath(__file__))


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application.

    Without `settings` they are read from the environment and `.env`; where they are wrong the
    process ends with one plain message.
    """
    command = click.get_current_context(silent=True)
    development = command is not None
    settings = settings or _settings_or_exit(development)

    app = Flask(__name__, static_folder=None)
    app.debug = app.debug and development
    app.url_map.merge_slashes = False
    app.json.sort_keys = False
    # Whether a function is async, Flask would ask of five of them, each call anew.
    app.ensure_sync = lru_cache(maxsize=64)(app.ensure_sync)
    app.config.update(
        SETTINGS=settings,
        MAX_CONTENT_LENGTH=settings.max_content_length,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        REGISTRATION_ALLOWED_DOMAINS=settings.registration_allowed_domains,
        TELEPHONY_PROVIDER=settings.telephony_provider,
        TELEPHONY_SEND=_telephony_sender(settings),
    )
    logs.configure(settings.log_level, settings.log_format, development=development)
    logs.init_app(app)
    keys = auth.init_app(app, settings)
    register_hooks(app)
    _register_health(app, keys)
    _register_errors(app)
    okta_commands.add_command(doctor_command)
    app.cli.add_command(okta_commands)
    if not development or _will_serve(command):
        if not _under_gunicorn():
            for note in settings.notes:
                log.warning(note)
        if keys is not None:
            keys.start()
    return app


def _settings_or_exit(development: bool) -> Settings:
    try:
        return service_settings.load(development=development)
    except service_settings.SettingsError as error:
        sys.exit(f"\n{error}\n")


def _telephony_sender(settings: Settings):
    if settings.telephony_provider == "twilio":
        return twilio_sender(
            settings.twilio_account_sid,
            settings.twilio_auth_token,
            settings.twilio_from_number,
        )
    return console if settings.telephony_provider == "console" else None


def _will_serve(command: click.Context) -> bool:
    """Whether this `flask` process will answer calls.

    `flask okta …` does not, and with the reloader on only the child of `flask run` does.
    """
    if command.info_name != "run":
        return False
    reload = command.params.get("reload")
    reloads = get_debug_flag() if reload is None else reload
    return not reloads or is_running_from_reloader()


def _under_gunicorn() -> bool:
    """Whether this is a gunicorn worker, whose master has said the notes once for all of them."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")


def _register_health(app: Flask, keys: IssuerKeys | None) -> None:
    @app.get("/healthz")
    def healthz():
        """The process answers."""
        return jsonify(status="ok")

    @app.get("/readyz")
    def readyz():
        """A call could be authenticated right now."""
        reason = keys.unavailable_reason() if keys else None
        if reason:
            return jsonify(status="unavailable", reason=reason), 503
        return jsonify(status="ok")


def _register_errors(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        """Every refusal is JSON. Why a credential was refused stays in the log."""
        g.reason = getattr(error, "reason", None)
        # Only the hooks' own words; werkzeug's are for people who type a URL into a browser.
        summary = error.description if error.code in (400, 415) else error.name
        g.error = None if g.reason else summary
        response = error_response(error.code, summary, getattr(error, "causes", ()))
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        """A handler broke. Its message may hold values of the call: only its place is logged."""
        g.error = f"{type(error).__name__} at {_place_of(error)}"
        if app.debug:
            log.error("a handler broke", exc_info=error)
        return error_response(500, "The service could not handle the call")


def _place_of(error: Exception) -> str:
    """File and line of this project where it happened; a library's own line says less."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(PROJECT)]
    frame = (ours or frames)[-1]
    return f"{os.path.relpath(frame.filename, PROJECT)}:{frame.lineno}"
