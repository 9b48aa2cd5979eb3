"""How the service starts, reloads and stops: no call is lost, and nothing starts half right."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread

import pytest
import requests

from tests.service import (
    BASIC_PAIR,
    PROJECT,
    Service,
    basic_settings,
    bearer,
    environment,
    free_port,
    oauth_settings,
)

TOKEN_CALL = {"eventId": "e1", "data": {"context": {}}}
PAIR = base64.b64encode(":".join(BASIC_PAIR).encode()).decode()
HEADERS = {"Content-Type": "application/json", "Authorization": f"Basic {PAIR}"}
BODY = json.dumps(TOKEN_CALL)
MEGABYTE = 1024 * 1024


def workers_of(service: Service) -> set[int]:
    began = re.findall(r"Booting worker with pid: (\d+)", service.log)
    ended = re.findall(r"Worker exiting \(pid: (\d+)\)", service.log)
    return {int(pid) for pid in began} - {int(pid) for pid in ended}


def wait_for_workers(service: Service, number: int) -> None:
    service.wait_until(lambda: len(workers_of(service)) == number, "other number of workers")


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) * 1024
    # Elsewhere than on Linux, whose small containers have no ps.
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)])) * 1024


def ask(service: Service, password: str = BASIC_PAIR[1]) -> int:
    pair = (BASIC_PAIR[0], password)
    return service.call("/tokenHook", json=TOKEN_CALL, auth=pair).status_code


# --- Start ----------------------------------------------------------------------------------------


class PlainGunicorn(Service):
    """`gunicorn` without an argument, and with these environment variables alone."""

    def __init__(self, settings: dict[str, str], log_path: Path):
        super().__init__(settings, log_path)
        self._arguments = []
        self._environment = environment(settings) | {"PORT": str(self.port)}


def test_gunicorn_needs_no_argument_and_takes_a_worker_for_each_core(tmp_path):
    """PORT is gunicorn's. So is FORWARDED_ALLOW_IPS, where a network will do."""
    settings = basic_settings(FORWARDED_ALLOW_IPS="192.0.2.0/24, 127.0.0.0/8")
    with PlainGunicorn(settings, tmp_path / "log") as service:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        wait_for_workers(service, cores)
        headers = {"X-Forwarded-For": "198.51.100.7"}
        service.call("/tokenHook", json=TOKEN_CALL, auth=BASIC_PAIR, headers=headers)
        assert "client=198.51.100.7" in service.log


def test_web_concurrency_is_the_number_of_workers(tmp_path):
    with Service(basic_settings(), tmp_path / "log", workers=3) as service:
        wait_for_workers(service, 3)
        assert ask(service) == 204


def test_a_worker_has_the_keys_before_its_first_call_and_stays_small(okta, tmp_path):
    requested = okta.key_requests
    with Service(oauth_settings(okta), tmp_path / "log", workers=2) as service:
        token = okta.issue()
        calls = [
            service.call("/tokenHook", json=TOKEN_CALL, headers=bearer(token)) for _ in range(40)
        ]
        assert {call.status_code for call in calls} == {204}
        wait_for_workers(service, 2)
        service.wait_until(lambda: okta.key_requests >= requested + 2, "keys are fetched on demand")
        for worker in workers_of(service):
            assert 10 * MEGABYTE < resident_bytes(worker) < 80 * MEGABYTE
        assert token not in service.log


def test_flask_run_serves_this_machine_and_says_what_it_tolerates(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = basic_settings(BASIC_AUTH_USER="admin", BASIC_AUTH_PASSWORD="supersecret")
    log_path = tmp_path / "log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "run", "--port", str(port)],
            cwd=PROJECT,
            env=environment(settings),
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + 30
        while not answers(url):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        headers = {"X-Okta-Request-Id": "by-flask-run"}
        pair = ("admin", "supersecret")
        arguments = {"json": TOKEN_CALL, "auth": pair, "headers": headers, "timeout": 30}
        assert requests.post(f"{url}/tokenHook", **arguments).status_code == 204
    finally:
        process.terminate()
        process.wait(30)
    lines = log_path.read_text().splitlines()
    assert any(f"Running on http://127.0.0.1:{port}" in line for line in lines)
    assert sum("WARNING" in line and "Okta's guide" in line for line in lines) == 1
    assert len([line for line in lines if "tokenHook" in line]) == 1
    assert "supersecret" not in log_path.read_text()


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


# --- Reload and stop ------------------------------------------------------------------------------


class Callers:
    """Threads that call without a pause; half of them keep their connections open."""

    def __init__(self, port: int, threads: int = 6):
        self.outcomes: Counter[str] = Counter()
        self._port = port
        self._stop = Event()
        self._threads = [
            Thread(target=self._call_on, args=(keep_alive,), daemon=True)
            for keep_alive in [True, False] * (threads // 2)
        ]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _call_on(self, keep_alive: bool) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            outcome = None
            while outcome not in ("refused", "not taken") and not self._stop.is_set():
                outcome = self._one_call(connection)
                self.outcomes[outcome] += 1
                if not keep_alive or outcome != "204":
                    connection.close()

    def _one_call(self, connection: HTTPConnection) -> str:
        """The status; or that the connection was refused, or reset before anybody took it."""
        is_new = connection.sock is None
        try:
            connection.request("POST", "/tokenHook", BODY, HEADERS)
            answer = connection.getresponse()
            answer.read()
        except ConnectionRefusedError:
            return "refused"
        except (OSError, HTTPException) as error:
            not_taken = is_new and isinstance(error, ConnectionResetError | BrokenPipeError)
            return "not taken" if not_taken else type(error).__name__
        return str(answer.status)

    def wait_for(self, calls: int) -> None:
        """Until so many more have been answered."""
        enough = self.outcomes["204"] + calls
        end = time.monotonic() + 30
        while self.outcomes["204"] < enough:
            assert time.monotonic() < end, self.outcomes
            time.sleep(0.01)


def test_a_reload_drops_no_call(tmp_path):
    with (
        Service(basic_settings(), tmp_path / "log", workers=2) as service,
        Callers(service.port) as callers,
    ):
        wait_for_workers(service, 2)
        for _ in range(2):
            callers.wait_for(100)
            before = workers_of(service)
            service.process.send_signal(signal.SIGHUP)
            service.wait_until(
                lambda before=before: not workers_of(service) & before, "the old workers stay"
            )
        callers.wait_for(100)
    assert set(callers.outcomes) == {"204"}


def test_a_stop_answers_every_call_that_it_took(tmp_path):
    """Who comes later is refused, or, in the instant of the stop, not taken."""
    with (
        Service(basic_settings(), tmp_path / "log", workers=2) as service,
        Callers(service.port) as callers,
    ):
        callers.wait_for(100)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
    assert set(callers.outcomes) <= {"204", "refused", "not taken"}


def test_a_stop_answers_those_who_wait_to_be_taken(tmp_path):
    """The workers stand still until the calls have come in and the stop has been asked for."""
    with ExitStack() as stack:
        service = stack.enter_context(Service(basic_settings(), tmp_path / "log", workers=2))
        wait_for_workers(service, 2)
        workers = workers_of(service)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        waiting = [
            stack.enter_context(closing(HTTPConnection("127.0.0.1", service.port, timeout=30)))
            for _ in range(12)
        ]
        for connection in waiting:
            connection.request("POST", "/tokenHook", BODY, HEADERS)
        service.process.send_signal(signal.SIGTERM)
        try:
            service.wait_until(lambda: "Handling signal: term" in service.log, "no stop")
            # For the master to tell its workers. Were they told later, they would serve as ever.
            time.sleep(0.2)
        finally:
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
        assert [connection.getresponse().status for connection in waiting] == [204] * 12
        assert service.process.wait(30) == 0


class Copy(Service):
    """gunicorn in a copy of the project, so that it has an .env of its own.

    It has one worker: of two, one might still be about to read the settings when they change.
    """

    def __init__(self, folder: Path):
        config = folder / "gunicorn.conf.py"
        arguments = ["-c", str(config), "--chdir", str(folder)]
        super().__init__({}, folder / "log", arguments=arguments)
        self._environment = {
            name: value
            for name, value in self._environment.items()
            if name in ("PATH", "HOME", "LANG", "WEB_CONCURRENCY")
        }
        self._dotenv = folder / ".env"

    def configure(self, **settings: str) -> None:
        text = "".join(f"{name}='{value}'\n" for name, value in settings.items())
        self._dotenv.write_text(text)


@pytest.fixture
def copy(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("auth", "hooks", "local_okta"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=ignored)
    for module in PROJECT.glob("*.py"):
        shutil.copy(module, tmp_path)
    service = Copy(tmp_path)
    service.configure(**basic_settings())
    with service:
        yield service


def test_a_reload_takes_new_settings_and_refuses_wrong_ones(copy):
    user, password = BASIC_PAIR
    assert ask(copy) == 204
    before = workers_of(copy)

    copy.configure(BASIC_AUTH_USER=user, BASIC_AUTH_PASSWORD="", MAX_CONTENT_LENGTH="1MB")
    copy.process.send_signal(signal.SIGHUP)
    copy.wait_until(lambda: "HUP ignored" in copy.log, "nothing was said")
    assert "BASIC_AUTH_PASSWORD" in copy.log
    assert "MAX_CONTENT_LENGTH" in copy.log
    assert "Traceback" not in copy.log
    assert workers_of(copy) == before
    assert ask(copy) == 204

    copy.configure(BASIC_AUTH_USER=user, BASIC_AUTH_PASSWORD="a new one")
    copy.process.send_signal(signal.SIGHUP)
    copy.wait_until(lambda: not workers_of(copy) & before, "the old workers stay")
    assert ask(copy, "a new one") == 204
    assert ask(copy, password) == 401


def test_a_start_with_wrong_settings_ends_at_once(copy):
    """A second gunicorn of the same folder: the first one goes on."""
    copy.configure(BASIC_AUTH_USER="okta")
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0"],
        cwd=copy.log_path.parent,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "BASIC_AUTH_PASSWORD" in done.stderr
    assert "Traceback" not in done.stderr
    assert ask(copy) == 204
