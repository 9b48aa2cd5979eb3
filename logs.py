"""The log: one line for each request, which nothing that comes from outside can break or stretch.

Every module logs a constant phrase with variable `fields` beside it. LOG_FORMAT says if
they are written as text or as JSON lines.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
from pathlib import Path

from flask import Flask, Response, g, request

# With it, all fields of a line fit into 2,000 characters.
MAX_VALUE_LENGTH = 120
PROJECT = f"{Path(__file__).parent}/"
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,;*~-]{1,120}")
# JSON in printable ASCII: no terminal and no log reader takes any of it for a command.
_ascii = json.JSONEncoder(ensure_ascii=True).encode

log = logging.getLogger("okta_hooks.requests")


def configure(level: str, log_format: str, *, development: bool) -> None:
    """Send the log to stderr. Libraries stay at WARNING: at DEBUG some write out whole requests."""
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("okta_hooks")
    handler.setFormatter(LineFormatter(log_format))
    root = logging.getLogger()
    root.handlers = [*(old for old in root.handlers if old.get_name() != "okta_hooks"), handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("okta_hooks").setLevel(level)
    # In a gunicorn worker its own lines look like the others.
    for other in logging.getLogger("gunicorn.error").handlers:
        other.setFormatter(handler.formatter)
    if development:
        # The banner of `flask run` stays as it is; its own line for each request would double ours.
        server = logging.getLogger("werkzeug")
        server.handlers, server.propagate = [logging.StreamHandler(sys.stderr)], False
        server.filters = [lambda record: " - - [" not in str(record.msg)]


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO    request hook=token status=200 …`, or the same as JSON."""

    def __init__(self, log_format: str):
        super().__init__()
        self.as_json = log_format == "json"

    def format(self, record: logging.LogRecord) -> str:
        at, level, message = time.gmtime(record.created), record.levelname, record.getMessage()
        when = time.strftime(f"%Y-%m-%dT%H:%M:%S.{int(record.msecs):03d}Z", at)
        fields = {k: v for k, v in getattr(record, "fields", {}).items() if v is not None}
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self.as_json:
            entry = {"time": when, "level": level, "message": message}
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
    """Log each request of the app when its answer is ready. Comes before the guard, to time it."""

    @app.before_request
    def start():
        g.started = time.perf_counter()

    app.after_request(_log_request)


def place_of(error: Exception) -> str:
    """File and line of this project where it happened; a library's own line says less."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(PROJECT)]
    # The virtual environment may lie inside the project.
    ours = [frame for frame in ours if "/site-packages/" not in frame.filename]
    frame = (ours or frames)[-1]
    return f"{frame.filename.removeprefix(PROJECT)}:{frame.lineno}"


def _log_request(response: Response) -> Response:
    environ, noted, status = request.environ, vars(g), response.status_code
    caller, reason = noted.get("caller"), noted.get("reason")
    fields = {
        "hook": request.blueprint or "-",
        "method": request.method,
        "path": request.path,
        "status": status,
        "auth": noted.get("auth_method", "none"),
        "caller": (caller.client_id or caller.user) if caller else None,
        "password": caller.password if caller and caller.password != "current" else None,  # noqa: S105
        "result": "refused" if reason else "accepted" if caller else None,
        "reason": reason,
        "error": noted.get("error"),
        "request_id": environ.get("HTTP_X_OKTA_REQUEST_ID"),
        "event_id": noted.get("event_id"),
        "client": environ.get("REMOTE_ADDR") or None,  # a Unix socket has none
        # A proxy appends the address that it sees: the last is what the nearest one says.
        "forwarded_for": environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or None,
        "ms": round((time.perf_counter() - noted["started"]) * 1000, 1),
    }
    # Anybody can cause a refusal, so none of them is an error of the service.
    failed = logging.WARNING if status < 500 or reason else logging.ERROR
    level = logging.INFO if status < 400 else failed
    if log.isEnabledFor(level):
        # Not log.log, which would look for its caller's file and line at every request.
        extra = {"fields": fields}
        log.handle(log.makeRecord(log.name, level, "", 0, "request", (), None, extra=extra))
    return response


def _word(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else _ascii(_cut(text))


def _cut(text: str) -> str:
    """The text; one that is too long is cut as it looks with escapes, which take up to 12 each."""
    escaped = _ascii(text)[1:-1]
    return text if len(escaped) <= MAX_VALUE_LENGTH else f"{escaped[: MAX_VALUE_LENGTH - 3]}..."
