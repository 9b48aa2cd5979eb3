"""Measure how much time the service adds on this machine: `make bench`, about three minutes.

Everything is compared with something simpler, and the two are measured in turns. So the ratios are
reliable on a machine that does other work too. The times are not.
"""

import contextlib
import multiprocessing
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from app import create_app
from local_okta.authorization_server import LocalOkta
from local_okta.terminal import say
from settings import load_settings
from tools.in_process import (
    BASIC,
    BODY,
    HOOK,
    OAUTH,
    SMALLEST,
    report_app,
    report_guard,
    say_with_goal,
)
from tools.load import Load, load
from tools.serving import basic_authorization, basic_settings, gunicorn, oauth_settings

CONNECTIONS = (1, 8, 64)
# Many short rounds, since the speed of a virtual machine changes from one second to the next.
LOAD_ROUNDS = 9
LOAD_SECONDS = 1.0

SERVED_GOAL = 0.7
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WORKERS = min(CORES, 4)
FETCHING = "view that fetches keys"


def main() -> None:
    say(machine())
    with LocalOkta() as okta, tempfile.TemporaryDirectory() as folder:
        basic = basic_authorization()
        bearer = "Bearer " + okta.issue()
        # The apps log as usual, but their lines are discarded.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            basic_app = create_app(load_settings(basic_settings()))
            oauth_app = create_app(load_settings(oauth_settings(okta)))
            report_guard(okta, (basic_app, basic), (oauth_app, bearer))
            report_app((basic_app, basic), (oauth_app, bearer))
        report_served(Path(folder), okta, basic, bearer)


def machine() -> str:
    """CPU, cores and Python, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    # A Python built without this is about a quarter slower.
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "" if optimized else " (built without --enable-optimizations)"
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}{build}"


def report_served(folder: Path, okta: LocalOkta, basic: str, bearer: str) -> None:
    oauth = oauth_settings(okta)
    served = {
        SMALLEST: (basic_settings(), basic, ["tools.smallest_app:smallest()"]),
        BASIC: (basic_settings(), basic, []),
        OAUTH: (oauth, bearer, []),
        FETCHING: (oauth, bearer, ["tools.smallest_app:fetching()"]),
    }
    # A separate process, so that the load does not wait for other work of this one.
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        generator = stack.enter_context(ProcessPoolExecutor(max_workers=1, mp_context=spawn))
        targets, servers = {}, {}
        for name, (settings, authorization, arguments) in served.items():
            progress(f"starting: {name} ...")
            own = folder / name
            own.mkdir()
            server = stack.enter_context(gunicorn(settings, own, *arguments, workers=WORKERS))
            servers[name] = server
            targets[name] = (server.port, request_bytes(authorization))
        progress("")
        title = f"Served by gunicorn, {WORKERS} workers"
        heads = ("req/s", "worst", "ratio", "p99 ms", "worst", "ratio")
        say(f"\n{title:<34}" + "".join(f"{head:>8}" for head in heads) + "   goal", bold=True)
        for connections in CONNECTIONS:
            report_load(connections, loads(generator, targets, connections))
        say(f"\n{'After that':<34}{'MB a worker':>16}{'s to the first answer':>24}", bold=True)
        for name, server in servers.items():
            memory = resident_megabytes(server.process_id)
            say(f"  {name:<32}{memory:>16.0f}{server.seconds_to_start:>24.1f}")


def request_bytes(authorization: str) -> bytes:
    """A request as Okta sends it, for a socket."""
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


def loads(generator: ProcessPoolExecutor, targets: dict, connections: int) -> dict[str, list[Load]]:
    """Some rounds for each server. The servers take turns."""
    rounds: dict[str, list[Load]] = {name: [] for name in targets}
    for number in range(LOAD_ROUNDS):
        for name, target in targets.items():
            progress(f"{connections} at a time, round {number + 1}: {name} ...")
            rounds[name].append(generator.submit(load, *target, connections, LOAD_SECONDS).result())
    progress("")
    return rounds


def report_load(connections: int, rounds: dict[str, list[Load]]) -> None:
    """Print medians, their ratios to the smallest view's, and the worst round."""
    done = {name: Load(*map(median, zip(*each, strict=True))) for name, each in rounds.items()}
    floor = done[SMALLEST]
    say(f"  {connections} at a time")
    for name, each in done.items():
        rate, p99 = each.rate / floor.rate, floor.p99 / each.p99
        slowest = min(load.rate for load in rounds[name])
        longest = max(load.p99 for load in rounds[name])
        goal = (f"at least {SERVED_GOAL}", min(rate, p99) >= SERVED_GOAL)
        say_with_goal(
            f"    {name:<30}{each.rate:>8.0f}{slowest:>8.0f}{rate:>8.2f}"
            f"{each.p99:>8.1f}{longest:>8.1f}{p99:>8.2f}",
            *(goal if name == BASIC else ("", True)),
        )
    times = done[OAUTH].rate / done[FETCHING].rate
    say(f"    OAuth serves {times:.1f} times as many as the view that fetches keys")


def resident_megabytes(parent: int) -> float:
    """The memory of the process's largest child, in MiB."""
    table = subprocess.run(
        ["/bin/ps", "-axo", "ppid=,rss="], check=True, capture_output=True, text=True
    ).stdout
    rows = [map(int, line.split()) for line in table.splitlines()]
    return max(kilobytes for ppid, kilobytes in rows if ppid == parent) / 1024


def progress(text: str) -> None:
    """Show progress in a line of the terminal, which the result then replaces."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
