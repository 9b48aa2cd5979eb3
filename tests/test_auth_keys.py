"""The issuer's keys: fetched ahead, within a limit, and never lost to a faulty issuer."""

import gzip
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from joserfc.jwk import ECKey, OctKey
from joserfc.util import urlsafe_b64encode
from werkzeug.serving import make_server, make_ssl_devcert
from werkzeug.wrappers import Response

import auth.keys
from auth.keys import IssuerError, IssuerKeys, fetch_keys, reason_of
from local_okta.authorization_server import new_key
from local_okta.endpoints import METADATA_PATHS
from tests.support.gunicorn import client_of, log_lines, oauth_settings
from tests.support.issuer import (
    FaultyIssuer,
    FaultyIssuerElsewhere,
    answering,
    hanging,
    key_set,
    metadata,
    only_keys,
    sending,
)

# Far longer than anything here takes, far shorter than anything without a limit.
GENEROUS_SECONDS = 15
KEY = new_key()


@pytest.fixture(scope="module")
def shared_issuer():
    with FaultyIssuer() as server:
        yield server


@pytest.fixture
def issuer(shared_issuer):
    shared_issuer.fault = None
    shared_issuer.requests.clear()
    return shared_issuer


@pytest.fixture
def issuer_elsewhere(tmp_path, monkeypatch):
    """Its name resolves to this machine, and REQUESTS_CA_BUNDLE has its certificate."""
    # This machine's own proxies and authorities must not matter here.
    for name in [*os.environ]:
        if name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: resolve("127.0.0.1", *rest))
    pair = make_ssl_devcert(str(tmp_path / "issuer"), cn="issuer.example.com")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", pair[0])
    issuer = FaultyIssuerElsewhere()
    server = make_server("127.0.0.1", 0, issuer.app, threaded=True, ssl_context=pair)
    issuer.port = server.port
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield issuer
    server.shutdown()
    server.server_close()


@pytest.fixture
def start_keys(monkeypatch):
    """Starts IssuerKeys whose background threads send no requests after the test."""
    over = threading.Event()
    # On a busy machine an answer may take longer than a request waits.
    monkeypatch.setattr(auth.keys, "WAIT_SECONDS", 60.0)

    def start(issuer: str = "https://issuer.example.com", fetch=fetch_keys, **others) -> IssuerKeys:
        def fetch_until_over(issuer):
            return {"over": KEY} if over.is_set() else fetch(issuer)

        keys = IssuerKeys(issuer, fetch=fetch_until_over, **others)
        keys.start()
        return keys

    yield start
    over.set()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fetch:
    """A fake `fetch_keys`: gives `kids` or raises `failure`, and waits while `gate` is closed."""

    def __init__(self, *kids: str):
        self.kids = kids
        self.failure: Exception | None = None
        self.begun = self.failed = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, issuer):
        self.begun += 1
        kids = self.kids
        assert self.gate.wait(60)
        if self.failure:
            self.failed += 1
            raise self.failure
        return dict.fromkeys(kids, KEY)


def wait_until(condition) -> None:
    end = time.monotonic() + GENEROUS_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def outcome(keys: IssuerKeys, kid: str) -> str:
    try:
        return "known" if keys.get(kid) else "unknown"
    except IssuerError as error:
        return str(error)


def reason_of_attempt(issuer: str) -> str | None:
    try:
        fetch_keys(issuer)
    except Exception as error:
        return reason_of(error)
    return None


# One attempt, over real HTTP.

OK = b"HTTP/1.1 200 OK\r\n"
NESTED = b"[" * 100_000 + b"]" * 100_000
GZIP = gzip.compress(b"{}")
TOO_MUCH = b"0" * (auth.keys.MAX_DOCUMENT_BYTES + 1)
NO_KEY = "key_set_without_usable_key"
NO_JSON = "issuer_answered_no_json"
ANOTHER_ISSUER = "metadata_of_another_issuer"
NOT_HTTPS = "jwks_uri_not_https"

# Each with the reason's name in the log and on /readyz.
FAULTS = {
    "closes the connection": (sending(), "ConnectionError"),
    "not HTTP": (sending(b"SSH-2.0-OpenSSH_9.6\r\n"), "ConnectionError"),
    "500": (answering(b"{}", 500), "issuer_answered_500"),
    "404 on both metadata paths": (answering(b"{}", 404), "issuer_answered_404"),
    "204": (answering(b"", 204), "issuer_answered_204"),
    "redirect": (answering(b"", 302, {"Location": "http://127.0.0.1:9"}), "issuer_answered_302"),
    "500 on the keys": (only_keys(answering(b"{}", 500)), "issuer_answered_500"),
    "metadata of another issuer": (metadata(issuer="https://example.com"), ANOTHER_ISSUER),
    "metadata without issuer": (metadata(issuer=None), ANOTHER_ISSUER),
    "metadata that is a list": (answering(b"[]"), ANOTHER_ISSUER),
    "jwks_uri missing": (metadata(jwks_uri=None), "metadata_without_jwks_uri"),
    "jwks_uri http": (metadata(jwks_uri="http://example.com/v1/keys"), NOT_HTTPS),
    "jwks_uri http, loopback as user": (metadata(jwks_uri="http://127.0.0.1@a.com/"), NOT_HTTPS),
    "jwks_uri http, not a URL": (metadata(jwks_uri="http://[::1/"), NOT_HTTPS),
    "jwks_uri file": (metadata(jwks_uri="file:///etc/passwd"), NOT_HTTPS),
    "key set empty": (key_set(), NO_KEY),
    "key set null": (only_keys(answering(b"null")), NO_KEY),
    "keys a number": (only_keys(answering(b'{"keys": 7}')), NO_KEY),
    "HTML": (answering(b"<html>Sign in</html>"), NO_JSON),
    "not UTF-8": (only_keys(answering(b'{"keys": "\xff\xfe"}')), NO_JSON),
    "deeply nested": (only_keys(answering(NESTED)), NO_JSON),
    "gzip that was not requested": (answering(GZIP, 200, {"Content-Encoding": "gzip"}), NO_JSON),
    "cut off": (sending(OK + b'Content-Length: 1000\r\n\r\n{"keys": ['), "ProtocolError"),
    "too much": (only_keys(answering(TOO_MUCH)), "issuer_answered_too_much"),
    "hangs": (hanging, "ReadTimeout"),
    "trickles the body": (sending(OK + b"Content-Length: 9999\r\n\r\n", b"a"), "ReadTimeout"),
    "trickles chunks": (
        sending(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "ReadTimeout",
    ),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_an_attempt_fails_if_the_issuer_is_wrong_broken_or_slow(issuer, monkeypatch, fault, reason):
    if reason == "ReadTimeout":
        monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.3)
    issuer.fault = fault
    started = time.monotonic()
    assert reason_of_attempt(issuer.issuer) == reason
    assert time.monotonic() - started < GENEROUS_SECONDS
    assert issuer.key_requests <= 2


def test_nothing_that_the_issuer_sends_gets_into_the_log(issuer, capsys):
    client_of(oauth_settings(issuer))
    issuer.fault = sending(OK + b"no colon\r\nforged" + b"x" * 5000 + b": y\r\n\r\n{}")
    assert reason_of_attempt(issuer.issuer) == ANOTHER_ISSUER
    assert log_lines(capsys) == []


def test_openid_connect_metadata_is_enough(issuer):
    def only_openid(issuer, request):
        return Response(status=404) if request.path == METADATA_PATHS[0] else None

    issuer.fault = only_openid
    assert list(fetch_keys(issuer.issuer)) == [issuer.keys[0].kid]


def test_an_attempt_times_out_if_a_firewall_drops_its_packets(monkeypatch):
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        # The kernel accepts one more than the backlog, and drops the packets of the others.
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        port = listener.getsockname()[1]
        assert reason_of_attempt(f"http://127.0.0.1:{port}") == "ConnectTimeout"


def test_an_issuer_on_this_machine_is_reached_without_a_proxy(issuer, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert reason_of_attempt(issuer.issuer) is None


def test_a_remote_issuer_is_reached_through_the_proxy_and_trusted_by_its_certificate(
    issuer_elsewhere, issuer, monkeypatch
):
    assert reason_of_attempt(issuer_elsewhere.issuer) is None
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert reason_of_attempt(issuer_elsewhere.issuer) == "SSLError"
    issuer.fault = answering(b"", 403)
    monkeypatch.setenv("HTTPS_PROXY", issuer.issuer)
    assert reason_of_attempt(issuer_elsewhere.issuer) == "ProxyError"


def test_a_remote_issuer_cannot_point_its_jwks_uri_at_this_machine(issuer_elsewhere, issuer):
    issuer_elsewhere.fault = metadata(jwks_uri=issuer.jwks_uri)
    assert reason_of_attempt(issuer_elsewhere.issuer) == "jwks_uri_not_https"
    assert issuer.key_requests == 0


def test_no_netrc_password_is_sent_to_the_issuer(issuer_elsewhere, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine issuer.example.com login ann password swordfish\n")
    monkeypatch.setenv("NETRC", str(netrc))
    sent = []
    issuer_elsewhere.fault = lambda issuer, request: sent.append(request.authorization)
    assert reason_of_attempt(issuer_elsewhere.issuer) is None
    assert sent == [None, None]


# What a key set may hold.

PUBLIC = KEY.as_dict(private=False)
RSA = {name: PUBLIC[name] for name in ("kty", "n", "e")}
SHORT = b"\xff" * 128
UNUSABLE_MEMBERS = {
    "EC": ECKey.generate_key("P-256").as_dict(private=False),
    "oct that says RS256": OctKey.generate_key(256).as_dict(private=True) | {"alg": "RS256"},
    "for encryption": RSA | {"use": "enc"},
    "for RS512": RSA | {"alg": "RS512"},
    "of 1024 bits": RSA | {"n": urlsafe_b64encode(SHORT).decode()},
    "of 1024 bits behind zeros": RSA | {"n": urlsafe_b64encode(bytes(128) + SHORT).decode()},
    "no n": {"kty": "RSA", "e": "AQAB"},
    "n a number": RSA | {"n": 65537},
    "n not Base64url": RSA | {"n": "!" * 342},
    "n zero": RSA | {"n": "A" * 342},
    "e one": RSA | {"e": "AQ"},
    "e even": RSA | {"e": "Ag"},
}


# joserfc itself warns of a short key.
@pytest.mark.filterwarnings("ignore:Key size")
def test_keys_that_cannot_verify_rs256_are_left_out(issuer):
    """If two have the same ID, the first is used."""
    bad = [member | {"kid": name} for name, member in UNUSABLE_MEMBERS.items()]
    bad += [RSA, RSA | {"kid": 7}, "key", None]
    good, other = KEY.as_dict(private=False), new_key().as_dict(private=False)
    issuer.fault = key_set(*bad, good, other | {"kid": KEY.kid}, *bad)
    keys = fetch_keys(issuer.issuer)
    assert list(keys) == [KEY.kid]
    assert keys[KEY.kid].as_dict()["n"] == good["n"]


# Before the first request, and in the background.


def test_keys_are_fetched_before_the_first_request(issuer, start_keys):
    keys = start_keys(issuer.issuer)
    assert issuer.key_requests == 2
    assert keys.unavailable_reason() is None
    assert keys.get(issuer.keys[0].kid).kid == issuer.keys[0].kid
    assert issuer.key_requests == 2


def test_the_times_are_those_of_the_contract():
    """A test cannot wait that long."""
    assert auth.keys.REFRESH_EVERY <= 10 * 60
    assert auth.keys.KEEP_FOR == 24 * 60 * 60
    assert auth.keys.WAIT_SECONDS <= 2
    assert auth.keys.MISS_WINDOW == 30
    # An issuer is found again within 10 s, even if the last attempt has just timed out.
    assert auth.keys.RETRY_EVERY + 2 * auth.keys.ATTEMPT_SECONDS <= 10


def test_an_issuer_that_trickles_headers_holds_up_only_the_attempt(issuer, start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "ATTEMPT_SECONDS", 0.3)
    monkeypatch.setattr(auth.keys, "WAIT_SECONDS", 0.1)
    issuer.fault = sending(OK, b"X-Note: a\r\n")
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
    # Too many for any of them to have waited.
    assert {outcome(keys, issuer.keys[0].kid) for _ in range(1000)} == {"known"}
    assert outcome(keys, "made up") == "issuer_slow"
    assert time.monotonic() - started < GENEROUS_SECONDS
    over.set()


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


# A key ID that is not known.


def test_an_unknown_kid_causes_one_refresh_for_all_waiting_requests(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "MISSES_ANSWERED", 1)
    fetch = Fetch("old")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    fetch.kids = ("old", "new")
    with ThreadPoolExecutor(16) as pool:
        outcomes = [pool.submit(outcome, keys, kid) for kid in ["new", "made up"] * 8]
        wait_until(lambda: fetch.begun == 2)
        assert outcome(keys, "old") == "known"
        fetch.gate.set()
        assert {each.result() for each in outcomes[::2]} == {"known"}
        # For a request that arrived after the refresh began, that refresh may have been too early.
        assert {each.result() for each in outcomes[1::2]} <= {"unknown", "key_unknown_for_now"}
    assert fetch.begun == 2


def test_a_request_that_arrives_during_a_refresh_may_be_repeated(start_keys, monkeypatch):
    """The key may have been published after the key set was read: a 503, not a 401."""
    monkeypatch.setattr(auth.keys, "MISSES_ANSWERED", 1)
    fetch = Fetch("old")
    keys = start_keys(fetch=fetch)
    fetch.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcome, keys, "made up")
        wait_until(lambda: fetch.begun == 2)
        threading.Timer(0.2, fetch.gate.set).start()
        assert outcome(keys, "made up") == "key_unknown_for_now"
        assert first.result() == "unknown"


def test_a_request_waits_for_an_attempt_that_began_after_it_arrived(start_keys, monkeypatch):
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


def test_unknown_kids_cause_only_a_few_refreshes(start_keys):
    clock, fetch, budget = Clock(), Fetch("a"), auth.keys.MISSES_ANSWERED
    assert 1 <= budget <= 3
    keys = start_keys(fetch=fetch, clock=clock)
    # The fetch at the start does not count.
    assert [outcome(keys, "b") for _ in range(budget)] == ["unknown"] * budget
    fetch.kids = ("a", "b")
    clock.now += 29.9
    # Okta should send a token again whose key was published in the meantime.
    assert [outcome(keys, kid) for kid in ("b", "c")] == ["key_unknown_for_now"] * 2
    assert fetch.begun == 1 + budget
    clock.now += 0.2
    assert outcome(keys, "b") == "known"
    assert fetch.begun == 2 + budget


def test_a_miss_is_unknown_after_a_refresh_that_worked_and_unavailable_after_a_broken_key_set(
    issuer, start_keys, monkeypatch
):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 3600.0)
    clock = Clock()
    keys = start_keys(issuer.issuer, clock=clock)
    for fault, expected in [(None, "unknown"), (key_set(), NO_KEY), (None, "unknown")]:
        clock.now += 30
        issuer.fault = fault
        assert outcome(keys, "made up") == expected
        # A good key set is never replaced by a broken one.
        assert outcome(keys, issuer.keys[0].kid) == "known"
        assert keys.unavailable_reason() is None


# An outage.


def test_keys_stay_good_for_24_hours_in_an_outage(start_keys, monkeypatch):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 3600.0)
    clock, fetch = Clock(), Fetch("a")
    keys = start_keys(fetch=fetch, clock=clock)
    fetch.failure = IssuerError("issuer_answered_500")
    clock.now += 24 * 60 * 60 - 1
    assert outcome(keys, "a") == "known"
    assert keys.unavailable_reason() is None
    clock.now += 1
    assert outcome(keys, "a") == "issuer_answered_500"
    assert keys.unavailable_reason() == "keys_too_old"
    fetch.failure = None
    clock.now += 30
    assert outcome(keys, "a") == "known"
    assert keys.unavailable_reason() is None


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (IssuerError("issuer_answered_500"), "issuer_answered_500"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_an_issuer_is_found_again_without_a_request_whatever_an_attempt_raised(
    start_keys, monkeypatch, caplog, failure, reason
):
    monkeypatch.setattr(auth.keys, "RETRY_EVERY", 0.01)
    monkeypatch.setattr(auth.keys, "REMIND_AFTER_ATTEMPTS", 4)
    caplog.set_level(logging.INFO, "auth.keys")
    fetch, issuer = Fetch("a"), f"https://{reason}.example.com"
    fetch.failure = failure
    keys = start_keys(issuer, fetch=fetch)
    assert keys.unavailable_reason() == reason
    wait_until(lambda: fetch.begun > 5)
    fetch.failure = None
    wait_until(lambda: keys.unavailable_reason() is None)
    assert outcome(keys, "a") == "known"
    # The log says when an outage begins, repeats that while it lasts, and says when it ends. The
    # keys of other tests may still be refreshed, so only the lines of this issuer count.
    records = [line for line in caplog.records if line.fields["issuer"] == issuer]
    logged = 1 + fetch.failed // 4
    assert [line.message for line in records] == ["keys not fetched"] * logged + ["keys fetched"]
    assert records[0].fields["reason"] == reason
