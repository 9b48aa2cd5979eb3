"""The demo must notice a service that is not as it should be."""

import threading

import pytest
from flask import Flask, request
from werkzeug.serving import make_server

from local_okta import demo
from local_okta.authorization_server import LocalOkta
from local_okta.client import basic_header

USER, PASSWORD = "okta", "a password"


@pytest.fixture
def serve():
    servers = []

    def serve(guard):
        app = Flask("stub")
        app.before_request(guard)
        app.add_url_rule("/<path:path>", view_func=lambda path: ("", 204), methods=["POST"])
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()


def test_a_service_that_lets_everything_through_is_noticed(serve):
    url = serve(lambda: None)
    with LocalOkta() as okta:
        run = demo.oauth_mode(url, USER, PASSWORD, okta)
    missed = {line.split(": 204", 1)[0] for line in run.differences if "not refused" in line}
    assert missed == {
        f"each of the {hooks}, {authentication}"
        for hooks, authentications in {
            "event hooks": ["no credentials", "wrong password", "a good token"],
            "inline hooks": [
                "no credentials",
                "basic",
                "expired",
                "wrong audience",
                "wrong client",
                "foreign key",
                "alg none",
                "tampered claims",
                "missing scope",
            ],
        }.items()
        for authentication in authentications
    }


def test_one_unguarded_path_is_noticed(serve):
    def guard():
        authorized = request.headers.get("Authorization") == basic_header(USER, PASSWORD)
        if not authorized and request.path != "/SAMLHook":
            return "", 401, {"WWW-Authenticate": 'Basic realm="x"'}
        return None

    run = demo.basic_mode(serve(guard), USER, PASSWORD)
    unguarded = [line for line in run.differences if "each of" in line]
    assert unguarded == [
        "each of the inline hooks, no credentials: 204, not refused",
        "each of the inline hooks, wrong password: 204, not refused",
    ]


def test_an_answer_that_does_too_little_is_noticed(serve):
    run = demo.basic_mode(serve(lambda: None), USER, PASSWORD)
    assert "token, basic: 204, Okta issues the tokens unchanged" in run.differences


def test_a_gunicorn_that_does_not_start_is_shown():
    with (
        pytest.raises(demo.ServerFailed, match="BASIC_AUTH_PASSWORD"),
        demo.service(AUTH_MODE="basic"),
    ):
        pass
