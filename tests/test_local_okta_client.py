"""The client keeps to Okta's rules: one retry at most, no redirects, a bound on all of it."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local_okta import client
from local_okta.authorization_server import LocalOkta, new_key

# Seconds in which a busy machine still answers itself.
SOON = 1.0


class Service(ThreadingHTTPServer):
    """Does to one request after the other what `behaviours` say; the last one stays."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours = [status(204)]
        self.seen = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """The client hung up, which is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        behaviours = self.server.behaviours
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        behaviour(self)

    do_GET = do_POST  # noqa: N815 - the name is http.server's

    def log_message(self, *args):
        pass


def status(code, body=b"", **headers):
    def behave(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def hang(handler):
    time.sleep(2 * SOON)


def trickle(handler):
    """A byte now and then: each read succeeds, the answer never ends."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(SOON / 10)


def trickle_headers(handler):
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
    for number in range(100):
        handler.wfile.write(b"X-%d: 1\r\n" % number)
        time.sleep(SOON / 10)


@pytest.fixture
def service():
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def okta():
    with LocalOkta() as server:
        yield server


def send(service, kind="saml", **options):
    return client.send(f"{service.url}/hook", {"data": {}}, kind=kind, **options)


def test_a_request_looks_like_oktas(service):
    service.behaviours = [status(200, b'{"commands": []}')]
    answer = send(service, credentials=client.basic("okta", "pässword"))
    assert (answer.status, answer.json, answer.attempts) == (200, {"commands": []}, 1)
    [(method, path, headers, body)] = service.seen
    assert (method, path, json.loads(body)) == ("POST", "/hook", {"data": {}})
    assert headers["Accept"] == headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "Okta-Integrations"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == (
        "okta:pässword".encode()
    )
    assert answer.sent.items() <= headers.items()


def test_each_request_has_an_id_of_its_own(service):
    assert send(service).sent["X-Okta-Request-Id"] != send(service).sent["X-Okta-Request-Id"]


@pytest.mark.parametrize("code", [200, 204, 301, 302, 307, 308, 400, 401, 403, 404, 429])
def test_there_is_no_retry_after_any_answer_below_500(service, code):
    service.behaviours = [status(code, Location="/elsewhere")]
    answer = send(service)
    assert (answer.status, answer.attempts) == (code, 1)
    assert [path for _, path, _, _ in service.seen] == ["/hook"]


@pytest.mark.parametrize("behaviour", [status(500), status(503), hang, trickle, trickle_headers])
def test_there_is_one_retry_after_a_server_error_or_a_time_out(service, behaviour):
    service.behaviours = [behaviour, status(204)]
    answer = send(service, seconds=SOON)
    assert (answer.status, answer.attempts, answer.timed_out) == (204, 2, False)


def test_there_is_no_second_retry(service):
    service.behaviours = [status(503)]
    answer = send(service)
    assert (answer.status, answer.attempts, len(service.seen)) == (503, 2, 2)


@pytest.mark.parametrize("kind", ["token", "telephony"])
@pytest.mark.parametrize("behaviour", [hang, status(503)])
def test_token_and_telephony_hooks_are_never_retried(service, kind, behaviour):
    service.behaviours = [behaviour, status(204)]
    answer = send(service, kind, seconds=SOON)
    assert answer.attempts == len(service.seen) == 1
    assert answer.timed_out == (behaviour is hang)


@pytest.mark.parametrize("behaviour", [hang, trickle, trickle_headers])
def test_a_time_out_has_no_status(service, behaviour):
    service.behaviours = [behaviour]
    answer = send(service, "token", seconds=SOON)
    assert (answer.status, answer.timed_out) == (None, True)


def test_nobody_there_is_no_time_out():
    with Service() as closed:
        url = closed.url
    answer = client.send(url, {}, kind="saml")
    assert (answer.status, answer.timed_out, answer.attempts) == (None, False, 1)
    assert "refused" in answer.error


def test_an_answer_that_is_no_http_is_an_error(service):
    service.behaviours = [lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")]
    answer = send(service)
    assert (answer.status, answer.timed_out) == (None, False)


def test_a_body_that_is_no_json_is_none(service):
    service.behaviours = [status(200, b"<html>")]
    assert send(service).json is None


def test_both_oauth_flows_send_a_bearer_token(service, okta):
    for credentials in (
        client.client_secret(okta.token_endpoint, okta.client_id, okta.client_secret, "hooks"),
        client.private_key(okta.token_endpoint, okta.client_id, okta.client_key, "hooks"),
    ):
        answer = send(service, credentials=credentials)
        assert answer.status == 204
        scheme, token = service.seen[-1][2]["Authorization"].split(" ")
        assert (scheme, token.count(".")) == ("Bearer", 2)


WRONG_CLIENTS = [
    ({"secret": "wrong"}, "invalid_client"),
    ({"scope": "other"}, "invalid_scope"),
    ({"client_id": "nobody"}, "invalid_client"),
]


@pytest.mark.parametrize(("change", "error"), WRONG_CLIENTS)
def test_without_a_token_the_hook_is_not_asked(service, okta, change, error):
    right = {"client_id": okta.client_id, "secret": okta.client_secret, "scope": "hooks"}
    answer = send(service, credentials=client.client_secret(okta.token_endpoint, **right | change))
    assert (answer.status, answer.attempts, service.seen) == (None, 1, [])
    assert error in answer.error
    assert okta.client_secret not in answer.error


def test_a_wrong_key_gets_no_token(service, okta):
    credentials = client.private_key(okta.token_endpoint, okta.client_id, new_key(), "hooks")
    assert "invalid_client" in send(service, credentials=credentials).error


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"access_token"', b"null", b'"text"'])
def test_a_token_endpoint_that_talks_nonsense_is_an_error(service, body):
    service.behaviours = [status(200, body)]
    credentials = client.client_secret(f"{service.url}/token", "id", "secret", "hooks")
    answer = send(service, credentials=credentials)
    assert answer.error.startswith("no access token")


def test_the_time_for_the_token_counts(service):
    """The token takes most of the time, so that too little is left for the hook."""

    def slow_token(handler):
        time.sleep(SOON * 0.8)
        status(200, b'{"access_token": "t"}')(handler)

    def slow_hook(handler):
        time.sleep(SOON * 0.8)
        status(204)(handler)

    service.behaviours = [slow_token, slow_hook]
    credentials = client.client_secret(f"{service.url}/token", "id", "secret", "hooks")
    answer = send(service, "token", credentials=credentials, seconds=SOON)
    assert (answer.status, answer.timed_out) == (None, True)


def test_a_slow_token_endpoint_is_a_time_out(service):
    service.behaviours = [hang]
    credentials = client.client_secret(f"{service.url}/token", "id", "secret", "hooks")
    answer = send(service, "token", credentials=credentials, seconds=SOON)
    assert (answer.timed_out, [path for _, path, _, _ in service.seen]) == (True, ["/token"])


def test_the_check_of_an_event_hook_is_a_get_with_the_challenge(service):
    client.verify(f"{service.url}/hook", "the challenge", credentials=client.bearer("token"))
    [(method, _, headers, _)] = service.seen
    assert method == "GET"
    assert headers["X-Okta-Verification-Challenge"] == "the challenge"
    assert headers["Authorization"] == "Bearer token"
