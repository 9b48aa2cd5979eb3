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

from flask import Flask, Request, Response, g, request

MAX_VALUE_LENGTH = 120
MAX_LINE_LENGTH = 2000
# gunicorn's own setting, with its default: the addresses and networks a proxy may call from.
_PROXIES = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,;*~-]+")
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}

log = logging.getLogger("okta_hooks.requests")


def configure(level: str, log_format: str, *, development: bool) -> None:
    """Send the log to stderr.

    LOG_LEVEL is for this project's own lines. Libraries stay at WARNING at every level: at DEBUG
    some of them write out whole requests.
    """
    # What no line shows need not be gathered for each: the place in the code, the thread, the
    # process (Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
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
    """`2026-01-31T12:00:00.123Z INFO    request hook=token status=200 …`"""

    def __init__(self):
        super().__init__()
        self._coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<7}"
        if self._coloured and record.levelname in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelname]}m{level}\x1b[0m"
        words = [_time_of(record), level, _ascii(record.getMessage())[1:-1]]
        words += [f"{name}={_word(value)}" for name, value in _fields_of(record)]
        line = " ".join(words)
        if len(line) > MAX_LINE_LENGTH:
            line = f"{line[: MAX_LINE_LENGTH - 3]}..."
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """`{"time": "2026-01-31T12:00:00.123Z", "level": "INFO", "message": "request", …}`"""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time_of(record),
            "level": record.levelname,
            "message": _cut(record.getMessage()),
            **{name: _number_or_text(value) for name, value in _fields_of(record)},
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return _ascii(entry)


def init_app(app: Flask) -> None:
    """Log each call of the app when its answer is ready. Comes before the guard, to time it too."""
    app.before_request(_start)
    app.after_request(_log_request)


def client_address(call: Request) -> str:
    """The caller's address: the peer's, or what a trusted proxy says of it.

    A proxy appends the address it sees, so the last entry of X-Forwarded-For is the one that the
    nearest proxy vouches for. Whoever calls without a proxy can write anything there, and is not
    asked. A peer without an address came through a Unix socket, which only a proxy here can open.
    """
    peer = call.remote_addr or ""
    if peer and not _is_proxy(peer):
        return peer
    forwarded = call.headers.get("X-Forwarded-For", "")
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


def _log_request(response: Response) -> Response:
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
        "client": client_address(call),
        "ms": round((time.perf_counter() - noted["started"]) * 1000, 1),
    }
    log.log(level, "request", extra={"fields": fields})
    return response


def _time_of(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _fields_of(record: logging.LogRecord) -> list[tuple[str, object]]:
    """The fields that are there."""
    fields = getattr(record, "fields", {})
    return [(name, value) for name, value in fields.items() if value is not None]


def _word(value: object) -> str:
    """The value in one word: as it is, or in quotes."""
    text = str(value)
    if len(text) <= MAX_VALUE_LENGTH and _PLAIN.fullmatch(text):
        return text
    text = _cut(text)
    return text if _PLAIN.fullmatch(text) else _ascii(text)


def _number_or_text(value: object) -> int | float | str:
    return value if isinstance(value, int | float) else _cut(str(value))


def _cut(text: str) -> str:
    """The text in at most MAX_VALUE_LENGTH characters, counted as they are written out.

    So all the fields of a line fit into MAX_LINE_LENGTH.
    """
    if len(_ascii(text)) <= MAX_VALUE_LENGTH + len('""'):
        return text
    # An escaped character takes up to twelve: \\ud83d\\ude00.
    plain = text.isascii() and text.isprintable()
    return text[: MAX_VALUE_LENGTH - 3 if plain else MAX_VALUE_LENGTH // 12] + "..."


def _ascii(value: object) -> str:
    """JSON in printable ASCII: no terminal and no log reader takes any of it for a command."""
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
