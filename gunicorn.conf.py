"""How gunicorn serves the app; read by a plain `gunicorn` in this folder, elsewhere with `-c`.

PORT and WEB_CONCURRENCY mean what they mean to gunicorn. Slow callers, bursts and floods are the
business of the proxy in front: docs/deployment.md.
"""

import contextlib
import json
import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

PROJECT = Path(__file__).resolve().parent


class HookWorker(ThreadWorker):
    """gunicorn's threaded worker, with an error page and a log line that quote nothing."""

    def handle_error(self, req, client, addr, exc):
        """Answers a request that could not be read, which may hold half an Authorization header."""
        status = {LimitRequestLine: 414, LimitRequestHeaders: 431}.get(
            type(exc), 400 if isinstance(exc, ParseException) else 500
        )
        self.log.warning("request not readable error=%s status=%d", type(exc).__name__, status)
        reason = HTTPStatus(status).phrase
        body = json.dumps({"error": {"errorSummary": reason, "errorCauses": []}})
        head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())


class HookLogger(Logger):
    def debug(self, msg, *args, **kwargs):
        """Nothing: gunicorn's debug lines quote headers and the environment."""


chdir = str(PROJECT)
wsgi_app = "app:create_app()"
worker_class = HookWorker
logger_class = HookLogger

# A request may wait for another machine (a telephony provider, now and then the issuer): so many
# may do so at the same time in each worker.
threads = 4
# One worker a core, since Python runs one thread of a process at a time. No more than four unless
# WEB_CONCURRENCY says so: a container may see many cores and have little memory.
if "WEB_CONCURRENCY" not in os.environ:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(cores, 4)
# Far below the usual limit of 1024 open files: a worker that has no file number left breaks off.
worker_connections = 256
# Okta gives up after 3 seconds, so at a stop no request is worth waiting for longer than this.
graceful_timeout = 10
# A connection for each request. A worker that kept connections would keep its share of the load
# while others are idle, and a balancer could send a hook on one that is just being closed.
keepalive = 0

# Okta's longest header is an access token of about 1 KB; these are gunicorn's defaults, on purpose.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# No header says what path is asked for or by what scheme, whoever sends it.
forwarder_headers = ""
secure_scheme_headers = {}
# The app writes one line for each request itself; gunicorn's would add the query string.
accesslog = None
# A socket through which the running server can be changed is one way in more than is needed.
control_socket_disable = True


def on_starting(server):
    """Wrong settings end the start at once, before there is a worker.

    They are read in a process of its own: what is imported here, no reload would renew.
    """
    check = subprocess.run([sys.executable, "-m", "settings"], cwd=PROJECT, check=False)
    if check.returncode:
        raise SystemExit(check.returncode)


def post_worker_init(worker):
    """A database that is away shows in the log before the first event comes."""
    # An app in a middleware has none.
    if intake := getattr(worker.wsgi, "extensions", {}).get("event_intake"):
        intake.open()
