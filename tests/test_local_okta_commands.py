"""`flask okta …` against a stub of the service."""

import base64
import json
import re
import socket
import stat
import threading
from types import SimpleNamespace

import pytest
import requests
from flask import Flask, request
from werkzeug.serving import make_server

from local_okta import commands
from local_okta.authorization_server import LocalOkta, new_key
from local_okta.client import basic_header
from local_okta.samples import SAMPLES

USER, PASSWORD = "okta", "pässword:with a colon"
CLIENT_KEY = new_key()


class Stub:
    """Answers every hook with `answer`, and keeps the Authorization headers that came."""

    def __init__(self):
        self.answer = ("", 204)
        self.authorizations = []
        app = Flask("stub")
        app.add_url_rule("/<path:path>", view_func=self._view, methods=["GET", "POST"])
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _view(self, path):
        self.authorizations.append(request.headers.get("Authorization"))
        challenge = request.headers.get("X-Okta-Verification-Challenge")
        return {"verification": challenge} if challenge and self.answer[1] < 300 else self.answer

    def stop(self):
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def stub():
    server = Stub()
    yield server
    server.stop()


@pytest.fixture
def settings():
    return SimpleNamespace(
        auth_mode="basic",
        basic_auth_user=USER,
        basic_auth_password=PASSWORD,
        okta_issuer=None,
        okta_audience="api://default",
    )


@pytest.fixture
def okta(app, settings):
    """The service's settings are for this local Okta, which `flask okta serve` has started."""
    with LocalOkta(client_key=CLIENT_KEY) as server:
        settings.auth_mode = "oauth"
        settings.okta_issuer = server.issuer
        client = {
            "client_id": server.client_id,
            "client_secret": server.client_secret,
            "client_key": server.client_key.as_dict(private=True),
        }
        path = client_file(app)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(client))
        yield server


@pytest.fixture
def app(settings, tmp_path):
    app = Flask("service", instance_path=str(tmp_path / "instance"))
    app.config["SETTINGS"] = settings
    app.cli.add_command(commands.okta_commands)
    return app


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *args: runner.invoke(args=["okta", *map(str, args)])


def client_file(app):
    return commands.Path(app.instance_path, commands.CLIENT_FILE)


def test_preview_shows_request_response_and_verdict(run, stub):
    command = {
        "type": "com.okta.identity.patch",
        "value": [{"op": "add", "path": "/claims/extPatientId", "value": "1235"}],
    }
    stub.answer = ({"commands": [command]}, 200)
    result = run("preview", "token", "--url", stub.url)
    assert result.exit_code == 0
    assert f"POST {stub.url}/tokenHook" in result.output
    assert '"preferred_username": "michelle.test@example.com"' in result.output
    assert "200 OK" in result.output
    assert result.output.endswith("Okta adds extPatientId to the ID token.\n")


def test_preview_masks_the_credentials(run, stub):
    result = run("preview", "token", "--url", stub.url)
    assert "Authorization: Basic ••••••••" in result.output
    [sent] = stub.authorizations
    assert sent == basic_header(USER, PASSWORD)
    assert sent not in result.output


def test_preview_fails_where_okta_could_not_use_the_answer(run, stub):
    stub.answer = ("<html>", 500)
    result = run("preview", "token", "--url", stub.url)
    assert result.exit_code == 1
    assert "500 INTERNAL SERVER ERROR" in result.output.upper()
    assert "<html>" in result.output


def test_preview_of_all_has_one_line_for_each(run, stub):
    result = run("preview", "--url", stub.url)
    assert result.exit_code == 0
    for name in SAMPLES:
        assert sum(line.startswith(f"{name} ") for line in result.output.splitlines()) == 1
    assert f"Okta can use {len(SAMPLES)} of {len(SAMPLES)} answers." in result.output


def test_preview_of_all_fails_where_one_answer_fails(run, stub):
    stub.answer = ({"error": "no"}, 200)
    result = run("preview", "--url", stub.url)
    assert result.exit_code == 1
    assert "Okta can use 2 of" in result.output


def test_preview_without_credentials(run, stub):
    run("preview", "token", "--auth", "none", "--url", stub.url)
    assert stub.authorizations == [None]


@pytest.mark.parametrize("auth", [None, "client-secret", "private-key"])
def test_in_oauth_mode_inline_hooks_get_a_token_and_event_hooks_basic(run, stub, okta, auth):
    option = ["--auth", auth] if auth else []
    result = run("preview", "--url", stub.url, *option)
    assert result.exit_code == 0, result.output
    schemes = [authorization.split()[0] for authorization in stub.authorizations]
    assert schemes == ["Basic"] * 2 + ["Bearer"] * (len(SAMPLES) - 2)


def test_preview_of_all_leaves_out_event_hooks_without_a_basic_pair(run, stub, okta, settings):
    settings.basic_auth_user = settings.basic_auth_password = None
    result = run("preview", "--url", stub.url)
    assert result.exit_code == 0
    assert result.output.count("not sent: there is no Basic pair") == 2
    result = run("preview", "event-user-created", "--url", stub.url)
    assert result.exit_code == 1
    assert "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD" in result.output


def test_preview_says_how_to_start_the_service(run, stub):
    stub.stop()
    stub._server.server_close()
    result = run("preview", "--url", stub.url)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: Nothing answers at {stub.url}. Start it in another terminal: flask run\n"
    )


def test_preview_says_how_to_start_the_local_okta(run, stub, okta):
    okta.stop()
    result = run("preview", "token", "--url", stub.url)
    assert result.exit_code == 1
    assert "flask okta serve" in result.output
    okta.start()


def test_preview_with_a_token_needs_a_local_okta(run, stub, settings):
    result = run("preview", "token", "--auth", "client-secret", "--url", stub.url)
    assert result.exit_code == 1
    assert "start one with flask okta serve" in result.output


@pytest.mark.parametrize("issuer", [None, "https://example.okta.com/oauth2/default"])
def test_preview_asks_no_other_issuer_for_a_token(run, stub, okta, settings, issuer):
    settings.okta_issuer = issuer
    result = run("preview", "token", "--auth", "private-key", "--url", stub.url)
    assert result.exit_code == 1
    assert "OKTA_ISSUER is" in result.output


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:5000", "http://", "http://a:b"])
def test_an_address_that_is_none_is_named(run, url):
    result = run("preview", "--url", url)
    assert result.exit_code == 2
    assert f"{url} is no address" in result.output


def test_verify_event_hook_checks_both_paths(run, stub):
    result = run("verify-event-hook", "--url", stub.url)
    assert result.exit_code == 0
    assert result.output.count("Okta verifies the hook") == 2


def test_verify_event_hook_says_what_is_wrong(run, stub):
    stub.answer = ({}, 401)
    result = run("verify-event-hook", "--url", stub.url)
    assert result.exit_code == 1
    assert "/userDeactivated  Status 401" in result.output


def test_auth_secret_is_the_header_and_nothing_else(run):
    result = run("auth-secret")
    scheme, encoded = result.output.split(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == f"{USER}:{PASSWORD}"
    assert not result.output.endswith("\n")


def test_auth_secret_needs_a_basic_pair(run, settings):
    settings.basic_auth_password = None
    result = run("auth-secret")
    assert result.exit_code == 1
    assert "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD" in result.output


@pytest.fixture
def serve(run, monkeypatch):
    """Runs `serve` until it waits; gives its result and the keys that it published."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    published = []

    def look_and_go_on():
        url = f"http://127.0.0.1:{port}/oauth2/default/v1/keys"
        published.append(requests.get(url, timeout=5).json()["keys"])

    def serve():
        monkeypatch.setattr(commands, "_wait_for_ctrl_c", look_and_go_on)
        return run("serve", "--port", port), published[-1]

    return serve


def test_serve_prints_what_goes_into_dotenv(serve, app):
    result, _ = serve()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    client = json.loads(client_file(app).read_text())
    base = re.search(r"runs on (\S+)\.", lines[0])[1]
    assert lines[2:6] == [
        "AUTH_MODE=oauth",
        f"OKTA_ISSUER={base}/oauth2/default",
        f"OKTA_CLIENT_ID={client['client_id']}",
        "OKTA_SCOPE=hooks",
    ]
    assert any("/oauth2/default/v1/keys  200" in line for line in lines)


def test_serve_keeps_its_client_for_your_eyes_only(serve, app):
    _, first_keys = serve()
    client = client_file(app).read_text()
    assert stat.S_IMODE(client_file(app).stat().st_mode) == 0o600
    _, keys = serve()
    assert client_file(app).read_text() == client
    assert keys != first_keys


def test_serve_names_a_taken_port(run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run("serve", "--port", port)
    assert result.exit_code == 1
    assert f"Port {port} cannot be used (Address already in use)" in result.output


def test_a_broken_client_file_is_named(run, app):
    client_file(app).parent.mkdir()
    client_file(app).write_text("{")
    result = run("serve")
    assert result.exit_code == 1
    assert f"{client_file(app)} cannot be read" in result.output


def test_rotate_keys(run, okta):
    old = okta.keys[0].kid
    result = run("rotate-keys", "--port", okta.port)
    assert result.exit_code == 0
    assert [key.kid for key in okta.keys] == [okta.keys[0].kid, old]
    assert okta.keys[0].kid in result.output


def test_rotate_keys_needs_a_local_okta(run, stub):
    result = run("rotate-keys", "--port", stub.url.rpartition(":")[2])
    assert result.exit_code == 1
    assert "is no local Okta" in result.output


@pytest.mark.parametrize("name", sorted(commands.okta_commands.commands))
def test_every_command_has_a_help_text(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert len(result.output) > 200
