"""How fast the service is on this machine: `make bench`, a good minute.

Measured are what the guard adds to a call, in this process; how many calls gunicorn serves with
the project's own settings and how long each of them takes; a worker's memory and the time to start.
The load comes from this file as well, run as a process of its own.
"""

import multiprocessing
import os
import platform
import selectors
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.util import urlsafe_b64decode
from werkzeug.test import EnvironBuilder

from app import create_app
from auth.oauth import signed_claims
from local_okta.authorization_server import LocalOkta
from local_okta.terminal import say
from settings import Settings
from tests.service import BASIC_PAIR, PROJECT, Service, basic_settings, oauth_settings

HOOK = "/tokenHook"
BODY = (PROJECT / "local_okta" / "samples" / "token.json").read_bytes()

GUARD_ROUNDS = 300
GUARD_CALLS = 20

CONNECTIONS = (1, 8, 64)
LOAD_ROUNDS = 3
# Long enough that a connection's first call, which waits to be taken, is not the 99th percentile.
LOAD_SECONDS = 3
WARM_UP_SECONDS = 0.5


def main() -> None:
    say(machine())
    with LocalOkta() as okta, tempfile.TemporaryDirectory() as folder:
        basic = "Basic " + b64encode(":".join(BASIC_PAIR).encode()).decode()
        bearer = "Bearer " + okta.issue()
        report_guard(okta, basic, bearer)
        report_service(
            Path(folder),
            {"Basic": (basic_settings(), basic), "OAuth": (oauth_settings(okta), bearer)},
        )


def machine() -> str:
    """CPU, cores and Python, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    # Some who build Python themselves leave this out; with it, it is about a quarter faster.
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "" if optimized else " (built without --enable-optimizations)"
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}{build}"


def report_guard(okta: LocalOkta, basic: str, bearer: str) -> None:
    user, password = BASIC_PAIR
    both = {"basic_auth_user": user, "basic_auth_password": password, "log_level": "ERROR"}
    oauth = {
        "auth_mode": "oauth",
        "okta_issuer": okta.issuer,
        "okta_client_id": frozenset({okta.client_id}),
        "okta_scope": okta.scopes[0],
    }
    tasks = {
        "RSA-2048 verification alone": verification(okta, bearer.removeprefix("Bearer ")),
        "guard, OAuth, a new token": guard(
            Settings(**both, **oauth), bearer, signed_claims.cache_clear
        ),
        "guard, OAuth, the same again": guard(Settings(**both, **oauth), bearer),
        "guard, Basic": guard(Settings(**both), basic),
    }
    best = dict.fromkeys(tasks, float("inf"))
    # In turns, so that what else the machine does meets all of them alike.
    for _ in range(GUARD_ROUNDS):
        for name, task in tasks.items():
            best[name] = min(best[name], task())

    say("\nWhat the guard adds to a call", bold=True)
    floor = next(iter(best.values()))
    for name, seconds in best.items():
        say(f"  {name:<28}{seconds * 1e6:7.1f} µs{seconds / floor:9.1f} x")


def verification(okta: LocalOkta, token: str) -> Callable[[], float]:
    """The least that checking the token can cost."""
    signing_input, _, signature = token.encode().rpartition(b".")
    signature = urlsafe_b64decode(signature)
    key = okta.keys[0].get_op_key("verify")
    return lambda: per_call(lambda: key.verify(signature, signing_input, PKCS1v15(), SHA256()))


def guard(
    settings: Settings, authorization: str, before: Callable[[], None] | None = None
) -> Callable[[], float]:
    """The guard of a real app, for a call that it lets pass; `before` is done before each."""
    app = create_app(settings)
    (guard,) = (
        function
        for function in app.before_request_funcs[None]
        if getattr(function, "func", function).__module__ == "auth"
    )
    headers = {"Authorization": authorization}
    environ = EnvironBuilder(HOOK, method="POST", headers=headers).get_environ()

    def prepared() -> None:
        before()
        guard()

    def task() -> float:
        with app.request_context(environ):
            return per_call(prepared if before else guard)

    return task


def per_call(function: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    for _ in range(GUARD_CALLS):
        function()
    return (time.perf_counter() - began) / GUARD_CALLS


def report_service(folder: Path, ways: dict[str, tuple[dict[str, str], str]]) -> None:
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    say(f"\ngunicorn, {workers} workers, POST {HOOK} with {len(BODY):,} bytes", bold=True)
    say("           connections   calls/s  worst    p50 ms    p99 ms  worst")
    closing = []
    # A process of its own: the load must not wait for what else this one does.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as generator:
        for name, (settings, authorization) in ways.items():
            began = time.perf_counter()
            with Service(settings, folder / name, workers=workers) as service:
                seconds = time.perf_counter() - began
                for connections in CONNECTIONS:
                    progress(f"{name}, {connections} connections ...")
                    target = (service.port, request(authorization), connections)
                    generator.submit(load, *target, WARM_UP_SECONDS).result()
                    rounds = [
                        generator.submit(load, *target, LOAD_SECONDS).result()
                        for _ in range(LOAD_ROUNDS)
                    ]
                    rates, middles, tails = zip(*rounds, strict=True)
                    progress("")
                    say(
                        f"  {name:<9}{connections:>11}"
                        f"{median(rates):>10.0f}{min(rates):>7.0f}{median(middles):>10.1f}"
                        f"{median(tails):>10.1f}{max(tails):>7.1f}"
                    )
                megabytes = max(resident_megabytes(service.process.pid))
            closing.append(
                f"  {name:<9}{megabytes:>8.0f} MB a worker{seconds:>8.1f} s to the first 200"
            )
    say("\nMemory after that load, and start", bold=True)
    for line in closing:
        say(line)


def request(authorization: str) -> bytes:
    """A call as Okta sends it."""
    head = (
        f"POST {HOOK} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
        f"Authorization: {authorization}",
        "User-Agent: Okta-Integrations",
        "X-Okta-Request-Id: reqBench00000000000001",
    )
    return "\r\n".join((*head, "", "")).encode() + BODY


def load(port: int, call: bytes, connections: int, seconds: float) -> tuple[float, float, float]:
    """Keep a call under way on each of the connections.

    Returns calls per second, and the median and the 99th percentile of their milliseconds.
    """
    selector = selectors.DefaultSelector()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    length = answer_length(sockets[0], call)
    sent_at, missing = {}, {}
    times = []

    def send(connection: socket.socket) -> None:
        missing[connection] = length
        sent_at[connection] = time.perf_counter()
        connection.sendall(call)

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
                expect_200(piece)
            missing[connection] -= len(piece)
            if missing[connection] == 0:
                now = time.perf_counter()
                times.append(now - sent_at[connection])
                send(connection)
    selector.close()
    for connection in sockets:
        connection.close()
    times.sort()
    rate = len(times) / (now - began)
    return rate, 1000 * median(times), 1000 * times[len(times) * 99 // 100]


def answer_length(connection: socket.socket, call: bytes) -> int:
    """How many bytes come back for this call; the answers to equal calls are equally long."""
    connection.sendall(call)
    answer = b""
    length = None
    while length is None or len(answer) < length:
        answer += connection.recv(65536)
        expect_200(answer)
        head, end, _ = answer.partition(b"\r\n\r\n")
        if end:
            body = int(head.lower().partition(b"content-length:")[2].split()[0])
            length = len(head) + len(end) + body
    return length


def expect_200(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"not a 200 but {answer[:40]!r}")


def resident_megabytes(parent: int) -> list[float]:
    """What each child of the process has in memory."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if children.exists():
        states = [
            Path(f"/proc/{child}/status").read_text() for child in children.read_text().split()
        ]
        return [int(state.partition("VmRSS:")[2].split()[0]) / 1024 for state in states]
    table = subprocess.run(
        ["/bin/ps", "-axo", "ppid=,rss="], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split() for line in table.splitlines()]
    return [int(kilobytes) / 1024 for ppid, kilobytes in rows if int(ppid) == parent]


def progress(text: str) -> None:
    """What is going on, on a terminal, in a line that the result takes over."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
