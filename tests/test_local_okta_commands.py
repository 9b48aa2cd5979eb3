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
from urllib.parse import quote

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
from settings import Settings, SettingsError, load_settings
from tests.support.gunicorn import (
    INLINE_HOOK,
    PROJECT,
    app_with_commands,
    free_port,
    needs_event_hooks,
    serving,
)

PAIR = {"basic_auth_user": "okta", "basic_auth_password": "pässword:with a colon"}
EVENTS = [sample for sample in SAMPLES.values() if sample.kind == "event"]


@pytest.fixture
def stub():
    """Answers every hook with `stub.answer`, and records the requests."""
    stub = SimpleNamespace(answer=("", 204), authorizations=[], paths=[], bodies=[], seconds=0)
    app = Flask("stub")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path):
        stub.authorizations.append(request.headers.get("Authorization"))
        stub.paths.append(f"/{path}")
        stub.bodies.append(request.get_json(silent=True))
        time.sleep(stub.seconds)
        challenge = request.headers.get("X-Okta-Verification-Challenge")
        return {"verification": challenge} if challenge and stub.answer[1] < 300 else stub.answer

    with serving(app) as stub.url:
        yield stub


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `flask okta` with these arguments, for a service with these settings."""

    # On a busy machine an answer may take longer than Okta waits.
    monkeypatch.setattr(client, "SECONDS", 60.0)

    def run(*arguments, input=None, error=None, **settings):
        app = app_with_commands(Settings(**({} if error else settings or PAIR)))
        app.config["SETTINGS_ERROR"] = error
        app.instance_path, app.root_path = str(tmp_path / "instance"), str(tmp_path)
        return app.test_cli_runner().invoke(args=["okta", *map(str, arguments)], input=input)

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


def test_preview_shortens_a_long_body_unless_verbose(run, stub):
    last_line = json.dumps(INLINE_HOOK.payload, indent=2).splitlines()[-2]
    assert last_line not in run("preview", INLINE_HOOK.name, "--url", stub.url).output
    assert last_line in run("preview", INLINE_HOOK.name, "--verbose", "--url", stub.url).output


def test_preview_fails_if_okta_could_not_use_the_answer(run, stub):
    stub.answer = ("<html>", 500)
    result = run("preview", INLINE_HOOK.name, "--url", stub.url)
    assert_fails(result, "500 Internal Server Error")
    assert "<html>" in result.output


def test_preview_of_all_prints_one_line_for_each_sample(run, stub):
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


@needs_event_hooks
def test_preview_of_all_leaves_out_event_hooks_without_a_basic_pair(run, stub, okta):
    result = run("preview", "--url", stub.url, **okta.settings)
    assert result.exit_code == 0
    assert result.output.count("not sent: no user and password for HTTP Basic") == len(EVENTS)
    result = run("preview", EVENTS[0].name, "--url", stub.url, **okta.settings)
    assert_fails(result, "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD")


WITH_TOKEN = ("preview", INLINE_HOOK.name, "--auth", "client-secret", "--url")


def test_preview_says_how_to_start_what_does_not_answer(run, stub, okta):
    unused = f"http://127.0.0.1:{free_port()}"
    result = run("preview", "--url", unused)
    start = "Start it in another terminal: make run (or flask run)"
    assert result.output == f"Error: Nothing answers at {unused}. {start}\n"
    result = run(*WITH_TOKEN, stub.url, okta_issuer=f"{unused}/oauth2/default")
    assert_fails(result, "Start it in another terminal: flask okta serve")
    for host in ("127.0.0.2", "a..b"):
        elsewhere = unused.replace("127.0.0.1", host)
        assert_fails(run("preview", "--url", elsewhere), "Is its tunnel running?")


@pytest.mark.parametrize("arguments", [["preview", INLINE_HOOK.name], ["preview"]])
def test_preview_says_so_if_another_program_seems_to_answer(run, stub, arguments):
    note = "another program may"
    stub.answer = ("<html>", 501)
    assert note in run(*arguments, "--url", stub.url).output.replace("\n", " ")
    for answer in (("", 204), ({"error": {}}, 400), ("", 401, {"WWW-Authenticate": "Basic"})):
        stub.answer = answer
        assert note not in run(*arguments, "--url", stub.url).output.replace("\n", " ")


@needs_event_hooks
def test_verify_event_hook_says_so_if_another_program_seems_to_answer(run, stub):
    stub.answer = ("<html>", 501)
    result = run("verify-event-hook", "--url", stub.url)
    assert "another program may" in result.output.replace("\n", " ")


def test_preview_of_an_unknown_hook_lists_those_there_are(run):
    result = run("preview", "nope")
    assert result.exit_code == 2
    assert "there is no 'nope'" in result.output
    for name, sample in SAMPLES.items():
        assert re.search(rf"^  {name} +{re.escape(sample.about)}$", result.output, re.MULTILINE)


def test_preview_with_a_token_needs_a_local_okta(run, stub):
    assert_fails(run(*WITH_TOKEN, stub.url), "start one with flask okta serve")


@pytest.mark.parametrize("issuer", [None, "https://example.okta.com/oauth2/default"])
def test_preview_requests_a_token_only_from_the_local_okta(run, stub, okta, issuer):
    assert_fails(run(*WITH_TOKEN, stub.url, okta_issuer=issuer), "OKTA_ISSUER is")


def test_preview_names_a_client_that_the_service_would_refuse(run, stub, okta):
    settings = okta.settings | {"okta_client_id": frozenset({"0oaOther"})}
    for arguments in (["token"], []):
        result = run("preview", *arguments, "--url", stub.url, **settings)
        assert_fails(result, "OKTA_CLIENT_ID does not name the local Okta's client")
        assert stub.paths == []


def test_an_invalid_address_is_named(run):
    result = run("preview", "--url", "127.0.0.1:5000")
    assert result.exit_code == 2
    assert "127.0.0.1:5000 is not an address" in result.output


@pytest.mark.parametrize("prefix", ["", "/gateway", "/a%20b/c"])
@pytest.mark.parametrize("pasted", ["", "/", INLINE_HOOK.path, f"{INLINE_HOOK.path}/"])
def test_a_prefix_is_kept_and_the_path_of_a_pasted_hook_is_left_out(run, stub, prefix, pasted):
    result = run("preview", INLINE_HOOK.name, "--url", f"{stub.url}{prefix}{pasted}")
    assert result.exit_code == 0, result.output
    note = f"Left out the hook's path at the end: {stub.url}{prefix}\n"
    assert (note in result.output) is (pasted not in ("", "/"))
    assert [quote(path) for path in stub.paths] == [f"{prefix}{INLINE_HOOK.path}"]


@needs_event_hooks
def test_verify_event_hook_accepts_a_prefix_and_a_pasted_path(run, stub):
    for path in ("/gateway", f"/gateway{EVENTS[0].path}"):
        assert run("verify-event-hook", "--url", stub.url + path).exit_code == 0
    assert {path.rpartition("/")[0] for path in stub.paths} == {"/gateway"}


OWN = ("preview", "--path", "/myHook", "--body", "-", "--url")


def test_a_custom_request_can_come_from_standard_input(run, stub):
    result = run(*OWN, f"{stub.url}/myHook", input=b'\xef\xbb\xbf{"a": "\xc3\xa9"}')
    assert result.exit_code == 0, result.output
    assert (stub.paths, stub.bodies) == (["/myHook"], [{"a": "é"}])
    assert "Not judged" in result.output
    stub.answer = ("", 404)
    assert run(*OWN, stub.url, input="{}").exit_code == 1


def test_a_custom_request_is_judged_by_its_event_type_or_the_given_one(run, stub):
    for text, options in (
        (json.dumps(INLINE_HOOK.payload), ()),
        ("{}", ("--event-type", INLINE_HOOK.payload["eventType"])),
    ):
        for answer, status in ((("", 204), 0), (("[]", 200), 1)):
            stub.answer = answer
            result = run(*OWN, stub.url, *options, input=text)
            assert (result.exit_code, result.output.count("Okta ")) == (status, 1), result.output


@needs_event_hooks
def test_a_custom_event_is_sent_with_basic(run, stub):
    event = json.dumps(EVENTS[0].payload)
    stub.answer = ("", 204)
    result = run(*OWN, stub.url, input=event, **PAIR, auth_mode="oauth")
    assert "Okta counts the events as delivered" in result.output
    assert stub.authorizations[-1].startswith("Basic ")


def test_path_and_body_replace_those_of_the_sample(run, stub):
    file = run.folder / "request.json"
    file.write_text("{}")
    assert run("preview", INLINE_HOOK.name, "--path", "/a b?c=d", "--url", stub.url).exit_code == 0
    assert run("preview", INLINE_HOOK.name, "--body", file, "--url", stub.url).exit_code == 0
    assert stub.paths == ["/a b", INLINE_HOOK.path]
    assert stub.bodies == [INLINE_HOOK.payload, {}]


UNUSABLE = {
    ("--path", "myHook"): "“myHook” is not a path such as /myHook",
    ("--path", "/\udc80"): "a character that cannot be encoded in UTF-8",
    ("--path", "/myHook"): "What should be sent?",
    ("--body", "-"): "Where should it be sent?",
    ("--body", "/nothing"): "No such file",
    ("--event-type", "com.okta.nothing"): "is not one of",
}


@pytest.mark.parametrize("options", UNUSABLE)
def test_a_request_that_cannot_be_made_is_a_usage_error(run, options):
    result = run("preview", *options, input="{}")
    assert result.exit_code == 2
    assert UNUSABLE[options] in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "a" 1}', "line 2, column 7"),
        ("[" * 100_000, "more than 100 levels deep"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        (b"\xff", "not UTF-8"),
        ("[]", "starts with {"),
    ],
)
def test_an_invalid_body_is_explained(run, stub, text, words):
    result = run(*OWN, stub.url, input=text)
    assert (result.exit_code, stub.paths) == (2, [])
    # click wraps its output.
    assert words in " ".join(result.output.replace("│", " ").split())


HOSTILE = {
    "deep": b'{"a":' * 100_000,
    "NaN": b'{"commands": NaN}',
    "too large": b'{"commands": 1e999}',
    "surrogate": b'{"a": "\\ud800"}',
    "C0 and C1": '{"a": "\x7f\x9b31m"}\x1b[2J'.encode(),
    "in JSON": '{"error": {"errorSummary": "\x9b31m\u202e"}}'.encode(),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_no_answer_crashes_the_preview_or_controls_the_terminal(run, stub, body):
    stub.answer = (body, 200, {"X": "\x9b31m"})
    result = run("preview", INLINE_HOOK.name, "--url", stub.url)
    assert result.exc_info[0] is SystemExit
    assert not [each for each in result.output if not each.isprintable() and each != "\n"]


def test_without_a_token_the_preview_does_not_claim_to_have_sent_anything(run, stub, okta):
    good = run.client_file.read_text()
    run.client_file.write_text(good.replace(okta.client_secret, "another"))
    result = run(*WITH_TOKEN, stub.url, **okta.settings)
    assert_fails(result, f"Nothing was sent to {stub.url}{INLINE_HOOK.path}")
    assert "invalid_client" in result.output
    assert "POST" not in result.output
    assert stub.paths == []


@needs_event_hooks
@pytest.mark.parametrize(("threads", "words"), [(2, "in the background"), (0, "events work")])
def test_after_an_event_preview_says_what_happens_to_it(run, stub, threads, words):
    result = run("preview", EVENTS[0].name, "--url", stub.url, **PAIR, event_threads=threads)
    assert f"EVENT_THREADS={threads}" in result.output
    assert words in " ".join(result.output.split())
    stub.answer = ("", 503)
    assert "EVENT_THREADS" not in run("preview", EVENTS[0].name, "--url", stub.url).output


def test_preview_says_what_it_waits_for_if_that_takes_long(run, stub, monkeypatch):
    monkeypatch.setattr(terminal, "SECONDS_BEFORE_NOTE", 0.05)
    assert "Waiting" not in run("preview", INLINE_HOOK.name, "--url", stub.url).output
    stub.seconds = 0.5
    result = run("preview", INLINE_HOOK.name, "--url", stub.url)
    assert "Waiting for an answer ...\n" in result.output


@needs_event_hooks
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
    own.get("/onItsOwnPath")(lambda: "")
    app.register_blueprint(own)
    with app.app_context():
        assert "/onItsOwnPath" in event_hook_paths()


def test_auth_secret_prints_the_header_and_nothing_else(run):
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
        ({"okta_issuer": okta.issuer.replace("127.0.0.1", "localhost")}, "character for character"),
        ({"basic_auth_password": "supersecret"}, "choose another"),
    ):
        result = run("doctor", **good | wrong)
        assert (result.exit_code, result.output.count("WRONG")) == (1, 1)
        assert named in result.output
        assert title not in result.output


def test_the_doctor_names_a_certificate_file_that_does_not_exist(run, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    elsewhere = {"okta_issuer": "https://issuer.example.com", "okta_scope": "hooks"}
    result = run("doctor", auth_mode="oauth", **elsewhere, **PAIR)
    assert "OSError: REQUESTS_CA_BUNDLE names a file" in result.output


def test_new_env_makes_a_private_file_and_overwrites_nothing(run):
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
    assert load_settings({}, made).basic_auth_password == password
    # Its comments are true of a password that was made up.
    assert "#!" not in text
    assert "printed in Okta's guide" not in text
    assert_fails(run("new-env"), "was not changed")
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
    """Runs `serve` until it waits, and returns its result and the keys that it published."""
    port, published = free_port(), []

    def record_keys():
        url = f"http://127.0.0.1:{port}/oauth2"
        requests.get(f"{url}/other%0A12:00:00", timeout=30)
        published.append(requests.get(f"{url}/default/v1/keys", timeout=30).json()["keys"])

    monkeypatch.setattr(serve_module, "wait_for_ctrl_c", record_keys)
    return lambda: (run("serve", "--port", port, error=WRONG), published[-1])


def test_serve_prints_what_goes_into_dotenv_whatever_the_settings_are(serve, run):
    result, _ = serve()
    assert result.exit_code == 0, result.output
    base = re.search(r"runs on (http://[\d.:]+\d)", result.output)[1]
    assert f"Open {base}/ " in result.output
    client_id = json.loads(run.client_file.read_text())["client_id"]
    lines = f"AUTH_MODE=oauth\nOKTA_ISSUER={base}/oauth2/default\nOKTA_CLIENT_ID={client_id}\n"
    assert f"{lines}OKTA_SCOPE=hooks\n" in result.output
    assert "GET /oauth2/default/v1/keys  200" in result.output
    assert r"GET /oauth2/other\n12:00:00  404" in result.output


def test_serve_keeps_its_client_in_a_private_file(serve, run):
    _, first_keys = serve()
    kept = run.client_file.read_text()
    assert stat.S_IMODE(run.client_file.stat().st_mode) == 0o600
    _, keys = serve()
    assert run.client_file.read_text() == kept
    assert keys != first_keys


def test_serve_names_a_busy_port_and_an_unusable_client_file(run, okta):
    result = run("serve", "--port", okta.port)
    assert_fails(result, f"Port {okta.port} cannot be used (Address already in use)")
    for text in ("{", "{}", "[]", '{"client_id": "", "client_secret": "", "client_key": {}}'):
        run.client_file.write_text(text)
        assert_fails(run("serve"), f"{run.client_file} cannot be used")
    run.client_file.unlink()
    run.client_file.mkdir()
    assert_fails(run("serve"), f"{run.client_file} cannot be read (Is a directory)")


def test_a_folder_that_cannot_be_written_is_named(run):
    shutil.copy(PROJECT / ".env.example", run.folder)
    # The tests may run as root, who may write into any folder that exists.
    run.client_file.parent.symlink_to("nowhere")
    assert_fails(run("serve"), f"{run.client_file} cannot be written (File exists)")
    (run.folder / ".env.example").unlink()
    assert_fails(
        run("new-env"),
        ".env.example cannot be used (No such file or directory): no .env was created.",
    )


def test_rotate_keys_signs_with_a_new_key_and_keeps_the_old_one(run, stub, okta):
    old = okta.keys[0].kid
    result = run("rotate-keys", "--port", okta.port, error=WRONG)
    assert result.exit_code == 0
    assert [key.kid for key in okta.keys] == [okta.keys[0].kid, old]
    assert okta.keys[0].kid in result.output
    assert_fails(run("rotate-keys", "--port", stub.url.rpartition(":")[2]), "is not a local Okta")
