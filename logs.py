"""The log: one line for each call, which nothing that comes from outside can break or stretch.

Every module logs a constant phrase with variable `fields` beside it; how they are written, as text
or as JSON lines (LOG_FORMAT), is decided here alone.
"""

import json
import logging
import os
import re
import sys
import time
from functools import lru_cache
from ipaddress import ip_address, ip_network

from flask import Flask, Response, g, request

MAX_VALUE_LENGTH = 120
MAX_LINE_LENGTH = 2000
# gunicorn's own setting, with its default: the addresses and networks a proxy may call from.
_PROXIES = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,;*~-]+")
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}

log = logging.getLogger("okta_hooks.calls")


def configure(level: str, log_format: str, *, development: bool) -> None:
    """Send the log to stderr.

    LOG_LEVEL is for this project's own lines. Libraries stay at WARNING at every level: at DEBUG
    some of them write out whole requests.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("okta_hooks")
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if other.get_name() != "okta_hooks"]
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # In a gunicorn worker its own lines look like the others.
    for other in logging.getLogger("gunicorn.error").handlers:
        other.setFormatter(handler.formatter)
    logging.getLogger("okta_hooks").setLevel(level)
    if development:
        # The banner of `flask run` stays as it is; its own line for each call would double ours.
        server = logging.getLogger("werkzeug")
        server.handlers = [logging.StreamHandler(sys.stderr)]
        server.propagate = False
        server.filters = [lambda record: " - - [" not in str(record.msg)]


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO    call hook=token status=200 …`"""

    def __init__(self):
        super().__init__()
        self._coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<7}"
        if self._coloured and record.levelname in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelname]}m{level}\x1b[0m"
        words = [_time_of(record), level, _ascii(record.getMessage())[1:-1]]
        for name, value in _fields_of(record):
            text = str(value)
            words.append(f"{name}={text if _PLAIN.fullmatch(text) else _ascii(text)}")
        line = _cut(" ".join(words), MAX_LINE_LENGTH)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """`{"time": "2026-01-31T12:00:00.123Z", "level": "INFO", "message": "call", …}`"""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time_of(record),
            "level": record.levelname,
            "message": _cut(record.getMessage()),
            **dict(_fields_of(record)),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return _ascii(entry)


def init_app(app: Flask) -> None:
    """Log each call of the app when its answer is ready. Comes before the guard, to time it too."""
    app.before_request(_start)
    app.after_request(_log_call)


def client_address() -> str:
    """The caller's address: the peer's, or what a trusted proxy says of it.

    A proxy appends the address it sees, so the last entry of X-Forwarded-For is the one that the
    nearest proxy vouches for. Whoever calls without a proxy can write anything there, and is not
    asked. A peer without an address came through a Unix socket, which only a proxy here can open.
    """
    peer = request.remote_addr or ""
    if peer and not _is_proxy(peer):
        return peer
    forwarded = request.headers.get("X-Forwarded-For", "")
    return forwarded.rpartition(",")[2].strip() or peer


@lru_cache(maxsize=256)
def _is_proxy(peer: str) -> bool:
    if _PROXIES.strip() == "*":
        return True
    try:
        networks = [ip_network(item.strip(), strict=False) for item in _PROXIES.split(",") if item]
        return any(ip_address(peer) in network for network in networks)
    except ValueError:
        return False


def _start() -> None:
    g.started = time.perf_counter()


def _log_call(response: Response) -> Response:
    status = response.status_code
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    if not log.isEnabledFor(level):
        return response
    # Each look through one of Flask's proxies costs as much as writing the field.
    call, noted = request._get_current_object(), vars(g._get_current_object())
    caller, reason = noted.get("caller"), noted.get("reason")
    fields = {
        "hook": call.blueprint or "-",
        "method": call.method,
        "path": call.path,
        "status": status,
        "auth": noted.get("auth_method", "none"),
        "caller": (caller.client_id or caller.user) if caller else None,
        "result": "refused" if reason else "accepted" if caller else None,
        "reason": reason,
        "error": noted.get("error"),
        "request_id": call.headers.get("X-Okta-Request-Id"),
        "event_id": noted.get("event_id"),
        "client": client_address(),
        "ms": round((time.perf_counter() - noted["started"]) * 1000, 1),
    }
    log.log(level, "call", extra={"fields": fields})
    return response


def _time_of(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _fields_of(record: logging.LogRecord) -> list[tuple[str, str | int | float]]:
    """The fields that are there, each cut so that all of them fit into MAX_LINE_LENGTH."""
    return [
        (name, value if isinstance(value, int | float) else _cut(str(value)))
        for name, value in getattr(record, "fields", {}).items()
        if value is not None
    ]


def _cut(text: str, length: int = MAX_VALUE_LENGTH) -> str:
    """The text in at most `length` characters, counted as they are written out."""
    if len(text) <= length and _PLAIN.fullmatch(text):
        return text
    if len(_ascii(text)) <= length + len('""'):
        return text
    # An escaped character takes up to twelve: \\ud83d\\ude00.
    keep = length - 3 if text.isascii() and text.isprintable() else length // 12
    return text[:keep] + "..."


def _ascii(value: object) -> str:
    """JSON in printable ASCII: no terminal and no log reader takes any of it for a command."""
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
