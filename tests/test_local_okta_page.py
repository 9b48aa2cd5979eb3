"""The page of the local Okta over plain HTTP: whom it answers, and what it says."""

import json
import socket

import pytest
import requests

from app import create_app
from local_okta.authorization_server import LocalOkta
from local_okta.endpoints import KEY_ROTATION
from local_okta.page_requests import AUTHENTICATIONS
from settings import Settings, SettingsError
from tests.support.gunicorn import INLINE_HOOK, serving
from tests.support.page import BASIC, served_page

CHANGES = {
    "/page/send": {},
    "/page/verify": {},
    "/page/rotate-keys": {},
    "/page/issuer": {"mode": "down"},
    KEY_ROTATION: {"use": "sig"},
}
NOBODY_THERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def okta():
    return LocalOkta()


@pytest.fixture(scope="module")
def page(okta):
    with served_page(okta) as url:
        yield url


@pytest.fixture(scope="module")
def service():
    """Takes Basic alone."""
    with serving(create_app(Settings(**BASIC))) as url:
        yield url


def get(page, path, **headers):
    return requests.get(page + path, headers=headers, timeout=30)


def post(page, path, body, **headers):
    return requests.post(page + path, json=body, headers=headers, timeout=30)


def send(page, service=NOBODY_THERE, authentication="Basic", request=None):
    request = json.dumps(INLINE_HOOK.payload) if request is None else request
    form = {"service": service, "hook": INLINE_HOOK.name, "authentication": authentication}
    answer = post(page, "/page/send", form | {"request": request})
    assert answer.status_code == 200, answer.text
    return answer.json()


HOSTS = {
    "/": "example.com",
    "/page/state": "example.com:{port}",
    "/oauth2/default/v1/keys": "localhost:{port}",
    "/page/page.js": "127.0.0.1",
    "/nothing": "",
}


@pytest.mark.parametrize("path", HOSTS)
def test_another_host_is_refused(page, okta, path):
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
def test_another_origin_changes_nothing(page, okta, path, headers):
    keys = okta.keys
    headers = {name: value.format(port=okta.port) for name, value in headers.items()}
    assert post(page, path, CHANGES[path], **headers).status_code == 403
    assert okta.keys == keys
    assert get(page, "/page/state").json()["issuer"] == "answers"


def test_another_origin_gets_no_token_and_reads_nothing_but_may_lead_to_the_page(page, okta):
    form = {"grant_type": "client_credentials", "client_id": okta.client_id, "scope": "hooks"}
    form |= {"client_secret": okta.client_secret}
    for headers, status in (({"Origin": "https://example.com"}, 403), ({}, 200)):
        answer = requests.post(okta.token_endpoint, form, headers=headers, timeout=30)
        assert answer.status_code == status
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert get(page, "/page/activity", **foreign).status_code == 403
    assert get(page, "/", **foreign | {"Sec-Fetch-Mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("path", [path for path in CHANGES if path != KEY_ROTATION])
def test_what_a_form_can_send_changes_nothing(page, okta, path):
    keys, headers = okta.keys, {"Content-Type": "text/plain"}
    answer = requests.post(page + path, json.dumps(CHANGES[path]), headers=headers, timeout=30)
    assert answer.status_code == 415
    assert get(page, path).status_code in (404, 405)
    assert okta.keys == keys


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/nothing"])
def test_nothing_from_elsewhere_runs_in_the_page_and_no_frame_shows_it(page, path):
    headers = get(page, path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


WRONG_REQUESTS = {
    '{\n  "a": 1\n  "b": 2}': "line 3, column 3",
    "[1]": "begins with {",
    '{"a": NaN}': "NaN is not a value of JSON",
    "[" * 100_000: "cannot be sent as JSON",
}


@pytest.mark.parametrize("text", WRONG_REQUESTS, ids=lambda text: text[:12])
def test_a_request_that_cannot_be_sent_is_named(page, text):
    result = send(page, request=text)
    assert WRONG_REQUESTS[text] in result["errors"]["request"]
    assert "sent" not in result


NO_ADDRESS = (
    "",
    "127.0.0.1:5000",
    "ftp://127.0.0.1",
    "http://",
    "http://a:b",
    "http://u:p@127.0.0.1",
)
WRONG_ADDRESSES = dict.fromkeys(NO_ADDRESS, "is not an address such as")
WRONG_ADDRESSES[NOBODY_THERE] = "(Connection refused). Start it: make run"


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_an_address_without_a_service_is_named(page, address):
    verification = post(page, "/page/verify", {"service": address})
    for errors in (send(page, address)["errors"], verification.json()["errors"]):
        assert WRONG_ADDRESSES[address] in errors["service"]


def test_a_service_that_hangs_takes_three_seconds(page):
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
def test_without_a_basic_pair_it_says_why_and_tokens_can_be_tried(error, words):
    with served_page(LocalOkta(), Settings(), error) as page:
        state = get(page, "/page/state").json()
        assert (state["default"], state["settings_error"]) == ("Basic", error and str(error))
        assert words in send(page)["errors"]["authentication"]
        assert send(page, authentication="Client secret")["token"]["good"]


def test_a_token_is_chosen_at_first_where_the_service_wants_one(page):
    assert get(page, "/page/state").json()["default"] == "Client secret"


@pytest.mark.parametrize("mode", ["slow", "down"])
def test_an_issuer_that_misbehaves_does_so_for_everybody_but_the_page(okta, page, mode):
    post(page, "/page/issuer", {"mode": mode})
    try:
        with pytest.raises(requests.RequestException):
            requests.get(okta.jwks_uri, timeout=0.5)
        assert get(page, "/").status_code == 200
    finally:
        post(page, "/page/issuer", {"mode": "answers"})
    assert requests.get(okta.jwks_uri, timeout=30).status_code == 200


def test_activity_is_what_the_issuer_was_asked_for_and_what_was_sent(page, okta, service):
    def entries(after=0):
        return get(page, f"/page/activity?after={after}").json()["entries"]

    last = max((entry["id"] for entry in entries()), default=0)
    send(page, service, "Private key")
    requests.get(okta.jwks_uri, timeout=30)
    get(page, "/oauth2/default/nothing")
    seen = [(entry["kind"], entry["text"], entry["outcome"]) for entry in entries(last)]
    assert seen == [
        ("issuer", "token", "200"),
        ("sent", INLINE_HOOK.name, "401"),
        ("issuer", "keys", "200"),
    ]


def test_a_service_that_takes_basic_alone_gets_the_lines_named_that_make_it_take_tokens(
    page, okta, service
):
    for authentication in AUTHENTICATIONS:
        result = send(page, service, authentication)
        accepted = authentication == "Basic"
        assert result["verdict"]["accepted"] is accepted
        assert (result["steps"][-1]["from"] == 3) is accepted
        words = " ".join(result["notes"])
        named = "AUTH_MODE=basic" in words and f"OKTA_CLIENT_ID={okta.client_id}" in words
        assert named is (result["token"] is not None)
