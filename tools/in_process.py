"""Measure the guard and the whole app in this process."""

import time
from collections.abc import Callable
from io import BytesIO

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask
from joserfc.util import urlsafe_b64decode
from werkzeug.test import EnvironBuilder, run_wsgi_app

from local_okta.authorization_server import LocalOkta
from local_okta.terminal import say
from tools.serving import PROJECT
from tools.smallest_app import smallest

HOOK = "/tokenHook"
BODY = (PROJECT / "local_okta" / "samples" / "token.json").read_bytes()

ROUNDS = 150
REQUESTS_A_ROUND = 20
GUARD_GOAL, BASIC_GOAL_SECONDS, APP_GOAL = 4.0, 25e-6, 2.2

SMALLEST, BASIC, OAUTH = "smallest Flask view", "service, Basic", "service, OAuth"


def seconds_a_request(tasks: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The best round of each task. They take turns, so other work slows all of them equally."""
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            best[name] = min(best[name], task())
    return best


def table(title: str, best: dict[str, float], goals: dict[str, tuple[str, bool]]) -> None:
    """A line for each task, compared with the first."""
    say(f"\n{title:<42}{'µs':>8}{'ratio':>8}   goal", bold=True)
    floor = next(iter(best.values()))
    for name, seconds in best.items():
        line = f"  {name:<40}{seconds * 1e6:>8.1f}{seconds / floor:>8.2f}"
        say_with_goal(line, *goals.get(name, ("", True)))


def say_with_goal(line: str, goal: str, met: bool) -> None:
    words = goal if met else f"{goal}: missed"
    say(f"{line}   {words}".rstrip(), fg=None if met else "red")


def report_guard(okta: LocalOkta, basic: tuple[Flask, str], oauth: tuple[Flask, str]) -> None:
    floor, token, pair = "one RSA-2048 verification", "a new token", "Basic"
    best = seconds_a_request(
        {
            floor: verification(okta, oauth[1].removeprefix("Bearer ")),
            token: guard(*oauth),
            pair: guard(*basic),
        },
        ROUNDS * REQUESTS_A_ROUND,
    )
    goals = {
        token: (f"ratio at most {GUARD_GOAL}", best[token] / best[floor] <= GUARD_GOAL),
        pair: (f"at most {BASIC_GOAL_SECONDS * 1e6:.0f} µs", best[pair] <= BASIC_GOAL_SECONDS),
    }
    table("The guard", best, goals)


def verification(okta: LocalOkta, token: str) -> Callable[[], float]:
    """The minimum cost of checking a token."""
    signing_input, _, signature = token.encode().rpartition(b".")
    signature = urlsafe_b64decode(signature)
    key = okta.keys[0].get_op_key("verify")

    def task() -> float:
        began = time.perf_counter()
        key.verify(signature, signing_input, PKCS1v15(), SHA256())
        return time.perf_counter() - began

    return task


def guard(app: Flask, authorization: str) -> Callable[[], float]:
    """Only the guard, for a request that passes it."""
    (check,) = (
        function for function in app.before_request_funcs[None] if function.__module__ == "auth"
    )
    request = environ(authorization)

    def task() -> float:
        with app.request_context(request):
            # Flask parses path and headers on first use. That time is not the guard's.
            check()
            began = time.perf_counter()
            check()
            return time.perf_counter() - began

    return task


def environ(authorization: str) -> dict:
    """A request as Okta sends it, for WSGI."""
    headers = {"Authorization": authorization, "X-Okta-Request-Id": "reqBench00000000000001"}
    return EnvironBuilder(
        HOOK, method="POST", data=BODY, content_type="application/json", headers=headers
    ).get_environ()


def report_app(basic: tuple[Flask, str], oauth: tuple[Flask, str]) -> None:
    apps = {SMALLEST: (smallest(), basic[1]), BASIC: basic, OAUTH: oauth}
    best = seconds_a_request({name: whole_app(*each) for name, each in apps.items()}, ROUNDS)
    met = best[BASIC] / best[SMALLEST] <= APP_GOAL
    title = f"The whole app, {len(BODY):,} bytes of JSON"
    table(title, best, {BASIC: (f"ratio at most {APP_GOAL}", met)})


def whole_app(app: Flask, authorization: str) -> Callable[[], float]:
    """From the request to the last byte of the answer, without a server."""
    request = environ(authorization)

    def task() -> float:
        seconds = 0.0
        for _ in range(REQUESTS_A_ROUND):
            request["wsgi.input"] = BytesIO(BODY)
            began = time.perf_counter()
            _, status, _ = run_wsgi_app(app, dict(request))
            seconds += time.perf_counter() - began
            assert status == "200 OK"  # noqa: S101 - a refusal would be measured as an answer
        return seconds / REQUESTS_A_ROUND

    return task
