"""`kill -9` of whatever takes part, again and again, while events arrive: none may be lost.

`make test-killed` runs this, about a minute for each database. It prints what it counted.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import requests

from tests.event_service import (
    RecordingWorker,
    an_event,
    backlog,
    deliver,
    events_settings,
    wait_until,
)
from tests.service import Service

KILLS = 40
SEED = 11


class Senders:
    """Deliver until they are told to stop, and note what was answered 204."""

    def __init__(self, service: Service):
        self.accepted: list[str] = []
        self.refused = 0
        self._service = service
        self._is_over = False
        self._threads = [
            threading.Thread(target=self._send, args=(sender, random.Random(SEED + sender)))
            for sender in range(3)
        ]

    def __enter__(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def _send(self, sender: int, chance: random.Random) -> None:
        number = 0
        while not self._is_over:
            uuids = [f"{sender}-{number + more}" for more in range(chance.randint(1, 3))]
            number += len(uuids)
            events = [an_event(uuid, seconds=chance.choice([0, 0, 0.05])) for uuid in uuids]
            # Okta tries once more; a third time here, so that not all of them go by.
            for _ in range(3):
                with contextlib.suppress(requests.RequestException):
                    if deliver(self._service, *events).status_code == 204:
                        self.accepted += uuids
                        break
                self.refused += 1
                time.sleep(0.2)


def children_of(process: subprocess.Popen) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def kill(*processes: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def kill_all_of(service: Service) -> None:
    """As when the machine stops, and starts again."""
    kill(service.process.pid, *children_of(service.process))
    service.process.wait()
    service.__enter__()


def test_nothing_that_was_answered_is_lost(database_url, tmp_path):
    chance = random.Random(SEED)
    killed, handled = Counter(), Counter()
    with contextlib.ExitStack() as running:
        service = running.enter_context(
            Service(events_settings(database_url), tmp_path / "log", workers=2)
        )
        workers = [running.enter_context(RecordingWorker(database_url, tmp_path)) for _ in "ab"]

        def more_is_handled():
            return len(workers[0].handled) > handled.total() + 3

        with Senders(service) as senders:
            for number in range(KILLS):
                # Work goes on before each kill, so that it hits something.
                wait_until(more_is_handled, "nothing is handled any more")
                time.sleep(chance.uniform(0, 0.3))
                handled = Counter(workers[0].handled)
                target = ("worker", "web worker", "worker", "all of gunicorn")[number % 4]
                killed[target] += 1
                if target == "worker":
                    worker = chance.choice(workers)
                    worker.kill()
                    worker.__enter__()
                elif target == "web worker":
                    kill(*children_of(service.process)[:1])
                else:
                    kill_all_of(service)
        accepted = set(senders.accepted)
        wait_until(lambda: accepted <= set(workers[0].handled), "accepted events are not handled")
        wait_until(lambda: backlog(database_url).waiting == 0, "events wait for ever")
    handled = Counter(workers[0].handled)
    lost = accepted - handled.keys()
    twice = sum(times > 1 for times in handled.values())
    sys.stdout.write(
        f"\n{database_url.get_backend_name()}: accepted {len(accepted)}, handled {len(handled)}, "
        f"handled twice {twice}, lost {len(lost)}; not accepted {senders.refused}; "
        f"killed {dict(killed)}\n"
    )
    assert not lost
    assert backlog(database_url).failed == 0
