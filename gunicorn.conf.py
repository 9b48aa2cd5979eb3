"""How gunicorn serves the app. A plain `gunicorn` in this folder reads it; elsewhere, use `-c`.

PORT and WEB_CONCURRENCY mean what they mean to gunicorn. Slow clients, bursts and floods are for
the proxy in front: docs/deployment.md.
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
    """gunicorn's threaded worker, with an error answer and a log line that quote nothing."""

    def handle_error(self, req, client, addr, exc):
        """Answer a request that could not be read, or that broke outside of Flask.

        The former may hold half an Authorization header.
        """
        if isinstance(exc, ParseException | ssl.SSLError):
            status = STATUSES.get(type(exc), 400)
            fields = {"error": type(exc).__name__, "status": status}
            self.log.warning("request not readable", extra={"fields": fields})
        else:
            from logs import places_of  # noqa: PLC0415 - here, so that a reload reads it again

            status = 500
            fields = {"error": f"{type(exc).__name__} at {places_of(exc)}", "status": status}
            self.log.error("request broke outside of the app", extra={"fields": fields})
        reason = HTTPStatus(status).phrase
        body = json.dumps({"error": {"errorSummary": reason, "errorCauses": []}})
        head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())


def line_formatter():
    """The app's own format, so that gunicorn's lines look like the others.

    A module imported here would survive a reload, so the file is run instead.
    """
    log_format = os.environ.get("LOG_FORMAT")
    with contextlib.suppress(OSError, ValueError):
        log_format = log_format or dotenv_values(PROJECT / ".env").get("LOG_FORMAT")
    return runpy.run_path(str(PROJECT / "logs.py"))["LineFormatter"](log_format)


chdir = str(PROJECT)
wsgi_app = "app:create_app()"
worker_class = HookWorker
# Never DEBUG, whatever gunicorn is told: there its lines quote headers and the environment.
logconfig_dict = {
    "formatters": {"line": {"()": line_formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False}},
    "root": {"level": "WARNING"},
}

# A request may wait for another machine (a telephony provider, now and then the issuer). This many
# may do so at the same time in each worker.
threads = 4
# One worker a core, since Python runs one thread of a process at a time. No more than four unless
# WEB_CONCURRENCY says so: a container may see many cores and have little memory.
if "WEB_CONCURRENCY" not in os.environ:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(cores, 4)
# Far below the usual limit of 1024 open files: a worker without a free file number breaks off.
worker_connections = 256
# Okta gives up after 3 seconds, so no request is worth waiting for longer than this at a stop.
graceful_timeout = 10
# A connection for each request. A worker that kept connections would keep its share of the load
# while others are idle, and a balancer could send a hook on one that is just being closed.
keepalive = 0

# Okta's longest header is an access token of about 1 KB. These are gunicorn's defaults, on purpose.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# No header, from anybody, says which path or scheme is asked for.
forwarder_headers = ""
secure_scheme_headers = {}
# The app writes one line for each request. gunicorn's own would add the query string.
accesslog = None
# A socket through which the running server can be changed is an unneeded way in.
control_socket_disable = True


def on_starting(server):
    """Stop at once, before there is a worker, if the settings are wrong; log their notes.

    They are read in a process of its own: a module imported here would survive a reload.
    """
    check = subprocess.run(
        [sys.executable, "-m", "settings"],
        cwd=PROJECT,
        # With it Python would not look for modules in this folder.
        env=os.environ | {"PYTHONSAFEPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    for note in check.stdout.splitlines():
        server.log.warning(note.removeprefix("note: "))
    if check.returncode:
        raise SystemExit(check.returncode)


def post_worker_init(worker):
    """Handle stored events in the background, in each process that serves. After TERM, begin none.

    The modules of the inbox are this worker's own, so that a reload reads them again.
    """
    from inbox import background  # noqa: PLC0415

    background.start(lambda: worker.alive)


def worker_exit(server, worker):
    """Let handlers of events that run end within the time that gunicorn gives the worker."""
    # The master calls this too, for a worker that has gone, and has not imported it.
    if background := sys.modules.get("inbox.background"):
        background.stop(server.cfg.graceful_timeout)
