"""What strangers send, and what of it may reach the log.

A service that answers 5xx to nonsense invites Okta to send a good request twice, and one that logs
nonsense as it came lets anybody write its log. What HTTP itself forbids is gunicorn's business;
slow senders and bursts are the proxy's.
"""

import base64
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_from_bytes

import pytest

from local_okta.samples import SAMPLES
from tests.service import BASIC_PAIR, PAYLOAD, Service, basic_settings

LIMIT = 1024 * 1024
JSON = {"Content-Type": "application/json"}
SECRET = "swordfish"
PAIR = base64.b64encode(":".join(BASIC_PAIR).encode()).decode()


@pytest.fixture(scope="module")
def text_service(tmp_path_factory):
    settings = basic_settings(LOG_LEVEL="DEBUG", TELEPHONY_PROVIDER="console")
    with Service(settings, tmp_path_factory.mktemp("abuse") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def json_service(tmp_path_factory):
    settings = basic_settings(LOG_FORMAT="json")
    with Service(settings, tmp_path_factory.mktemp("abuse-json") / "log") as running:
        yield running


@pytest.fixture(params=["text_service", "json_service"])
def service(request):
    return request.getfixturevalue(request.param)


def post(service: Service, data, path="/tokenHook", headers=None, auth=BASIC_PAIR):
    return service.call(path, data=data, headers=JSON | (headers or {}), auth=auth)


def new_lines(service: Service, before: int) -> list[str]:
    """What was logged since the log was `before` characters long. Each line is one record."""
    lines = service.log[before:].removesuffix("\n").split("\n")
    for line in lines:
        if line.startswith("{"):
            assert {"time", "level", "message"} <= set(json.loads(line))
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +\w", line)
    return lines


def exchange(service: Service, *head: str, body: bytes = b"") -> bytes:
    """What comes back for these lines, sent as they are."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall("\r\n".join((*head, "", "")).encode("latin-1") + body)
        return connection.recv(65536)


def chunks(data: bytes, size: int = 65536):
    """An iterator, which requests sends chunked."""
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("fill", ["x", " "])
def test_a_body_over_the_limit_is_refused_but_only_to_who_may_send(text_service, fill):
    body = json.dumps(PAYLOAD).ljust(LIMIT + 1, fill).encode()
    assert post(text_service, body).status_code == 413
    assert post(text_service, chunks(body)).status_code in (400, 413)
    assert post(text_service, body, auth=None).status_code == 401
    assert post(text_service, json.dumps(PAYLOAD).ljust(LIMIT)).status_code == 204


# What is not JSON, test_hooks_contract.py has.
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, iter([b'{"data"'])], ids=["nested without end", "cut short, in chunks"]
)
def test_a_body_that_cannot_be_read_is_a_400(text_service, body):
    response = post(text_service, body)
    assert (response.status_code, set(response.json())) == (400, {"error"})


NOT_HTTP = {
    "Authorization as the first line": ([f"Authorization: Bearer {SECRET}"], 400),
    "no HTTP version": ([f"GET /?{SECRET}"], 400),
    "blank before the colon": (["GET / HTTP/1.1", f"Authorization : Bearer {SECRET}"], 400),
    "folded": (["GET / HTTP/1.1", "Authorization: Bearer", f" {SECRET}"], 400),
    "NUL": (["GET / HTTP/1.1", f"Authorization: Bearer {SECRET}\0"], 400),
    "two hosts": (["GET / HTTP/1.1", "Host: a", f"Host: {SECRET}"], 400),
    "101 headers": (["GET / HTTP/1.1", *[f"X-{n}: {SECRET}" for n in range(101)]], 431),
    "header of 9 KB": (["GET / HTTP/1.1", f"X: {SECRET * 1000}"], 431),
    "path of 5,000": ([f"GET /{'a' * 5000}{SECRET} HTTP/1.1"], 414),
}


@pytest.mark.parametrize(("head", "status"), NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_gunicorn_cannot_read_is_quoted_nowhere(service, head, status):
    before = len(service.log)
    received = exchange(service, *head)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["errorCauses"] == []
    service.wait_until(lambda: len(service.log) > before, "nothing was logged")
    [line] = new_lines(service, before)
    assert "request not readable" in line
    assert SECRET not in line
    assert SECRET.encode() not in received


def test_gunicorns_own_debug_level_adds_no_secret(tmp_path):
    """Of a client that leaves halfway it would quote the headers, at its start the environment."""
    arguments = ("--log-level", "debug", "--env", f"BASIC_AUTH_PASSWORD={BASIC_PAIR[1]}")
    with Service(basic_settings(), tmp_path / "log", arguments=arguments) as service:
        for ending in ("", "\r\n", "Content-Length: 9\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                head = f"POST /tokenHook HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {PAIR}\r\n"
                client.sendall(f"{head}{ending}".encode())
        assert post(service, json.dumps(PAYLOAD)).status_code == 204
    # The service has ended by now, so whatever it had to say is there.
    assert "Listening at" in service.log
    for secret in (PAIR, BASIC_PAIR[1]):
        assert secret not in service.log


def test_a_flood_of_wrong_passwords_shuts_nobody_out(text_service):
    def guess(number: int) -> int:
        return post(text_service, "{}", auth=(BASIC_PAIR[0], f"{SECRET} {number}")).status_code

    with ThreadPoolExecutor(6) as pool:
        guesses = pool.map(guess, range(100))
        right = [post(text_service, json.dumps(PAYLOAD)).status_code for _ in range(20)]
    assert set(guesses) == {401}
    assert right == [204] * 20


FORGED = "2026-01-31T12:00:00.000Z INFO    request hook=token status=200 forged=yes"
HOSTILE = {
    "newlines": f"a\r\n{FORGED}\n\v\f\x1c\x85\u2028{FORGED}",
    "terminal commands": "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\b\0",
    "right to left": "\u202efdp.exe\u2066",
    "long": "x" * 3000,
    "long, escaped": "\U0001f600" * 700,
    "quotes": '"' * 3000,
    "fields of its own": "a status=200 result=accepted caller=okta",
    "end of the JSON": '"}{"level": "INFO", "status": 200',
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_value_breaks_or_stretches_a_line(service, text):
    before = len(service.log)
    raw = text.encode("utf-8", "surrogatepass")
    path = "/no-such" + quote_from_bytes(raw)[:3000]
    headers = {
        name: re.sub(rb"[\x00-\x1f\x7f]", b"", raw)
        for name in ("X-Okta-Request-Id", "X-Forwarded-For", "User-Agent")
    }
    user = {"type": "User", "alternateId": text}
    events = [
        {"uuid": text, "eventType": "user.lifecycle.create", "target": [user] * 30},
        {"uuid": text, "eventType": text},
    ]
    event_hook = {"eventId": text, "data": {"events": events}}
    inline_hook = {"eventId": text, "eventType": text, "requestType": text, "data": text}
    assert post(service, json.dumps(event_hook), "/userCreated", headers).status_code == 204
    assert post(service, json.dumps(PAYLOAD), path, headers).status_code == 404
    refused = post(service, json.dumps(inline_hook), "/registrationHookSSR", headers)
    assert refused.status_code == 400
    for line in new_lines(service, before):
        assert len(line) <= 2000
        assert line.isascii()
        assert line.isprintable()
        assert not line.startswith(FORGED)


def texts_in(value) -> set[str]:
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return set().union(*map(texts_in, members))
    return {value} if isinstance(value, str) and len(value) >= 8 else set()


INLINE = [sample for sample in SAMPLES.values() if sample.kind != "event"]


@pytest.mark.parametrize("sample", INLINE, ids=lambda sample: sample.name)
def test_no_secret_and_nothing_of_a_body_is_logged(service, sample):
    """Read and unreadable, with the right pair, a wrong one and a token."""
    before = len(service.log)
    wrong, token = (SECRET, SECRET), {"Authorization": f"Bearer {SECRET}.{SECRET}.{SECRET}"}
    good = json.dumps(sample.payload | {"extra": SECRET})
    for data, headers, pair in [
        (good, {}, BASIC_PAIR),
        (json.dumps({**sample.payload, "data": SECRET}), {}, BASIC_PAIR),
        (good[:-1], {}, BASIC_PAIR),
        (good, {"Content-Type": f"text/{SECRET}"}, BASIC_PAIR),
        (good, {}, wrong),
        (good, token, None),
    ]:
        answer = post(service, data, f"{sample.path}?access_token={SECRET}", headers, pair)
        assert answer.status_code < 500
        assert answer.status_code < 400 or SECRET not in answer.text
    log = "\n".join(new_lines(service, before))
    secrets = {SECRET, BASIC_PAIR[1], PAIR, base64.b64encode(":".join(wrong).encode()).decode()}
    for text in secrets | texts_in(sample.payload["data"]):
        assert text not in log


@pytest.mark.parametrize(
    ("forwarded", "nearest"),
    [
        ([], None),
        (["198.51.100.7"], "198.51.100.7"),
        (["192.0.2.66, 198.51.100.7"], "198.51.100.7"),
        (["192.0.2.66", "198.51.100.7"], "198.51.100.7"),
    ],
)
def test_nobody_chooses_the_address_that_is_logged(service, forwarded, nearest):
    """The peer is always named; what a proxy says of its own peer stands beside it."""
    before = len(service.log)
    headers = [f"X-Forwarded-For: {value}" for value in forwarded]
    exchange(service, "GET /tokenHook HTTP/1.1", "Host: x", "Connection: close", *headers)
    service.wait_until(lambda: len(service.log) > before, "nothing was logged")
    [line] = new_lines(service, before)
    named = dict(re.findall(r"""(client|forwarded_for)(?:=|": ")([^ "]+)""", line))
    expected = {"client": "127.0.0.1", "forwarded_for": nearest}
    assert named == {name: value for name, value in expected.items() if value}
