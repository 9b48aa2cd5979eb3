"""HTTP Basic in front of every path, asked of a real gunicorn."""

import base64

import pytest

from app import create_app
from settings import Settings
from tests.service import BASIC_PAIR, NO_PAIR, PAYLOAD, Service, basic_settings, refusal

USER, PASSWORD = BASIC_PAIR
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]


def basic(text: str | bytes, scheme: str = "Basic") -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"{scheme} {base64.b64encode(raw).decode()}"}


def ask(service, headers=None, **arguments):
    return service.call("/tokenHook", json=PAYLOAD, headers=headers, **arguments)


RIGHT = basic(f"{USER}:{PASSWORD}")["Authorization"]


@pytest.mark.parametrize("scheme", ["Basic", "basic", "bAsIc", "Basic  "])
def test_the_right_pair_passes(basic_service, scheme):
    headers = {"Authorization": RIGHT.replace("Basic", scheme)}
    assert ask(basic_service, headers).status_code == 204


REFUSED = {
    "wrong password": basic(f"{USER}:wrong"),
    "wrong user": basic(f"other:{PASSWORD}"),
    "user in another case": basic(f"{USER.upper()}:{PASSWORD}"),
    "password and more": basic(f"{USER}:{PASSWORD}x"),
    "password but its last character": basic(f"{USER}:{PASSWORD[:-1]}"),
    "a newline after the password": basic(f"{USER}:{PASSWORD}\n"),
    "no colon": basic(USER),
    "empty pair": basic(":"),
    "bytes that are not UTF-8": basic(b"\xff\xfe:\xff"),
    "nothing": {},
    "empty header": {"Authorization": ""},
    "not Base64": {"Authorization": "Basic ***"},
    "not encoded": {"Authorization": f"Basic {USER}:{PASSWORD}"},
    "no scheme": {"Authorization": RIGHT[6:]},
    "scheme alone": {"Authorization": "Basic"},
    "another scheme": {"Authorization": RIGHT.replace("Basic", "Token")},
    "Bearer in place of Basic": {"Authorization": RIGHT.replace("Basic", "Bearer")},
    "text after the pair": {"Authorization": f"{RIGHT},Basic eA=="},
    "the pair twice": {"Authorization": f"{RIGHT}, {RIGHT}"},
    "a comma in the Base64": {"Authorization": f"{RIGHT[:12]},{RIGHT[12:]}"},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_with_a_challenge(basic_service, headers):
    assert refusal(ask(basic_service, headers)) == NO_PAIR


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/", "/tokenHook", "/no-such-path", "/healthz/"])
def test_without_credentials_every_path_and_method_looks_the_same(basic_service, method, path):
    assert basic_service.call(path, method=method).status_code == 401


def test_with_credentials_an_unknown_path_is_404_and_a_wrong_method_405(basic_service):
    assert basic_service.call("/no-such-path", auth=BASIC_PAIR).status_code == 404
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = basic_service.call("/tokenHook", method=method, auth=BASIC_PAIR)
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")
        assert "error" in response.json()


def test_health_is_open_to_anybody_and_by_get_alone(basic_service):
    for path in ("/healthz", "/readyz"):
        response = basic_service.call(path, method="GET")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert basic_service.call(path).status_code == 401


def test_the_previous_password_passes_while_okta_is_switched_over(tmp_path):
    settings = basic_settings(
        BASIC_AUTH_PASSWORD="the new one", BASIC_AUTH_PASSWORD_PREVIOUS=PASSWORD
    )
    with Service(settings, tmp_path / "log") as service:
        for password, status, word in (
            (PASSWORD, 204, True),
            ("the new one", 204, False),
            ("older", 401, False),
        ):
            request_id = {"X-Okta-Request-Id": f"id-{password[:3]}"}
            response = ask(service, request_id, auth=(USER, password))
            assert response.status_code == status
            # So that the log says when Okta has the new one everywhere.
            line = service.line_of(*request_id.values())
            assert (" password=previous " in line) is word
        assert service.log.count("BASIC_AUTH_PASSWORD_PREVIOUS is still accepted") == 1


def test_a_pair_outside_ascii_is_compared_as_utf8():
    app = create_app(Settings(basic_auth_user="öktå", basic_auth_password="пароль"))
    for text, status in (("öktå:пароль", 204), ("öktå:parol", 401)):
        response = app.test_client().post("/tokenHook", json=PAYLOAD, headers=basic(text))
        assert response.status_code == status


def test_the_log_says_who_passed_and_why_not_and_never_the_password(basic_service):
    wrong = basic("okta:hunter2")
    for request_id, headers, fields in (
        ("log-1", {"Authorization": RIGHT}, "status=204 auth=basic caller=okta result=accepted"),
        ("log-2", wrong, "status=401 auth=basic result=refused reason=wrong_credentials"),
        ("log-3", {}, "status=401 auth=basic result=refused reason=no_credentials"),
        ("log-4", REFUSED["no scheme"], "status=401 auth=basic result=refused reason=not_basic"),
    ):
        ask(basic_service, headers | {"X-Okta-Request-Id": request_id})
        line = basic_service.line_of(request_id)
        assert f" hook=token method=POST path=/tokenHook {fields} " in line
        assert " ms=" in line
        assert ("event_id=e1" in line) is (request_id == "log-1")
    for secret in (PASSWORD, RIGHT[6:], "hunter2", wrong["Authorization"][6:]):
        assert secret not in basic_service.log
