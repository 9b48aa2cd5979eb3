"""What strangers send to a gunicorn that no proxy protects: each is refused, and none breaks it.

A service that answers 5xx to nonsense invites Okta to send a good call twice, and one that logs
nonsense as it came lets anybody write its log.
"""

import base64
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from urllib.parse import quote_from_bytes

import pytest

from tests.hook_app import CALLS, changed
from tests.service import BASIC_PAIR, Service, basic_settings

LIMIT = 1024 * 1024
TOKEN_CALL = {"eventId": "e1", "data": {"context": {}}}
JSON = {"Content-Type": "application/json"}
SECRET = "swordfish"
PAIR = base64.b64encode(":".join(BASIC_PAIR).encode())
NUMBERS = count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = basic_settings(LOG_LEVEL="DEBUG", TELEPHONY_PROVIDER="console")
    with Service(settings, tmp_path_factory.mktemp("abuse") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def json_service(tmp_path_factory):
    """Logs JSON, and takes another machine than this for its proxy."""
    settings = basic_settings(LOG_FORMAT="json", FORWARDED_ALLOW_IPS="192.0.2.1")
    with Service(settings, tmp_path_factory.mktemp("abuse-json") / "log") as running:
        yield running


def is_text_record(line: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +\w", line) is not None


def is_json_record(line: str) -> bool:
    return {"time", "level", "message"} <= set(json.loads(line))


@pytest.fixture(
    params=[("service", is_text_record), ("json_service", is_json_record)], ids=["text", "json"]
)
def logged(request):
    """A service, and what each line of its log must be."""
    name, is_record = request.param
    return request.getfixturevalue(name), is_record


def post(service: Service, data, path="/tokenHook", headers=None, auth=BASIC_PAIR):
    return service.call(path, data=data, headers=JSON | (headers or {}), auth=auth)


def lines_with(service: Service, text: str) -> list[str]:
    return [line for line in service.log.splitlines() if text in line]


# --- Bodies ---------------------------------------------------------------------------------------


def assert_refused(response, *statuses: int):
    assert response.status_code in statuses
    assert set(response.json()) == {"error"}


def chunks(data: bytes, size: int = 65536):
    """An iterator, which requests sends chunked."""
    return (data[start : start + size] for start in range(0, len(data), size))


TOO_LARGE = {
    "no JSON": b"x" * (LIMIT + 1),
    "JSON and blanks": json.dumps(TOKEN_CALL).encode().ljust(LIMIT + 1),
}


@pytest.mark.parametrize("body", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_body_over_the_limit_is_refused(service, body):
    assert_refused(post(service, body), 413)
    assert_refused(post(service, chunks(body)), 413, 400)


@pytest.mark.parametrize("prepared", [bytes, chunks], ids=["whole", "chunked"])
def test_a_body_of_exactly_the_limit_passes(service, prepared):
    body = json.dumps(TOKEN_CALL).encode().ljust(LIMIT - 1 if prepared is chunks else LIMIT)
    assert post(service, prepared(body)).status_code == 204


def test_who_has_no_pair_hears_nothing_of_limits(service):
    for body in TOO_LARGE.values():
        assert post(service, body, auth=None).status_code == 401
        assert post(service, chunks(body), auth=None).status_code == 401


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "/",
    ],
)
def test_another_content_type_is_a_415(service, content_type):
    headers = {"Content-Type": content_type}
    assert_refused(post(service, json.dumps(TOKEN_CALL), headers=headers), 415)


UNREADABLE_BODIES = {
    "empty": b"",
    "blanks": b"   ",
    "cut short": b'{"data": {',
    "two objects": b"{}{}",
    "not UTF-8": b'{"data": "\xff\xfe"}',
    "UTF-16": json.dumps(TOKEN_CALL).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "NaN": b'{"data": NaN}',
    "control character": b'{"data": "\x01"}',
    "a list": b"[]",
    "a string": b'"data"',
    "null": b"null",
    "100,000 objects deep": b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 lists deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 lists begun": b"[" * 100_000,
    "number of 100,000 digits": b'{"data": ' + b"9" * 100_000 + b"}",
    "infinite number": b'{"data": 1e999}',
}


@pytest.mark.parametrize("body", UNREADABLE_BODIES.values(), ids=UNREADABLE_BODIES)
def test_a_body_that_cannot_be_read_is_a_400(service, body):
    assert_refused(post(service, body), 400)


def test_an_object_of_many_keys_is_nothing_special(service):
    many = {f"key {number}": number for number in range(10_000)}
    assert post(service, json.dumps(many | TOKEN_CALL)).status_code == 204


# --- HTTP -----------------------------------------------------------------------------------------


def exchange(service: Service, sent: bytes) -> bytes:
    """Everything that comes back until the server closes the connection, or resets it."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            pass
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def lines(
    *headers: bytes, request: bytes = b"POST /tokenHook HTTP/1.1", body: bytes = b""
) -> bytes:
    """A request with the right pair, which `headers` make unreadable."""
    given = (request, b"Host: x", b"Authorization: Basic " + PAIR, *headers, b"", body)
    return b"\r\n".join(given)


NO_HTTP = {
    "Authorization as the first line": b"Authorization: Bearer swordfish\r\n\r\n",
    "no HTTP version": b"GET /?swordfish\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": lines(request=b"POST /tokenHook HTTP/3.0"),
    "method in lower case": lines(request=b"post /swordfish HTTP/1.1"),
    "line feeds alone": lines().replace(b"\r\n", b"\n"),
    "PROXY protocol": b"PROXY TCP4 192.0.2.6 192.0.2.7 1 2\r\n" + lines(),
    "blank before the colon": lines(b"Authorization : Bearer swordfish"),
    "no colon": lines(b"Authorization Bearer swordfish"),
    "folded": lines(b"Authorization: Bearer", b" swordfish"),
    "control character": lines(b"Authorization: Bearer swordfish\x01"),
    "NUL": lines(b"Authorization: Bearer swordfish\0"),
    "carriage return": lines(b"X: a\rAuthorization: Bearer swordfish"),
    "two hosts": lines(b"Host: swordfish"),
    "unknown expectation": lines(b"Expect: swordfish"),
    "control character in the path": lines(request=b"POST /\x01swordfish HTTP/1.1"),
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http_is_a_400_that_quotes_nothing(logged, sent):
    service, is_record = logged
    before = len(service.log)
    received = exchange(service, sent)
    assert statuses(received) == [400]
    body = json.loads(received.partition(b"\r\n\r\n")[2])
    assert body == {"error": {"errorSummary": "Bad Request", "errorCauses": []}}
    [line] = service.log[before:].splitlines()
    assert is_record(line)
    assert "no readable HTTP" in line
    assert SECRET not in line
    assert PAIR.decode() not in line


TOO_MUCH = {
    "101 headers": (lines(*(b"X-%d: swordfish" % n for n in range(101))), 431),
    "header of 9 KB": (lines(b"X: " + b"swordfish" * 1000), 431),
    "header without an end": (lines(b"X: " + b"swordfish" * 120_000)[:-4], 431),
    "path of 5,000": (lines(request=b"POST /%s HTTP/1.1" % (b"a" * 5000)), 414),
}


@pytest.mark.parametrize(("sent", "status"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_headers_have_limits(service, sent, status):
    received = exchange(service, sent)
    assert statuses(received) == [status]
    assert SECRET.encode() not in received
    assert SECRET not in service.log
    assert post(service, json.dumps(TOKEN_CALL)).status_code == 204


BODY = json.dumps(TOKEN_CALL).encode()
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
TYPE = b"Content-Type: application/json"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
AMBIGUOUS = {
    "length and chunked": lines(TYPE, LENGTH, CHUNKED, body=IN_CHUNKS),
    "chunked and length": lines(TYPE, CHUNKED, LENGTH, body=IN_CHUNKS),
    "two lengths": lines(TYPE, LENGTH, b"Content-Length: 5", body=BODY),
    "the same length twice": lines(TYPE, LENGTH, LENGTH, body=BODY),
    "list of lengths": lines(TYPE, LENGTH + b", 5", body=BODY),
    "length with a sign": lines(TYPE, b"Content-Length: +5", body=BODY),
    "negative length": lines(TYPE, b"Content-Length: -1", body=BODY),
    "length in hexadecimal": lines(TYPE, b"Content-Length: 0x5", body=BODY),
    "length in other digits": lines(TYPE, b"Content-Length: \xb2", body=BODY),
    "chunked twice": lines(TYPE, CHUNKED, CHUNKED, body=IN_CHUNKS),
    "chunked, then more": lines(TYPE, CHUNKED + b", gzip", body=IN_CHUNKS),
    "almost chunked": lines(TYPE, b"Transfer-Encoding: xchunked", body=IN_CHUNKS),
    "chunked with a control character": lines(TYPE, CHUNKED + b"\x0b", body=IN_CHUNKS),
    "chunked in HTTP/1.0": lines(
        TYPE, CHUNKED, request=b"POST /tokenHook HTTP/1.0", body=IN_CHUNKS
    ),
    "chunk size that is no number": lines(TYPE, CHUNKED, body=b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size with a sign": lines(TYPE, CHUNKED, body=b"+" + IN_CHUNKS),
    "chunk longer than its size": lines(TYPE, CHUNKED, body=b"5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "line feed in a chunk extension": lines(TYPE, CHUNKED, body=b"5;a\nb\r\n" + IN_CHUNKS),
    "Authorization in a trailer": lines(
        TYPE, CHUNKED, body=IN_CHUNKS[:-2] + b"Authorization: Bearer swordfish\r\n\r\n"
    ),
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_body_whose_end_is_unclear_is_refused_with_all_that_follows_it(service, sent):
    received = exchange(service, sent + b"GET /healthz?smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(received) == [400]
    assert b'"ok"' not in received
    assert SECRET not in service.log


def test_a_body_that_nobody_read_is_not_taken_for_the_next_request(service):
    """A 401 leaves the body unread."""
    inner = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    outer = b"POST /tokenHook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
    received = exchange(service, outer + inner)
    assert statuses(received) == [401]


def test_an_old_http_is_answered_and_hung_up_on(service):
    received = exchange(
        service, lines(TYPE, LENGTH, request=b"POST /tokenHook HTTP/1.0", body=BODY)
    )
    assert statuses(received) == [204]


def test_a_header_cannot_change_what_is_asked_for(service):
    """gunicorn takes these two names for the parts of the path, from a proxy."""
    for header in (b"PATH_INFO: /healthz", b"SCRIPT_NAME: /tokenHook"):
        received = exchange(service, lines(TYPE, LENGTH, header, body=BODY))
        assert statuses(received) == [204]


# --- Many, and slow ones --------------------------------------------------------------------------


def test_a_flood_of_wrong_passwords_shuts_nobody_out(service):
    def guess(number: int) -> int:
        headers = {"X-Okta-Request-Id": f"guess-{number}."}
        wrong = (BASIC_PAIR[0], f"{SECRET} {number}")
        return post(service, "{}", headers=headers, auth=wrong).status_code

    with ThreadPoolExecutor(6) as pool:
        guesses = [pool.submit(guess, number) for number in range(200)]
        right = [post(service, json.dumps(TOKEN_CALL)).status_code for _ in range(20)]
    assert {each.result() for each in guesses} == {401}
    assert right == [204] * 20
    refused = lines_with(service, "request_id=guess-")
    assert len(refused) == 200
    assert all("reason=wrong_credentials" in line for line in refused)
    assert SECRET not in service.log


def test_a_few_who_stop_halfway_keep_nobody_waiting(service):
    """One thread waits for each of them. More than there are threads are the proxy's to stop."""
    whole = lines(TYPE, LENGTH, b"Connection: close", body=BODY)
    halves = [b"", whole[:10], whole[:60], whole[: -len(BODY)], whole[:-1]]
    with ExitStack() as stack:
        slow = []
        for half in halves:
            address = ("127.0.0.1", service.port)
            slow.append(stack.enter_context(socket.create_connection(address, timeout=30)))
            slow[-1].sendall(half)
        for _ in range(20):
            assert post(service, json.dumps(TOKEN_CALL)).status_code == 204
        for connection, half in zip(slow, halves, strict=True):
            connection.sendall(whole[len(half) :])
            assert statuses(connection.recv(65536)) == [204]


# --- The log --------------------------------------------------------------------------------------

FORGED = "2026-01-31T12:00:00.000Z INFO    call hook=token status=200 forged=yes"
HOSTILE = {
    "newlines": f"a\r\n{FORGED}\n\v\f\x1c\x85\u2028{FORGED}",
    "terminal commands": "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\b\0",
    "right to left": "\u202efdp.exe\u2066",
    "long": "x" * 3000,
    "long, escaped": "\U0001f600" * 700,
    "quotes": '"' * 3000,
    "backslashes": "\\" * 3000,
    "fields of its own": "a status=200 result=accepted caller=okta",
    "end of the JSON": '"}{"level": "INFO", "status": 200',
    "lone surrogate": "\ud800",
}


def new_lines(service: Service, before: int) -> list[str]:
    """What was logged since the log was `before` characters long. Each line is one record."""
    added = service.log[before:]
    assert added.endswith("\n")
    return added[:-1].split("\n")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_value_breaks_or_stretches_a_line(logged, text):
    service, is_record = logged
    before = len(service.log)
    raw = text.encode("utf-8", "surrogatepass")
    path = "/no-such" + quote_from_bytes(raw)[:3000]
    headers = {
        name: re.sub(rb"[\x00-\x1f\x7f]", b"", raw)
        for name in ("X-Okta-Request-Id", "X-Forwarded-For", "User-Agent")
    }
    event = {
        "uuid": text,
        "eventType": "user.lifecycle.create",
        "target": [{"type": "User", "alternateId": text}] * 30,
    }
    unknown = {"uuid": text, "eventType": text}
    events = {"eventId": text, "data": {"events": [event, unknown]}}
    registration = {"eventId": text, "requestType": text, "data": {"userProfile": {"email": text}}}

    assert post(service, json.dumps(events), "/userCreated", headers).status_code == 204
    assert post(service, json.dumps(TOKEN_CALL), path, headers).status_code == 404
    refused = post(service, json.dumps(registration), "/registrationHookSSR", headers)
    assert refused.status_code == 400

    lines = new_lines(service, before)
    assert len(lines) == 5
    for line in lines:
        assert len(line) <= 2000
        assert line.isascii()
        assert line.isprintable()
        assert is_record(line)
        assert not line.startswith(FORGED)


MARKED = {
    "/passwordImport": {"data.context.credential.password": f"{SECRET}1"},
    "/telephonyHook": {
        "data.messageProfile.phoneNumber": "+14155559371",
        "data.messageProfile.otpCode": "593718",
        "data.messageProfile.msgTemplate": f"{SECRET} ${{code}}",
    },
}
OF_ANOTHER_TYPE = {
    "/passwordImport": {"data.context.credential.password": [f"{SECRET}1"]},
    "/telephonyHook": {"data.messageProfile.otpCode": {"593718": "+14155559371"}},
    "/tokenHook": {"data.identity": SECRET},
    "/registrationHookSSR": {"data.userProfile": [SECRET]},
    "/userImport": {"data": SECRET},
}


def test_no_secret_and_no_body_is_ever_logged(logged):
    """Every hook, read and unreadable, with the right pair, a wrong one and a token."""
    service, _ = logged
    before = len(service.log)
    token = {"Authorization": f"Bearer {SECRET}.{SECRET}.{SECRET}"}
    wrong = (SECRET, SECRET)
    for path in CALLS:
        body = changed(path, MARKED.get(path, {})) | {"extra": SECRET}
        good = json.dumps(body)
        cases = [
            (good, {}, BASIC_PAIR),
            (json.dumps(changed(path, OF_ANOTHER_TYPE.get(path, {}))), {}, BASIC_PAIR),
            (good[:-1], {}, BASIC_PAIR),
            (good, {"Content-Type": f"text/{SECRET}"}, BASIC_PAIR),
            (good, {}, wrong),
            (good, token, None),
        ]
        for data, headers, pair in cases:
            answer = post(service, data, f"{path}?access_token={SECRET}", headers, pair)
            assert answer.status_code < 500
            if answer.status_code >= 400:
                assert SECRET not in answer.text
    log = service.log[before:]
    assert len(log.splitlines()) >= 6 * len(CALLS)
    for secret in (SECRET, "593718", "4155559371", BASIC_PAIR[1], PAIR.decode()):
        assert secret not in log
    assert base64.b64encode(":".join(wrong).encode()).decode() not in log


def test_gunicorns_own_debug_level_adds_no_secret(tmp_path):
    """Of a client that leaves halfway it would quote the headers, and of its own start the
    environment.
    """
    arguments = ("--log-level", "debug", "--env", f"BASIC_AUTH_PASSWORD={BASIC_PAIR[1]}")
    with Service(basic_settings(), tmp_path / "log", arguments=arguments) as service:
        for ending in (b"", b"\r\n", b"Content-Length: 9\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                head = b"POST /tokenHook HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + PAIR
                client.sendall(head + b"\r\n" + ending)
        assert post(service, json.dumps(TOKEN_CALL)).status_code == 204
    # The service has ended by now, so whatever it had to say is there.
    assert "Listening at" in service.log
    for secret in (PAIR.decode(), BASIC_PAIR[1]):
        assert secret not in service.log


def client_in_log(service: Service, *forwarded: str) -> str:
    """The client address that is logged for a call with these X-Forwarded-For headers."""
    request_id = f"client-{next(NUMBERS)}."
    headers = [b"X-Forwarded-For: " + value.encode() for value in forwarded]
    name = b"X-Okta-Request-Id: " + request_id.encode()
    exchange(service, lines(TYPE, LENGTH, name, *headers, b"Connection: close", body=BODY))
    [line] = lines_with(service, request_id)
    return re.search(r'client(?:=|": ")([^ "]+)', line)[1]


def test_the_client_is_whom_the_proxy_on_this_machine_saw(service):
    assert client_in_log(service) == "127.0.0.1"
    assert client_in_log(service, "198.51.100.7") == "198.51.100.7"
    assert client_in_log(service, "192.0.2.66, 198.51.100.7") == "198.51.100.7"
    assert client_in_log(service, "192.0.2.66", "198.51.100.7") == "198.51.100.7"


def test_without_a_proxy_nobody_chooses_the_address_that_is_logged(json_service):
    """There the proxy is on another machine, so this one's word counts for nothing."""
    for forwarded in ("198.51.100.7", "192.0.2.1", "192.0.2.66, 192.0.2.1"):
        assert client_in_log(json_service, forwarded) == "127.0.0.1"
    headers = {"X_Forwarded_For": "198.51.100.7", "X-Okta-Request-Id": "underscores"}
    post(json_service, json.dumps(TOKEN_CALL), headers=headers)
    [line] = lines_with(json_service, "underscores")
    assert json.loads(line)["client"] == "127.0.0.1"
