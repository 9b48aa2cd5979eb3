"""HTTP Basic in front of every path."""

import base64

import pytest

from tests.support.gunicorn import (
    ACCEPTED,
    BASIC_PAIR,
    HOOK,
    NO_PAIR,
    PAYLOAD,
    basic_settings,
    client_of,
    log_lines,
    refusal,
)

USER, PASSWORD = BASIC_PAIR


def basic(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return f"Basic {base64.b64encode(raw).decode()}"


RIGHT = basic(f"{USER}:{PASSWORD}")


@pytest.fixture(scope="module")
def client():
    return client_of(basic_settings())


def ask(client, authorization=None, **arguments):
    headers = {} if authorization is None else {"Authorization": authorization}
    return client.post(HOOK, json=PAYLOAD, headers=headers, **arguments)


@pytest.mark.parametrize("scheme", ["Basic", "bAsIc", "Basic  "])
def test_the_right_pair_passes(client, scheme):
    assert ask(client, RIGHT.replace("Basic", scheme)).status_code == ACCEPTED


REFUSED = {
    "wrong password": basic(f"{USER}:wrong"),
    "wrong user": basic(f"other:{PASSWORD}"),
    "user in another case": basic(f"{USER.upper()}:{PASSWORD}"),
    "password and another character": basic(f"{USER}:{PASSWORD}x"),
    "password without its last character": basic(f"{USER}:{PASSWORD[:-1]}"),
    "a newline after the password": basic(f"{USER}:{PASSWORD}\n"),
    "no colon": basic(USER),
    "empty pair": basic(":"),
    "bytes that are not UTF-8": basic(b"\xff\xfe:\xff"),
    "nothing": None,
    "empty header": "",
    "not encoded": f"Basic {USER}:{PASSWORD}",
    "no scheme": RIGHT.removeprefix("Basic "),
    "only a scheme": "Basic",
    "another scheme": RIGHT.replace("Basic", "Token"),
    "Bearer instead of Basic": RIGHT.replace("Basic", "Bearer"),
    "the pair twice": f"{RIGHT}, {RIGHT}",
    "a comma in the Base64": f"{RIGHT[:12]},{RIGHT[12:]}",
}


@pytest.mark.parametrize("authorization", REFUSED.values(), ids=REFUSED)
def test_wrong_credentials_are_refused_with_a_challenge(client, authorization):
    assert refusal(ask(client, authorization)) == NO_PAIR


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PURGE"])
def test_without_credentials_every_path_and_method_looks_the_same(client, method):
    for path in ("/", HOOK, "/no-such-path", "/healthz/"):
        assert client.open(path, method=method).status_code == 401


def test_with_credentials_an_unknown_path_is_404_and_a_wrong_method_405(client):
    assert client.post("/no-such-path", auth=BASIC_PAIR).status_code == 404
    for method in ("GET", "PUT", "OPTIONS"):
        response = client.open(HOOK, method=method, auth=BASIC_PAIR)
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")
        assert "error" in response.json


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_checks_are_open_to_anybody_but_only_for_get(client, path):
    assert (client.get(path).status_code, client.get(path).json) == (200, {"status": "ok"})
    assert client.post(path).status_code == 401


def test_the_previous_password_passes_while_okta_is_switched_over(capsys):
    new = "the new one of ours"
    settings = {"BASIC_AUTH_PASSWORD": new, "BASIC_AUTH_PASSWORD_PREVIOUS": PASSWORD}
    client = client_of(basic_settings(**settings))
    for password, status in ((PASSWORD, ACCEPTED), (new, ACCEPTED), ("older", 401)):
        assert ask(client, auth=(USER, password)).status_code == status
        # This is how the log shows whether Okta has the new one everywhere.
        assert (" password=previous " in capsys.readouterr().err) is (password == PASSWORD)
    assert ask(client, auth=("other", PASSWORD)).status_code == 401


def test_a_non_ascii_pair_is_compared_as_utf8():
    pair = {"BASIC_AUTH_USER": "öktå", "BASIC_AUTH_PASSWORD": "пароль"}
    client = client_of(basic_settings(**pair))
    for text, status in (("öktå:пароль", ACCEPTED), ("öktå:пороль", 401)):
        assert ask(client, basic(text)).status_code == status


def test_the_log_says_who_passed_or_why_not_but_never_the_password(capsys):
    client, wrong = client_of(basic_settings()), basic("okta:hunter2")
    for authorization, fields in (
        (RIGHT, f"status={ACCEPTED} auth=basic caller=okta result=accepted event_id=e1 "),
        (wrong, "status=401 auth=basic result=refused reason=wrong_credentials client="),
        (None, "status=401 auth=basic result=refused reason=no_credentials client="),
        ("Basic", "status=401 auth=basic result=refused reason=not_basic client="),
    ):
        ask(client, authorization)
        [line] = log_lines(capsys)
        assert f" method=POST path={HOOK} {fields}" in line
        for secret in (PASSWORD, RIGHT[6:], "hunter2", wrong[6:]):
            assert secret not in line
