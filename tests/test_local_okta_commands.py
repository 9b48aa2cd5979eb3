"""`flask okta …` against a stub of the service."""

import base64
import json
import os
import re
import shutil
import stat
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
import requests
from flask import Flask, request

from app import create_app
from commands import doctor
from hooks.contract import HookBlueprint
from local_okta import client, terminal
from local_okta import serve as serve_module
from local_okta.authorization_server import LocalOkta
from local_okta.client import Answer, basic_header
from local_okta.judge import judge
from local_okta.samples import SAMPLES
from local_okta.service import event_hook_paths
from settings import Settings, SettingsError, load
from tests.support.gunicorn import INLINE_HOOK, PROJECT, app_with_commands, free_port, serving

PAIR = {"basic_auth_user": "okta", "basic_auth_password": "pässword:with a colon"}
EVENTS = [sample for sample in SAMPLES.values() if sample.kind == "event"]


@pytest.fixture
def stub():
    """Answers every hook with `stub.answer`, and keeps the Authorization headers that came."""
    stub = SimpleNamespace(answer=("", 204), authorizations=[], paths=[])
    app = Flask("stub")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path):
        stub.authorizations.append(request.headers.get("Authorization"))
        stub.paths.append(f"/{path}")
        challenge = request.headers.get("X-Okta-Verification-Challenge")
        return {"verification": challenge} if challenge and stub.answer[1] < 300 else stub.answer

    with serving(app) as stub.url:
        yield stub


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `flask okta` with these arguments, for a service with these settings."""

    # On a busy machine an answer may take longer than Okta waits.
    monkeypatch.setattr(client, "SECONDS", 60.0)

    def run(*arguments, **settings):
        app = app_with_commands(Settings(**(settings or PAIR)))
        app.instance_path, app.root_path = str(tmp_path / "instance"), str(tmp_path)
        return app.test_cli_runner().invoke(args=["okta", *map(str, arguments)])

    run.client_file = tmp_path / "instance" / "local-okta.json"
    run.folder = tmp_path
    return run


@pytest.fixture(scope="module")
def server():
    with LocalOkta() as server:
        yield server


@pytest.fixture
def okta(run, server):
    """A local Okta as `flask okta serve` starts it; `okta.settings` are the service's."""
    kept = {
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "client_key": server.client_key.as_dict(private=True),
    }
    run.client_file.parent.mkdir()
    run.client_file.write_text(json.dumps(kept))
    server.settings = {
        "auth_mode": "oauth",
        "okta_issuer": server.issuer,
        "okta_client_id": frozenset({server.client_id}),
    }
    return server


def assert_fails(result, words):
    assert result.exit_code == 1
    assert words in result.output


def test_preview_shows_request_response_and_verdict_and_masks_the_credentials(run, stub):
    stub.answer = ({"commands": []}, 200)
    answer = Answer(200, body=json.dumps({"commands": []}).encode())
    verdict = judge(INLINE_HOOK.kind, INLINE_HOOK.payload, answer)
    result = run("preview", INLINE_HOOK.name, "--url", stub.url)
    assert result.exit_code == (not verdict.accepted)
    assert f"POST {stub.url}{INLINE_HOOK.path}" in result.output
    assert '200 OK\n{\n  "commands": []\n}\n' in result.output
    assert result.output.endswith(f"\n{verdict.sentence}.\n")
    assert "Authorization: Basic ••••••••" in result.output
    assert stub.authorizations == [basic_header(*PAIR.values())]
    assert stub.authorizations[0] not in result.output


def test_preview_folds_a_long_body_unless_asked(run, stub):
    last_line = json.dumps(INLINE_HOOK.payload, indent=2).splitlines()[-2]
    assert last_line not in run("preview", INLINE_HOOK.name, "--url", stub.url).output
    assert last_line in run("preview", INLINE_HOOK.name, "--verbose", "--url", stub.url).output


def test_preview_fails_where_okta_could_not_use_the_answer(run, stub):
    stub.answer = ("<html>", 500)
    result = run("preview", INLINE_HOOK.name, "--url", stub.url)
    assert_fails(result, "500 Internal Server Error")
    assert "<html>" in result.output


def test_preview_of_all_has_one_line_for_each(run, stub):
    result = run("preview", "--url", stub.url)
    assert result.exit_code == 0
    for name in SAMPLES:
        assert sum(line.startswith(f"{name} ") for line in result.output.splitlines()) == 1
    assert f"Okta can use {len(SAMPLES)} of {len(SAMPLES)} answers." in result.output
    stub.answer = ({"error": "no"}, 200)
    assert_fails(run("preview", "--url", stub.url), f"Okta can use {len(EVENTS)} of")


@pytest.mark.parametrize(
    ("options", "of_events", "of_others"),
    [([], "Basic", "Bearer"), (["--auth", "none"], None, None)],
)
def test_in_oauth_mode_inline_hooks_get_a_token_and_event_hooks_basic(
    run, stub, okta, options, of_events, of_others
):
    result = run("preview", "--url", stub.url, *options, **okta.settings, **PAIR)
    assert result.exit_code == 0, result.output
    schemes = [header and header.split()[0] for header in stub.authorizations]
    assert schemes == [
        of_events if sample.kind == "event" else of_others for sample in SAMPLES.values()
    ]


def test_preview_gets_a_token_with_the_private_key_too(run, stub, okta):
    arguments = ("preview", INLINE_HOOK.name, "--auth", "private-key", "--url", stub.url)
    assert run(*arguments, **okta.settings).exit_code == 0
    assert stub.authorizations[0].startswith("Bearer ")


def test_preview_of_all_leaves_out_event_hooks_without_a_basic_pair(run, stub, okta):
    result = run("preview", "--url", stub.url, **okta.settings)
    assert result.exit_code == 0
    assert result.output.count("not sent: there is no Basic pair") == len(EVENTS)
    result = run("preview", EVENTS[0].name, "--url", stub.url, **okta.settings)
    assert_fails(result, "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD")


WITH_TOKEN = ("preview", INLINE_HOOK.name, "--auth", "client-secret", "--url")


def test_preview_says_how_to_start_what_does_not_answer(run, stub, okta):
    nobody = f"http://127.0.0.1:{free_port()}"
    result = run("preview", "--url", nobody)
    assert result.output == (
        f"Error: Nothing answers at {nobody}. Start it in another terminal: flask run\n"
    )
    result = run(*WITH_TOKEN, stub.url, okta_issuer=f"{nobody}/oauth2/default")
    assert_fails(result, "Start it in another terminal: flask okta serve")
    elsewhere = nobody.replace("127.0.0.1", "127.0.0.2")
    assert_fails(run("preview", "--url", elsewhere), "Does a tunnel lead there?")


def test_preview_with_a_token_needs_a_local_okta(run, stub):
    assert_fails(run(*WITH_TOKEN, stub.url), "start one with flask okta serve")


@pytest.mark.parametrize("issuer", [None, "https://example.okta.com/oauth2/default"])
def test_preview_asks_no_other_issuer_for_a_token(run, stub, okta, issuer):
    assert_fails(run(*WITH_TOKEN, stub.url, okta_issuer=issuer), "OKTA_ISSUER is")


def test_an_address_that_cannot_be_one_is_named(run):
    result = run("preview", "--url", "127.0.0.1:5000")
    assert result.exit_code == 2
    assert "127.0.0.1:5000 is not an address" in result.output


def test_the_path_of_a_pasted_address_is_left_out_and_said_so(run, stub):
    result = run("preview", INLINE_HOOK.name, "--url", f"{stub.url}/pastedHook")
    assert result.exit_code == 0
    assert f"The path is left out, since each hook has its own: {stub.url}\n" in result.output
    assert stub.paths == [INLINE_HOOK.path]


def test_verify_event_hook_checks_every_path_of_an_event_hook(run, stub):
    result = run("verify-event-hook", "--url", stub.url)
    assert result.exit_code == 0
    assert set(stub.paths) >= {sample.path for sample in EVENTS}
    assert result.output.count("Okta verifies the hook") == len(stub.paths)
    stub.answer = ({}, 401)
    result = run("verify-event-hook", "--url", stub.url)
    assert_fails(result, "Status 401")
    assert result.output.count("Status 401") == len(stub.paths) / 2


def test_an_event_hook_without_a_sample_is_verified_too():
    app = create_app(Settings())
    own = HookBlueprint("own", __name__, kind="event")
    own.get("/onPathOfItsOwn")(lambda: "")
    app.register_blueprint(own)
    with app.app_context():
        assert "/onPathOfItsOwn" in event_hook_paths()


def test_auth_secret_is_the_header_and_nothing_else(run):
    result = run("auth-secret")
    scheme, encoded = result.output.split(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == ":".join(PAIR.values())
    assert not result.output.endswith("\n")
    result = run("auth-secret", basic_auth_user="okta")
    assert_fails(result, "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD")


def test_the_doctor_says_what_to_type_into_okta_only_when_nothing_is_wrong(run, okta):
    good = okta.settings | PAIR | {"okta_scope": "hooks"}
    result = run("doctor", **good)
    assert result.exit_code == 0, result.output
    title, fields = "What to type into Okta", f"Token URL              {okta.token_endpoint}\n"
    assert title in result.output
    assert fields in result.output
    assert PAIR["basic_auth_password"] not in result.output
    result = run("doctor", **good, basic_auth_password_previous="the old one")
    assert (result.exit_code, "previous password" in result.output) == (0, True)
    for wrong, named in (
        ({"okta_scope": "other"}, "other is not published"),
        ({"okta_issuer": f"{okta.issuer}x"}, "issuer_answered_404"),
        ({"okta_issuer": f"http://127.0.0.1:{free_port()}"}, "ConnectionError: no connection"),
        ({"okta_issuer": okta.issuer.replace("127.0.0.1", "localhost")}, "letter by letter"),
        ({"basic_auth_password": "supersecret"}, "choose another"),
    ):
        result = run("doctor", **good | wrong)
        assert (result.exit_code, result.output.count("WRONG")) == (1, 1)
        assert named in result.output
        assert title not in result.output


def test_the_doctor_names_a_certificate_file_that_is_not_there(run, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    elsewhere = {"okta_issuer": "https://issuer.example.com", "okta_scope": "hooks"}
    result = run("doctor", auth_mode="oauth", **elsewhere, **PAIR)
    assert "OSError: there is no such file: REQUESTS_CA_BUNDLE" in result.output


def test_new_env_is_for_your_eyes_only_and_overwrites_nothing(run):
    shutil.copy(PROJECT / ".env.example", run.folder)
    made = run.folder / ".env"
    previous = os.umask(0)
    try:
        result = run("new-env")
    finally:
        os.umask(previous)
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    text = made.read_text()
    [password] = re.findall(r"(?m)^BASIC_AUTH_PASSWORD=(.*)$", text)
    assert len(password) > 40
    assert password not in result.output
    assert load({}, made).basic_auth_password == password
    # What is said beside it is true of a password that was made up.
    assert "#!" not in text
    assert "printed in Okta's guide" not in text
    assert_fails(run("new-env"), "stays as it is")
    assert made.read_text() == text


WRONG = SettingsError({"AUTH_MODE": "is wrong"})


@pytest.mark.parametrize(("seconds", "mark"), [(0, "ok"), (30, "note"), (300, "WRONG")])
def test_the_doctor_compares_the_clocks(capsys, seconds, mark):
    report = doctor.Report()
    doctor.check_clock(report, formatdate(time.time() - seconds, usegmt=True))
    assert capsys.readouterr().out.split()[0] == mark
    assert report.wrong == (mark == "WRONG")


@pytest.mark.parametrize("command", ["preview", "verify-event-hook", "auth-secret", "doctor"])
def test_a_command_that_needs_settings_says_what_is_wrong_with_them(run, command):
    result = run(command, error=WRONG)
    assert_fails(result, "AUTH_MODE  is wrong")
    assert "flask okta new-env" in result.output


@pytest.fixture
def serve(run, monkeypatch):
    """Runs `serve` until it waits; gives its result and the keys that it published."""
    port, published = free_port(), []

    def look_and_go_on():
        url = f"http://127.0.0.1:{port}/oauth2/default/v1/keys"
        published.append(requests.get(url, timeout=30).json()["keys"])

    monkeypatch.setattr(serve_module, "wait_for_ctrl_c", look_and_go_on)
    return lambda: (run("serve", "--port", port, error=WRONG), published[-1])


def test_serve_prints_what_goes_into_dotenv_whatever_the_settings_are(serve, run):
    result, _ = serve()
    assert result.exit_code == 0, result.output
    base = re.search(r"runs on (http://[\d.:]+\d)", result.output)[1]
    assert f"Open {base}/ " in result.output
    client_id = json.loads(run.client_file.read_text())["client_id"]
    lines = f"AUTH_MODE=oauth\nOKTA_ISSUER={base}/oauth2/default\nOKTA_CLIENT_ID={client_id}\n"
    assert f"{lines}OKTA_SCOPE=hooks\n" in result.output
    assert "/oauth2/default/v1/keys  200" in result.output


def test_serve_keeps_its_client_for_your_eyes_only(serve, run):
    _, first_keys = serve()
    kept = run.client_file.read_text()
    assert stat.S_IMODE(run.client_file.stat().st_mode) == 0o600
    _, keys = serve()
    assert run.client_file.read_text() == kept
    assert keys != first_keys


def test_serve_names_what_is_in_its_way(run, okta):
    result = run("serve", "--port", okta.port)
    assert_fails(result, f"Port {okta.port} cannot be used (Address already in use)")
    run.client_file.write_text("{")
    assert_fails(run("serve"), f"{run.client_file} cannot be read")


def test_rotate_keys(run, stub, okta):
    old = okta.keys[0].kid
    result = run("rotate-keys", "--port", okta.port, error=WRONG)
    assert result.exit_code == 0
    assert [key.kid for key in okta.keys] == [okta.keys[0].kid, old]
    assert okta.keys[0].kid in result.output
    assert_fails(run("rotate-keys", "--port", stub.url.rpartition(":")[2]), "is not a local Okta")


@pytest.mark.parametrize("columns", [105, 106])
def test_no_row_breaks_inside_a_word(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)
    outcome = "Okta denies the registration and shows 'You cannot sign up.' at the email field"
    terminal.row(
        "registration-self-service-denied", "client secret", Answer(200), outcome, good=True
    )
    lines = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()).endswith(outcome)
    assert (outcome[:20] in lines[0]) is (columns >= 106)
