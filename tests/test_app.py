"""What app.py puts together: which guard a route gets, and what the log says about a request."""

import asyncio
import json
import logging
import subprocess
import sys

import pytest
from flask import Blueprint, abort, g, request
from werkzeug.utils import import_string

from app import create_app
from hooks.contract import HookBlueprint
from logs import LineFormatter
from settings import SettingsError
from tests.support.gunicorn import (
    ACCEPTED,
    BASIC_PAIR,
    EVENT_HOOK,
    HOOK,
    NOT_SET,
    PAYLOAD,
    PROJECT,
    basic_settings,
    bearer,
    client_of,
    environment,
    free_port,
    log_lines,
    needs_event_hooks,
    oauth_settings,
)

PATH = "/hook/<name>"
SECRET = "swordfish"


def client_with(view, settings=None):
    """A client of the app with one more inline hook."""
    client = client_of(settings or basic_settings())
    blueprint = HookBlueprint("more", __name__, kind="inline")
    blueprint.post(PATH)(view)
    client.application.register_blueprint(blueprint)
    return client


def test_access_depends_on_the_routed_endpoint_and_never_on_the_path(okta):
    """`/hook/<name>` must not accept the Basic pair because an event hook has such a path too."""
    client = client_with(lambda name: name, oauth_settings(okta))
    events = HookBlueprint("more_events", __name__, kind="event")
    events.post("/hook/events")(lambda: "events")
    # A blueprint without a kind is treated as an inline hook.
    plain = Blueprint("plain", __name__)
    plain.post("/hook/plain")(lambda: "plain")
    client.application.register_blueprint(events)
    client.application.register_blueprint(plain)
    client.application.post("/hook/bare")(lambda: "bare")
    for path, with_token, with_pair in (
        ("/hook/token", 200, 401),
        ("/hook/userCreated", 200, 401),
        ("/hook/events", 401, 200),
        ("/hook/events/", 404, 404),
        ("/hook/plain", 200, 401),
        ("/hook/bare", 200, 401),
    ):
        assert client.post(path, headers=bearer(okta.issue())).status_code == with_token
        assert client.post(path, auth=BASIC_PAIR).status_code == with_pair


def test_a_hook_knows_its_caller(okta):
    def view(name):
        return {**g.caller._asdict(), "scopes": sorted(g.caller.scopes)}

    caller = {"method": "basic", "user": "okta", "matched_password": "current"}
    answer = client_with(view).post("/hook/a", auth=BASIC_PAIR)
    assert answer.json == caller | {"client_id": None, "scopes": []}
    caller = {"method": "oauth", "user": None, "matched_password": None}
    token = okta.issue(scp=["hooks", "other"])
    answer = client_with(view, oauth_settings(okta)).post("/hook/a", headers=bearer(token))
    assert answer.json == caller | {"client_id": okta.client_id, "scopes": ["hooks", "other"]}


@needs_event_hooks
def test_a_request_that_cannot_be_read_is_a_400_that_names_the_field(app):
    answer = app.test_client().post(EVENT_HOOK, json={}, auth=BASIC_PAIR)
    assert answer.status_code == 400
    assert [each["location"] for each in answer.json["error"]["errorCauses"]] == ["data.events"]


def broken(name):
    raise ValueError(f"{name} and {SECRET}")


def broken_in_a_library(name):
    return import_string(f"{name}_{SECRET}")


@pytest.mark.parametrize(
    ("view", "error"), [(broken, "ValueError"), (broken_in_a_library, "ImportStringError")]
)
def test_a_broken_view_is_a_500_whose_log_line_names_the_place_but_nothing_of_the_request(
    capsys, monkeypatch, view, error
):
    # Under gunicorn, FLASK_DEBUG has no effect.
    monkeypatch.setenv("FLASK_DEBUG", "1")
    client = client_with(view)
    answer = client.post(f"/hook/{SECRET}", auth=BASIC_PAIR, query_string={"a": SECRET})
    summary = "The service could not handle the request"
    assert answer.status_code == 500
    assert answer.json == {"error": {"errorSummary": summary, "errorCauses": []}}
    [logged] = log_lines(capsys)
    # Not the library's line, though the virtual environment may be inside the project.
    line = view.__code__.co_firstlineno + 1
    assert " ERROR   request " in logged
    assert f'error="{error} at tests/test_app.py:{line}"' in logged
    assert logged.count(SECRET) == 1, "in the path, and nowhere else"


def exits(name):
    sys.exit(f"{name} and {SECRET}")


def cancels(name):
    raise asyncio.CancelledError(SECRET)


@pytest.mark.parametrize("view", [exits, cancels])
def test_a_view_that_would_end_the_process_is_a_500(capsys, view):
    answer = client_with(view).post("/hook/a", auth=BASIC_PAIR)
    assert answer.status_code == 500
    [logged] = log_lines(capsys)
    assert f"tests/test_app.py:{view.__code__.co_firstlineno + 1}" in logged
    assert SECRET not in logged


def breaks_further_down(name):
    return broken(name)


def test_the_log_names_each_line_of_this_project_that_led_to_the_error(capsys):
    client_with(breaks_further_down).post("/hook/a", auth=BASIC_PAIR)
    lines = [view.__code__.co_firstlineno + 1 for view in (breaks_further_down, broken)]
    places = " < ".join(f"tests/test_app.py:{line}" for line in lines)
    assert f'error="ValueError at {places}"' in capsys.readouterr().err


def returns_nothing(name):
    pass


async def waits(name):
    return name


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("view", "advice"),
    [
        (
            returns_nothing,
            "returned something that Flask cannot send: return answer(…) or NO_CHANGE",
        ),
        (waits, "is async, which needs: pip install 'flask[async]'"),
    ],
)
def test_a_view_that_flask_cannot_use_is_a_500_that_says_what_to_do(capsys, view, advice, debug):
    client = client_with(view)
    client.application.debug = debug
    answer = client.post("/hook/a", auth=BASIC_PAIR)
    assert answer.status_code == 500
    assert answer.json["error"]["errorSummary"] == "The service could not handle the request"
    log = capsys.readouterr().err
    place = f"tests/test_app.py:{view.__code__.co_firstlineno}"
    assert f'error="{place} {advice}"'.encode("ascii", "backslashreplace").decode() in log
    assert ("Traceback" in log) == debug


def test_a_500_from_abort_looks_like_every_other_refusal():
    client = client_with(lambda name: abort(500, description=SECRET))
    answer = client.post("/hook/a", auth=BASIC_PAIR)
    summary = {"errorSummary": "Internal Server Error", "errorCauses": []}
    assert (answer.status_code, answer.json) == (500, {"error": summary})


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("view", "status", "phrase"),
    [
        (lambda name: abort(400), 400, "Bad Request"),
        (lambda name: request.args["missing"], 400, "Bad Request"),
        (lambda name: abort(413), 413, "Request Entity Too Large"),
        (lambda name: abort(415), 415, "Unsupported Media Type"),
        (lambda name: abort(415, description="Send XML"), 415, "Send XML"),
    ],
)
def test_werkzeugs_words_for_browsers_are_not_shown(view, status, phrase, debug):
    client = client_with(view)
    client.application.debug = debug
    answer = client.post("/hook/a", auth=BASIC_PAIR)
    summary = {"errorSummary": phrase, "errorCauses": []}
    assert (answer.status_code, answer.json) == (status, {"error": summary})


def test_in_development_the_log_has_the_traceback(capsys):
    client = client_with(broken)
    client.application.debug = True
    assert client.post("/hook/a", auth=BASIC_PAIR).status_code == 500
    assert f"ValueError: a and {SECRET}\n" in capsys.readouterr().err


def test_wrong_settings_stop_the_service_from_starting_under_any_server(monkeypatch):
    for name, value in (NOT_SET | basic_settings(AUTH_MODE="none")).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="AUTH_MODE"):
        create_app()


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_a_health_check_that_succeeds_is_logged_only_at_debug(level, capsys):
    client = client_of(basic_settings(LOG_LEVEL=level))
    for path in ("/healthz", "/readyz"):
        client.get(path)
        assert len(log_lines(capsys)) == (level == "DEBUG")
        client.post(path)
        assert len(log_lines(capsys)) == 1


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_log_level_is_only_for_this_project(level, capsys):
    client_of(basic_settings(LOG_LEVEL=level)).post(HOOK)
    assert len(log_lines(capsys)) == (level == "DEBUG")
    assert logging.getLogger("hooks.any_of_your_own").getEffectiveLevel() == getattr(logging, level)
    for library in ("authlib", "flask_httpauth", "twilio", "sqlalchemy"):
        assert logging.getLogger(library).getEffectiveLevel() == logging.WARNING


def test_a_warning_of_python_is_a_line_of_the_log():
    code = "import app, warnings; app.create_app(); warnings.warn('two\\nlines')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment(basic_settings(LOG_FORMAT="json", TELEPHONY_PROVIDER="console")),
        capture_output=True,
        text=True,
        check=True,
    )
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["level"] == "WARNING"
    assert "UserWarning: two\nlines" in line["message"]


@pytest.mark.parametrize(
    ("forwarded", "nearest"),
    [(None, None), ("198.51.100.7", "198.51.100.7"), ("192.0.2.66, 198.51.100.7", "198.51.100.7")],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_log_line_names_hook_caller_outcome_and_ids(capsys, log_format, forwarded, nearest):
    """The peer is always named, and so is the address that a proxy reports."""
    headers = {"X-Okta-Request-Id": "id-1"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    client = client_of(basic_settings(LOG_FORMAT=log_format))
    client.post(HOOK, json=PAYLOAD, auth=BASIC_PAIR, headers=headers)
    [line] = log_lines(capsys)
    if log_format == "json":
        entry = json.loads(line)
        assert (entry["level"], entry["message"]) == ("INFO", "request")
    else:
        assert " INFO    request " in line
        entry = dict(word.split("=") for word in line.split() if "=" in word)
    endpoint, _ = client.application.url_map.bind("").match(HOOK, "POST")
    expected = {
        "hook": endpoint.partition(".")[0],
        "method": "POST",
        "path": HOOK,
        "status": str(ACCEPTED),
        "auth": "basic",
        "caller": "okta",
        "result": "accepted",
        "request_id": "id-1",
        "event_id": "e1",
        "client": "127.0.0.1",
    } | ({"forwarded_for": nearest} if nearest else {})
    assert float(entry["ms"]) >= 0
    others = {"time", "level", "message", "ms"}
    assert {name: str(entry[name]) for name in entry if name not in others} == expected


@pytest.mark.parametrize(("is_terminal", "no_color"), [(True, None), (True, "1"), (False, None)])
def test_only_a_terminal_without_no_color_gets_colours(monkeypatch, capsys, is_terminal, no_color):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    client_of(basic_settings()).post(HOOK)
    assert ("\x1b[33mWARNING" in capsys.readouterr().err) is (is_terminal and not no_color)


def test_time_and_traceback_are_in_both_formats():
    try:
        raise ValueError("of a handler in development")
    except ValueError:
        broke = {"levelname": "ERROR", "msg": "a handler broke", "exc_info": sys.exc_info()}
    record = logging.makeLogRecord(broke | {"created": 1800000000.005, "msecs": 5.0})
    line, *trace = LineFormatter("text").format(record).splitlines()
    entry = json.loads(LineFormatter("json").format(record))
    assert line == "2027-01-15T08:00:00.005Z ERROR   a handler broke"
    assert trace[-1] == "ValueError: of a handler in development"
    assert entry.pop("traceback").splitlines() == trace
    assert list(entry.values()) == ["2027-01-15T08:00:00.005Z", "ERROR", "a handler broke"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [("doctor", r"user \u0436, password set"), ("register --help", r"--hooks NAME,")],
)
def test_a_command_prints_what_a_terminal_cannot_show_as_an_escape(command, shown, tmp_path):
    settings = basic_settings(
        BASIC_AUTH_USER="\u0436",
        PYTHONIOENCODING="latin-1",
        FLASK_SKIP_DOTENV="1",
        EVENTS_DATABASE_URL=f"sqlite:///{tmp_path}/events.sqlite",
    )
    arguments = [sys.executable, "-m", "flask", "okta", *command.split()]
    printed = subprocess.check_output(
        arguments, cwd=PROJECT, env=environment(settings), encoding="latin-1"
    )
    assert shown in printed


def flask_okta(*arguments: str, cwd=PROJECT, **settings: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", str(PROJECT / "app.py"), "okta", *arguments],
        cwd=cwd,
        env=environment(basic_settings(**settings)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_use_the_port_of_flask_run():
    port = str(free_port())
    done = flask_okta("preview", "token", FLASK_RUN_PORT=port, FLASK_SKIP_DOTENV="1")
    assert f"Nothing answers at http://127.0.0.1:{port}." in done.stderr


def test_a_command_notes_that_flask_has_read_the_env_of_another_folder(tmp_path):
    for name in (".env", ".flaskenv"):
        (tmp_path / name).write_text("OKTA_SCOPE=other\n")
    done = flask_okta("auth-secret", cwd=tmp_path)
    for name in (".env", ".flaskenv"):
        assert f"Note: flask has read {tmp_path / name}, which is in another folder" in done.stderr
    assert done.stdout.startswith("Basic ")
