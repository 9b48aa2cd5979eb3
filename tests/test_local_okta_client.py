"""The client keeps to Okta's rules: one retry at most, no redirects, limits on time and size."""

import base64
import contextlib
import gzip
import json
import threading
import time
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local_okta import client
from local_okta.client import Answer
from local_okta.exchange import SIZE_LIMIT

# Seconds within which even a busy machine answers itself.
SOON = 1.0
# Seconds to wait for what never answers in time.
SHORT = 0.3


class Service(ThreadingHTTPServer):
    """Applies the next of `behaviours` to each request, and repeats the last one."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.behaviours = [status(204)]
        self.seen = []

    @property
    def paths(self):
        return [path for _, path, _, _ in self.seen]

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


def status(code, body=b"", after=0.0, **headers):
    def behave(handler):
        time.sleep(after)
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def hang(handler):
    time.sleep(2 * SOON)


def trickle(start, piece):
    """One small piece after another: each read succeeds, but the answer never ends."""

    def behave(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + start)
        for _ in range(100):
            handler.wfile.write(piece)
            time.sleep(SHORT / 10)

    return behave


@pytest.fixture
def service():
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(service, kind="saml", **options):
    return client.send(f"{service.url}/hook", {"data": {}}, kind=kind, **options)


def with_token(service):
    return client.client_secret(f"{service.url}/token", "id", "the secret", "hooks")


def test_a_request_looks_like_oktas(service):
    service.behaviours = [status(200, b'{"commands": []}')]
    answer = send(service, credentials=client.basic("okta", "pässword"))
    assert (answer.status, answer.json, answer.attempts) == (200, {"commands": []}, 1)
    [(method, path, headers, body)] = service.seen
    assert (method, path, json.loads(body)) == ("POST", "/hook", {"data": {}})
    assert headers["Accept"] == headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "Okta-Integrations"
    pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "okta:pässword"
    assert answer.sent.items() <= headers.items()
    assert send(service).sent["X-Okta-Request-Id"] != answer.sent["X-Okta-Request-Id"]


def test_the_check_of_an_event_hook_is_a_get_with_the_challenge(service):
    client.verify(f"{service.url}/hook", "the challenge", credentials=client.bearer("token"))
    [(method, _, headers, _)] = service.seen
    assert method == "GET"
    assert headers["X-Okta-Verification-Challenge"] == "the challenge"
    assert headers["Authorization"] == "Bearer token"


ATTEMPTS = [
    ("saml", [status(500), status(204)], 204, 2),
    ("saml", [hang, status(204)], 204, 2),
    ("saml", [status(503)], 503, 2),
    ("token", [status(503), status(204)], 503, 1),
    ("telephony", [status(503), status(204)], 503, 1),
    *[("saml", [status(code)], code, 1) for code in (200, 400, 429)],
    *[("saml", [status(code, Location="/elsewhere")], code, 1) for code in (302, 307)],
]


@pytest.mark.parametrize(("kind", "behaviours", "code", "attempts"), ATTEMPTS)
def test_only_a_server_error_or_a_timeout_is_retried_and_only_once(
    service, monkeypatch, kind, behaviours, code, attempts
):
    service.behaviours = [*behaviours]
    if hang in behaviours:
        monkeypatch.setattr(client, "SECONDS", SOON)
    answer = send(service, kind)
    assert (answer.status, answer.attempts, answer.timed_out) == (code, attempts, False)
    assert service.paths == ["/hook"] * attempts


@pytest.mark.parametrize("behaviour", [hang, trickle(b"\r\n", b" "), trickle(b"", b"X: 1\r\n")])
def test_a_timeout_has_no_status_and_a_token_hook_is_not_retried(service, monkeypatch, behaviour):
    monkeypatch.setattr(client, "SECONDS", SHORT)
    service.behaviours = [behaviour]
    answer = send(service, "token")
    assert (answer.status, answer.timed_out, answer.attempts) == (None, True, 1)


def test_the_proxy_and_netrc_of_this_machine_are_ignored(service, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password swordfish\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert send(service).status == 204
    [(_, _, headers, _)] = service.seen
    assert "Authorization" not in headers


def test_a_service_that_is_not_running_is_named_and_is_not_a_timeout():
    with Service() as closed:
        pass
    answer = send(closed)
    assert (answer.status, answer.timed_out, answer.attempts) == (None, False, 1)
    assert "refused" in answer.error
    assert not answer.was_sent


def test_an_answer_that_is_not_http_is_an_error(service):
    service.behaviours = [lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")]
    answer = send(service)
    assert (answer.status, answer.timed_out) == (None, False)


def test_an_invalid_host_is_named_at_once(monkeypatch):
    monkeypatch.setattr(client, "SECONDS", 60.0)
    answer = client.send("http://a..b:1/hook", {}, kind="saml")
    assert (answer.error, answer.was_sent) == ("a..b:1: there is no such host", False)
    assert answer.milliseconds < 30_000


def endless(ended):
    def behave(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            try:
                handler.wfile.write(b" " * 65536)
            except OSError:
                ended.set()
                raise

    return behave


def test_an_endless_answer_is_cut_off_and_its_connection_closed(service):
    ended = threading.Event()
    service.behaviours = [endless(ended)]
    answer = send(service)
    assert (answer.status, len(answer.body), answer.json) == (200, SIZE_LIMIT, None)
    assert ended.wait(30)


@pytest.mark.parametrize("start", [b"", b"\r\n"], ids=["in the headers", "in the body"])
def test_the_connection_of_a_late_answer_is_closed(service, monkeypatch, start):
    monkeypatch.setattr(client, "SECONDS", SHORT)
    ended = threading.Event()

    def behave(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + start)
        # No byte comes late. It ends as soon as the client hangs up.
        with contextlib.suppress(OSError):
            for _ in range(1000):
                handler.wfile.write(b"X")
                time.sleep(SHORT / 10)
        ended.set()

    service.behaviours = [behave]
    answer = send(service, "token")
    assert (answer.timed_out, answer.was_sent) == (True, True)
    assert ended.wait(10)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_answer_has_the_same_size_limit(service, encoding):
    def compressed(text):
        return gzip.compress(text) if encoding == "gzip" else zlib.compress(text)

    headers = {"Content-Encoding": encoding}
    service.behaviours = [
        status(200, compressed(b"{}"), **headers),
        status(200, compressed(bytes(100_000_000)), **headers),
        status(200, b"not compressed", **headers),
    ]
    assert send(service).json == {}
    assert len(send(service).body) == SIZE_LIMIT
    assert send(service).error.endswith("it does not answer in HTTP")


@pytest.mark.parametrize(
    "cut",
    [
        b"Content-Length: 9\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}",
        b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}")[:-1],
    ],
    ids=["shorter than announced", "chunked", "compressed"],
)
def test_an_incomplete_answer_is_an_error(service, cut):
    service.behaviours = [lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + cut)]
    answer = send(service)
    assert (answer.status, answer.was_sent) == (None, True)
    assert answer.error.endswith("it closed the connection")


NOT_JSON = [b"", b"{", b"NaN", b'{"a": -Infinity}', b"[1e999]", b"[" * 100_000, b'{"a":' * 1_000]


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: body[:10])
def test_json_that_other_parsers_refuse_is_not_accepted(body):
    assert Answer(200, body=body).json is None


def test_json_may_be_nested_a_hundred_levels_deep_and_no_deeper():
    assert Answer(200, body=b"[" * 100 + b"]" * 100).json is not None
    assert Answer(200, body=b"[" * 101 + b"]" * 101).json is None


def test_the_times_tell_the_attempts_and_the_time_for_the_token():
    assert Answer(200, milliseconds=9).times == "9 ms"
    with_token = Answer(200, milliseconds=9, token_milliseconds=5)
    assert with_token.times == "9 ms, 5 ms of it for the token"
    assert replace(with_token, attempts=2).times == (
        "9 ms, in 2 attempts, 5 ms of the last one for the token"
    )


NO_TOKEN = [
    (status(401, b'{"error": "invalid_client"}'), "invalid_client"),
    (status(200, b""), "status 200"),
    (status(200, b"[]"), "status 200"),
    (status(200, b"{}"), "status 200"),
    (status(200, b'{"access_token": 1}'), "status 200"),
    (status(200, b'{"access_token": "a\\r\\nX: b"}'), "status 200"),
    (status(200, b"[" * 100_000), "status 200"),
]


@pytest.mark.parametrize(("behaviour", "reason"), NO_TOKEN)
def test_without_a_token_nothing_is_sent_to_the_hook(service, behaviour, reason):
    service.behaviours = [behaviour]
    answer = send(service, credentials=with_token(service))
    assert (answer.status, answer.attempts, service.paths) == (None, 1, ["/token"])
    assert answer.error.startswith("no access token")
    assert not answer.was_sent
    assert reason in answer.error
    assert "the secret" not in answer.error


@pytest.mark.parametrize("seconds", [0.6 * SHORT, 2 * SHORT])
def test_the_time_for_the_token_counts_towards_the_limit(service, monkeypatch, seconds):
    """The token takes most of the time, or all of it, so that too little is left for the hook."""
    monkeypatch.setattr(client, "SECONDS", SHORT)
    token = b'{"access_token": "t"}'
    service.behaviours = [status(200, token, after=seconds), status(204, after=seconds)]
    answer = send(service, "token", credentials=with_token(service))
    assert (answer.status, answer.timed_out) == (None, True)
