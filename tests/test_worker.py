"""How the worker treats connections: who is slow or silent keeps nobody else waiting."""

import base64
import json
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.service import BASIC_PAIR, PROJECT, Service, basic_settings

BODY = json.dumps({"eventId": "e1", "data": {"context": {}}}).encode()
PAIR = base64.b64encode(":".join(BASIC_PAIR).encode())
CALL = (
    b"POST /tokenHook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Authorization: Basic %b\r\nContent-Length: %d\r\n\r\n%b" % (PAIR, len(BODY), BODY)
)
# More than there are threads.
MANY = 50


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(basic_settings(), tmp_path_factory.mktemp("worker") / "log") as running:
        yield running


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def answered(connection: socket.socket, calls: int = 1) -> None:
    """Take this many answers, each a 204, which has no body."""
    received = b""
    while received.count(b"\r\n\r\n") < calls:
        piece = connection.recv(65536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    assert received.count(b"HTTP/1.1 204 ") == calls


def another_call_is_answered(service: Service) -> None:
    with closing(connect(service)) as connection:
        connection.sendall(CALL)
        answered(connection)


def test_a_connection_serves_on_after_a_call_that_was_held_up(service):
    with closing(connect(service)) as slow:
        for sent in (10, len(CALL) - len(BODY), len(CALL) - 1):
            slow.sendall(CALL[:sent])
            another_call_is_answered(service)
            slow.sendall(CALL[sent:])
            answered(slow)
            slow.sendall(CALL)
            answered(slow)


def test_calls_that_come_in_one_piece_are_all_answered(service):
    with closing(connect(service)) as connection:
        connection.sendall(CALL * 5)
        answered(connection, 5)
        connection.sendall(CALL[:20])
        another_call_is_answered(service)
        connection.sendall(CALL[20:] + CALL * 2)
        answered(connection, 3)


def test_who_has_not_sent_anything_yet_holds_no_thread(service):
    with ExitStack() as stack:
        silent = [stack.enter_context(closing(connect(service))) for _ in range(MANY)]
        another_call_is_answered(service)
        for connection in silent:
            connection.sendall(CALL)
        for connection in silent:
            answered(connection)


def test_who_leaves_in_the_middle_is_forgotten(service):
    for _ in range(3):
        with ExitStack() as stack:
            for sent in (0, 10, len(CALL) - 1, len(CALL)):
                stack.enter_context(closing(connect(service))).sendall(CALL[:sent])
        another_call_is_answered(service)


def refused(body: bytes, *headers: bytes) -> bytes:
    """A call that is refused before its body is read."""
    head = (b"POST /tokenHook HTTP/1.1", b"Host: x", *headers)
    return b"\r\n".join((*head, b"", body))


def everything(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


@pytest.mark.parametrize(("size", "keeps"), [(60_000, True), (70_000, False)])
def test_an_answer_promises_no_more_than_the_connection_keeps(service, size, keeps):
    """What is left of a refused call is skipped, unless it is too much."""
    with closing(connect(service)) as connection:
        connection.sendall(refused(b"x" * size, b"Content-Length: %d" % size))
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert (b"Connection: keep-alive" in answer) == keeps
        if keeps:
            connection.sendall(CALL)
            answered(connection)
        else:
            assert b"Connection: close" in answer
            assert everything(connection) == b""


def test_one_call_has_one_answer_though_its_rest_is_nonsense(service):
    with closing(connect(service)) as connection:
        connection.sendall(refused(b"zz\r\n", b"Transfer-Encoding: chunked"))
        assert everything(connection).count(b"HTTP/1.1 ") == 1


def test_without_keep_alive_each_connection_has_its_call(tmp_path):
    arguments = ("--keep-alive", "0")
    with Service(basic_settings(), tmp_path / "log", arguments=arguments) as service:
        for _ in range(3):
            with closing(connect(service)) as connection:
                connection.sendall(CALL)
                assert b"Connection: close" in everything(connection)


def test_who_stays_silent_is_hung_up_on(tmp_path):
    arguments = ("--keep-alive", "1")
    with Service(basic_settings(), tmp_path / "log", arguments=arguments) as service:
        with closing(connect(service)) as silent, closing(connect(service)) as served:
            served.sendall(CALL)
            answered(served)
            assert silent.recv(1) == b""
            assert served.recv(1) == b""
        another_call_is_answered(service)


def configured(folder: Path, *lines: str) -> Service:
    """A service with these lines behind the project's gunicorn.conf.py."""
    project = f"globals().update(runpy.run_path({str(PROJECT / 'gunicorn.conf.py')!r}))"
    config = folder / "conf.py"
    config.write_text("\n".join(("import runpy", project, *lines)))
    return Service(basic_settings(), folder / "log", arguments=("-c", str(config)))


def test_more_connections_than_there_are_files_end_no_worker(tmp_path):
    limit = (
        "import resource",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
        "keepalive = 1",
    )
    with configured(tmp_path, *limit) as service:
        with closing(connect(service)) as early, ExitStack() as stack:
            early.sendall(CALL[:10])
            for _ in range(150):
                stack.enter_context(closing(connect(service)))
            another_call_is_answered(service)
            early.sendall(CALL[10:])
            answered(early)
        assert service.log.count("no more connections can be taken") == 1
        assert service.log.count("Booting worker") == 1


def test_who_never_comes_to_an_end_is_cut_off(tmp_path):
    """They hold every thread; nobody else could be served until the last of them gives up."""
    with configured(tmp_path, "import serving", "serving.CUT_OFF_AFTER = 0.5") as service:
        with ExitStack() as stack:
            endless = [stack.enter_context(closing(connect(service))) for _ in range(MANY)]
            for connection in endless:
                connection.sendall(CALL[:-1])
            another_call_is_answered(service)
            for connection in endless:
                assert connection.recv(1) == b""
        service.wait_until(lambda: service.log.count("call cut off") == MANY, "not all are logged")
        assert service.log.count("status=204") == 1
