"""The gunicorn worker of this service: what happens before a call reaches the app.

gunicorn answers a request that is no HTTP by itself, with a page that quotes what was wrong, and
logs the same. That can be a piece of an Authorization header.
"""

import json

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

_STATUS = {LimitRequestLine: (414, "URI Too Long"), LimitRequestHeaders: (431, "Header Too Large")}


class HookWorker(ThreadWorker):
    """gunicorn's threaded worker, with answers and log lines that quote nothing of a request."""

    def handle_error(self, req, client, addr, exc):
        if not isinstance(exc, ParseException):
            status, reason = 500, "Internal Server Error"
        else:
            status, reason = _STATUS.get(type(exc), (400, "Bad Request"))
        peer = addr[0] if isinstance(addr, tuple) and addr else "-"
        self.log.warning("no readable HTTP: %s, client=%s", type(exc).__name__, peer)
        body = json.dumps({"error": {"errorSummary": reason, "errorCauses": []}}).encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode("ascii") + body)
        except OSError:
            self.log.debug("the peer has gone before the answer")
