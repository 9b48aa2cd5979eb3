"""The service under gunicorn while its issuer fails, with requests from many threads."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from statistics import median

import pytest

from auth.keys import MISSES_ANSWERED
from local_okta.authorization_server import new_key
from tests import faulty_issuer as faults
from tests.faulty_issuer import FaultyIssuer
from tests.service import Service, bearer, oauth_settings

# What Okta waits for an answer in all.
OKTA_SECONDS = 3
FOREIGN_KEY = new_key()


@pytest.fixture
def issuer():
    with FaultyIssuer() as server:
        yield server


@pytest.fixture
def service(issuer, tmp_path):
    with Service(oauth_settings(issuer), tmp_path / "log") as running:
        yield running


def ask(service: Service, token: str):
    return service.call("/tokenHook", json={"data": {}}, headers=bearer(token))


def status(service: Service, token: str) -> int:
    return ask(service, token).status_code


def ready(service: Service) -> tuple[int, str | None]:
    answer = service.call("/readyz", method="GET")
    return answer.status_code, answer.json().get("reason")


def made_up(issuer: FaultyIssuer, numbers=count()) -> str:  # noqa: B008 - one for all
    return issuer.sign(issuer.claims(), {"kid": f"made-up-{next(numbers)}"}, FOREIGN_KEY)


@contextmanager
def sending(service: Service, token: str, threads: int):
    """Sends the token all the while, from several threads; gives the list of statuses."""
    statuses: list[int] = []
    goes_on = True

    def go_on():
        while goes_on:
            statuses.append(status(service, token))

    with ThreadPoolExecutor(threads) as pool:
        senders = [pool.submit(go_on) for _ in range(threads)]
        try:
            yield statuses
        finally:
            goes_on = False
    for each in senders:
        each.result()


def wait_for_more(service: Service, statuses: list[int]) -> None:
    seen = len(statuses)
    service.wait_until(lambda: len(statuses) > seen + 30, "requests do not go on")


def test_an_issuer_that_fails_at_the_start_is_a_503_until_it_is_well(tmp_path):
    """It fails in one way after the other; what the service says of it follows."""
    failing = {
        "issuer_unreachable": None,
        "metadata_of_another_issuer": faults.metadata(issuer="https://other.example.com"),
        "key_set_without_usable_key": faults.key_set(),
        "issuer_timed_out": faults.SLOW_FAULTS["trickles the body"],
    }
    issuer = FaultyIssuer().start()
    issuer.stop()
    with Service(oauth_settings(issuer), tmp_path / "log") as service:
        for number, (reason, issuer.fault) in enumerate(failing.items()):
            if number == 1:
                issuer.start()
            service.wait_until(lambda reason=reason: ready(service) == (503, reason), reason)
            answer = ask(service, issuer.issue())
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert "WWW-Authenticate" not in answer.headers
            assert reason not in answer.text
            assert f"keys not fetched issuer={issuer.issuer} reason={reason} " in service.log
        issuer.fault = None
        service.wait_until(lambda: ready(service) == (200, None), "not found again")
        assert status(service, issuer.issue()) == 204
    issuer.stop()


def test_good_tokens_pass_while_the_issuer_is_down(issuer, service):
    with sending(service, issuer.issue(), threads=3) as statuses:
        issuer.stop()
        # The issuer was asked and did not answer, so nobody can say whether it has such a key.
        assert status(service, made_up(issuer)) == 503
        assert ready(service) == (200, None)
        wait_for_more(service, statuses)
    assert set(statuses) == {204}


@pytest.mark.parametrize("arguments", [(), ("--preload",)], ids=["plain", "preload"])
def test_a_rotation_refuses_no_request_for_good(issuer, tmp_path, arguments):
    """Not even where the worker is forked from a process that has the keys already."""
    with (
        Service(oauth_settings(issuer), tmp_path / "log", arguments=arguments) as service,
        sending(service, issuer.issue(), threads=2) as with_old_key,
    ):
        before = issuer.key_requests
        issuer.rotate_keys()
        with sending(service, issuer.issue(), threads=2) as with_new_key:
            wait_for_more(service, with_old_key)
            wait_for_more(service, with_new_key)
        assert set(with_old_key) == {204}
        # An issuer on a busy machine may take longer than a request waits: 503, and never 401.
        assert set(with_new_key) <= {204, 503}
        assert with_new_key[-1] == 204
        assert issuer.key_requests <= before + 4


def test_a_made_up_kid_before_a_rotation_costs_no_request_for_good(issuer, service):
    for _ in range(MISSES_ANSWERED + 1):
        assert status(service, made_up(issuer)) in (401, 503)
    issuer.rotate_keys()
    answer = ask(service, issuer.issue())
    # Okta sends it again after a 503, and never after a 401.
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_100_made_up_kids_are_a_handful_of_requests(issuer, tmp_path):
    workers = 2
    with Service(oauth_settings(issuer), tmp_path / "log", workers=workers) as service:
        service.wait_until(lambda: issuer.key_requests == 2 * workers, "not all have started")
        with (
            sending(service, issuer.issue(), threads=2) as statuses,
            ThreadPoolExecutor(16) as pool,
        ):
            tokens = [made_up(issuer) for _ in range(100)]
            answers = list(pool.map(lambda token: status(service, token), tokens))
    assert set(statuses) == {204}
    assert set(answers) <= {401, 503}
    # Two requests for each attempt: at the start, and a few in each window of 30 s.
    assert issuer.key_requests <= 2 * workers * (1 + 3 * MISSES_ANSWERED)


def test_made_up_kids_and_an_issuer_that_hangs_hold_up_no_good_token(issuer, service):
    good, tokens = issuer.issue(), [made_up(issuer) for _ in range(100)]
    issuer.fault = faults.hanging
    with ThreadPoolExecutor(16) as pool:
        attacks = [pool.submit(status, service, token) for token in tokens]
        service.wait_until(lambda: issuer.open, "no refresh")
        answers = [ask(service, good) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {204}
        # The median: on a busy machine one may be late.
        assert median(answer.elapsed.total_seconds() for answer in answers) < OKTA_SECONDS
        assert {each.result() for each in attacks} == {503}
    assert status(service, good) == 204
