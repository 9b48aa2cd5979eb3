"""The log: one line for each request. No input can split a line or make it too long.

A module logs a constant phrase and puts what varies into `fields`:
`log.info("…", extra={"fields": {…}})`. LOG_FORMAT selects text or JSON.
"""

import inspect
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request

# This keeps all the fields of a line within 2,000 characters.
MAX_VALUE_LENGTH = 120
MAX_PLACES = 5
HEALTH_ENDPOINTS = ("healthz", "readyz")
PROJECT = Path(__file__).parent
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,;*~-]{1,120}")
# JSON in printable ASCII, which no terminal or log viewer can mistake for a command.
_ascii = json.JSONEncoder(ensure_ascii=True).encode

log = logging.getLogger(__name__)


def configure(level: str, log_format: str) -> None:
    """Send the log to stderr: this project's loggers at `level`, libraries' at WARNING.

    At DEBUG, some libraries log whole requests.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(__name__)
    handler.setFormatter(LineFormatter(log_format))
    # If an event handler closes stderr, the log ends, but the threads that write to it continue.
    logging.raiseExceptions = False
    # Python's own warnings would not be JSON, and would take two lines each.
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [*(old for old in root.handlers if old.get_name() != __name__), handler]
    root.setLevel(logging.WARNING)
    # Its warnings quote what a server has sent, of any length and with a traceback.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    modules = {path.stem for path in PROJECT.glob("*.py")}
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")}
    for name in modules | packages:
        logging.getLogger(name).setLevel(level)


def keep_banner_of_development_server() -> None:
    """Let `flask run` print its banner as usual, but no request lines of its own."""
    server = logging.getLogger("werkzeug")
    server.handlers, server.propagate = [logging.StreamHandler(sys.stderr)], False
    server.filters = [lambda record: " - - [" not in str(record.msg)]


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO    request hook=token status=200 …`, or the same in JSON."""

    def __init__(self, log_format: str):
        super().__init__()
        self.as_json = log_format == "json"

    def format(self, record: logging.LogRecord) -> str:
        at, level, message = time.gmtime(record.created), record.levelname, record.getMessage()
        when = time.strftime(f"%Y-%m-%dT%H:%M:%S.{int(record.msecs):03d}Z", at)
        fields = {k: v for k, v in getattr(record, "fields", {}).items() if v is not None}
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self.as_json:
            entry: dict[str, Any] = {"time": when, "level": level, "message": message}
            for name, value in fields.items():
                entry[name] = value if isinstance(value, int | float) else _cut(str(value))
            return _ascii(entry | {"traceback": trace} if trace else entry)
        words = [f"{name}={_word(value)}" for name, value in fields.items()]
        colour = {"WARNING": 33, "ERROR": 31}.get(level)
        level = f"{level:<7}"
        if colour and sys.stderr.isatty() and "NO_COLOR" not in os.environ:
            level = f"\x1b[{colour}m{level}\x1b[0m"
        line = " ".join((when, level, _ascii(message)[1:-1], *words))
        return f"{line}\n{trace}" if trace else line


def init_app(app: Flask) -> None:
    """Log each request when its answer is ready. Call this before adding the guard, to time it."""

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    app.after_request(_log_request)


def places_of(error: BaseException) -> str:
    """The lines of this project that led to `error`. The one that raised it comes last."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [_place(frame.filename, frame.lineno) for frame in frames if _is_ours(frame.filename)]
    if not places and frames:
        places = [_place(frames[-1].filename, frames[-1].lineno)]
    return " < ".join(places[-MAX_PLACES:]) or "an unknown place"


def place_of_function(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return _place(code.co_filename, code.co_firstlineno)


def _is_ours(filename: str) -> bool:
    # The virtual environment may lie inside the project.
    return Path(filename).is_relative_to(PROJECT) and "site-packages" not in filename


def _place(filename: str, line: int | None) -> str:
    return f"{filename.removeprefix(f'{PROJECT}/')}:{line}"


def _log_request(response: Response) -> Response:
    environ, noted, status = request.environ, vars(g), response.status_code
    caller, reason = noted.get("caller"), noted.get("reason")
    matched = caller.matched_password if caller else None
    fields = {
        "hook": request.blueprint or "-",
        "method": request.method,
        "path": request.path,
        "status": status,
        "auth": noted.get("auth_method", "none"),
        "caller": (caller.client_id or caller.user) if caller else None,
        "password": matched if matched == "previous" else None,
        "result": "refused" if reason else "accepted" if caller else None,
        "reason": reason,
        "error": noted.get("error"),
        "request_id": environ.get("HTTP_X_OKTA_REQUEST_ID"),
        "event_id": noted.get("event_id"),
        "client": environ.get("REMOTE_ADDR") or None,  # a Unix socket has none
        # Each proxy appends the address it sees, so the last one is from the nearest proxy.
        "forwarded_for": environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or None,
        "ms": round((time.perf_counter() - noted["started"]) * 1000, 1),
    }
    # Anyone can cause a refusal, so it is not an error of the service.
    failed = logging.WARNING if status < 500 or reason else logging.ERROR
    level = logging.INFO if status < 400 else failed
    if status == 200 and request.endpoint in HEALTH_ENDPOINTS:
        level = logging.DEBUG
    log.log(level, "request", extra={"fields": fields})
    return response


def _word(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else _ascii(_cut(text))


def _cut(text: str) -> str:
    """The text, cut if it is too long once escaped. An escape takes up to 12 characters."""
    if _escaped_length(text) <= MAX_VALUE_LENGTH:
        return text
    kept = text[: MAX_VALUE_LENGTH - 3]
    while _escaped_length(kept) > MAX_VALUE_LENGTH - 3:
        kept = kept[:-1]
    return f"{kept}..."


def _escaped_length(text: str) -> int:
    return len(_ascii(text)[1:-1])
