"""What strangers send, and how much of it may reach the log.

A service that answers nonsense with a 5xx invites Okta to send a good request twice, and one that
logs nonsense unchanged lets anybody write to its log. gunicorn refuses what HTTP itself forbids,
and the proxy deals with slow senders and bursts.
"""

import json
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from local_okta.client import basic_header
from logs import LineFormatter
from tests.support.gunicorn import (
    ACCEPTED,
    BASIC_PAIR,
    EVENT_HOOK,
    HOOK,
    INLINE_SAMPLES,
    PAYLOAD,
    Service,
    basic_settings,
    bearer,
    client_of,
)

LIMIT = 1024 * 1024
JSON = {"Content-Type": "application/json"}
SECRET = "swordfish"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(basic_settings(), tmp_path_factory.mktemp("abuse") / "log") as running:
        yield running


in_both_formats = pytest.mark.parametrize("log_format", ["text", "json"])


def verbose_client(log_format: str, folder: Path):
    """A client of the app in this process, which logs as much as it can."""
    settings = {"LOG_FORMAT": log_format, "LOG_LEVEL": "DEBUG", "TELEPHONY_PROVIDER": "console"}
    return client_of(basic_settings(**settings, EVENTS_DATABASE_URL=f"sqlite:///{folder}/events"))


def post(service: Service, data, auth=BASIC_PAIR) -> int:
    return service.request(HOOK, data=data, headers=JSON, auth=auth).status_code


def lines_of(log: str) -> list[str]:
    """Each line is one record."""
    lines = log.removesuffix("\n").split("\n")
    for line in lines:
        if line.startswith("{"):
            assert {"time", "level", "message"} <= set(json.loads(line))
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +\w", line)
    return lines


def chunks(data: bytes, size: int = 65536):
    """An iterator, which requests sends chunked."""
    return (data[start : start + size] for start in range(0, len(data), size))


def test_a_body_over_the_limit_is_a_413_for_a_caller_and_a_401_for_a_stranger(service):
    body = json.dumps(PAYLOAD).ljust(LIMIT + 1).encode()
    assert post(service, body) == 413
    assert post(service, chunks(body)) in (400, 413)
    assert post(service, body, auth=None) == 401
    assert 'status=413 auth=basic caller=okta result=accepted error="The body' in service.log
    assert post(service, json.dumps(PAYLOAD).ljust(LIMIT)) == ACCEPTED


# test_hooks_contract.py covers bodies that are not JSON.
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, iter([b'{"data"'])], ids=["nested without end", "cut short, in chunks"]
)
def test_a_body_that_cannot_be_read_is_a_400(service, body):
    assert post(service, body) == 400


NOT_HTTP = {
    "Authorization as the first line": ([f"Authorization: Bearer {SECRET}"], 400),
    # gunicorn's own message would quote this whole line.
    "no HTTP version": ([f"GET /?{SECRET}"], 400),
    "blank before the colon": (["GET / HTTP/1.1", f"Authorization : Bearer {SECRET}"], 400),
    "NUL": (["GET / HTTP/1.1", f"Authorization: Bearer {SECRET}\0"], 400),
    "two hosts": (["GET / HTTP/1.1", "Host: a", f"Host: {SECRET}"], 400),
    "101 headers": (["GET / HTTP/1.1", *[f"X-{n}: {SECRET}" for n in range(101)]], 431),
    "header of 9 KB": (["GET / HTTP/1.1", f"X: {SECRET * 1000}"], 431),
    "path of 5,000": ([f"GET /{'a' * 5000}{SECRET} HTTP/1.1"], 414),
}


@pytest.mark.parametrize(("head", "status"), NOT_HTTP.values(), ids=NOT_HTTP)
def test_a_request_that_gunicorn_cannot_read_is_never_quoted(service, head, status):
    before = len(service.log)
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall("\r\n".join((*head, "", "")).encode())
        received = connection.recv(65536)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["errorCauses"] == []
    service.wait_until(lambda: service.log[before:].endswith("\n"), "nothing was logged")
    [line] = lines_of(service.log[before:])
    assert "request not readable" in line
    assert SECRET not in line + received.decode()


def test_gunicorns_own_debug_level_adds_no_secret(tmp_path):
    """gunicorn would quote the headers of a client that leaves halfway, and its environment."""
    arguments = ("--log-level", "debug", "--env", f"BASIC_AUTH_PASSWORD={BASIC_PAIR[1]}")
    pair = basic_header(*BASIC_PAIR)
    with Service(basic_settings(), tmp_path / "log", arguments=arguments) as service:
        for ending in ("", "\r\n", "Content-Length: 9\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                head = f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: {pair}\r\n"
                client.sendall(f"{head}{ending}".encode())
        assert post(service, json.dumps(PAYLOAD)) == ACCEPTED
    # The service has ended by now, so its log is complete.
    assert "Listening at" in service.log
    for secret in (pair.removeprefix("Basic "), BASIC_PAIR[1]):
        assert secret not in service.log


def test_a_flood_of_wrong_passwords_does_not_lock_out_the_right_one(service):
    with ThreadPoolExecutor(6) as pool:
        guesses = pool.map(lambda n: post(service, "{}", (BASIC_PAIR[0], f"guess {n}")), range(60))
        assert {post(service, json.dumps(PAYLOAD)) for _ in range(10)} == {ACCEPTED}
    assert set(guesses) == {401}


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


@in_both_formats
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_value_splits_a_log_line_or_makes_it_too_long(tmp_path, capsys, log_format, text):
    client = verbose_client(log_format, tmp_path)
    raw = text.encode("utf-8", "surrogatepass")
    headers = {
        name: re.sub(r"[\x00-\x1f\x7f]", "", raw.decode("latin-1"))
        for name in ("X-Okta-Request-Id", "X-Forwarded-For", "User-Agent")
    }
    user = {"type": "User", "alternateId": text}
    events = [
        {"uuid": text, "eventType": "user.lifecycle.create", "target": [user] * 30},
        {"uuid": text, "eventType": text},
    ]
    event_hook = {"eventId": text, "data": {"events": events}}
    inline_hook = {"eventId": text, "eventType": text, "requestType": text, "data": text}
    for path, payload, statuses in (
        *([(EVENT_HOOK, event_hook, {204})] if EVENT_HOOK else []),
        ("/no-such" + quote_from_bytes(raw)[:3000], PAYLOAD, {404}),
        # A hook that reads nothing has nothing to refuse.
        *((sample.path, inline_hook, {400, 204}) for sample in INLINE_SAMPLES),
    ):
        response = client.post(path, json=payload, headers=headers, auth=BASIC_PAIR)
        assert response.status_code in statuses
    for line in lines_of(capsys.readouterr().err):
        assert len(line) <= 2000
        assert line.isascii()
        assert line.isprintable()
        assert not line.startswith(FORGED)


@pytest.mark.parametrize("text", ["x" * 200, "é" * 40, "\\" * 200, "\U0001f600" * 30])
def test_a_long_value_is_cut_and_escaped_once(text):
    record = logging.makeLogRecord({"msg": "m", "fields": {"value": text}})
    value = LineFormatter("text").format(record).partition("value=")[2].strip('"')
    assert len(value) <= 120
    assert value.endswith("...")
    assert text.startswith(json.loads(f'"{value[:-3]}"'))
    entry = json.loads(LineFormatter("json").format(record))
    assert text.startswith(entry["value"][:-3])


def texts_in(value) -> set[str]:
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return set().union(*map(texts_in, members))
    return {value} if isinstance(value, str) and len(value) >= 8 else set()


@in_both_formats
@pytest.mark.parametrize("sample", INLINE_SAMPLES, ids=lambda sample: sample.name)
def test_no_secret_and_no_part_of_a_body_is_logged(tmp_path, capsys, log_format, sample):
    """For bodies that can and cannot be read, with the right pair, a wrong one, and a token."""
    client = verbose_client(log_format, tmp_path)
    right = {"Authorization": basic_header(*BASIC_PAIR)} | JSON
    wrong = {"Authorization": basic_header(SECRET, SECRET)} | JSON
    good = json.dumps(sample.payload | {"extra": SECRET})
    for data, headers in [
        (good, right),
        (json.dumps(sample.payload | {"data": SECRET}), right),
        (good[:-1], right),
        (good, right | {"Content-Type": f"text/{SECRET}"}),
        (good, wrong),
        (good, bearer(f"{SECRET}.{SECRET}.{SECRET}")),
    ]:
        answer = client.post(f"{sample.path}?access_token={SECRET}", data=data, headers=headers)
        assert answer.status_code < 500
        assert answer.status_code < 400 or SECRET not in answer.text
    log = capsys.readouterr().err
    assert len(lines_of(log)) >= 6
    pairs = {headers["Authorization"].removeprefix("Basic ") for headers in (right, wrong)}
    for text in {SECRET, BASIC_PAIR[1]} | pairs | texts_in(sample.payload["data"]):
        assert text not in log
