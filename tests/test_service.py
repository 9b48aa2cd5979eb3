"""How the service starts, reloads and stops."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import requests

from tests.service import (
    BASIC_PAIR,
    PAYLOAD,
    PROJECT,
    Service,
    basic_settings,
    environment,
    free_port,
)

PUBLISHED = {"BASIC_AUTH_USER": "admin", "BASIC_AUTH_PASSWORD": "supersecret"}


def run(*command: str, settings=None, cwd=PROJECT) -> subprocess.CompletedProcess:
    """Elsewhere than in this project, .env alone says what the settings are."""
    elsewhere = {name: os.environ[name] for name in ("PATH", "HOME")}
    here = environment(basic_settings() if settings is None else settings)
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=here if cwd == PROJECT else elsewhere,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def workers_of(service: Service) -> set[int]:
    began = re.findall(r"Booting worker with pid: (\d+)", service.log)
    ended = re.findall(r"Worker exiting \(pid: (\d+)\)", service.log)
    return {int(pid) for pid in began} - {int(pid) for pid in ended}


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


def test_gunicorn_needs_no_argument_and_takes_a_worker_for_each_core(tmp_path):
    with Service(basic_settings(), tmp_path / "log", workers=None) as service:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        service.wait_until(lambda: len(workers_of(service)) == cores, "other number of workers")
        assert service.call("/tokenHook", json=PAYLOAD, auth=BASIC_PAIR).status_code == 204


def test_gunicorn_takes_the_usual_argument_too(tmp_path):
    with Service(basic_settings(), tmp_path / "log", arguments=["app:app"]) as service:
        assert service.call("/tokenHook", json=PAYLOAD, auth=BASIC_PAIR).status_code == 204


def test_gunicorn_is_set_up_with_no_way_in_but_the_hooks():
    printed = run("-m", "gunicorn", "--print-config").stdout
    set_up = dict(re.findall(r"(?m)^(\w+) += (.*)$", printed))
    expected = {
        "control_socket_disable": "True",
        "accesslog": "None",
        "forwarder_headers": "[]",
        "secure_scheme_headers": "{}",
        "limit_request_line": "4094",
        "limit_request_field_size": "8190",
    }
    assert {name: set_up[name] for name in expected} == expected
    assert int(set_up["worker_connections"]) < 512


def test_python_app_says_what_to_type():
    done = run("app.py")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "flask run" in done.stderr
    assert "gunicorn" in done.stderr


def make(*arguments: str, cwd=PROJECT) -> str:
    """What make says, in a folder where the virtual environment is there already."""
    return subprocess.run(
        ["make", f"VENV={sys.prefix}", *arguments],
        cwd=cwd,
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_make_run_leaves_the_debugger_off():
    assert "--no-debugger" in make("-n", "run")


@pytest.fixture
def copy(tmp_path):
    """The project as somebody has just cloned it."""
    folder = tmp_path / "project"
    made_here = shutil.ignore_patterns(
        ".git", ".venv", ".env", "instance", "__pycache__", ".*_cache"
    )
    shutil.copytree(PROJECT, folder, ignore=made_here)
    return folder


def test_make_run_makes_a_dotenv_for_your_eyes_only(copy):
    """The password is on no command line, and no other file is left."""
    before = set(copy.iterdir())
    [recipe] = [line for line in make("-n", ".env", cwd=copy).splitlines() if "flask" in line]
    assert recipe.endswith("flask okta new-env")
    said = make(".env", cwd=copy)
    made = copy / ".env"
    assert {path.name for path in set(copy.iterdir()) - before} <= {".env", "__pycache__"}
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    [password] = re.findall(r"(?m)^BASIC_AUTH_PASSWORD=(.{40,})$", made.read_text())
    assert password not in said
    # The service starts with it.
    assert run("-m", "settings", cwd=copy).returncode == 0


def test_flask_takes_no_dotenv_of_a_parent_folder_for_its_own(copy):
    other = copy.parent / ".env"
    other.write_text("AUTH_MODE=basic\nBASIC_AUTH_USER=okta\nBASIC_AUTH_PASSWORD=of another\n")
    done = run("-m", "flask", "okta", "auth-secret", cwd=copy)
    assert done.returncode == 1
    assert f"{other}  was read by flask" in done.stderr


def test_flask_run_serves_this_machine_and_says_what_it_tolerates(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log_path = tmp_path / "log"
    with log_path.open("w") as log:
        command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment(PUBLISHED), stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + 30
        while not answers(url):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        pair = tuple(PUBLISHED.values())
        answer = requests.post(f"{url}/tokenHook", json=PAYLOAD, auth=pair, timeout=30)
        assert answer.status_code == 204
    finally:
        process.terminate()
        process.wait(30)
    lines = log_path.read_text().splitlines()
    assert any(f"Running on {url}" in line for line in lines)
    assert sum("WARNING" in line and "Okta's guide" in line for line in lines) == 1
    assert len([line for line in lines if "tokenHook" in line]) == 1
    assert "supersecret" not in log_path.read_text()


@pytest.mark.parametrize(
    ("command", "settings"),
    [(["gunicorn", "-b", "127.0.0.1:0"], PUBLISHED), (["settings"], {"AUTH_MODE": "oauth"})],
)
def test_wrong_settings_end_the_start_with_one_plain_message(command, settings):
    done = run("-m", *command, settings=settings)
    assert done.returncode == 1
    assert done.stderr.count("The service cannot start") == 1
    assert "Traceback" not in done.stderr
    assert "Booting worker" not in done.stderr


def test_a_reload_takes_new_workers_and_answers_on(tmp_path):
    with Service(basic_settings(), tmp_path / "log") as service:
        before = workers_of(service)
        service.process.send_signal(signal.SIGHUP)
        while workers_of(service) & before:
            assert service.call("/tokenHook", json=PAYLOAD, auth=BASIC_PAIR).status_code == 204


def test_a_stop_answers_what_is_in_flight(tmp_path):
    pair = base64.b64encode(":".join(BASIC_PAIR).encode()).decode()
    body = json.dumps(PAYLOAD)
    head = (
        f"POST /tokenHook HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {pair}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
    )
    with Service(basic_settings(), tmp_path / "log") as service:
        address = ("127.0.0.1", service.port)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(f"{head}\r\n".encode())
            # The request has been taken: the service now waits for its body.
            assert b"100 Continue" in connection.recv(1024)
            service.process.send_signal(signal.SIGTERM)
            service.wait_until(lambda: "Handling signal: term" in service.log, "no stop")
            connection.sendall(body.encode())
            assert b"204 NO CONTENT" in connection.recv(1024)
        assert service.process.wait(30) == 0
