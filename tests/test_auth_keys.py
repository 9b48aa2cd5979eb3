"""The issuer's keys: asked for in time, bounded in time, and never lost to a faulty issuer."""

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

import auth.keys
from auth.keys import IssuerError, IssuerKeys, KeysUnavailable, UnknownKey, fetch_keys
from local_okta.authorization_server import LocalOkta, new_key
from tests import faulty_issuer as faults
from tests.faulty_issuer import (
    ENDLESS_FAULTS,
    QUICK_FAULTS,
    SLOW_FAULTS,
    UNUSABLE_MEMBERS,
    FaultyIssuer,
    HttpsIssuer,
)

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
def https_issuer(tmp_path, monkeypatch):
    server = HttpsIssuer(tmp_path)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    # Whatever else this machine has for proxies and authorities counts for nothing here.
    for name in ("NO_PROXY", "no_proxy", "https_proxy", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", server.proxy)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def start_keys():
    """Starts IssuerKeys whose background threads ask nobody once the test is over."""
    over = threading.Event()

    def start(issuer: str = "https://issuer.example.com", fetch=fetch_keys, **others) -> IssuerKeys:
        def fetch_until_over(issuer):
            return Fetch("over")(issuer) if over.is_set() else fetch(issuer)

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
        kids = self.kids
        assert self.gate.wait(60)
        if self.failure:
            raise self.failure
        return dict.fromkeys(kids, KEY)


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


def reason_of_attempt(issuer: str) -> str | None:
    try:
        fetch_keys(issuer)
    except IssuerError as error:
        return str(error)
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


@pytest.mark.parametrize("name", SLOW_FAULTS)
def test_an_issuer_that_does_not_come_to_an_end_is_given_up(scolded_issuer, name, monkeypatch):
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.3)
    scolded_issuer.fault = SLOW_FAULTS[name]
    started = time.monotonic()
    assert reason_of_attempt(scolded_issuer.issuer) == "issuer_timed_out"
    assert time.monotonic() - started < GENEROUS_SECONDS


def test_a_redirect_is_not_followed(issuer):
    with LocalOkta() as other:
        issuer.fault = faults.redirecting_to(other)
        assert reason_of_attempt(issuer.issuer) == "issuer_answered_302"
        issuer.fault = faults.only_keys(issuer.fault)
        assert reason_of_attempt(issuer.issuer) == "issuer_answered_302"
        assert other.key_requests == 0


def test_an_issuer_that_is_down_refuses_the_connection(issuer):
    issuer.stop()
    assert reason_of_attempt(issuer.issuer) == "issuer_unreachable"
    issuer.start()
    assert reason_of_attempt(issuer.issuer) is None


def test_an_issuer_behind_a_firewall_that_drops_packets_is_given_up(monkeypatch):
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        # The kernel itself takes one more than the backlog; of the others it drops the packets.
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        port = listener.getsockname()[1]
        assert reason_of_attempt(f"http://127.0.0.1:{port}") == "issuer_timed_out"


def test_an_issuer_on_this_machine_is_asked_directly(issuer, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert reason_of_attempt(issuer.issuer) is None


def test_an_issuer_elsewhere_is_asked_through_the_proxy_and_trusted_by_its_certificate(
    https_issuer, scolded_issuer, monkeypatch
):
    assert reason_of_attempt(https_issuer.issuer) is None
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert reason_of_attempt(https_issuer.issuer) == "issuer_certificate_not_trusted"
    scolded_issuer.fault = faults.answering(b"", 403)
    monkeypatch.setenv("HTTPS_PROXY", scolded_issuer.issuer)
    assert reason_of_attempt(https_issuer.issuer) == "proxy_refused"


def test_an_issuer_elsewhere_cannot_name_this_machine_as_the_place_of_its_keys(
    https_issuer, issuer
):
    https_issuer.metadata["jwks_uri"] = issuer.jwks_uri
    assert reason_of_attempt(https_issuer.issuer) == "jwks_uri_not_https"
    assert issuer.key_requests == 0


def test_no_password_of_netrc_is_sent_to_the_issuer(https_issuer, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine issuer.example.com login ann password swordfish\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert reason_of_attempt(https_issuer.issuer) is None
    assert len(https_issuer.seen) == 2
    assert not any("Authorization" in headers for headers in https_issuer.seen)


# What a key set may hold.


# joserfc itself warns of a short key.
@pytest.mark.filterwarnings("ignore:Key size")
@pytest.mark.parametrize("name", UNUSABLE_MEMBERS)
def test_a_member_that_can_check_no_rs256_signature_is_not_a_key(scolded_issuer, name):
    scolded_issuer.fault = faults.key_set(UNUSABLE_MEMBERS[name])
    assert reason_of_attempt(scolded_issuer.issuer) == "key_set_without_usable_key"


@pytest.mark.filterwarnings("ignore:Key size")
def test_good_members_count_among_bad_ones(issuer):
    """Of two with one ID the first counts, and a private key published by mistake is public."""
    bad, other = list(UNUSABLE_MEMBERS.values()), new_key().as_dict(private=False)
    good = new_key().as_dict(private=True)
    issuer.fault = faults.key_set(*bad, good, other | {"kid": good["kid"]}, *bad)
    [(kid, key)] = fetch_keys(issuer.issuer).items()
    assert (kid, key.as_dict()["n"]) == (good["kid"], good["n"])
    assert not key.is_private


# Before the first request, and in the background.


def test_keys_are_there_before_the_first_request(issuer, start_keys):
    keys = start_keys(issuer.issuer)
    assert issuer.key_requests == 2
    assert keys.unavailable_reason() is None
    assert keys.get(issuer.keys[0].kid).kid == issuer.keys[0].kid
    assert issuer.key_requests == 2


def test_how_long_things_take():
    """What the contract promises, and no test can wait for."""
    assert auth.keys.REFRESH_EVERY <= 10 * 60
    assert auth.keys.KEEP_FOR == 24 * 60 * 60
    assert auth.keys.WAIT_SECONDS <= 2
    assert auth.keys.MISS_WINDOW == 30
    # Found again within 10 s of its return, though the last attempt has just failed late.
    assert auth.keys.RETRY_EVERY + 2 * auth.keys.ATTEMPT_SECONDS <= 10


@pytest.mark.parametrize("name", ENDLESS_FAULTS)
def test_an_issuer_that_holds_up_the_attempt_holds_up_nothing_else(
    issuer, start_keys, monkeypatch, name
):
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.3)
    monkeypatch.setattr(auth.keys, "WAIT_SECONDS", 0.1)
    issuer.fault = ENDLESS_FAULTS[name]
    started = time.monotonic()
    keys = start_keys(issuer.issuer)
    assert keys.unavailable_reason() == "keys_not_fetched_yet"
    assert outcome(keys, "a") == "issuer_slow"
    assert time.monotonic() - started < GENEROUS_SECONDS


def test_a_name_server_that_hangs_holds_up_nothing(issuer, start_keys, monkeypatch):
    over, hangs = threading.Event(), threading.Event()

    def hang(*arguments):
        hangs.set()
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    monkeypatch.setattr(auth.keys, "WAIT_SECONDS", 0.1)
    keys = start_keys(issuer.issuer)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    wait_until(hangs.is_set)
    started = time.monotonic()
    assert outcome(keys, issuer.keys[0].kid) == "known"
    assert outcome(keys, "made up") == "issuer_slow"
    assert time.monotonic() - started < GENEROUS_SECONDS
    over.set()


def test_a_known_key_never_waits_for_the_network(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    fetch = Fetch("a")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    seen = fetch.begun
    wait_until(lambda: fetch.begun > seen)
    assert [outcome(keys, "a") for _ in range(1000)] == ["known"] * 1000
    fetch.gate.set()


def test_keys_are_refreshed_in_the_background_and_a_withdrawn_one_is_forgotten(
    start_keys, monkeypatch
):
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    fetch = Fetch("old", "withdrawn")
    keys = start_keys(fetch=fetch)
    fetch.kids = ("old", "new")
    seen = fetch.begun
    wait_until(lambda: fetch.begun > seen + 1)
    assert outcome(keys, "new") == outcome(keys, "old") == "known"
    assert outcome(keys, "withdrawn") != "known"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ZeroDivisionError(), "unexpected_ZeroDivisionError"),
        (IssuerError("issuer_answered_500"), "issuer_answered_500"),
    ],
)
def test_whatever_an_attempt_raises_the_next_one_follows(start_keys, monkeypatch, failure, reason):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 0.01)
    fetch = Fetch("a")
    fetch.failure = failure
    keys = start_keys(fetch=fetch)
    assert keys.unavailable_reason() == reason
    fetch.failure = None
    wait_until(lambda: keys.unavailable_reason() is None)


# A key ID that is not in hand.


def test_an_unknown_kid_causes_one_refresh_for_all_who_wait(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "WAIT_SECONDS", 60.0)
    monkeypatch.setattr(auth.keys, "MISSES_ANSWERED", 16)
    fetch = Fetch("old")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    fetch.kids = ("old", "new")
    barrier = threading.Barrier(16)

    def get(kid):
        barrier.wait()
        return outcome(keys, kid)

    with ThreadPoolExecutor(16) as pool:
        outcomes = [pool.submit(get, kid) for kid in ["new", "made up"] * 8]
        wait_until(lambda: fetch.begun == 2)
        assert outcome(keys, "old") == "known"
        fetch.gate.set()
        assert {each.result() for each in outcomes[::2]} == {"known"}
        # Who came when the refresh had begun cannot know whether it came too early.
        assert {each.result() for each in outcomes[1::2]} <= {"unknown", "key_unknown_for_now"}
    # On a busy machine a thread or two may ask when the refresh is over.
    assert fetch.begun <= 4


def test_an_attempt_under_way_may_have_come_too_early(start_keys, monkeypatch):
    """A request waits for an attempt that began after it came."""
    monkeypatch.setattr(auth.keys, "WAIT_SECONDS", 60.0)
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 0.01)
    fetch = Fetch("old")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    seen = fetch.begun
    wait_until(lambda: fetch.begun > seen)
    monkeypatch.setattr(auth.keys, "REFRESH_EVERY", 3600.0)
    fetch.kids = ("old", "new")
    threading.Timer(0.2, fetch.gate.set).start()
    assert outcome(keys, "new") == "known"


def test_misses_are_answered_by_a_small_budget_of_refreshes(start_keys):
    clock, fetch, budget = Clock(), Fetch("a"), auth.keys.MISSES_ANSWERED
    assert 1 <= budget <= 3
    keys = start_keys(fetch=fetch, clock=clock)
    # The fetch at the start does not count.
    assert [outcome(keys, "b") for _ in range(budget)] == ["unknown"] * budget
    fetch.kids = ("a", "b")
    clock.now += 29.9
    # A token of a key that was published meanwhile is for Okta to send again.
    assert [outcome(keys, kid) for kid in ("b", "c")] == ["key_unknown_for_now"] * 2
    assert fetch.begun == 1 + budget
    clock.now += 0.2
    assert outcome(keys, "b") == "known"
    assert fetch.begun == 2 + budget


def test_unknown_after_a_refresh_that_worked_and_unavailable_after_one_that_failed(
    issuer, start_keys, monkeypatch
):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 3600.0)
    clock, known = Clock(), issuer.keys[0].kid
    keys = start_keys(issuer.issuer, clock=clock)
    for fault, expected in [(None, "unknown"), (faults.answering(b"", 500), "issuer_answered_500")]:
        clock.now += 30
        issuer.fault = fault
        assert outcome(keys, "made up") == expected
        assert outcome(keys, known) == "known"
        assert keys.unavailable_reason() is None
    clock.now += 30
    issuer.fault = None
    assert outcome(keys, "made up") == "unknown"


BROKEN = ["key set empty", "keys an object", "HTML", "metadata of another issuer", "50 MB of keys"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_key_set_never_replaces_a_good_one(issuer, start_keys, name):
    keys = start_keys(issuer.issuer)
    issuer.fault, reason = QUICK_FAULTS[name]
    assert outcome(keys, "made up") == reason
    assert outcome(keys, issuer.keys[0].kid) == "known"
    assert keys.unavailable_reason() is None


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


def test_an_issuer_is_found_again_without_a_request(issuer, start_keys, monkeypatch, caplog):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 0.01)
    caplog.set_level(logging.INFO, "okta_hooks.keys")
    attempts = []

    def fetch(address):
        attempts.append(address)
        return fetch_keys(address)

    issuer.stop()
    keys = start_keys(issuer.issuer, fetch=fetch)
    assert keys.unavailable_reason() == "issuer_unreachable"
    wait_until(lambda: len(attempts) > 5)
    issuer.start()
    wait_until(lambda: keys.unavailable_reason() is None)
    assert outcome(keys, issuer.keys[0].kid) == "known"
    # Said when it begins and when it ends, not at every attempt. Keys of other tests' issuers may
    # still be refreshed, so only this one's lines count.
    records = [line for line in caplog.records if line.fields["issuer"] == issuer.issuer]
    assert [line.message for line in records] == ["keys not fetched", "keys fetched"]
    assert records[0].fields["reason"] == "issuer_unreachable"
