"""The gunicorn worker of this service: what happens before a call reaches the app.

It is gunicorn's threaded worker with these differences:

- A call is served by the thread that saw it come. gunicorn's main thread hands each call to a pool
  of threads and takes the connection back: four changes of thread, during which the threads also
  wait for each other's interpreter lock. Here one thread at a time has the turn: it waits for
  connections and serves what comes. When a call holds it up (a provider that does not answer, a
  client that sends slowly), another thread takes the turn, so nothing waits behind that call.
- A burst of connections is shared between the workers, and a connection that has not sent anything
  yet occupies no thread.
- An answer is sent in one piece, which wakes its reader once.
- gunicorn answers a request that is no HTTP with a page that quotes what was wrong, and logs the
  same. That can be a piece of an Authorization header. Here neither quotes anything.
"""

import contextlib
import errno
import gc
import json
import logging
import selectors
import socket
import threading
import time
from collections import deque
from email.utils import formatdate
from functools import lru_cache, partial

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import wsgi
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import _DRAIN_MAX_BYTES as LONGEST_SKIPPED
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

# How often the main thread looks at the call that is being served. One that it meets twice costs
# its thread the turn.
LOOK_EVERY = 0.01
# Okta gives up after 3 seconds. A call that takes this long is cut off, or clients that send a byte
# now and then would hold all threads for good.
CUT_OFF_AFTER = 8.0
# Without keep-alive: how long a new connection may be silent.
FIRST_CALL_WITHIN = 5.0
# After a new connection a worker looks away this long, so that another worker takes the next.
ACCEPT_PAUSE = 0.0005
# With calls waiting to be served, it takes as many new connections after every so many calls: a
# burst is soon taken, and no worker can be far ahead of another.
CALLS_BETWEEN_ACCEPTS = 4
# How long to wait with the next connection when there is no file number for it.
FULL_PAUSE = 0.005
# How often a lack that goes on is mentioned again in the log.
COMPLAIN_EVERY = 60.0

log = logging.getLogger("okta_hooks.http")

_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_STATUS = {LimitRequestLine: (414, "URI Too Long"), LimitRequestHeaders: (431, "Header Too Large")}


class _Connection(TConn):
    """A client's connection. While the thread that has the turn knows it, it is in the poller."""

    def __init__(self, cfg, client: socket.socket, address, server):
        super().__init__(cfg, client, address, server)
        # TLS puts another socket object in the place of the first, with the same number.
        self.fd = client.fileno()


class _Call:
    """A connection while a thread serves it."""

    def __init__(self, conn: _Connection):
        self.conn = conn
        self.began = time.monotonic()


class HookWorker(ThreadWorker):
    """Serves calls in turns (see above).

    The poller and everything about connections belong to the thread that has the turn. `_call` is
    what it serves. Whoever sets `_call` to None, under `_claim`, has decided whether the thread
    keeps the turn: the thread itself, once it is done, or the main thread, which then takes the
    connection out of the poller and gives the turn to another thread. A thread without the turn
    hands its connection back through `method_queue`.
    """

    def init_process(self):
        self._turn = threading.Lock()
        self._claim = threading.Lock()
        self._call: _Call | None = None
        self._held_up: set[_Call] = set()
        self._ready: deque[_Connection] = deque()
        # Who is silent, the longest silent first. gunicorn counts them under this name.
        self.keepalived_conns: dict[_Connection, None] = {}
        self._look_away_until = float("-inf")
        self._complained_at = float("-inf")
        self._stop_by: float | None = None
        self._called = threading.Event()
        self._ended = False
        self._failure: BaseException | None = None
        super().init_process()

    def run(self):
        """Look after the threads that serve. The main thread itself stays free for signals."""
        # gunicorn looks a setting up in two dictionaries, some fifty times a call.
        vars(self.cfg).update((name, setting.get()) for name, setting in self.cfg.settings.items())
        # What is loaded by now stays. Going through all of it, the garbage collector would now and
        # then hold up every call for 30 ms.
        gc.collect()
        gc.freeze()
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        for number in range(self.cfg.threads):
            name = f"calls-{number}"
            threading.Thread(target=self._take_turns, name=name, daemon=True).start()
        seen = None
        while not self._ended:
            self.notify()
            if self.alive and not self.is_parent_alive():
                self.alive = False
            if self._called.wait(1.0):
                time.sleep(LOOK_EVERY)
                seen = self._look_at_call(seen)
                self._cut_off_endless_calls()
        if self._failure is not None:
            raise self._failure

    def _look_at_call(self, seen: _Call | None) -> _Call | None:
        # First this, then the look: a call that comes in between is either seen or sets it again.
        self._called.clear()
        with self._claim:
            call = self._call
            if call is not None and call is seen:
                self._call = None
                self._held_up.add(call)
                self.poller.unregister(call.conn.fd)
                self._turn.release()
            if call is not None or self._held_up:
                self._called.set()
        return call

    def _cut_off_endless_calls(self):
        oldest = time.monotonic() - CUT_OFF_AFTER
        with self._claim:
            endless = {call for call in self._held_up if call.began < oldest}
            self._held_up -= endless
        for call in endless:
            # The socket below TLS, whose state belongs to the thread that is using it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(call.conn.sock, socket.SHUT_RDWR)
            log.warning("call cut off", extra={"fields": {"client": _peer(call.conn.client)}})

    def _take_turns(self):
        try:
            while not self._ended:
                self._turn.acquire()
                self._serve()
        except BaseException as failure:
            # As in any other worker: it ends, and gunicorn starts a new one.
            self._failure = failure
            self._end()

    def _serve(self):
        """Serve until the turn is lost or the worker ends."""
        while not self._ended:
            self._wait()
            # No more than are ready now: a client that sends call after call must not keep others
            # from being noticed.
            for number in range(1, len(self._ready) + 1):
                if not self._serve_one(self._ready.popleft()):
                    return
                if number % CALLS_BETWEEN_ACCEPTS == 0:
                    self._take_new()

    def _serve_one(self, conn: _Connection) -> bool:
        """Serve one call. Returns whether the thread still has the turn."""
        call = self._call = _Call(conn)
        if not self._called.is_set():
            self._called.set()
        keep = self.handle(conn)
        if not keep:
            # Waits for the client to close as well, for up to 2 seconds.
            with contextlib.suppress(OSError):
                conn.close(graceful=True)
        with self._claim:
            has_turn = self._call is call
            if has_turn:
                self._call = None
            else:
                self._held_up.discard(call)
        if has_turn:
            self._put_back(conn, keep)
        else:
            self.method_queue.defer(self._take_back, conn, keep)
        return has_turn

    def _keepalive_after(self, conn, keepalive):
        message = conn.parser.mesg
        if keepalive and getattr(message.body.reader, "length", None) == 0:
            # Read to its end, so that nothing of it is left to be skipped before the next call.
            conn.parser.mesg = None
            return True
        try:
            return super()._keepalive_after(conn, keepalive)
        except ParseException:
            # The call has had its answer; what is wrong with its rest deserves no second one.
            return False

    def _wait(self):
        """Wait for connections and for what they bring; end the worker when it is time."""
        timeout = 0 if self._ready else 1.0
        if self.alive:
            pause = self._look_away_until - time.monotonic()
            if pause > 0:
                timeout = min(timeout, pause)
            self.set_accept_enabled(pause <= 0 and self.nr_conns < self.worker_connections)
        else:
            if self._stop_by is None:
                self._begin_to_stop()
            if not self.nr_conns or time.monotonic() > self._stop_by:
                self._end()
                return
            timeout = min(timeout, 0.1)
        self.wait_for_and_dispatch_events(timeout)
        self._hang_up_on_the_silent()

    def _end(self):
        self._ended = True
        self._called.set()

    def _begin_to_stop(self):
        """Take who is at the door and close it. Every connection gets a moment for one more call.

        gunicorn leaves the door open to the end: who knocks meanwhile waits, and is then let down.
        """
        now = time.monotonic()
        self._stop_by = now + self.cfg.graceful_timeout
        for listener in self.sockets:
            while self.nr_conns < self.worker_connections and self.accept(listener):
                pass
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        for conn in self.keepalived_conns:
            conn.timeout = min(conn.timeout, now + STOP_KEEPALIVE_LINGER)

    def _take_new(self):
        """Take as many new connections as calls were served meanwhile."""
        if self.alive and time.monotonic() >= self._look_away_until:
            for listener in self.sockets:
                for _ in range(CALLS_BETWEEN_ACCEPTS):
                    if self.nr_conns >= self.worker_connections or not self.accept(listener):
                        break

    def _look_away(self, seconds: float):
        self._look_away_until = max(self._look_away_until, time.monotonic() + seconds)

    def accept(self, listener) -> bool:
        """Take a new connection. Returns whether there may be more."""
        try:
            client, address = listener.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            if error.errno not in _NO_MORE_FILES:
                raise
            # Who is here is served and makes room; who knocks waits.
            self._look_away(FULL_PAUSE)
            self._complain_of_files(error)
            return False
        self._look_away(ACCEPT_PAUSE)
        conn = _Connection(self.cfg, client, address, listener.getsockname())
        self.nr_conns += 1
        self._watch(conn)
        self._await(conn)
        return True

    def _complain_of_files(self, error: OSError):
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY:
            self._complained_at = now
            fields = {"error": error.strerror, "connections": self.nr_conns}
            log.error("no more connections can be taken", extra={"fields": fields})

    def _watch(self, conn):
        on_readable = partial(self._on_readable, conn)
        self.poller.register(conn.fd, selectors.EVENT_READ, on_readable)

    def _await(self, conn):
        """Give the client until the timeout to send its next call."""
        seconds = self.cfg.keepalive or FIRST_CALL_WITHIN
        if not self.alive:
            seconds = min(seconds, STOP_KEEPALIVE_LINGER)
        conn.timeout = time.monotonic() + seconds
        self.keepalived_conns[conn] = None

    def _on_readable(self, conn, _fd):
        # Else it is among those that are ready, and was seen before.
        if conn in self.keepalived_conns:
            del self.keepalived_conns[conn]
            conn.data_ready = True
            self._ready.append(conn)

    def _hang_up_on_the_silent(self):
        now = time.monotonic()
        while self.keepalived_conns:
            conn = next(iter(self.keepalived_conns))
            if conn.timeout > now:
                break
            del self.keepalived_conns[conn]
            self._forget(conn)
            conn.close()

    def _put_back(self, conn, keep):
        if not keep:
            self._forget(conn)
        elif conn.parser.unreader.buf.getvalue() or (self.cfg.is_ssl and conn.sock.pending()):
            # The next call is here already and will not make the socket readable again.
            self._ready.append(conn)
        else:
            self._await(conn)

    def _take_back(self, conn, keep):
        """Put back a connection that the turn was lost for."""
        if keep:
            self._watch(conn)
            self._put_back(conn, keep)
        else:
            self.nr_conns -= 1

    def _forget(self, conn):
        self.poller.unregister(conn.fd)
        self.nr_conns -= 1

    def handle_error(self, req, client, addr, exc):
        if not isinstance(exc, ParseException):
            status, reason = 500, "Internal Server Error"
        else:
            status, reason = _STATUS.get(type(exc), (400, "Bad Request"))
        fields = {"error": type(exc).__name__, "status": status, "client": _peer(addr)}
        log.warning("no readable HTTP", extra={"fields": fields})
        body = json.dumps({"error": {"errorSummary": reason, "errorCauses": []}}).encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode("ascii") + body)
        except OSError:
            self.log.debug("the peer has gone before the answer")


def _peer(address) -> str:
    """The peer's IP address; who comes through a Unix socket has none."""
    return address[0] if isinstance(address, tuple) and address else "-"


class Log(Logger):
    """gunicorn's log without its debug lines, which quote requests and the environment."""

    def setup(self, cfg):
        super().setup(cfg)
        self.error_log.setLevel(max(self.error_log.level, logging.INFO))


class Answer(wsgi.Response):
    """A whole answer is sent in one piece; gunicorn sends the head first, then the body."""

    def default_headers(self):
        if getattr(self.req.body.reader, "length", 0) >= LONGEST_SKIPPED:
            # Said in time. gunicorn would promise to keep the connection, and then hang up.
            self.force_close()
        return super().default_headers()

    def write(self, arg):
        if self.headers_sent or self._omits_body or not arg or len(arg) != self.response_length:
            super().write(arg)
            return
        head = (*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers))
        self.headers_sent = True
        self.sent = len(arg)
        self.sock.sendall("".join((*head, "\r\n")).encode("latin-1") + arg)


class Head(Request):
    """A request as gunicorn reads it. No header changes what it is, whoever sends it."""

    def _peer_trusted_for_forwarded(self):
        # The same as gunicorn.conf.py says, without a look at the peer's address for each call.
        return {}, ()


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    """A second as HTTP writes it (RFC 9110, 5.6.7)."""
    return formatdate(second, usegmt=True)


# gunicorn has no settings for these.
RequestParser.mesg_class = Head
wsgi.Response = Answer
util.http_date = lambda timestamp=None: _date(int(timestamp or time.time()))
