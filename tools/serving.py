"""The service under gunicorn, as the benchmarks measure it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from local_okta.authorization_server import LocalOkta
from settings import PARSERS

PROJECT = Path(__file__).parent.parent
BASIC_PAIR = ("okta", "correct horse battery staple")
SECONDS_TO_START = 60


class Server(NamedTuple):
    port: int
    process_id: int
    seconds_to_start: float


def basic_settings(**others: str) -> dict[str, str]:
    user, password = BASIC_PAIR
    return {"AUTH_MODE": "basic", "BASIC_AUTH_USER": user, "BASIC_AUTH_PASSWORD": password} | others


def basic_authorization() -> str:
    return "Basic " + b64encode(":".join(BASIC_PAIR).encode()).decode()


def oauth_settings(okta: LocalOkta, **others: str) -> dict[str, str]:
    names = ("AUTH_MODE", "OKTA_ISSUER", "OKTA_CLIENT_ID", "OKTA_SCOPE")
    values = ("oauth", okta.issuer, okta.client_id, okta.scopes[0])
    return basic_settings(**dict(zip(names, values, strict=True))) | others


@contextlib.contextmanager
def gunicorn(
    settings: dict[str, str], folder: Path, *arguments: str, workers: int
) -> Iterator[Server]:
    """Run gunicorn with only these settings. Its log and its events go into `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = {"EVENTS_DATABASE_URL": f"sqlite:///{folder}/events.sqlite", "PORT": str(port)}
    own |= {"WEB_CONCURRENCY": str(workers), "PATH": os.environ["PATH"]}
    began = time.perf_counter()
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(  # noqa: S603 - no input from outside
            [sys.executable, "-m", "gunicorn", *arguments],
            cwd=PROJECT,
            # Empty counts as not set, whatever .env says.
            env=dict.fromkeys(PARSERS, "") | own | settings,
            stdout=log,
            stderr=log,
        )
    try:
        while not answers(port):
            if process.poll() is not None or time.perf_counter() > began + SECONDS_TO_START:
                raise SystemExit(f"gunicorn did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.02)
        yield Server(port, process.pid, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def answers(port: int) -> bool:
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        return connection.recv(100).startswith(b"HTTP/1.1 200 ")
    return False
