"""How gunicorn serves the app; read by a plain `gunicorn` in this folder.

PORT and WEB_CONCURRENCY mean what they mean to gunicorn.
"""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent

wsgi_app = "app:create_app()"

# A call may wait for another machine (a telephony provider, now and then the issuer), and the keys
# are refreshed in the background: threads do both, and need no further package. In this worker one
# thread serves all calls that do not wait, so the number is that of the calls that may wait at the
# same time; a thread that has nothing to do takes 20 KB.
worker_class = "serving.HookWorker"
threads = 32
# One worker a core: Python runs one thread of a process at a time.
if "WEB_CONCURRENCY" not in os.environ:
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

# Okta gives up after 3 seconds, so no call is worth waiting for longer than that at a stop.
graceful_timeout = 10
keepalive = 5

# Okta's longest header is an access token of about 1 KB; these are gunicorn's defaults, on purpose.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# No header may say what path is asked for, whoever sends it.
forwarder_headers = ""
# Nor by what scheme, which nothing here depends on: gunicorn would refuse a call in
# which a caller's header says another one than the proxy's.
secure_scheme_headers = {}

# Also with --log-level debug nothing of a request is written down.
logger_class = "serving.Log"
# The app writes one line a call itself; gunicorn's would add the query string.
accesslog = None
# A socket through which the running server can be changed is one way in more than is needed.
control_socket_disable = True


def on_starting(server):
    """Wrong settings end the start at once, and are no reason to end a service that runs."""
    problem, notes = _checked_settings()
    if problem:
        raise SystemExit(problem)
    for note in notes:
        server.log.warning(note)

    reload = server.handle_hup

    def reload_unless_settings_are_wrong():
        problem, _ = _checked_settings()
        if problem:
            server.log.error("HUP ignored, the workers go on as they are.\n%s", problem)
        else:
            reload()

    server.handle_hup = reload_unless_settings_are_wrong


def _checked_settings():
    """What is wrong with the settings, or None; and what is worth a note.

    Asked of a process of its own: what the master imported, its workers would inherit, and a HUP
    after an update would mix old modules with new ones.
    """
    check = subprocess.run(
        [sys.executable, "-m", "settings"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return check.stderr if check.returncode else None, check.stdout.splitlines()
