"""The issuer's keys: asked for in time, bounded in time, and never lost to a faulty issuer."""

import logging
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import auth.issuer
import pytest

import auth.keys
from auth.keys import (
    PATIENT_CALLS,
    IssuerError,
    IssuerKeys,
    KeysUnavailable,
    UnknownKey,
    fetch_keys,
    keys_of,
)
from local_okta.authorization_server import LocalOkta, new_key
from tests import faulty_issuer as faults
from tests.faulty_issuer import QUICK_FAULTS, SLOW_FAULTS, UNUSABLE_MEMBERS, FaultyIssuer

# Far more than anything here takes, far less than what has no bound would.
GENEROUS_SECONDS = 15
KEY = new_key()


@pytest.fixture
def issuer():
    with FaultyIssuer() as server:
        yield server


@pytest.fixture(scope="module")
def scolded_issuer():
    """One issuer for many single attempts, each under a fault of its own."""
    with FaultyIssuer() as server:
        yield server


@pytest.fixture
def start_keys():
    """Starts IssuerKeys whose background threads ask nobody once the test is over."""
    over = threading.Event()

    def start(issuer: str = "https://issuer.example.com", fetch=fetch_keys, **others) -> IssuerKeys:
        def fetch_until_over(issuer):
            return {"over": KEY} if over.is_set() else fetch(issuer)

        keys = IssuerKeys(issuer, fetch=fetch_until_over, **others)
        keys.start()
        return keys

    yield start
    over.set()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fetch:
    """Stands in for `fetch_keys`: has `kids` or `failure`, and waits while `gate` is closed."""

    def __init__(self, *kids: str):
        self.kids = kids
        self.failure: Exception | None = None
        self.begun = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, issuer):
        self.begun += 1
        assert self.gate.wait(60)
        if self.failure:
            raise self.failure
        return dict.fromkeys(self.kids, KEY)


def wait_until(condition) -> None:
    end = time.monotonic() + GENEROUS_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def outcome(keys: IssuerKeys, kid: str) -> str:
    try:
        keys.get(kid)
    except UnknownKey:
        return "unknown"
    except KeysUnavailable as error:
        return str(error)
    return "known"


def attempt_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "issuer-attempt"]


def reason_of_attempt(issuer: str) -> str | None:
    try:
        fetch_keys(issuer)
    except IssuerError as error:
        return error.reason
    return None


# One attempt, over real HTTP.


def test_an_attempt_takes_one_request_for_metadata_and_one_for_keys(issuer):
    keys = fetch_keys(issuer.issuer)
    assert list(keys) == [issuer.keys[0].kid]
    assert not keys[issuer.keys[0].kid].is_private
    assert issuer.key_requests == 2


def test_metadata_of_openid_connect_will_do(issuer):
    issuer.fault = faults.only_openid
    assert list(fetch_keys(issuer.issuer)) == [issuer.keys[0].kid]
    assert issuer.key_requests == 3


@pytest.mark.parametrize("name", QUICK_FAULTS)
def test_a_lying_or_broken_issuer_is_a_failed_attempt(scolded_issuer, name):
    scolded_issuer.fault, reason = QUICK_FAULTS[name]
    before = scolded_issuer.key_requests
    assert reason_of_attempt(scolded_issuer.issuer) == reason
    assert scolded_issuer.key_requests - before <= 2


def test_a_redirect_is_not_followed(issuer):
    with LocalOkta() as other:
        issuer.fault = faults.redirecting_to(other)
        assert reason_of_attempt(issuer.issuer) == "issuer_answered_302"
        assert other.key_requests == 0


def test_an_issuer_that_is_down_refuses_the_connection(issuer):
    issuer.stop()
    assert reason_of_attempt(issuer.issuer) == "issuer_unreachable"
    issuer.start()
    assert reason_of_attempt(issuer.issuer) is None


def test_a_proxy_that_refuses_is_named(scolded_issuer, monkeypatch):
    scolded_issuer.fault = faults.answering(b"", 403)
    monkeypatch.setenv("HTTPS_PROXY", scolded_issuer.issuer)
    assert reason_of_attempt("https://issuer.example.com/oauth2/default") == "proxy_refused"


def test_every_slow_attempt_ends_in_time_and_leaves_nothing_behind(monkeypatch):
    issuers = {name: FaultyIssuer(fault).start() for name, fault in SLOW_FAULTS.items()}
    with faults.deaf_port() as port, ThreadPoolExecutor(len(issuers) + 2) as pool:
        addresses = {name: issuer.issuer for name, issuer in issuers.items()}
        addresses["no answer to the connection"] = f"http://127.0.0.1:{port}/oauth2/default"
        addresses["a proxy that trickles"] = "https://issuer.example.com/oauth2/default"
        monkeypatch.setenv("HTTPS_PROXY", addresses["trickles headers"])
        started = time.monotonic()
        reasons = dict(zip(addresses, pool.map(reason_of_attempt, addresses.values()), strict=True))
        assert reasons == dict.fromkeys(addresses, "issuer_timed_out")
        assert time.monotonic() - started < GENEROUS_SECONDS
        wait_until(lambda: not attempt_threads())
    wait_until(lambda: not any(issuer.open for issuer in issuers.values()))
    for issuer in issuers.values():
        issuer.stop()


@pytest.mark.parametrize(
    "fault",
    [
        faults.answering(faults.zeros(100)),
        faults.only_keys(faults.answering(faults.zeros(100))),
        faults.gzip_bomb(100, layers=1),
        faults.gzip_bomb(100, layers=2),
    ],
    ids=["metadata", "keys", "gzip", "gzip in gzip"],
)
def test_100_mb_do_not_fill_the_memory(scolded_issuer, fault):
    scolded_issuer.fault = fault
    # The first time, the issuer itself needs memory to make them.
    for _ in range(2):
        tracemalloc.start()
        try:
            # On a busy machine the attempt may run out of time before it has seen too much.
            reasons = ("issuer_answered_too_much", "issuer_timed_out")
            assert reason_of_attempt(scolded_issuer.issuer) in reasons
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 30 * faults.MB


def test_an_issuer_on_this_machine_is_asked_directly(issuer, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert reason_of_attempt(issuer.issuer) is None


# What a key set may hold.


@pytest.mark.parametrize("name", UNUSABLE_MEMBERS)
def test_a_member_that_can_check_no_rs256_signature_is_no_key(name):
    with pytest.raises(IssuerError, match="key_set_without_usable_key"):
        keys_of({"keys": [UNUSABLE_MEMBERS[name]]})


def test_good_members_count_among_bad_ones(issuer):
    good = issuer.key_set()["keys"][0]
    bad = list(UNUSABLE_MEMBERS.values())
    issuer.fault = faults.key_set(*bad, good, *bad)
    assert list(fetch_keys(issuer.issuer)) == [good["kid"]]


def test_of_two_keys_with_one_id_the_first_counts():
    first, second = new_key().as_dict(private=False), new_key().as_dict(private=False)
    keys = keys_of({"keys": [first | {"kid": "k"}, second | {"kid": "k"}]})
    assert [key.as_dict()["n"] for key in keys.values()] == [first["n"]]


def test_a_private_key_published_by_mistake_is_taken_as_public():
    key = new_key()
    taken = keys_of({"keys": [key.as_dict(private=True)]})[key.kid]
    assert not taken.is_private
    assert "d" not in taken.as_dict()


# Before the first call, and in the background.


def test_keys_are_there_before_the_first_call(issuer, start_keys):
    keys = start_keys(issuer.issuer)
    assert issuer.key_requests == 2
    assert keys.unavailable_reason() is None
    assert keys.get(issuer.keys[0].kid).kid == issuer.keys[0].kid
    assert issuer.key_requests == 2


def test_an_issuer_that_hangs_does_not_keep_the_service_from_starting(issuer, start_keys):
    issuer.fault = faults.hanging
    started = time.monotonic()
    keys = start_keys(issuer.issuer)
    wait_until(lambda: keys.unavailable_reason() == "issuer_timed_out")
    with pytest.raises(KeysUnavailable):
        keys.get(issuer.keys[0].kid)
    assert time.monotonic() - started < GENEROUS_SECONDS


def test_a_known_key_never_waits_for_the_network(issuer, start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    keys = start_keys(issuer.issuer)
    issuer.fault = faults.hanging
    wait_until(lambda: issuer.open)
    requests = issuer.key_requests
    for _ in range(1000):
        keys.get(issuer.keys[0].kid)
    assert (issuer.open, issuer.key_requests) == (1, requests)


def test_keys_are_refreshed_in_the_background(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    fetch = Fetch("old", "withdrawn")
    keys = start_keys(fetch=fetch)
    fetch.kids = ("old", "new")
    seen = fetch.begun
    wait_until(lambda: fetch.begun > seen + 1)
    fetch.gate.clear()
    assert outcome(keys, "new") == outcome(keys, "old") == "known"
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.0)
    assert outcome(keys, "withdrawn") == "issuer_slow"
    fetch.gate.set()


def test_whatever_an_attempt_raises_the_next_one_follows(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 0.01)
    fetch = Fetch("a")
    fetch.failure = ZeroDivisionError()
    keys = start_keys(fetch=fetch)
    assert keys.unavailable_reason() == "unexpected_ZeroDivisionError"
    fetch.failure = None
    wait_until(lambda: keys.unavailable_reason() is None)


# A key ID that is not in hand.


def test_an_unknown_kid_causes_one_refresh_for_all_who_wait(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "IMPATIENCE", 60.0)
    fetch = Fetch("old")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    fetch.kids = ("old", "new")
    barrier = threading.Barrier(16)

    def call(kid):
        barrier.wait()
        return outcome(keys, kid)

    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(call, kid) for kid in ["new", "made up"] * 8]
        wait_until(lambda: fetch.begun == 2)
        assert outcome(keys, "old") == "known"
        fetch.gate.set()
        assert [each.result() for each in calls] == ["known", "unknown"] * 8
    assert fetch.begun == 2


def test_an_attempt_under_way_may_have_come_too_early(start_keys, monkeypatch):
    """A call waits for an attempt that began after it came."""
    monkeypatch.setattr(auth.keys, "IMPATIENCE", 60.0)
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    published = [("old",)]

    def fetch(issuer):
        kids = published[0]
        assert gate.wait(60)
        return dict.fromkeys(kids, KEY)

    gate = threading.Event()
    gate.set()
    keys = start_keys(fetch=fetch)
    gate.clear()
    wait_until(lambda: keys._begun > keys._ended)
    published[0] = ("old", "new")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(outcome, keys, "new")
        wait_until(lambda: keys._wanted > keys._ended)
        gate.set()
        assert call.result() == "known"


def test_after_a_miss_there_is_no_other_refresh_for_30_seconds(start_keys):
    assert auth.keys.MISS_PAUSE == 30
    clock, fetch = Clock(), Fetch("a")
    keys = start_keys(fetch=fetch, clock=clock)
    # The fetch at the start does not count.
    assert (outcome(keys, "b"), fetch.begun) == ("unknown", 2)
    fetch.kids = ("a", "b")
    clock.now += 29.9
    assert (outcome(keys, "b"), fetch.begun) == ("unknown", 2)
    clock.now += 0.1
    assert (outcome(keys, "b"), fetch.begun) == ("known", 3)
    assert (outcome(keys, "c"), fetch.begun) == ("unknown", 3)


def test_unknown_after_a_refresh_that_worked_and_unavailable_after_one_that_failed(
    issuer, start_keys, monkeypatch
):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 3600.0)
    clock, known = Clock(), issuer.keys[0].kid
    keys = start_keys(issuer.issuer, clock=clock)
    assert outcome(keys, "made up") == "unknown"

    issuer.fault = faults.answering(b"", 500)
    assert outcome(keys, "made up") == "unknown"
    clock.now += 30
    assert outcome(keys, "made up") == outcome(keys, "another") == "issuer_answered_500"
    assert outcome(keys, known) == "known"
    assert keys.unavailable_reason() is None

    issuer.fault = None
    clock.now += 30
    assert outcome(keys, "made up") == "unknown"
    assert issuer.key_requests == 2 + 2 + 1 + 2


@pytest.mark.parametrize(
    "fault",
    [
        faults.key_set(),
        faults.key_set(*UNUSABLE_MEMBERS.values()),
        faults.only_keys(faults.answering(b"{}")),
        faults.only_keys(faults.answering(b"<html>")),
        faults.metadata(issuer="https://other.example.com/oauth2/default"),
    ],
    ids=["empty", "nothing usable", "no key set", "no JSON", "another issuer"],
)
def test_a_broken_key_set_never_replaces_a_good_one(issuer, start_keys, fault):
    keys = start_keys(issuer.issuer)
    issuer.fault = fault
    with pytest.raises(KeysUnavailable):
        keys.get("made up")
    assert outcome(keys, issuer.keys[0].kid) == "known"
    assert keys.unavailable_reason() is None


def test_a_withdrawn_key_is_forgotten_with_the_next_refresh(issuer, start_keys):
    keys = start_keys(issuer.issuer)
    old = issuer.keys[0].kid
    new = issuer.rotate_keys(keep_old=False)
    assert outcome(keys, old) == "known"
    assert outcome(keys, new) == "known"
    assert outcome(keys, old) == "unknown"


def test_made_up_kids_by_the_hundred_do_not_hold_up_good_tokens(issuer, start_keys, monkeypatch):
    """Eight threads, as in a worker, and before the good calls a crowd of made-up ones."""
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 60.0)
    monkeypatch.setattr(auth.issuer, "ATTEMPT_SECONDS", 60.0)
    keys = start_keys(issuer.issuer)
    issuer.fault = faults.hanging
    requests = issuer.key_requests
    with ThreadPoolExecutor(8) as pool:
        made_up = [pool.submit(outcome, keys, f"made up {number}") for number in range(400)]
        good = [pool.submit(outcome, keys, issuer.keys[0].kid) for _ in range(100)]
        try:
            _, late = wait(good, GENEROUS_SECONDS)
            assert not late
            assert {each.result() for each in good} == {"known"}
            wait_until(lambda: sum(each.done() for each in made_up) >= 400 - PATIENT_CALLS)
            assert {each.result() for each in made_up if each.done()} == {"issuer_slow"}
            assert (issuer.open, issuer.key_requests - requests) == (1, 1)
        finally:
            issuer.ended.set()
        assert [each.result() for each in made_up].count("issuer_unreachable") == PATIENT_CALLS


def test_only_a_few_calls_wait_for_a_slow_issuer(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 60.0)
    fetch = Fetch("a")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(outcome, keys, f"made up {number}") for number in range(20)]
        wait_until(lambda: sum(each.done() for each in calls) == 20 - PATIENT_CALLS)
        assert {each.result() for each in calls if each.done()} == {"issuer_slow"}
        assert outcome(keys, "one more") == "issuer_slow"
        waiting = [each for each in calls if not each.done()]
        fetch.gate.set()
        assert [each.result() for each in waiting] == ["unknown"] * PATIENT_CALLS
    assert fetch.begun == 2


# An outage.


def test_keys_in_hand_stay_good_for_24_hours(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 3600.0)
    clock, fetch = Clock(), Fetch("a")
    keys = start_keys(fetch=fetch, clock=clock)
    fetch.failure = IssuerError("issuer_unreachable")
    clock.now += 24 * 60 * 60 - 1
    assert outcome(keys, "a") == "known"
    assert keys.unavailable_reason() is None
    clock.now += 1
    assert outcome(keys, "a") == "issuer_unreachable"
    assert keys.unavailable_reason() == "keys_too_old"
    fetch.failure = None
    clock.now += 30
    assert outcome(keys, "a") == "known"
    assert keys.unavailable_reason() is None


def test_an_issuer_is_found_again_within_10_seconds_of_its_return():
    assert auth.keys.RETRY_EVERY + 2 * auth.issuer.ATTEMPT_SECONDS <= 10


def test_an_issuer_is_found_again_without_a_call(issuer, start_keys, monkeypatch, caplog):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 0.01)
    caplog.set_level(logging.INFO, "okta_hooks.keys")
    attempts = []

    def fetch(address):
        attempts.append(address)
        return fetch_keys(address)

    issuer.stop()
    keys = start_keys(issuer.issuer, fetch=fetch)
    assert keys.unavailable_reason() == "issuer_unreachable"
    assert outcome(keys, issuer.keys[0].kid) == "issuer_unreachable"
    wait_until(lambda: len(attempts) > 5)
    issuer.start()
    wait_until(lambda: keys.unavailable_reason() is None)
    assert outcome(keys, issuer.keys[0].kid) == "known"
    # Said when it begins and when it ends, not at every attempt.
    # Keys of other tests' issuers may still be refreshed, so only this one's lines count.
    records = [line for line in caplog.records if line.fields["issuer"] == issuer.issuer]
    assert [line.message for line in records] == ["keys not fetched", "keys fetched"]
    assert records[0].fields["reason"] == "issuer_unreachable"


# A fork. The parent is a process of its own: the one that runs the tests has too many threads.

FORKED = """
import os, sys, threading
from auth.keys import PATIENT_CALLS, IssuerKeys, UnknownKey
from tests.test_auth_keys import Fetch, outcome

fetch = Fetch("a")
keys = IssuerKeys("https://issuer.example.com", fetch=fetch)
keys.start()

def in_child(check):
    child = os.fork()
    if child == 0:
        failed = True
        try:
            check()
            failed = False
        finally:
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0
"""
FORKS = {
    "keys in hand": """
def check():
    fetch.gate.clear()
    assert outcome(keys, "a") == "known"
in_child(check)
""",
    "a miss": """
def check():
    fetch.kids = ("a", "b")
    assert outcome(keys, "b") == "known"
in_child(check)
""",
    "a miss soon after one in the parent": """
assert outcome(keys, "b") == "unknown"
def check():
    fetch.kids = ("a", "b")
    assert outcome(keys, "b") == "known"
in_child(check)
""",
    "the lock held by another thread": """
held, release = threading.Event(), threading.Event()
def hold():
    with keys._changed:
        held.set()
        release.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
def check():
    assert outcome(keys, "a") == "known"
    assert outcome(keys, "b") == "unknown"
in_child(check)
release.set()
""",
    "an attempt under way": """
fetch.gate.clear()
waiting = threading.Thread(target=outcome, args=(keys, "b"), daemon=True)
waiting.start()
while fetch.begun < 2:
    pass
def check():
    fetch.gate = threading.Event()
    fetch.gate.set()
    fetch.kids = ("a", "b")
    assert outcome(keys, "b") == "known"
in_child(check)
fetch.gate.set()
""",
}


@pytest.mark.parametrize("name", FORKS)
def test_a_forked_child_has_the_keys_and_refreshes_them_itself(name):
    subprocess.run(
        [sys.executable, "-c", FORKED + FORKS[name]],
        cwd=Path(__file__).parent.parent,
        check=True,
        timeout=60,
    )
