"""The service under gunicorn while its issuer fails, with requests from many threads."""

import re
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from auth.keys import MISSES_ANSWERED
from tests.support.gunicorn import ACCEPTED, HOOK, PAYLOAD, Service, bearer, oauth_settings
from tests.support.issuer import FaultyIssuer, sending

# How long Okta waits for an answer.
OKTA_SECONDS = 3


@pytest.fixture(scope="module")
def issuer():
    with FaultyIssuer() as server:
        yield server


@pytest.fixture(scope="module")
def service(issuer, tmp_path_factory):
    """Its worker is forked from a process that has the keys already."""
    log_path = tmp_path_factory.mktemp("keys") / "log"
    with Service(oauth_settings(issuer), log_path, arguments=["--preload"]) as running:
        yield running


def ask(service: Service, token: str):
    return service.request(HOOK, json=PAYLOAD, headers=bearer(token))


def status(service: Service, token: str) -> int:
    return ask(service, token).status_code


def ready(service: Service) -> tuple[int, str | None]:
    answer = service.request("/readyz", method="GET")
    return answer.status_code, answer.json().get("reason")


def made_up_kids(issuer: FaultyIssuer, number: int) -> list[str]:
    return [issuer.sign(issuer.claims(), {"kid": f"made-up-{n}"}) for n in range(number)]


def statuses(service: Service, tokens: list[str]) -> list[int]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda token: status(service, token), tokens))


def test_an_issuer_that_is_down_at_the_start_is_a_503_until_it_is_back(tmp_path):
    reason = "ConnectionError"
    with FaultyIssuer() as issuer:
        issuer.stop()
        with Service(oauth_settings(issuer), tmp_path / "log") as service:
            service.wait_until(lambda: ready(service) == (503, reason), reason)
            assert re.search(f"ERROR .* path=/readyz status=503 .* error={reason} ", service.log)
            answer = ask(service, issuer.issue())
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert "WWW-Authenticate" not in answer.headers
            assert reason not in answer.text
            assert f"keys not fetched issuer={issuer.issuer} reason={reason} " in service.log
            issuer.start()
            # No request that needs a key is sent.
            service.wait_until(lambda: issuer.key_requests >= 2, "no second attempt")
            service.wait_until(lambda: ready(service) == (200, None), "keys not fetched again")
            assert status(service, issuer.issue()) == ACCEPTED


def test_no_request_is_refused_for_good_during_a_rotation(issuer, service):
    old = issuer.issue()
    assert status(service, old) == ACCEPTED
    before = issuer.key_requests
    issuer.rotate_keys()
    new = issuer.issue()
    answers = statuses(service, [old, new] * 20)
    assert set(answers[::2]) == {ACCEPTED}
    # An issuer on a busy machine may take longer than a request waits: 503, but never 401.
    assert set(answers[1::2]) <= {ACCEPTED, 503}
    service.wait_until(lambda: status(service, new) == ACCEPTED, "the new key was never accepted")
    assert issuer.key_requests <= before + 4


def test_100_made_up_kids_cost_a_handful_of_requests_and_a_new_key_gets_no_401(issuer, service):
    before, good = issuer.key_requests, issuer.issue()
    assert set(statuses(service, made_up_kids(issuer, 100))) <= {401, 503}
    # Two requests for each attempt: at the start, and a few in each window of 30 s.
    assert issuer.key_requests - before <= 2 * (1 + 3 * MISSES_ANSWERED)
    issuer.rotate_keys()
    assert status(service, good) == ACCEPTED
    # Okta sends it again after a 503, but never after a 401.
    assert status(service, issuer.issue()) in (ACCEPTED, 503)


def test_made_up_kids_and_an_endless_answer_of_the_issuer_do_not_hold_up_good_tokens(tmp_path):
    with FaultyIssuer() as issuer, Service(oauth_settings(issuer), tmp_path / "log") as service:
        service.wait_until(lambda: ready(service) == (200, None), "no keys")
        good, before = issuer.issue(), issuer.key_requests
        issuer.fault = sending(b"HTTP/1.1 200 OK\r\nX-Note: ", b"a")
        with ThreadPoolExecutor(16) as pool:
            attacks = [pool.submit(status, service, kid) for kid in made_up_kids(issuer, 40)]
            service.wait_until(lambda: issuer.key_requests > before, "no refresh")
            answers = [ask(service, good) for _ in range(20)]
            assert {answer.status_code for answer in answers} == {ACCEPTED}
            # The median: on a busy machine one may be late.
            assert median(answer.elapsed.total_seconds() for answer in answers) < OKTA_SECONDS
            assert {each.result() for each in attacks} == {503}
        assert ready(service) == (200, None)
