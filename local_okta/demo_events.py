"""The part of the demo about stored events: answered at once, handled later, whatever happens."""

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flask import current_app

from local_okta import client
from local_okta.terminal import heading, row, say

PATIENCE_SECONDS = 20


def stored_events(url: str, credentials, environment: dict[str, str], sample) -> list[str]:
    """Deliver three events made from `sample` while a worker runs. Returns what went wrong."""
    say("\nEvents are stored, then answered; a worker handles them.", bold=True)
    say("It retries after 0.3 s here (normally 5 s), after a kill -9 in 2 s (60 s).\n")
    heading()
    differences = []
    with tempfile.NamedTemporaryFile("w+") as log, contextlib.ExitStack() as workers:

        def report(story: str, uuid: str, answer, outcomes: list[str], summary: str) -> None:
            found = outcomes_of(uuid, log.name, len(outcomes))
            good = answer.status == 204 and found == outcomes
            row(story, "basic", answer, summary if good else ", ".join(found), good=good)
            if not good:
                differences.append(f"{story}: {answer.status}, {found}")

        def deliver(kind: str):
            uuid = f"{kind}-{secrets.token_hex(4)}"
            payload = sample.payload
            payload["data"]["events"][0]["uuid"] = uuid
            path = url + sample.path
            return uuid, client.send(path, payload, kind=sample.kind, credentials=credentials)

        worker = workers.enter_context(running_worker(environment, log))
        uuid, answer = deliver("event")
        report("an event", uuid, answer, ["taken", "handled"], "stored, and handled a moment later")
        uuid, answer = deliver("breaks-twice")
        story = ["taken", "attempt failed"] * 2 + ["taken", "handled"]
        report("its handler fails twice", uuid, answer, story, "failed, failed, handled")
        uuid, answer = deliver("slow")
        outcomes_of(uuid, log.name, 1)
        worker.kill()
        workers.enter_context(running_worker(environment, log))
        story = ["taken", "taken", "handled"]
        report(
            "its worker is killed",
            uuid,
            answer,
            story,
            "kill -9 in the middle; handled by the next",
        )
    return differences


@contextlib.contextmanager
def running_worker(environment: dict[str, str], log) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.demo_worker"],
        cwd=current_app.root_path,
        env=environment | {"LOG_FORMAT": "json"},
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def outcomes_of(uuid: str, log_path: str, number: int) -> list[str]:
    """What the worker's log says about an event, as soon as it has `number` lines."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        lines = map(parsed, Path(log_path).read_text().splitlines())
        mine = [line["message"] for line in lines if line.get("uuid") == uuid]
        found = [text.removeprefix("event ") for text in mine if text.startswith("event ")]
        if len(found) >= number or time.monotonic() > end:
            return found
        time.sleep(0.05)


def parsed(line: str) -> dict:
    """The fields of a log line; none if it is not JSON, such as an incomplete line."""
    with contextlib.suppress(ValueError):
        return json.loads(line)
    return {}
