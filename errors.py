"""What a request gets when something goes wrong: JSON with an `error` object, and nothing more.

The reason goes to the log, without the exception's message, which may quote the request.
"""

import logging
from importlib.util import find_spec
from inspect import iscoroutinefunction
from typing import Any

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, InternalServerError, default_exceptions

from hooks.contract import error_response
from logs import place_of_function, places_of

log = logging.getLogger(__name__)


class Service(Flask):
    def log_exception(self, exc_info: Any) -> None:
        """Do nothing: each exception is logged once, and without its message."""

    def full_dispatch_request(self) -> Response:
        """Answer even if a view calls `sys.exit()`, which would end the gunicorn worker."""
        try:
            return super().full_dispatch_request()
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            return self.finalize_request(fail(error))


def init_app(app: Flask) -> None:
    # Answer Okta in development too. The traceback goes to the log.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, refuse)
    app.register_error_handler(Exception, fail)
    app.register_error_handler(InternalServerError, fail_outside_of_the_view)


def refuse(error: HTTPException) -> Response:
    """Answer with JSON. Only the log says why a credential was refused."""
    g.reason = getattr(error, "reason", None)
    # For these codes, show the hooks' own descriptions. Werkzeug's are for people with a browser.
    standard = default_exceptions.get(error.code or 0, HTTPException).description or ""
    has_own = error.code in (400, 413, 415) and not (error.description or "").startswith(standard)
    summary = error.description if has_own else error.name
    g.error = None if g.reason else summary
    response = error_response(
        error.code or 500, summary or error.name, getattr(error, "causes", ())
    )
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


def fail(error: BaseException) -> Response:
    """Answer a request whose view raised `error`."""
    g.error = f"{type(error).__name__} at {places_of(error)}"
    view = current_app.view_functions.get(request.endpoint or "")
    if iscoroutinefunction(view) and find_spec("asgiref") is None:
        g.error = f"{place_of_function(view)} is async, which needs: pip install 'flask[async]'"
    if current_app.debug:
        log.error("a view raised an exception", exc_info=error)
    return error_response(500, "The service could not handle the request")


def fail_outside_of_the_view(error: InternalServerError) -> Response:
    """Answer when the view aborted with a 500, or returned something that is not a response."""
    if error.original_exception is None:
        return refuse(error)
    response = fail(error.original_exception)
    view = current_app.view_functions.get(request.endpoint or "")
    if view and isinstance(error.original_exception, TypeError):
        advice = "return answer(…) or NO_CHANGE"
        g.error = f"{place_of_function(view)} returned something that Flask cannot send: {advice}"
    return response
