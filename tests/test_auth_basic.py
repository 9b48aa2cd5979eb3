"""HTTP Basic in front of every path, asked of a real gunicorn."""

import base64

import pytest

from tests.service import BASIC_PAIR, Service, basic_settings

USER, PASSWORD = BASIC_PAIR
TOKEN_CALL = {"eventId": "e1", "data": {"context": {}}}


def basic(text: str | bytes, scheme: str = "Basic") -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"{scheme} {base64.b64encode(raw).decode()}"}


def test_the_right_pair_passes(basic_service):
    response = basic_service.call("/tokenHook", json=TOKEN_CALL, auth=BASIC_PAIR)
    assert response.status_code == 204


def test_the_scheme_name_is_case_insensitive(basic_service):
    headers = basic(f"{USER}:{PASSWORD}", scheme="bAsIc")
    assert basic_service.call("/tokenHook", json=TOKEN_CALL, headers=headers).status_code == 204


REFUSED = {
    "nothing": {},
    "empty header": {"Authorization": ""},
    "wrong password": basic(f"{USER}:wrong"),
    "wrong user": basic(f"other:{PASSWORD}"),
    "user in another case": basic(f"{USER.upper()}:{PASSWORD}"),
    "password and more": basic(f"{USER}:{PASSWORD}x"),
    "password but its last character": basic(f"{USER}:{PASSWORD[:-1]}"),
    "a newline after the password": basic(f"{USER}:{PASSWORD}\n"),
    "no colon": basic(USER),
    "empty pair": basic(":"),
    "no Base64": {"Authorization": "Basic ***"},
    "not encoded": {"Authorization": f"Basic {USER}:{PASSWORD}"},
    "no scheme": {"Authorization": basic(f"{USER}:{PASSWORD}")["Authorization"][6:]},
    "scheme alone": {"Authorization": "Basic"},
    "another scheme": basic(f"{USER}:{PASSWORD}", scheme="Token"),
    "Bearer in place of Basic": basic(f"{USER}:{PASSWORD}", scheme="Bearer"),
    "text after the pair": {
        "Authorization": basic(f"{USER}:{PASSWORD}")["Authorization"] + ",Basic eA=="
    },
    "bytes that are no UTF-8": basic(b"\xff\xfe:\xff"),
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_with_a_challenge(basic_service, headers):
    response = basic_service.call("/tokenHook", json=TOKEN_CALL, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert response.json() == {"error": {"errorSummary": "Unauthorized", "errorCauses": []}}


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]
)
@pytest.mark.parametrize("path", ["/", "/tokenHook", "/no-such-path", "/healthz/"])
def test_without_credentials_every_path_and_method_looks_the_same(basic_service, method, path):
    assert basic_service.call(path, method=method).status_code == 401


def test_with_credentials_an_unknown_path_is_404_and_a_wrong_method_405(basic_service):
    assert basic_service.call("/no-such-path", auth=BASIC_PAIR).status_code == 404
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = basic_service.call("/tokenHook", method=method, auth=BASIC_PAIR)
        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
        assert "error" in response.json()


def test_health_is_open_to_anybody(basic_service):
    for path in ("/healthz", "/readyz"):
        response = basic_service.call(path, method="GET")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_other_methods_on_an_open_path_are_guarded(basic_service):
    assert basic_service.call("/healthz").status_code == 401


def test_the_previous_password_passes_while_okta_is_switched_over(tmp_path):
    settings = basic_settings(BASIC_AUTH_PASSWORD="new one", BASIC_AUTH_PASSWORD_PREVIOUS=PASSWORD)
    with Service(settings, tmp_path / "log") as service:
        for password, status in ((PASSWORD, 204), ("new one", 204), ("older", 401)):
            response = service.call("/tokenHook", json=TOKEN_CALL, auth=(USER, password))
            assert response.status_code == status


def test_a_pair_outside_ascii_is_compared_as_utf8(tmp_path):
    settings = basic_settings(BASIC_AUTH_USER="öktå", BASIC_AUTH_PASSWORD="пароль")
    with Service(settings, tmp_path / "log") as service:
        for text, status in (("öktå:пароль", 204), ("öktå:parol", 401)):
            response = service.call("/tokenHook", json=TOKEN_CALL, headers=basic(text))
            assert response.status_code == status


def test_the_log_says_who_passed_and_why_not_and_never_the_password(basic_service):
    request_id = {"X-Okta-Request-Id": "log-1"}
    basic_service.call("/tokenHook", json=TOKEN_CALL, auth=BASIC_PAIR, headers=request_id)
    wrong = basic("okta:hunter2") | {"X-Okta-Request-Id": "log-2"}
    basic_service.call("/tokenHook", json=TOKEN_CALL, headers=wrong)
    accepted = next(line for line in basic_service.log.splitlines() if "request_id=log-1" in line)
    refused = next(line for line in basic_service.log.splitlines() if "request_id=log-2" in line)
    for field in (
        "hook=token",
        "status=204",
        "auth=basic",
        "result=accepted",
        "event_id=e1",
        "ms=",
    ):
        assert field in accepted
    for field in ("status=401", "result=refused", "reason=wrong_credentials"):
        assert field in refused
    assert PASSWORD not in basic_service.log
    assert "hunter2" not in basic_service.log
    assert base64.b64encode(b"okta:hunter2").decode() not in basic_service.log
