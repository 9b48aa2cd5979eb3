"""The page of the local Okta over plain HTTP: who may use it, and what it says."""

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import requests
from flask import Flask

from app import create_app
from local_okta import client, page_requests, page_steps
from local_okta.authorization_server import LocalOkta
from local_okta.endpoints import KEY_ROTATION
from local_okta.exchange import SIZE_LIMIT
from local_okta.page import ISSUER_MODES
from local_okta.page_requests import AUTHENTICATIONS
from local_okta.samples import SAMPLES
from local_okta.strict_json import parse
from settings import Settings, SettingsError, load_settings
from tests.support.gunicorn import EVENT_HOOK, INLINE_HOOK, INLINE_SAMPLES, basic_settings, serving
from tests.support.page import served_page

CHANGES = {
    "/page/send": {},
    "/page/verify": {},
    "/page/rotate-keys": {},
    "/page/issuer": {"mode": "down"},
    KEY_ROTATION: {"use": "sig"},
}
NO_SERVICE = "http://127.0.0.1:1"
# The first sample of each, if there is one.
EVENTS = [sample for sample in SAMPLES.values() if sample.kind == "event"][:1]
RETRIED = [sample for sample in INLINE_SAMPLES if sample.kind not in client.NEVER_RETRIED][:1]


@pytest.fixture(scope="module")
def okta():
    return LocalOkta()


@pytest.fixture(scope="module")
def page(okta):
    with served_page(okta) as url:
        yield url


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Accepts only Basic."""
    folder = tmp_path_factory.mktemp("events")
    own = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{folder}/events.sqlite")
    with serving(create_app(load_settings(own, Path(os.devnull)))) as address:
        yield address


def get(page, path, **headers):
    return requests.get(page + path, headers=headers, timeout=30)


def post(page, path, body, **headers):
    return requests.post(page + path, json=body, headers=headers, timeout=30)


def send(
    page, service=NO_SERVICE, authentication="Basic", request=None, path=None, sample=INLINE_HOOK
):
    request = json.dumps(sample.payload) if request is None else request
    form = {"service": service, "hook": sample.name, "authentication": authentication}
    form |= {"path": path or sample.path, "request": request}
    answer = post(page, "/page/send", form)
    assert answer.status_code == 200, answer.text
    # As strict as a browser, which refuses NaN.
    return parse(answer.content)


@pytest.fixture
def stub():
    """Answers every request with `stub.answer`, and records the paths."""
    stub = SimpleNamespace(answer=("", 204), paths=[])
    app = Flask("stub")

    @app.post("/<path:path>")
    def answer(path):
        stub.paths.append(f"/{path}")
        return stub.answer() if callable(stub.answer) else stub.answer

    with serving(app) as stub.url:
        yield stub


@pytest.fixture
def issuer(page):
    """Chooses how the issuer answers, for one test."""
    yield lambda mode: post(page, "/page/issuer", {"mode": mode})
    post(page, "/page/issuer", {"mode": "answers"})


def entries(page, after=0):
    return get(page, f"/page/activity?after={after}").json()["entries"]


def last_entry(page):
    return max((entry["id"] for entry in entries(page)), default=0)


HOSTS = {
    "/": "example.com",
    "/page/state": "example.com:{port}",
    "/oauth2/default/v1/keys": "localhost:{port}",
    "/page/page.js": "127.0.0.1",
    "/nothing": "",
}


@pytest.mark.parametrize("path", HOSTS)
def test_a_request_for_another_host_is_refused(page, okta, path):
    host = HOSTS[path].format(port=okta.port)
    assert get(page, path, Host=host).status_code == 403


FOREIGN = [
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost:{port}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
]


@pytest.mark.parametrize(
    ("path", "headers"),
    [(path, {"Origin": "https://example.com"}) for path in CHANGES]
    + [("/page/issuer", headers) for headers in FOREIGN],
)
def test_another_origin_cannot_change_anything(page, okta, path, headers):
    keys = okta.keys
    headers = {name: value.format(port=okta.port) for name, value in headers.items()}
    assert post(page, path, CHANGES[path], **headers).status_code == 403
    assert okta.keys == keys
    assert get(page, "/page/state").json()["issuer"] == "answers"


def test_another_origin_gets_no_token_and_reads_nothing_but_may_link_to_the_page(page, okta):
    form = {"grant_type": "client_credentials", "client_id": okta.client_id, "scope": "hooks"}
    form |= {"client_secret": okta.client_secret}
    for headers, status in (({"Origin": "https://example.com"}, 403), ({}, 200)):
        answer = requests.post(okta.token_endpoint, form, headers=headers, timeout=30)
        assert answer.status_code == status
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert get(page, "/page/activity", **foreign).status_code == 403
    assert get(page, "/", **foreign | {"Sec-Fetch-Mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("path", [path for path in CHANGES if path != KEY_ROTATION])
def test_a_form_cannot_change_anything(page, okta, path):
    keys, headers = okta.keys, {"Content-Type": "text/plain"}
    answer = requests.post(page + path, json.dumps(CHANGES[path]), headers=headers, timeout=30)
    assert answer.status_code == 415
    assert get(page, path).status_code in (404, 405)
    assert okta.keys == keys


def test_the_page_is_served_only_on_loopback(page, okta):
    listening = [
        each.laddr.ip
        for each in psutil.Process().net_connections("inet")
        if each.laddr.port == okta.port and each.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


@pytest.mark.parametrize("mode", ISSUER_MODES)
@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/state", "/page/nothing"])
def test_the_page_runs_nothing_from_elsewhere_and_cannot_be_framed(page, issuer, mode, path):
    issuer(mode)
    headers = get(page, path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


WRONG_REQUESTS = {
    '{\n  "a": 1\n  "b": 2}': ("line 3, column 3", 13),
    '{"😀": }': ("line 1, column 7", 6),
    "[1]": ("starts with {", None),
    '{"a": NaN}': ("NaN is not a JSON value", None),
    '{"a": -1e999}': ("-1e999 is too large a number", None),
    "[" * 100_000: ("cannot be sent as JSON", None),
}


@pytest.mark.parametrize("text", WRONG_REQUESTS, ids=lambda text: text[:12])
def test_a_request_that_cannot_be_sent_is_explained(page, text):
    result = send(page, request=text)
    words, position = WRONG_REQUESTS[text]
    assert words in result["errors"]["request"]
    assert result["position"] == position
    assert "sent" not in result


def test_a_body_that_the_script_would_not_send_is_refused(page):
    for body in ("[" * 100_000, "[]", "{}"):
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{page}/page/send", body, headers=headers, timeout=30)
        assert answer.status_code == 400


def test_the_path_can_be_changed_and_a_prefix_of_the_service_is_kept(page, stub):
    for service, path, requested in (
        (stub.url, "/my hook?a=b", "/my hook"),
        (f"{stub.url}/gateway/", INLINE_HOOK.path, f"/gateway{INLINE_HOOK.path}"),
        (f"{stub.url}/gateway{INLINE_HOOK.path}", INLINE_HOOK.path, f"/gateway{INLINE_HOOK.path}"),
        (f"{stub.url}/myHook", "/myHook", "/myHook"),
    ):
        result = send(page, service, path=path)
        assert stub.paths[-1] == requested
        assert result["sent"]["line"] == f"POST {result['service']}{result['path']}"
    for path in ("myHook", "/\ud800"):
        assert "path" in send(page, stub.url, path=path)["errors"]


@pytest.mark.parametrize("event", EVENTS)
def test_an_edited_request_is_judged_by_its_event_type(page, stub, event):
    result = send(page, stub.url, request=json.dumps(event.payload))
    assert result["verdict"]["sentence"] == "Okta counts the events as delivered."


NO_ADDRESS = (
    "",
    "127.0.0.1:5000",
    "ftp://127.0.0.1",
    "http://",
    "http://a:b",
    "http://u:p@127.0.0.1",
)
WRONG_ADDRESSES = dict.fromkeys(NO_ADDRESS, "is not an address such as")
WRONG_ADDRESSES[NO_SERVICE] = "(Connection refused). Start it: make run"
WRONG_ADDRESSES["http://a..b:1"] = "(there is no such host)"


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_an_address_without_a_service_is_explained(page, address):
    assert WRONG_ADDRESSES[address] in send(page, address)["errors"]["service"]
    if EVENT_HOOK:
        verification = post(page, "/page/verify", {"service": address})
        assert WRONG_ADDRESSES[address] in verification.json()["errors"]["service"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_local_oktas_own_address_is_refused(page, okta, host):
    result = send(page, f"http://{host}:{okta.port}")
    assert "the address of the local Okta itself" in result["errors"]["service"]
    assert "steps" not in result


@pytest.mark.parametrize(("mode", "label"), [("slow", "no token in 0.3 s"), ("down", "no token")])
def test_without_a_token_nothing_is_sent(page, stub, issuer, monkeypatch, mode, label):
    monkeypatch.setattr(client, "SECONDS", 0.3 if mode == "slow" else 60.0)
    monkeypatch.setattr(page_steps, "SECONDS", 0.3)
    # The page does not know that the issuer is down, and so does not sign a token itself.
    monkeypatch.setattr(page_requests, "FROM_TOKEN_ENDPOINT", ())
    last = last_entry(page)
    issuer(mode)
    result = send(page, stub.url, "Client secret")
    assert stub.paths == []
    assert (result["sent"], result["response"], result["token"]) == (None, None, None)
    assert result["not_sent"].startswith("Nothing was sent: ")
    assert result["steps"][-1]["label"] == label
    assert "access token" in result["verdict"]["sentence"]
    sent = [
        (each["text"], each["outcome"]) for each in entries(page, last) if each["kind"] == "sent"
    ]
    assert sent == [(f"not sent to {INLINE_HOOK.path}", label)]


def test_without_a_connection_nothing_is_sent_even_with_a_token(page):
    result = send(page, authentication="Client secret")
    assert (result["sent"], result["token"]["good"]) == (None, True)
    assert result["not_sent"] == "Nothing was sent: there was no connection to the service."
    assert [step["label"] for step in result["steps"]][1:] == ["access token", "no connection"]


@pytest.mark.parametrize("sample", RETRIED)
def test_the_first_attempt_is_shown_if_the_second_gets_no_token(page, stub, issuer, sample):
    def answer():
        issuer("down")
        return "", 500

    stub.answer = answer
    result = send(page, stub.url, "Private key", sample=sample)
    assert result["sent"]["line"] == f"POST {stub.url}{sample.path}"
    assert result["not_sent"] == "Nothing was sent: there was no access token."
    assert ", in 2 attempts" in result["times"]


HOSTILE = {
    "deep": b'{"a":' * 100_000,
    "deep and whole": b"[" * 900 + b"]" * 900,
    "NaN": b'{"commands": NaN}',
    "too large": b'{"commands": 1e999}',
    "surrogate": b'{"error": {"errorSummary": "\\ud800"}}',
    "not UTF-8": b"\xff",
    "endless": b" " * 10_000_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_no_answer_breaks_the_page(page, stub, body):
    stub.answer = (body, 200)
    result = send(page, stub.url)
    assert result["response"]["status"] == 200
    assert len(result["response"]["body"]) <= SIZE_LIMIT


ENDS = [
    (("", 200), "accepted", "The hook answers 200 OK"),
    (({"error": {}}, 404), "accepted", "There is no hook at this path: 404 Not Found"),
    (("", 404), "POST, user and password", "A program other than this service seems to answer"),
    (("[]", 501), "POST, user and password", "A program other than this service seems to answer"),
    (("", 403), "POST, user and password", "A program other than this service seems to answer"),
    (("", 401, {"WWW-Authenticate": "Basic"}), "POST, user and password", "The guard refuses it"),
]


@pytest.mark.parametrize(("answer", "before", "text"), ENDS)
def test_the_steps_say_no_more_than_the_answer_shows(page, stub, answer, before, text):
    stub.answer = answer
    result = send(page, stub.url)
    *_, last_but_one, last = result["steps"]
    assert last_but_one["label"] == before
    assert last["text"].startswith(text)
    assert any("AirPlay" in note for note in result["notes"]) is ("A program other" in text)


@pytest.mark.parametrize("event", EVENTS)
def test_words_explain_the_colour_and_what_happens_to_an_event(page, service, stub, event):
    result = send(page, service, sample=event)
    assert result["verdict"]["meaning"].startswith("Green means that Okta counts this as done")
    assert "EVENT_THREADS=2" in result["notes"][-1]
    stub.answer = ("", 500)
    result = send(page, stub.url, sample=event)
    assert result["verdict"]["meaning"].startswith("Red means")
    assert not [note for note in result["notes"] if "EVENT_THREADS" in note]
    stub.answer = ("", 204)
    assert "whether a yes or a no" in send(page, stub.url)["verdict"]["meaning"]


def test_a_service_that_hangs_is_given_up_after_three_seconds(page):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = send(page, f"http://127.0.0.1:{listener.getsockname()[1]}")
    last = result["steps"][-1]
    assert (last["outcome"], last["label"]) == ("silent", "no answer in 3 s")
    assert last["milliseconds"] >= 2900
    assert result["verdict"]["sentence"].startswith("No answer in time")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD"),
        (SettingsError({"AUTH_MODE": "is wrong"}), "the settings are wrong"),
    ],
)
def test_without_a_basic_pair_the_page_says_why_and_tokens_can_be_tried(error, words):
    with served_page(LocalOkta(), Settings(), error) as page:
        state = get(page, "/page/state").json()
        assert (state["default"], state["settings_error"]) == ("Basic", error and str(error))
        assert words in send(page)["errors"]["authentication"]
        assert send(page, authentication="Client secret")["token"]["good"]


def test_a_token_is_preselected_if_the_service_needs_one(page):
    assert get(page, "/page/state").json()["default"] == "Client secret"


@pytest.mark.parametrize("mode", ["slow", "down"])
def test_an_issuer_that_misbehaves_does_not_affect_the_page(okta, page, mode):
    post(page, "/page/issuer", {"mode": mode})
    try:
        with pytest.raises(requests.RequestException):
            requests.get(okta.jwks_uri, timeout=0.5)
        assert get(page, "/").status_code == 200
    finally:
        post(page, "/page/issuer", {"mode": "answers"})
    assert requests.get(okta.jwks_uri, timeout=30).status_code == 200


def test_activity_lists_the_requests_to_the_issuer_and_what_was_sent(page, okta, service):
    last = last_entry(page)
    send(page, service, "Private key")
    requests.get(okta.jwks_uri, timeout=30)
    get(page, "/oauth2/default/nothing")
    seen = [(entry["kind"], entry["text"], entry["outcome"]) for entry in entries(page, last)]
    assert seen == [
        ("issuer", "access token requested", "200"),
        ("sent", f"sent to {INLINE_HOOK.path}", "401"),
        ("issuer", "keys requested", "200"),
    ]


def test_for_a_service_with_basic_the_page_shows_the_settings_for_tokens(page, okta, service):
    for authentication in AUTHENTICATIONS:
        result = send(page, service, authentication)
        accepted = authentication == "Basic"
        assert result["verdict"]["accepted"] is accepted
        assert (result["steps"][-1]["from"] == 3) is accepted
        words = " ".join(result["notes"])
        named = "AUTH_MODE=basic" in words and f"OKTA_CLIENT_ID={okta.client_id}" in words
        assert named is (result["token"] is not None)
