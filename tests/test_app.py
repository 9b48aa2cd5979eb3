"""What app.py puts together: which guard a route gets, and what a broken handler tells."""

import json
import logging
from dataclasses import asdict

import pytest
from flask import Blueprint, g
from werkzeug.utils import import_string

from app import create_app
from hooks.contract import HookBlueprint
from settings import Settings
from tests.service import EVENT_PAYLOAD, PAYLOAD, bearer

PAIR = ("okta", "a password of ours")
BASIC = {"basic_auth_user": PAIR[0], "basic_auth_password": PAIR[1]}
SECRET = "swordfish"


def oauth(okta) -> dict:
    return BASIC | {
        "auth_mode": "oauth",
        "okta_issuer": okta.issuer,
        "okta_client_id": frozenset({okta.client_id}),
        "okta_scope": okta.scopes[0],
    }


def app_with(view, path="/hook/<name>", kind="inline", **settings):
    """The app with one more hook."""
    app = create_app(Settings(**(settings or BASIC)))
    blueprint = HookBlueprint("more", __name__, kind=kind)
    blueprint.post(path)(view)
    app.register_blueprint(blueprint)
    return app


def test_the_routed_endpoint_decides_who_may_pass_and_never_the_path(okta):
    """`/hook/<name>` must not open to the Basic pair because an event hook has such a path too."""
    app = app_with(lambda name: name, **oauth(okta))
    events = HookBlueprint("more_events", __name__, kind="event")
    events.post("/hook/events")(lambda: "events")
    app.register_blueprint(events)
    # What says nothing of its kind is an inline hook.
    plain = Blueprint("plain", __name__)
    plain.post("/hook/plain")(lambda: "plain")
    app.register_blueprint(plain)
    app.post("/hook/bare")(lambda: "bare")
    with_pair, with_token = {"auth": PAIR}, {"headers": bearer(okta.issue())}
    for path, credentials, status in (
        ("/hook/token", with_token, 200),
        ("/hook/token", with_pair, 401),
        ("/hook/userCreated", with_pair, 401),
        ("/hook/events", with_pair, 200),
        ("/hook/events", with_token, 401),
        ("/hook/events/", with_token, 404),
        *((path, with_token, 200) for path in ("/hook/plain", "/hook/bare")),
        *((path, with_pair, 401) for path in ("/hook/plain", "/hook/bare")),
    ):
        assert app.test_client().post(path, **credentials).status_code == status


def test_a_hook_knows_its_caller(okta):
    def view(name):
        return {**asdict(g.caller), "scopes": sorted(g.caller.scopes)}

    caller = {"method": "basic", "user": "okta", "password": "current", "client_id": None}
    client = app_with(view).test_client()
    assert client.post("/hook/a", auth=PAIR).json == caller | {"scopes": []}
    caller = {"method": "oauth", "user": None, "password": None, "client_id": okta.client_id}
    client = app_with(view, **oauth(okta)).test_client()
    token = bearer(okta.issue(scp=["hooks", "other"]))
    assert client.post("/hook/a", headers=token).json == caller | {"scopes": ["hooks", "other"]}


def test_a_broken_handler_is_a_500_that_names_its_line_and_nothing_of_the_request(capsys):
    def broken(name):
        raise ValueError(f"{name} and {SECRET}")

    def broken_in_a_library(name):
        return import_string(f"{name}_{SECRET}")

    for view, error in ((broken, "ValueError"), (broken_in_a_library, "ImportStringError")):
        line = view.__code__.co_firstlineno + 1
        client = app_with(view).test_client()
        answer = client.post(f"/hook/{SECRET}", auth=PAIR, query_string={"a": SECRET})
        assert answer.status_code == 500
        assert answer.json == {
            "error": {
                "errorSummary": "The service could not handle the request",
                "errorCauses": [],
            }
        }
        [logged] = capsys.readouterr().err.splitlines()
        # Not the library's line, though the virtual environment may lie inside the project.
        assert " ERROR   request " in logged
        assert f'error="{error} at tests/test_app.py:{line}"' in logged
        assert f"and {SECRET}" not in logged
        assert logged.count(SECRET) == 1, "in the path, and nowhere else"


def test_under_gunicorn_flask_debug_changes_nothing(monkeypatch, capsys):
    monkeypatch.setenv("FLASK_DEBUG", "1")
    app = app_with(lambda name: {}[SECRET])
    assert not app.debug
    assert app.test_client().post("/hook/a", auth=PAIR).status_code == 500
    logged = capsys.readouterr().err
    assert "Traceback" not in logged
    assert SECRET not in logged


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_log_level_is_for_this_project_alone(level):
    create_app(Settings(**BASIC, log_level=level))
    assert logging.getLogger("okta_hooks.any").getEffectiveLevel() == getattr(logging, level)
    for library in ("urllib3", "authlib", "flask_httpauth", "twilio"):
        assert logging.getLogger(library).getEffectiveLevel() == logging.WARNING


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_line_has_all_that_is_asked_for(capsys, log_format):
    client = create_app(Settings(**BASIC, log_format=log_format)).test_client()
    headers = {"X-Okta-Request-Id": "id-1", "X-Forwarded-For": "192.0.2.66, 198.51.100.7"}
    client.post("/tokenHook", json=PAYLOAD, auth=PAIR, headers=headers)
    client.post("/userCreated", json=EVENT_PAYLOAD, auth=PAIR)
    for line, hook in zip(capsys.readouterr().err.splitlines(), ("token", "events"), strict=True):
        if log_format == "json":
            entry = json.loads(line)
            assert (entry["level"], entry["message"]) == ("INFO", "request")
            assert isinstance(entry["ms"], float)
        else:
            assert " INFO    request " in line
            entry = dict(word.split("=") for word in line.split() if "=" in word)
        expected = {"hook": hook, "method": "POST", "status": 204, "auth": "basic"}
        expected |= {"caller": "okta", "result": "accepted"}
        if hook == "token":
            expected |= {"request_id": "id-1", "event_id": "e1"}
        assert {name: str(entry[name]) for name in expected} == {
            name: str(value) for name, value in expected.items()
        }


@pytest.mark.parametrize(("is_terminal", "no_color"), [(True, None), (True, "1"), (False, None)])
def test_colours_are_for_a_terminal_that_wants_them(monkeypatch, capsys, is_terminal, no_color):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    create_app(Settings(**BASIC)).test_client().post("/tokenHook")
    assert ("\x1b[33mWARNING" in capsys.readouterr().err) is (is_terminal and not no_color)
