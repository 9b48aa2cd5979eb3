"""How the service starts, reloads and stops."""

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys

import pytest

import app
from local_okta.client import basic_header
from tests.support.gunicorn import (
    ACCEPTED,
    BASIC_PAIR,
    HOOK,
    NOT_SET,
    PAYLOAD,
    PROJECT,
    Service,
    basic_settings,
    environment,
    free_port,
)

PUBLISHED = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}


def gunicorn(*arguments: str, folder=PROJECT, **settings: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", *arguments],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def workers_of(service: Service) -> set[int]:
    began = re.findall(r"Booting worker with pid: (\d+)", service.log)
    ended = re.findall(r"Worker exiting \(pid: (\d+)\)", service.log)
    return {int(pid) for pid in began} - {int(pid) for pid in ended}


def status(service: Service, auth=BASIC_PAIR) -> int:
    return service.request(HOOK, json=PAYLOAD, auth=auth).status_code


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = basic_settings(BASIC_AUTH_PASSWORD_PREVIOUS="the old one")
    log_path = tmp_path_factory.mktemp("service") / "log"
    with Service(settings, log_path, workers=None) as running:
        yield running


def test_gunicorn_needs_no_argument_and_starts_a_worker_for_each_core(service):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = min(cores, 4)
    service.wait_until(lambda: len(workers_of(service)) == expected, "wrong number of workers")
    assert status(service) == ACCEPTED
    # Logged once for all workers.
    assert service.log.count("BASIC_AUTH_PASSWORD_PREVIOUS is still accepted") == 1


def test_only_cores_that_the_process_may_use_count():
    code = "import runpy; print(runpy.run_path('gunicorn.conf.py')['workers'])"
    # If a process cannot be confined to one core, all of them count.
    confined = hasattr(os, "sched_setaffinity")
    if confined:
        code = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {code}"
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, cwd=PROJECT, env=environment({}))
    assert int(printed) == (1 if confined else os.cpu_count())


def test_there_are_at_most_four_workers_however_many_cores():
    code = (
        "import os, runpy; os.sched_getaffinity = lambda _: range(12); "
        "print(runpy.run_path('gunicorn.conf.py')['workers'])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=PROJECT, env=environment({})) == b"4\n"


def test_gunicorn_finds_the_app_from_another_folder(tmp_path):
    settings = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{tmp_path}/events.sqlite")
    conf = str(PROJECT / "gunicorn.conf.py")
    done = gunicorn("-c", conf, "--check-config", folder=tmp_path, **settings)
    assert done.returncode == 0, done.stderr


def test_gunicorn_starts_with_pythonsafepath(tmp_path):
    with Service(basic_settings(PYTHONSAFEPATH="1"), tmp_path / "log") as service:
        assert status(service) == ACCEPTED


def test_a_reload_replaces_the_workers_without_an_outage(service):
    before = workers_of(service)
    service.process.send_signal(signal.SIGHUP)
    while workers_of(service) & before:
        assert status(service) == ACCEPTED
    assert status(service) == ACCEPTED


def test_a_request_in_flight_is_answered_before_a_stop(tmp_path):
    body = json.dumps(PAYLOAD)
    head = (
        f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic_header(*BASIC_PAIR)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
    )
    with Service(basic_settings(), tmp_path / "log") as service:
        address = ("127.0.0.1", service.port)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(f"{head}\r\n".encode())
            # The request has been accepted: the service now waits for its body.
            assert b"100 Continue" in connection.recv(1024)
            service.process.send_signal(signal.SIGTERM)
            service.wait_until(lambda: "Handling signal: term" in service.log, "no stop")
            connection.sendall(body.encode())
            assert f" {ACCEPTED} ".encode() in connection.recv(1024)
        assert service.process.wait(30) == 0


def test_gunicorn_does_not_start_with_wrong_settings_and_says_so_once():
    done = gunicorn("-b", "127.0.0.1:0", **PUBLISHED)
    assert done.returncode == 1
    assert done.stderr.count("The settings cannot be used") == 1
    assert "Traceback" not in done.stderr
    assert "Booting worker" not in done.stderr


@pytest.fixture(scope="module")
def set_up():
    """gunicorn's settings, as it prints them."""
    return dict(re.findall(r"(?m)^(\w+) += (.*)$", gunicorn("--print-config").stdout))


def test_gunicorn_is_set_up_to_expose_nothing_but_the_hooks(set_up):
    expected = {
        "control_socket_disable": "True",
        "accesslog": "None",
        "forwarder_headers": "[]",
        "secure_scheme_headers": "{}",
        "limit_request_line": "4094",
        "limit_request_field_size": "8190",
    }
    assert {name: set_up[name] for name in expected} == expected


def test_gunicorn_is_set_up_for_short_requests_that_may_wait(set_up):
    # Threads, so that one slow rule does not hold up other hooks. No connection is kept open, so
    # that any free worker takes the next request.
    expected = {"threads": "4", "keepalive": "0", "graceful_timeout": "10"}
    assert {name: set_up[name] for name in expected} == expected
    # Each may need a few open files, and a process may usually have 1024.
    assert 64 <= int(set_up["worker_connections"]) < 512


def test_no_connection_is_kept_after_an_answer(service):
    headers = {"Connection": "keep-alive"}
    answer = service.request(HOOK, json=PAYLOAD, auth=BASIC_PAIR, headers=headers)
    assert answer.headers["Connection"] == "close"


def test_a_server_can_import_the_app_by_its_usual_name(monkeypatch):
    for name, value in (NOT_SET | basic_settings()).items():
        monkeypatch.setenv(name, value)
    client = app.app.test_client()
    assert client.post(HOOK, json=PAYLOAD, auth=BASIC_PAIR).status_code == ACCEPTED
    assert app.app is app.app, "the same app each time"


def test_python_app_says_in_one_line_what_to_type():
    with pytest.raises(SystemExit, match=r"^.*flask run.*gunicorn$"):
        runpy.run_path(str(PROJECT / "app.py"), run_name="__main__")


def test_flask_run_serves_this_machine_and_warns_of_the_published_password(tmp_path):
    class FlaskRun(Service):
        command = ("flask", "run")

    with FlaskRun(PUBLISHED, tmp_path / "log") as service:
        assert status(service, tuple(PUBLISHED.values())) == ACCEPTED
    lines = service.log.splitlines()
    assert any(f"Running on {service.url}" in line for line in lines)
    assert sum("WARNING" in line and "Okta's guide" in line for line in lines) == 1
    assert len([line for line in lines if HOOK in line]) == 1
    assert "supersecret" not in service.log


def test_the_reloader_says_where_it_serves():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "run", "--debug", "--port", str(port)],
        cwd=PROJECT,
        env=environment(basic_settings()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        line = next(line for line in process.stdout if "Running on" in line)
        assert line == f" * Running on http://127.0.0.1:{port}\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_make_run_leaves_the_debugger_off_and_shows_no_password():
    makefile = (PROJECT / "Makefile").read_text()
    [run], [dotenv] = (
        re.findall(rf"(?m)^{target}:.*\n\t(.*)", makefile) for target in ("run", r"\.env")
    )
    assert "--no-debugger" in run
    # Every local user can read command lines, so the password is in none of them.
    assert dotenv.endswith("flask okta new-env")


MIDDLEWARE = """
from app import app

def wrapped(environ, start_response):
    if environ["PATH_INFO"] == "/breaks":
        raise KeyError(environ["HTTP_AUTHORIZATION"])
    return app(environ, start_response)
"""


@pytest.fixture
def service_in_a_middleware(tmp_path):
    (tmp_path / "wrapped.py").write_text(MIDDLEWARE)
    arguments = ("--pythonpath", str(tmp_path), "wrapped:wrapped")
    with Service(basic_settings(), tmp_path / "log", arguments=arguments) as service:
        yield service


def test_the_app_works_inside_a_middleware(service_in_a_middleware):
    assert status(service_in_a_middleware) == ACCEPTED


def test_an_exception_outside_flask_is_logged_with_its_type_and_place(
    service_in_a_middleware,
):
    service = service_in_a_middleware
    answer = service.request("/breaks", auth=BASIC_PAIR)
    assert (answer.status_code, answer.json()["error"]["errorCauses"]) == (500, [])
    [line] = [line for line in service.log.splitlines() if "request failed" in line]
    assert " ERROR   request failed outside the app error=" in line
    assert re.search(r'"KeyError at \S+wrapped.py:6" status=500', line)
    assert "Basic" not in line


def test_with_log_format_json_every_line_of_the_log_is_json(tmp_path):
    settings = basic_settings(LOG_FORMAT=" JSON", BASIC_AUTH_PASSWORD_PREVIOUS="the old one")
    with Service(settings, tmp_path / "log") as service:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(b"no HTTP\r\n\r\n")
            assert b"400" in connection.recv(100)
        assert status(service) == ACCEPTED
        service.process.send_signal(signal.SIGHUP)
        service.wait_until(lambda: service.log.count("Booting worker") == 2)
    entries = [json.loads(line) for line in service.log.splitlines()]
    messages = " | ".join(entry["message"] for entry in entries)
    for part in ("still accepted", "Listening at", "not readable", "request |", "Shutting down"):
        assert part in messages
