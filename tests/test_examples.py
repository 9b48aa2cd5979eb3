"""The two examples, each on a real server, against the local Okta."""

import contextlib
import hmac
import importlib.util
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode
from werkzeug.wrappers import Response

from local_okta.authorization_server import LocalOkta, new_key
from local_okta.client import basic_header
from tests.support.gunicorn import PROJECT, Service, bearer, environment, serving
from tests.support.issuer import FaultyIssuer, answering, hanging, key_set

USER, PASSWORD = "ökta", "pässword"
PAIR = {"BASIC_AUTH_USER": USER, "BASIC_AUTH_PASSWORD": PASSWORD}
RIGHT_PAIR = {"Authorization": basic_header(USER, PASSWORD)}
BASIC_HOOK, OAUTH_HOOK = "/userDeactivated", "/registrationHookSSR"
EVENTS = {"data": {"events": [{"target": [{"alternateId": "kim.sato@example.com"}]}]}}
FETCH_EVERY = 10
ISSUER = "https://example.okta.com/oauth2/default"


def sign_up(email: str) -> dict:
    return {"data": {"userProfile": {"email": email}}}


SIGN_UP = sign_up("jessie.smith@okta.com")


class Example(Service):
    """An example, started as its docstring says."""

    def __init__(self, name: str, settings: dict[str, str], log_path):
        self.command = ("flask", "--app", f"examples/{name}.py", "run")
        super().__init__({"FLASK_SKIP_DOTENV": "1"} | settings, log_path)

    def _answers(self) -> bool:
        try:
            return self.request("/", method="GET").status_code == 401
        except requests.ConnectionError:
            return False


class Served:
    """An example in this process, on a real server."""

    def __init__(self, module, url: str):
        self.module, self.url = module, url

    def send(self, path: str, headers=None, method="POST", **arguments) -> requests.Response:
        headers = {"Connection": "close"} | (headers or {})
        return requests.request(method, self.url + path, headers=headers, timeout=10, **arguments)

    def hook(self, token: str) -> int:
        """The status that a token gets from the hook."""
        return self.send(OAUTH_HOOK, bearer(token), json=SIGN_UP).status_code


@contextlib.contextmanager
def served(name: str, **settings: str):
    """Start an example with these settings; gives a `Served`."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for setting, value in environment(settings).items():
            patch.setenv(setting, value)
        spec.loader.exec_module(module)
    with serving(module.app) as url:
        yield Served(module, url)


@pytest.fixture(scope="module")
def basic():
    with served("basic", **PAIR) as example:
        yield example


@pytest.fixture(scope="module")
def oauth(okta):
    with served("oauth", OKTA_ISSUER=okta.issuer, OKTA_SCOPE="hooks") as example:
        yield example


@pytest.fixture
def issuer():
    """An issuer of the test's own, whose keys it may change."""
    with FaultyIssuer() as okta:
        yield okta


@pytest.fixture
def fresh(issuer):
    """The example with this issuer, before it has fetched any key."""
    with served("oauth", OKTA_ISSUER=issuer.issuer, OKTA_SCOPE="hooks") as example:
        yield example


def let_time_pass(served: Served, monkeypatch) -> None:
    later = time.monotonic() + FETCH_EVERY
    monkeypatch.setattr(served.module, "monotonic", lambda: later)


def fetches(issuer: LocalOkta) -> int:
    return issuer.requests["/oauth2/default/v1/keys"]


# Started as the docstrings say


def test_basic_starts_as_its_docstring_says(tmp_path):
    with Example("basic", PAIR, tmp_path / "log") as example:
        assert example.request(BASIC_HOOK, headers=RIGHT_PAIR, json=EVENTS).status_code == 204
        assert example.request(BASIC_HOOK, json=EVENTS).status_code == 401
    assert "kim.sato@example.com was deactivated" in example.log


def test_oauth_starts_as_its_docstring_says(okta, tmp_path):
    settings = {"OKTA_ISSUER": okta.issuer, "OKTA_SCOPE": "hooks"}
    with Example("oauth", settings, tmp_path / "log") as example:
        answer = example.request(OAUTH_HOOK, headers=bearer(okta.issue()), json=SIGN_UP)
        assert answer.status_code == 200
        assert example.request(OAUTH_HOOK, json=SIGN_UP).status_code == 401


PAIR_IS_MISSING = "BASIC_AUTH_USER and BASIC_AUTH_PASSWORD"


@pytest.mark.parametrize(
    ("name", "settings", "missing"),
    [
        ("basic", {"BASIC_AUTH_PASSWORD": "secret"}, PAIR_IS_MISSING),
        ("basic", {"BASIC_AUTH_USER": "okta", "BASIC_AUTH_PASSWORD": ""}, PAIR_IS_MISSING),
        ("oauth", {"OKTA_SCOPE": "hooks"}, "OKTA_ISSUER and OKTA_SCOPE"),
        ("oauth", {"OKTA_ISSUER": ISSUER}, "OKTA_ISSUER and OKTA_SCOPE"),
    ],
)
def test_an_example_does_not_start_without_a_setting(name, settings, missing):
    started = subprocess.run(
        [sys.executable, "-m", "flask", "--app", f"examples/{name}.py", "run", "--port", "0"],
        cwd=PROJECT,
        env=environment(settings | {"FLASK_SKIP_DOTENV": "1"}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert started.returncode == 1
    assert started.stderr == f"Set {missing} in .env, and start this with flask run.\n"


# HTTP Basic


def test_the_right_pair_is_accepted(basic):
    assert basic.send(BASIC_HOOK, RIGHT_PAIR, json=EVENTS).status_code == 204


@pytest.mark.parametrize(
    "header",
    [
        None,
        basic_header(USER, "wrong"),
        basic_header("other", PASSWORD),
        basic_header(USER, ""),
        basic_header(USER, f"{PASSWORD} "),
        "Basic",
        "Basic !",
        "Bearer token",
    ],
)
@pytest.mark.parametrize("path", [BASIC_HOOK, "/unknown", "/static/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_wrong_pair_is_refused_on_every_path(basic, header, path, method):
    answer = basic.send(path, header and {"Authorization": header}, method)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_an_unknown_path_is_a_404_with_the_right_pair(basic):
    assert basic.send("/unknown", RIGHT_PAIR).status_code == 404


def test_the_one_time_check_is_answered(basic):
    challenge = {"X-Okta-Verification-Challenge": "the value"}
    answer = basic.send(BASIC_HOOK, RIGHT_PAIR | challenge, "GET")
    assert (answer.status_code, answer.json()) == (200, {"verification": "the value"})
    assert basic.send(BASIC_HOOK, challenge, "GET").status_code == 401
    assert basic.send(BASIC_HOOK, RIGHT_PAIR, "GET").status_code == 400


# OAuth 2.0


@pytest.mark.parametrize(
    ("email", "action"),
    [
        ("jessie.smith@okta.com", "ALLOW"),
        ("Jessie.Smith@OKTA.com", "ALLOW"),
        ("jessie.smith@notokta.com", "DENY"),
        ("jessie.smith@okta.com.example.net", "DENY"),
    ],
)
def test_a_good_token_is_accepted(oauth, okta, email, action):
    answer = oauth.send(OAUTH_HOOK, bearer(okta.issue()), json=sign_up(email))
    command = {"type": "com.okta.action.update", "value": {"registration": action}}
    assert (answer.status_code, answer.json()) == (200, {"commands": [command]})


@pytest.mark.parametrize("path", [OAUTH_HOOK, "/unknown", "/static/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("header", [None, "Bearer", "Basic b2t0YTpwdw==", "Bearer a.b.c"])
def test_a_request_without_a_token_is_refused_on_every_path(oauth, path, method, header):
    answer = oauth.send(path, header and {"Authorization": header}, method)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


def test_an_unknown_path_is_a_404_with_a_good_token(oauth, okta):
    assert oauth.send("/unknown", bearer(okta.issue())).status_code == 404


def without(okta: LocalOkta, claim: str) -> str:
    claims = okta.claims()
    del claims[claim]
    return okta.sign(claims)


def signed_with_the_public_key(okta: LocalOkta) -> str:
    unsigned = okta.sign(okta.claims(), {"alg": "HS256"}).rpartition(".")[0]
    secret = okta.keys[0].as_pem(private=False)
    signature = urlsafe_b64encode(hmac.digest(secret, unsigned.encode(), "sha256"))
    return f"{unsigned}.{signature.decode()}"


BAD_TOKENS = {
    "expired": lambda okta: okta.issue(exp=int(time.time()) - 90),
    "no expiry": lambda okta: without(okta, "exp"),
    "expiry is no number": lambda okta: okta.issue(exp="never"),
    "foreign key": lambda okta: okta.sign(okta.claims(), key=new_key()),
    "wrong audience": lambda okta: okta.issue(aud="api://other"),
    "no audience": lambda okta: without(okta, "aud"),
    "wrong issuer": lambda okta: okta.issue(iss=ISSUER),
    "no issuer": lambda okta: without(okta, "iss"),
    "not yet valid": lambda okta: okta.issue(nbf=int(time.time()) + 90),
    "unsigned": lambda okta: okta.sign(okta.claims(), {"alg": "none"}),
    "another algorithm": lambda okta: okta.sign(okta.claims(), {"alg": "RS512"}),
    "signed with the public key": signed_with_the_public_key,
    "critical header": lambda okta: okta.sign(okta.claims(), {"crit": 5}),
    "header is a list": lambda okta: "WyJhbGciXQ.e30.x",
    "payload is a list": lambda okta: okta.sign([]),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_is_refused(oauth, okta, kind):
    assert oauth.hook(okta.issue()) == 200
    assert oauth.hook(BAD_TOKENS[kind](okta)) == 401


def test_a_token_of_another_key_type_is_refused(fresh, issuer):
    key = ECKey.generate_key("P-256", {"kid": "elliptic", "use": "sig"})
    issuer.keys = (*issuer.keys, key)
    assert fresh.hook(issuer.issue()) == 200
    assert fresh.hook(jwt.encode({"alg": "ES256", "kid": key.kid}, issuer.claims(), key)) == 401


def test_clocks_may_be_a_minute_apart(oauth, okta):
    assert oauth.hook(okta.issue(exp=int(time.time()) - 30)) == 200


@pytest.mark.parametrize("scopes", [["other"], [], None, ["hooks2"], "other"])
def test_a_token_without_the_scope_is_refused(oauth, okta, scopes):
    assert oauth.hook(okta.issue(scp=scopes)) == 403


def test_a_token_without_any_scope_is_refused(oauth, okta):
    assert oauth.hook(without(okta, "scp")) == 403


def test_one_scope_of_several_is_enough(oauth, okta):
    assert oauth.hook(okta.issue(scp=["other", "hooks"])) == 200


def test_another_audience_can_be_set(okta):
    settings = {"OKTA_ISSUER": okta.issuer, "OKTA_SCOPE": "hooks", "OKTA_AUDIENCE": "api://own"}
    with served("oauth", **settings) as example:
        assert example.hook(okta.issue(aud="api://own")) == 200
        assert example.hook(okta.issue()) == 401


# The issuer's keys


def test_keys_are_fetched_once_for_many_requests(fresh, issuer, monkeypatch):
    assert [fresh.hook(issuer.issue()) for _ in range(5)] == [200] * 5
    let_time_pass(fresh, monkeypatch)
    with ThreadPoolExecutor(10) as threads:
        statuses = [*threads.map(fresh.hook, [issuer.issue() for _ in range(30)])]
    assert statuses == [200] * 30
    assert fetches(issuer) == 1


def test_a_token_that_comes_while_the_keys_are_fetched_is_accepted(fresh, issuer):
    both = threading.Barrier(2, timeout=1)

    def wait_for_the_other(issuer, request) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait()

    issuer.fault = wait_for_the_other
    with ThreadPoolExecutor(2) as threads:
        assert [*threads.map(fresh.hook, [issuer.issue(), issuer.issue()])] == [200, 200]


def test_keys_are_fetched_again_after_a_rotation(fresh, issuer, monkeypatch):
    old = issuer.issue()
    assert fresh.hook(old) == 200
    issuer.rotate_keys()
    let_time_pass(fresh, monkeypatch)
    assert [fresh.hook(issuer.issue()) for _ in range(3)] == [200] * 3
    assert fresh.hook(old) == 200
    assert fetches(issuer) == 2


def test_made_up_key_ids_do_not_cause_a_request_each(fresh, issuer, monkeypatch):
    forged = [issuer.sign(issuer.claims(), {"kid": f"made-up-{n}"}, new_key()) for n in range(3)]
    assert fresh.hook(issuer.issue()) == 200
    assert [fresh.hook(token) for token in forged] == [401] * 3
    assert fresh.hook(issuer.issue()) == 200
    assert fetches(issuer) == 1
    let_time_pass(fresh, monkeypatch)
    assert [fresh.hook(token) for token in forged] == [401] * 3
    assert fetches(issuer) == 2


def test_no_token_is_accepted_while_the_issuer_is_down(fresh, issuer):
    issuer.stop()
    assert fresh.hook(issuer.issue()) == 500
    assert fresh.hook(issuer.sign(issuer.claims(), {"alg": "none"})) == 401
    assert fresh.send(OAUTH_HOOK, json=SIGN_UP).status_code == 401
    issuer.start()
    assert fresh.hook(issuer.issue()) == 200


def with_status_500(issuer: FaultyIssuer, request) -> Response:
    """The right keys, in an answer that says it is an error."""
    return Response(json.dumps(issuer.key_set()), 500)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(with_status_500, 500), (answering(b"<html>"), 500), (key_set(), 401)],
    ids=["500", "HTML", "no key"],
)
def test_a_bad_answer_of_the_issuer_keeps_the_keys(fresh, issuer, monkeypatch, fault, status):
    good = issuer.issue()
    assert fresh.hook(good) == 200
    issuer.fault = fault
    issuer.rotate_keys()
    let_time_pass(fresh, monkeypatch)
    assert fresh.hook(issuer.issue()) == status
    assert fresh.hook(good) == 200
    issuer.fault = None
    assert fresh.hook(issuer.issue()) == 200


def test_a_hanging_issuer_is_given_up_on_in_time(fresh, issuer):
    issuer.fault = hanging
    began = time.monotonic()
    assert fresh.hook(issuer.issue()) == 500
    # Okta waits for 3 seconds.
    assert time.monotonic() - began < 3
