"""`kill -9` of every process involved, again and again, while events arrive: none may be lost.

Events are handled by the processes that serve and by two worker processes. `make test-killed` runs
this, about a minute for each database. It prints what it counted.
"""

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter

from tests.support.events import RecordingService, RecordingWorker, Senders, backlog
from tests.support.gunicorn import Service, children_of

KILLS = 40
SEED = 11


def kill(*processes: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def kill_all_of(service: Service) -> None:
    """As if the machine had crashed and started again."""
    kill(service.process.pid, *children_of(service.process.pid))
    service.process.wait()
    service.__enter__()


def test_no_accepted_event_is_lost(database_url, tmp_path):
    chance = random.Random(SEED)
    killed, handled = Counter(), Counter()
    with contextlib.ExitStack() as running:
        service = running.enter_context(
            RecordingService(database_url, tmp_path, threads=2, workers=2)
        )
        workers = [running.enter_context(RecordingWorker(database_url, tmp_path)) for _ in "ab"]

        def more_are_handled():
            return len(workers[0].handled) > handled.total() + 3

        with Senders(service, SEED) as senders:
            for number in range(KILLS):
                # Some events are handled before each kill, so that it interrupts work.
                workers[0].wait_until(more_are_handled)
                time.sleep(chance.uniform(0, 0.3))
                handled = Counter(workers[0].handled)
                target = ("worker", "web worker", "worker", "all of gunicorn")[number % 4]
                killed[target] += 1
                if target == "worker":
                    worker = chance.choice(workers)
                    worker.kill()
                    worker.__enter__()
                elif target == "web worker":
                    kill(*children_of(service.process.pid)[:1])
                else:
                    kill_all_of(service)
        accepted = set(senders.accepted)
        workers[0].wait_until(lambda: accepted <= set(workers[0].handled))
        workers[0].wait_until(lambda: backlog(database_url).waiting == 0)
    handled = Counter(workers[0].handled)
    by_service = service.log.count("event handled")
    lost = accepted - handled.keys()
    twice = sum(times > 1 for times in handled.values())
    sys.stdout.write(
        f"\n{database_url.get_backend_name()}: accepted {len(accepted)}, handled {len(handled)}, "
        f"{by_service} of them by gunicorn, handled twice {twice}, lost {len(lost)}; "
        f"not accepted {senders.refused}; killed {dict(killed)}\n"
    )
    assert not lost
    assert by_service
    assert by_service < len(handled)
    assert backlog(database_url).failed == 0
