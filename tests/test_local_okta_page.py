"""The page of the local Okta over plain HTTP: whom it answers, and what it says."""

import json
import re

import pytest
import requests

from local_okta.authorization_server import LocalOkta
from local_okta.endpoints import KEY_ROTATION
from local_okta.page_requests import AUTHENTICATIONS
from local_okta.samples import SAMPLES
from settings import SettingsError
from tests.page import (
    HOOK,
    basic_settings_of_page,
    oauth_settings_of_page,
    served_page,
    silent_server,
)
from tests.service import free_port

CHANGES = {
    "/page/send": {},
    "/page/verify": {},
    "/page/rotate-keys": {},
    "/page/issuer": {"mode": "down"},
    KEY_ROTATION: {"use": "sig"},
}


@pytest.fixture(scope="module")
def okta():
    return LocalOkta(port=free_port())


@pytest.fixture(scope="module")
def page(okta):
    with served_page(okta, **oauth_settings_of_page(okta)) as url:
        yield url


def post(page, path, body, **headers):
    return requests.post(page + path, json=body, headers=headers, timeout=30)


def send(page, service, authentication="Basic", request=None, hook=HOOK.name):
    form = {"service": service, "hook": hook, "authentication": authentication}
    request = json.dumps(SAMPLES[hook].payload) if request is None else request
    answer = post(page, "/page/send", form | {"request": request})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "host", ["example.com", "example.com:{port}", "localhost:{port}", "", "127.0.0.1"]
)
@pytest.mark.parametrize("path", ["/", "/page/state", "/oauth2/default/v1/keys", "/nothing"])
def test_another_host_is_refused(page, okta, host, path):
    headers = {"Host": host.format(port=okta.port)}
    answer = requests.get(page + path, headers=headers, timeout=30)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:{port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", CHANGES)
def test_another_origin_changes_nothing(page, okta, headers, path):
    keys = okta.keys
    headers = {name: value.format(port=okta.port) for name, value in headers.items()}
    assert post(page, path, CHANGES[path], **headers).status_code == 403
    assert okta.keys == keys
    assert requests.get(f"{page}/page/state", timeout=30).json()["issuer"] == "answers"


def test_another_origin_gets_no_token_and_reads_nothing_but_may_lead_to_the_page(page, okta):
    form = {"grant_type": "client_credentials", "client_id": okta.client_id, "scope": "hooks"}
    form |= {"client_secret": okta.client_secret}
    headers = {"Origin": "https://example.com"}
    answer = requests.post(okta.token_endpoint, form, headers=headers, timeout=30)
    assert answer.status_code == 403
    assert requests.post(okta.token_endpoint, form, timeout=30).status_code == 200
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert requests.get(f"{page}/page/activity", headers=foreign, timeout=30).status_code == 403
    link = foreign | {"Sec-Fetch-Mode": "navigate"}
    assert requests.get(page, headers=link, timeout=30).status_code == 200


@pytest.mark.parametrize("path", [path for path in CHANGES if path.startswith("/page/")])
def test_what_a_form_can_send_changes_nothing(page, okta, path):
    keys = okta.keys
    headers = {"Content-Type": "text/plain"}
    answer = requests.post(page + path, json.dumps(CHANGES[path]), headers=headers, timeout=30)
    assert answer.status_code == 415
    assert requests.get(page + path, timeout=30).status_code in (404, 405)
    assert okta.keys == keys


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/state", "/page/nothing"])
def test_every_answer_says_what_may_be_done_with_it(page, path):
    headers = requests.get(page + path, timeout=30).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_the_page_loads_nothing_from_anywhere_else(page):
    html = requests.get(page, timeout=30).text
    found = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert found
    assert all(path.startswith("/page/") for path in found)
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", html)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "a": 1,\n}', "line 3, column 1"),
        ("", "line 1, column 1"),
        ("[1]", "begins with {"),
        ('{"a": NaN}', "NaN is not a value of JSON"),
        ("[" * 100_000, "cannot be sent as JSON"),
    ],
    ids=["a comma too many", "empty", "array", "NaN", "endless"],
)
def test_a_request_that_cannot_be_sent_is_named(page, text, message):
    result = send(page, "http://127.0.0.1:1", request=text)
    assert message in result["errors"]["request"]
    assert "sent" not in result


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:5000", "ftp://127.0.0.1", "http://", "http://a:b", "http://u:p@127.0.0.1"],
)
def test_an_address_that_cannot_be_one_is_named(page, address):
    assert "is not an address such as" in send(page, address)["errors"]["service"]
    answer = post(page, "/page/verify", {"service": address})
    assert "is not an address such as" in answer.json()["errors"]["service"]


def test_a_service_that_does_not_run_is_named_with_the_command_that_starts_it(page):
    url = f"http://127.0.0.1:{free_port()}"
    for errors in (
        send(page, url)["errors"],
        post(page, "/page/verify", {"service": url}).json()["errors"],
    ):
        assert f"Nothing answers at {url}" in errors["service"]
        assert "make run" in errors["service"]


def test_a_service_that_hangs_takes_three_seconds(page):
    with silent_server() as url:
        result = send(page, url)
    last = result["steps"][-1]
    assert last["outcome"] == "silent"
    assert last["label"] == "no answer in 3 s"
    assert last["milliseconds"] >= 2900
    assert result["verdict"]["sentence"].startswith("No answer in time")


def test_no_edited_request_breaks_the_page(page, basic_service):
    for hook in SAMPLES:
        for request in ("{}", '{"data": 5}', '{"data": {"context": []}, "requestType": []}'):
            result = send(page, basic_service.url, hook=hook, request=request)
            assert result["response"]["status"] in (200, 204, 400)


def test_without_a_basic_pair_it_says_what_to_set():
    okta = LocalOkta()
    with served_page(okta) as page:
        result = send(page, "http://127.0.0.1:1")
        assert "set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD" in result["errors"]["authentication"]


def test_with_wrong_settings_it_says_which():
    okta, error = LocalOkta(), SettingsError({"AUTH_MODE": "is wrong"})
    with served_page(okta, error=error) as page:
        state = requests.get(f"{page}/page/state", timeout=30).json()
        assert "AUTH_MODE  is wrong" in state["settings_error"]
        result = send(page, "http://127.0.0.1:1")
        assert "the settings are wrong" in result["errors"]["authentication"]
        assert send(page, "http://127.0.0.1:1", "Client secret")["token"]["good"]


def test_the_authentication_that_fits_is_chosen_at_first(page):
    assert requests.get(f"{page}/page/state", timeout=30).json()["default"] == "Client secret"
    with served_page(LocalOkta(), **basic_settings_of_page()) as other:
        assert requests.get(f"{other}/page/state", timeout=30).json()["default"] == "Basic"


@pytest.mark.parametrize("mode", ["slow", "down"])
def test_an_issuer_that_misbehaves_does_so_for_everybody_but_the_page(okta, page, mode):
    post(page, "/page/issuer", {"mode": mode})
    try:
        with pytest.raises(requests.RequestException):
            requests.get(okta.jwks_uri, timeout=1)
        assert requests.get(page, timeout=1).status_code == 200
    finally:
        post(page, "/page/issuer", {"mode": "answers"})
    assert requests.get(okta.jwks_uri, timeout=30).status_code == 200


def test_activity_is_what_the_issuer_was_asked_for_and_what_was_sent(page, okta, basic_service):
    def entries(after=0):
        address = f"{page}/page/activity?after={after}"
        return requests.get(address, timeout=30).json()["entries"]

    last = max((entry["id"] for entry in entries()), default=0)
    send(page, basic_service.url, "Private key")
    requests.get(okta.jwks_uri, timeout=30)
    requests.get(f"{page}/oauth2/default/nothing", timeout=30)
    seen = [(entry["kind"], entry["text"], entry["outcome"]) for entry in entries(last)]
    assert seen == [
        ("issuer", "token", "200"),
        ("sent", HOOK.name, "401"),
        ("issuer", "keys", "200"),
    ]
    assert okta.shown[-1] == ("GET", "/oauth2/default/v1/keys", "200")


def test_every_authentication_has_steps_and_words_of_its_own(page, basic_service):
    """In a service that takes Basic alone; the browser goes through the others."""
    for authentication in AUTHENTICATIONS:
        result = send(page, basic_service.url, authentication)
        accepted = authentication == "Basic"
        assert result["verdict"]["accepted"] is accepted
        assert (result["steps"][-1]["from"] == 3) is accepted
        words = " ".join(result["notes"])
        assert ("AUTH_MODE=basic" in words) is (result["token"] is not None)
