"""One HTTP request and its answer, on a connection of its own, bounded in time and in size.

The proxy settings and the `.netrc` of this machine are ignored, since Okta does not have them.
Redirects are not followed, since Okta does not follow them.
"""

import contextlib
import os
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from threading import Thread
from urllib.parse import urlsplit

import certifi

# An inline hook's answer must be smaller, so more than that is never read.
SIZE_LIMIT = 256 * 1024
WITHOUT_BODY = (204, 304)


class SendError(Exception):
    """There is no answer; `str()` says why, in plain words and without a secret.

    `was_sent` says whether the request was sent, that is, whether there was a connection.
    """

    timed_out = False

    def __init__(self, message: str, *, was_sent: bool = False):
        super().__init__(message)
        self.was_sent = was_sent


class SendTimeout(SendError):
    timed_out = True


@dataclass(frozen=True)
class Received:
    """An answer. `body` is decompressed, and cut off at SIZE_LIMIT bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: float
) -> Received:
    """Send the request and read the answer until `deadline` (time.monotonic()).

    Whatever the other side does, the connection is closed by then. Raises SendError.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise SendTimeout("no time was left")
    connection = _Connection(method, url, headers, body, left)
    try:
        return connection.outcome.result(timeout=left)
    except TimeoutError:
        raise SendTimeout("no complete answer in time", was_sent=connection.was_sent) from None
    except Exception as error:
        message = f"{urlsplit(url).netloc}: {_reason_of(error)}"
        raise SendError(message, was_sent=connection.was_sent) from None
    finally:
        connection.end()


class _Connection:
    """The exchange, in a thread: a socket's own time limit starts again with every byte."""

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
    ):
        self.outcome: Future[Received] = Future()
        self.was_sent = False
        self._socket: socket.socket | None = None
        self._ended = False
        self._request = (method, url, headers, body, seconds)
        Thread(target=self._run, daemon=True).start()

    def end(self) -> None:
        """Wake the thread, wherever it waits for the other side."""
        self._ended = True
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            self.outcome.set_result(self._exchange(*self._request))
        except Exception as error:
            self.outcome.set_exception(error)

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
    ) -> Received:
        with contextlib.closing(_connection_to(url, seconds)) as connection:
            connection.connect()
            self._socket = connection.sock
            # end() may have been called while there was no socket to shut down.
            if self._ended:
                raise TimeoutError
            self.was_sent = True
            parts = urlsplit(url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Connection", "close")
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            with connection.getresponse() as response:
                return Received(response.status, response.headers, _body_of(response))


def _connection_to(url: str, seconds: float) -> HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme != "https":
        return HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    context = ssl.create_default_context(cafile=certifi.where())
    return HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)


def _body_of(response: HTTPResponse) -> bytes:
    body = response.read(SIZE_LIMIT)
    announced = int(response.headers.get("Content-Length", 0))
    if len(body) < min(announced, SIZE_LIMIT) and response.status not in WITHOUT_BODY:
        raise IncompleteRead(body)
    encoding = response.headers.get("Content-Encoding", "").lower()
    if body and encoding in ("gzip", "x-gzip", "deflate"):
        # 32: detect gzip or zlib from the header.
        decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
        body = decompressor.decompress(body, SIZE_LIMIT)
        if not decompressor.eof and len(body) < SIZE_LIMIT:
            raise IncompleteRead(body)
    return body


def _reason_of(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "Connection refused"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return "no TLS connection"
        # UnicodeError: the host name cannot be encoded for a lookup.
        case socket.gaierror() | UnicodeError():
            return "there is no such host"
        case ConnectionError() | IncompleteRead():
            return "it closed the connection"
        case OSError(errno=int()):
            return os.strerror(error.errno)
    return "it does not answer in HTTP"
