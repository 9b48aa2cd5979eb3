"""How gunicorn serves the app. `gunicorn` reads this when run in this folder; elsewhere, use `-c`.

PORT and WEB_CONCURRENCY work as usual in gunicorn. The proxy in front handles slow clients, bursts
and floods: see docs/deployment.md.
"""

import contextlib
import json
import os
import runpy
import ssl
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

from dotenv import dotenv_values
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

PROJECT = Path(__file__).resolve().parent
STATUSES = {LimitRequestLine: 414, LimitRequestHeaders: 431}


class HookWorker(ThreadWorker):
    """gunicorn's threaded worker. Its error answers and log lines never quote the request."""

    def handle_error(self, req, client, addr, exc):
        """Answer a request that could not be read, or that failed outside Flask.

        An unreadable request may contain half an Authorization header.
        """
        if isinstance(exc, ParseException | ssl.SSLError):
            status = STATUSES.get(type(exc), 400)
            fields = {"error": type(exc).__name__, "status": status}
            self.log.warning("request not readable", extra={"fields": fields})
        else:
            from logs import places_of  # noqa: PLC0415 - a reload imports it again

            status = 500
            fields = {"error": f"{type(exc).__name__} at {places_of(exc)}", "status": status}
            self.log.error("request failed outside the app", extra={"fields": fields})
        reason = HTTPStatus(status).phrase
        body = json.dumps({"error": {"errorSummary": reason, "errorCauses": []}})
        head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())


def line_formatter():
    """Use the app's format, so gunicorn's lines look like the others.

    This runs the file, because an imported module would survive a reload.
    """
    log_format = os.environ.get("LOG_FORMAT")
    with contextlib.suppress(OSError, ValueError):
        if log_format is None:
            log_format = dotenv_values(PROJECT / ".env").get("LOG_FORMAT")
    log_format = (log_format or "").strip().lower()
    return runpy.run_path(str(PROJECT / "logs.py"))["LineFormatter"](log_format)


chdir = str(PROJECT)
wsgi_app = "app:create_app()"
worker_class = HookWorker
# Never DEBUG, whatever --log-level says: at DEBUG, gunicorn logs headers and the environment.
logconfig_dict = {
    "formatters": {"line": {"()": line_formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False}},
    "root": {"level": "WARNING"},
}

# A request may wait for another machine (a telephony provider, or sometimes the issuer). This is
# how many can wait at the same time in each worker.
threads = 4
# One worker per core, since Python runs one thread of a process at a time. At most four unless
# WEB_CONCURRENCY is set: a container may see many cores and have little memory.
if "WEB_CONCURRENCY" not in os.environ:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(cores, 4)
# Far below the usual limit of 1024 open files: a worker that reaches it fails.
worker_connections = 256
# Okta gives up after 3 seconds, so a shutdown need not wait longer than this for a request.
graceful_timeout = 10
# Use a new connection for each request. With keep-alive, one worker could be busy while others are
# idle, and a load balancer could send a hook on a connection that is being closed.
keepalive = 0

# Okta's longest header is an access token of about 1 KB. These are gunicorn's defaults, on purpose.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# Take the path and the scheme of a request from no header, whoever sends it.
forwarder_headers = ""
secure_scheme_headers = {}
# The app writes one line for each request. gunicorn's own would add the query string.
accesslog = None
# The control socket can change the running server. It is not needed.
control_socket_disable = True


def on_starting(server):
    """Check the settings and log the notes on them. If they are wrong, exit before workers start.

    A separate process reads them, because a module imported here would survive a reload.
    """
    check = subprocess.run(
        [sys.executable, "-m", "settings"],
        cwd=PROJECT,
        # If this were set, Python would not look for modules in this folder.
        env=os.environ | {"PYTHONSAFEPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    for note in check.stdout.splitlines():
        server.log.warning(note.removeprefix("note: "))
    if check.returncode:
        raise SystemExit(check.returncode)


def post_worker_init(worker):
    """Handle stored events in the background of each worker. After TERM, start no more of them.

    Each worker imports the inbox itself, so a reload imports it again.
    """
    from inbox import background  # noqa: PLC0415

    background.start(lambda: worker.alive)


def worker_exit(server, worker):
    """Let running event handlers finish within the time that gunicorn gives the worker."""
    # The master may call this for a worker that is already gone. It has started nothing itself.
    if background := sys.modules.get("inbox.background"):
        background.stop(server.cfg.graceful_timeout)
