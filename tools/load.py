"""Load for a server on this machine: one request under way on each of some connections."""

import selectors
import socket
import time
from statistics import quantiles
from typing import NamedTuple


class Load(NamedTuple):
    """What a server did under load."""

    rate: float
    """Requests a second."""
    p99: float
    """99 of 100 answers took at most so many milliseconds."""


def load(port: int, request: bytes, connections: int, seconds: float) -> Load:
    """Send the request on each connection, and again as soon as its answer is there."""
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(connections):
        sockets.append(socket.create_connection(("127.0.0.1", port)))
        # One at a time, as they come to a service: together they would all go to the worker that
        # happens to be awake.
        length = _answer_length(sockets[-1], request)
    sent_at, missing, times = {}, {}, []

    def send(connection: socket.socket) -> None:
        missing[connection] = length
        sent_at[connection] = time.perf_counter()
        connection.sendall(request)

    for connection in sockets:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        send(connection)
    began = now = time.perf_counter()
    while now < began + seconds:
        for key, _ in selector.select():
            connection = key.fileobj
            piece = connection.recv(65536)
            if missing[connection] == length:
                _expect_200(piece)
            missing[connection] -= len(piece)
            if missing[connection] == 0:
                now = time.perf_counter()
                times.append(now - sent_at[connection])
                send(connection)
    selector.close()
    for connection in sockets:
        connection.close()
    return Load(len(times) / (now - began), 1000 * quantiles(times, n=100)[98])


def _answer_length(connection: socket.socket, request: bytes) -> int:
    """How many bytes come back. The answers to equal requests are equally long."""
    connection.sendall(request)
    answer = b""
    length = None
    while length is None or len(answer) < length:
        answer += connection.recv(65536)
        _expect_200(answer)
        head, end, _ = answer.partition(b"\r\n\r\n")
        if end:
            body = int(head.lower().partition(b"content-length:")[2].split()[0])
            length = len(head) + len(end) + body
    return length


def _expect_200(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"not a 200 but {answer[:40]!r}")
