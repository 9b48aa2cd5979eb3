"""The service under gunicorn while its issuer fails, with calls from many threads."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest
from joserfc.jwk import RSAKey

from local_okta.authorization_server import new_key
from tests import faulty_issuer as faults
from tests.faulty_issuer import FaultyIssuer
from tests.service import Service, bearer, oauth_settings

# What Okta waits for an answer in all.
OKTA_SECONDS = 3


@pytest.fixture(scope="module")
def foreign_key() -> RSAKey:
    return new_key()


@pytest.fixture
def issuer():
    with FaultyIssuer() as server:
        yield server


@pytest.fixture
def service(issuer, tmp_path):
    with Service(oauth_settings(issuer), tmp_path / "log") as running:
        yield running


def call(service: Service, token: str):
    return service.call("/tokenHook", json={"data": {}}, headers=bearer(token))


def status(service: Service, token: str) -> int:
    return call(service, token).status_code


def ready(service: Service) -> tuple[int, str | None]:
    answer = service.call("/readyz", method="GET")
    return answer.status_code, answer.json().get("reason")


@contextmanager
def calling(service: Service, token: str, threads: int):
    """Call with the token all the while, from several threads; gives the list of statuses."""
    statuses: list[int] = []
    goes_on = True

    def go_on():
        while goes_on:
            statuses.append(status(service, token))

    with ThreadPoolExecutor(threads) as pool:
        callers = [pool.submit(go_on) for _ in range(threads)]
        try:
            yield statuses
        finally:
            goes_on = False
    for each in callers:
        each.result()


def test_an_issuer_that_fails_at_the_start_is_a_503_until_it_is_well(tmp_path):
    """Several services at once, each with an issuer of its own that fails in its own way."""
    failing = {
        "issuer_unreachable": None,
        "metadata_of_another_issuer": faults.metadata(issuer="https://other.example.com"),
        "key_set_without_usable_key": faults.key_set(),
        "issuer_answered_too_much": faults.only_keys(faults.answering(faults.zeros(50))),
        "issuer_timed_out": faults.SLOW_FAULTS["trickles a header"],
    }

    def scenario(reason: str) -> None:
        issuer = FaultyIssuer(failing[reason]).start()
        if reason == "issuer_unreachable":
            issuer.stop()
        with Service(oauth_settings(issuer), tmp_path / reason) as service:
            service.wait_until(lambda: ready(service) == (503, reason), "not that reason")
            answer = call(service, issuer.issue())
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert "WWW-Authenticate" not in answer.headers
            assert reason not in answer.text
            assert f"keys not fetched issuer={issuer.issuer} reason={reason} " in service.log

            issuer.fault = None
            if reason == "issuer_unreachable":
                issuer.start()
            service.wait_until(lambda: ready(service) == (200, None), "not found again")
            assert status(service, issuer.issue()) == 204
        issuer.stop()

    with ThreadPoolExecutor(len(failing)) as pool:
        for each in [pool.submit(scenario, reason) for reason in failing]:
            each.result()


def test_good_tokens_pass_while_the_issuer_is_down(issuer, service, foreign_key):
    made_up = issuer.sign(issuer.claims(), {"kid": foreign_key.kid}, foreign_key)
    with calling(service, issuer.issue(), threads=6) as statuses:
        issuer.stop()
        # The issuer was asked and did not answer, so nobody can say that there is no such key.
        assert status(service, made_up) == 503
        assert ready(service) == (200, None)
        seen = len(statuses)
        service.wait_until(lambda: len(statuses) > seen + 100, "calls do not go on")
    assert set(statuses) == {204}


def test_a_rotation_refuses_no_call(issuer, service):
    with calling(service, issuer.issue(), threads=3) as with_old_key:
        issuer.rotate_keys()
        with calling(service, issuer.issue(), threads=3) as with_new_key:
            for statuses in (with_old_key, with_new_key):
                seen = len(statuses)
                service.wait_until(lambda: len(statuses) > seen + 100, "calls do not go on")  # noqa: B023
    assert set(with_old_key) == set(with_new_key) == {204}
    assert issuer.key_requests == 4


def test_a_withdrawn_key_ends_with_the_next_refresh(issuer, service):
    withdrawn = issuer.issue()
    issuer.rotate_keys(keep_old=False)
    assert status(service, withdrawn) == 204
    assert status(service, issuer.issue()) == 204
    assert status(service, withdrawn) == 401


@pytest.mark.parametrize("workers", [2])
def test_500_made_up_kids_are_a_handful_of_requests(issuer, tmp_path, foreign_key, workers):
    claims, kids = issuer.claims(), count()

    def attack(_):
        kid = f"made-up-{next(kids)}"
        return status(service, issuer.sign(claims, {"kid": kid}, foreign_key))

    with Service(oauth_settings(issuer), tmp_path / "log", workers=workers) as service:
        service.wait_until(lambda: issuer.key_requests == 2 * workers, "not all have started")
        started = time.monotonic()
        with (
            calling(service, issuer.issue(), threads=2) as statuses,
            ThreadPoolExecutor(16) as pool,
        ):
            answers = list(pool.map(attack, range(500)))
        # A worker may refresh at once, and once more after each pause.
        refreshes = 1 + (time.monotonic() - started) // 30
    assert set(statuses) == {204}
    # A busy machine may be taken for a slow issuer for a moment.
    assert set(answers) <= {401, 503}
    assert answers[-100:] == [401] * 100
    assert issuer.key_requests <= 2 * workers * (1 + refreshes)


def test_made_up_kids_and_an_issuer_that_hangs_hold_up_no_good_token(issuer, service, foreign_key):
    claims, good = issuer.claims(), issuer.issue()
    issuer.fault = faults.hanging

    def attack(number):
        kid = f"made-up-{number}"
        return status(service, issuer.sign(claims, {"kid": kid}, foreign_key))

    with ThreadPoolExecutor(32) as pool:
        attacks = [pool.submit(attack, number) for number in range(500)]
        service.wait_until(lambda: issuer.open, "no refresh")
        for _ in range(20):
            answer = call(service, good)
            assert answer.status_code == 204
            assert answer.elapsed.total_seconds() < OKTA_SECONDS
        assert {each.result() for each in attacks} == {503}
    assert status(service, good) == 204
