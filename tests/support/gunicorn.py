"""The service under test: a real gunicorn, as it is deployed, or the app in this process."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from app import add_commands, create_app
from local_okta.samples import SAMPLES
from settings import PARSERS, Settings, load_settings

PROJECT = Path(__file__).parent.parent.parent
BASIC_PAIR = ("okta", "correct horse battery staple")
INLINE_SAMPLES = [sample for sample in SAMPLES.values() if sample.kind != "event"]
# The hook that the tests of the guard use: the token hook, unless it was removed.
INLINE_HOOK = SAMPLES.get("token", INLINE_SAMPLES[0])
HOOK, PAYLOAD = INLINE_HOOK.path, INLINE_HOOK.payload | {"eventId": "e1"}
# Without event hooks, the tests about them are skipped.
EVENT_HOOK = next((sample.path for sample in SAMPLES.values() if sample.kind == "event"), None)
needs_event_hooks = pytest.mark.skipif(EVENT_HOOK is None, reason="there are no event hooks")
# Each inline sample is about a request that changes something.
ACCEPTED = 200
EVENT_PAYLOAD = {"eventId": "e2", "data": {"events": []}}

# What a refused caller gets, and nothing more: status, body, challenge.
UNAUTHORIZED = {"error": {"errorSummary": "Unauthorized", "errorCauses": []}}
FORBIDDEN = {"error": {"errorSummary": "Forbidden", "errorCauses": []}}
BEARER = 'Bearer realm="okta-hooks"'
NO_PAIR = (401, UNAUTHORIZED, 'Basic realm="okta-hooks", charset="UTF-8"')
NO_TOKEN = (401, UNAUTHORIZED, BEARER)
INVALID_TOKEN = (401, UNAUTHORIZED, f'{BEARER}, error="invalid_token"')
INSUFFICIENT_SCOPE = (403, FORBIDDEN, f'{BEARER}, error="insufficient_scope"')

# Empty counts as not set, so a developer's own .env does not affect the tests.
NOT_SET = dict.fromkeys(PARSERS, "")


def basic_settings(**others: str) -> dict[str, str]:
    user, password = BASIC_PAIR
    return {"AUTH_MODE": "basic", "BASIC_AUTH_USER": user, "BASIC_AUTH_PASSWORD": password} | others


def oauth_settings(okta, **others: str) -> dict[str, str]:
    return (
        basic_settings(
            AUTH_MODE="oauth",
            OKTA_ISSUER=okta.issuer,
            OKTA_CLIENT_ID=okta.client_id,
            OKTA_SCOPE=okta.scopes[0],
        )
        | others
    )


def environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | NOT_SET | settings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def children_of(process_id: int) -> list[int]:
    return [child.pid for child in psutil.Process(process_id).children()]


def client_of(settings: dict[str, str]) -> FlaskClient:
    """A client of the app in this process."""
    return create_app(load_settings(settings, PROJECT / "no .env")).test_client()


def app_with_commands(settings: Settings) -> Flask:
    """The app as it is under `flask`, which adds the commands."""
    app = create_app(settings)
    add_commands(app)
    return app


class Service:
    """gunicorn with the project's own configuration, as a context manager."""

    command = ("gunicorn",)

    def __init__(
        self, settings: dict[str, str], log_path: Path, *, workers: int | None = 1, arguments=()
    ):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = log_path
        concurrency = {} if workers is None else {"WEB_CONCURRENCY": str(workers)}
        own = {"EVENTS_DATABASE_URL": f"sqlite:///{log_path.parent.resolve()}/events.sqlite"}
        self._environment = environment(own | settings) | concurrency
        self._environment |= {"PORT": str(self.port), "FLASK_RUN_PORT": str(self.port)}
        self._arguments = [*arguments]
        self.process = None

    def __enter__(self) -> "Service":
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command, *self._arguments],
                cwd=PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait_until(self._answers, "it did not answer")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def request(self, path: str, *, method: str = "POST", headers=None, **arguments):
        """One request on its own connection, which does not keep a stopping service waiting."""
        headers = {"Connection": "close"} | (headers or {})
        return requests.request(
            method, self.url + path, headers=headers, timeout=30, allow_redirects=False, **arguments
        )

    def wait_until(self, condition, otherwise="it did not happen", seconds: float = 60) -> None:
        """Wait for something that is sure to happen, however slow the machine is."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{otherwise}; the log:\n{self.log}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.request("/healthz", method="GET").status_code == 200
        except requests.ConnectionError:
            return False


@contextlib.contextmanager
def serving(app):
    """Serve any WSGI application on a loopback port. Yields its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusal(response) -> tuple[int, dict, str]:
    return response.status_code, response.json, response.headers["WWW-Authenticate"]


def log_lines(capsys) -> list[str]:
    """What the app has logged, except for key refreshes that earlier tests have started."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if not re.search(r"\bkeys (not )?fetched\b", line)]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
