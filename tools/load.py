"""Load for a server on this machine, with a connection for each request."""

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
    """Milliseconds within which 99 of 100 requests were answered, including the time to connect."""


class Exchange(NamedTuple):
    began: float
    connection: socket.socket


def load(port: int, request: bytes, connections: int, seconds: float) -> Load:
    """Keep this many requests in flight. The server closes each connection after its answer."""
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        began = time.perf_counter()
        for _ in range(connections):
            send(port, request, selector)
        while selector.get_map():
            for key, _ in selector.select():
                exchange: Exchange = key.data
                piece = exchange.connection.recv(65536)
                if piece:
                    expect_200(piece)
                    continue
                now = time.perf_counter()
                times.append(now - exchange.began)
                selector.unregister(exchange.connection)
                exchange.connection.close()
                if now < began + seconds:
                    send(port, request, selector)
        took = time.perf_counter() - began
    return Load(len(times) / took, 1000 * quantiles(times, n=100)[98])


def send(port: int, request: bytes, selector: selectors.BaseSelector) -> None:
    began = time.perf_counter()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(request)
    selector.register(connection, selectors.EVENT_READ, Exchange(began, connection))


def expect_200(piece: bytes) -> None:
    """An answer is so short that it arrives in one or two pieces: its head, then its body."""
    if piece.startswith(b"HTTP/1.1 ") and not piece.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"not a 200 but {piece[:40]!r}")
