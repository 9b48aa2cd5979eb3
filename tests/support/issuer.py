"""An issuer that fails in every way that an issuer can, over real connections."""

import json
import threading
from collections.abc import Callable

from werkzeug.wrappers import Request, Response

from local_okta.authorization_server import LocalOkta, new_key
from local_okta.endpoints import METADATA_PATHS, PREFIX

# Shorter than any wait for a byte, so that no byte is late.
TRICKLE_SECONDS = 0.1
# Longer than any attempt may take, but short enough for a failing test to end.
ENDLESS_SECONDS = 60.0
_CLIENT_KEY = new_key()


class FaultyIssuer(LocalOkta):
    """LocalOkta, until `fault` is set: that answers, or returns None to leave it to LocalOkta."""

    def __init__(self):
        # No test of an issuer's faults needs the client's key, and making one takes time.
        super().__init__(client_key=_CLIENT_KEY)
        self.fault: Fault | None = None
        self.ended = threading.Event()
        self._good = self.app.wsgi_app
        self.app.wsgi_app = self._answer

    def start(self) -> "FaultyIssuer":
        self.ended.clear()
        return super().start()

    def stop(self) -> None:
        self.ended.set()
        super().stop()

    def _answer(self, environ, start_response):
        response = self.fault(self, Request(environ)) if self.fault else None
        return (response or self._good)(environ, start_response)


class FaultyIssuerElsewhere(FaultyIssuer):
    """It says that it is not on this machine. Whatever starts it must make its name resolve."""

    @property
    def issuer(self) -> str:
        return f"https://issuer.example.com:{self.port}{PREFIX}"


Fault = Callable[[FaultyIssuer, Request], Response | None]


def answering(body: bytes, status: int = 200, headers: dict | None = None) -> Fault:
    return lambda issuer, request: Response(body, status, headers)


def key_set(*members: object) -> Fault:
    return only_keys(answering(json.dumps({"keys": members}).encode()))


def metadata(**changes: object) -> Fault:
    """The issuer's own metadata with some members changed."""
    return lambda issuer, request: Response(json.dumps(issuer.metadata() | changes))


def only_keys(fault: Fault) -> Fault:
    def for_keys(issuer, request):
        return None if request.path in METADATA_PATHS else fault(issuer, request)

    return for_keys


def sending(beginning: bytes = b"", endless: bytes = b"") -> Fault:
    """Sends just this, which need not be HTTP, and closes the connection.

    `endless` is sent again and again: no byte is late, but the answer never ends.
    """

    def fault(issuer, request):
        connection = request.environ["werkzeug.socket"]
        connection.sendall(beginning)
        for _ in range(round(ENDLESS_SECONDS / TRICKLE_SECONDS) if endless else 0):
            connection.sendall(endless)
            if issuer.ended.wait(TRICKLE_SECONDS):
                break
        raise ConnectionAbortedError

    return fault


def hanging(issuer: FaultyIssuer, request: Request) -> None:
    """Takes the request and never answers."""
    issuer.ended.wait(ENDLESS_SECONDS)
    raise ConnectionAbortedError
