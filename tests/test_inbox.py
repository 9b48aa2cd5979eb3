"""The inbox, on SQLite and on PostgreSQL: what becomes of an event between its delivery and the
end of its handler."""

import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from inbox.database import Database, reason_of
from inbox.inbox import (
    ATTEMPTS,
    FORGOTTEN_AT_ONCE,
    LEASE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Backlog,
    Inbox,
    LeaseLost,
    key_of,
)
from inbox.inbox import events as table
from inbox.inbox import workers as workers_table

NOW = 1_800_000_000.0
WEEK = 7 * 24 * 3600
YEAR = 365 * 24 * 3600
ERROR = "KeyError at handlers.py:1"


@pytest.fixture
def clock():
    return SimpleNamespace(now=NOW)


@pytest.fixture
def database(database_url):
    with contextlib.closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def inbox(database, clock):
    return Inbox(database, lambda: clock.now)


def an_event(uuid="uuid-1", **more):
    return {"uuid": uuid, "eventType": "user.lifecycle.create"} | more


def store(inbox, *events):
    return inbox.store({key_of(event): event for event in events})


def content(database):
    with database.begin() as connection:
        return connection.scalar(sa.select(table.c.event))


def claim_all(inbox):
    return [*iter(inbox.claim, None)]


def tend(inbox, worker="worker"):
    """What a worker does now and then."""
    inbox.show_worker(worker, 2, 0)
    inbox.clean_up()
    return inbox.set_aside_killed()


def break_until_failed(inbox, clock):
    """Gives the pauses."""
    pauses = []
    while len(pauses) < 2 * ATTEMPTS and (pause := inbox.retry_later(inbox.claim(), ERROR)):
        pauses.append(pause)
        inbox.clean_up()
        assert inbox.claim() is None
        clock.now += pause
    return pauses


def test_an_event_is_claimed_once_with_its_content(inbox):
    event = an_event(target=[{"alternateId": "zo\xeb\ud83d\x00@example.com"}])
    assert store(inbox, event) == {"uuid-1"}
    claim = inbox.claim()
    assert (claim.key, claim.type, claim.attempts) == ("uuid-1", "user.lifecycle.create", 1)
    assert json.loads(claim.event) == event
    assert inbox.claim() is None


def test_a_handled_event_loses_its_content_and_is_recognized_for_a_week(inbox, database, clock):
    store(inbox, an_event())
    inbox.done(inbox.claim())
    assert content(database) is None
    assert store(inbox, an_event()) == set()
    clock.now += WEEK - 1
    inbox.clean_up()
    assert store(inbox, an_event()) == set()
    assert inbox.claim() is None
    clock.now += 2
    inbox.clean_up()
    assert store(inbox, an_event()) == {"uuid-1"}


def test_a_second_delivery_changes_nothing_while_the_first_is_being_handled(inbox):
    store(inbox, an_event())
    claim = inbox.claim()
    assert store(inbox, an_event(), an_event("uuid-2")) == {"uuid-2"}
    assert inbox.claim().key == "uuid-2"
    inbox.done(claim)
    assert inbox.claim() is None


def test_an_event_without_a_uuid_is_recognized_by_its_content(inbox):
    first, same = {"eventType": "a", "n": 1}, {"n": 1, "eventType": "a"}
    others = [{"eventType": "a", "n": 2}, {"eventType": "a", "uuid": None}]
    others += [{"eventType": "a", "uuid": uuid} for uuid in ("", 5, "a b", "a\x00", "x" * 101, [])]
    assert len(store(inbox, first, *others)) == 1 + len(others)
    assert store(inbox, same, *others) == set()
    assert len(claim_all(inbox)) == 1 + len(others)


def test_a_delivery_is_stored_whole_or_not_at_all(inbox):
    not_text = {"uuid": "uuid-2", "eventType": None, "target": "bob@example.com"}
    with pytest.raises(sa.exc.IntegrityError) as raised:
        store(inbox, an_event(), not_text, an_event("uuid-3", target="ann@example.com"))
    assert "ann@example.com" not in str(raised.value)
    # PostgreSQL itself quotes the row that it does not take.
    assert "bob@example.com" not in reason_of(raised.value)
    assert inbox.claim() is None
    assert len(store(inbox, *(an_event(f"uuid-{n}") for n in range(3000)))) == 3000


def test_the_pause_doubles_until_the_event_fails_and_the_event_is_kept(inbox, database, clock):
    store(inbox, an_event())
    pauses = break_until_failed(inbox, clock)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    clock.now += YEAR
    tend(inbox)
    assert inbox.claim() is None
    [failure] = inbox.failures()
    assert tuple(failure) == ("uuid-1", "user.lifecycle.create", ATTEMPTS, ERROR)
    assert json.loads(content(database)) == an_event()
    assert store(inbox, an_event()) == set()


def test_a_failed_event_can_be_tried_again_with_all_its_attempts(inbox, clock):
    store(inbox, an_event(), an_event("uuid-2"))
    for claim in claim_all(inbox):
        inbox.set_aside(claim, ERROR)
    assert inbox.retry("uuid-3") == 0
    assert inbox.retry("uuid-2") == 1
    assert len(break_until_failed(inbox, clock)) == ATTEMPTS - 1
    assert inbox.retry() == 2
    assert {claim.key for claim in claim_all(inbox)} == {"uuid-1", "uuid-2"}
    assert inbox.retry() == 0


def test_a_removed_event_is_not_handled_whether_waiting_or_in_hand(inbox, database):
    store(inbox, an_event(), an_event("uuid-2"))
    claim = inbox.claim()
    for uuid in ("uuid-1", "uuid-2"):
        assert inbox.remove(uuid)
    assert inbox.backlog() == Backlog(0, None, 0, 0, None, 0, None, 0)
    assert inbox.claim() is None
    inbox.extend([claim])
    with pytest.raises(LeaseLost):
        inbox.retry_later(claim, ERROR)
    assert content(database) is None


def test_an_event_can_be_given_up_at_once_and_removed(inbox, database):
    store(inbox, an_event())
    inbox.set_aside(inbox.claim(), ERROR)
    assert inbox.backlog().failed == 1
    assert inbox.remove("uuid-1")
    assert not inbox.remove("uuid-1")
    assert not inbox.remove("uuid-2")
    assert content(database) is None
    assert (inbox.backlog().failed, inbox.backlog().waiting, inbox.claim()) == (0, 0, None)
    assert store(inbox, an_event()) == set()


def test_a_lease_lasts_a_minute_and_as_long_as_it_is_extended(inbox, clock):
    store(inbox, an_event())
    claim = inbox.claim()
    for _ in range(10):
        clock.now += 59
        assert inbox.claim() is None
        inbox.extend([claim])
    # What a killed worker had is due again within 90 seconds of the kill, the poll included.
    clock.now += 73
    assert inbox.claim().attempts == 2
    clock.now += 50
    inbox.extend([claim])
    clock.now += 23
    assert inbox.claim().attempts == 3


def test_the_events_of_a_killed_worker_become_due_one_by_one(inbox, clock):
    """One of them may have killed it."""
    store(inbox, *(an_event(f"uuid-{number}") for number in range(20)))
    inbox.extend(claim_all(inbox))
    at_once = []
    clock.now += LEASE_SECONDS
    while sum(at_once) < 20:
        clock.now += 0.5
        at_once.append(len(claim_all(inbox)))
    assert max(at_once) < 10


def test_extending_a_lease_does_not_reopen_a_handled_event(inbox, clock):
    store(inbox, an_event())
    claim = inbox.claim()
    pause = inbox.retry_later(claim, ERROR)
    inbox.extend([claim])
    clock.now += pause
    assert inbox.claim().key == "uuid-1"


def test_only_events_of_the_named_types_are_claimed(inbox, clock):
    store(inbox, an_event(), an_event("uuid-2", eventType="other"))
    clock.now += 1
    store(inbox, an_event("uuid-3"), an_event("uuid-4", eventType="other"))
    assert inbox.waiting_without(["user.lifecycle.create"]) == {"other": 2}
    claimed = [inbox.claim(["another", "other"]) for _ in range(3)]
    assert [claim and claim.key for claim in claimed] == ["uuid-2", "uuid-4", None]
    assert inbox.claim([]) is None
    assert inbox.waiting_without([]) == {"other": 2, "user.lifecycle.create": 2}


def test_an_event_whose_worker_was_killed_in_the_last_attempt_fails(inbox, clock):
    store(inbox, an_event())
    for attempt in range(1, ATTEMPTS + 1):
        assert inbox.claim().attempts == attempt
        assert tend(inbox) == []
        clock.now += 2 * LEASE_SECONDS
    assert inbox.claim() is None
    killed = "its worker was killed during the last attempt"
    failed = [("uuid-1", "user.lifecycle.create", ATTEMPTS, killed)]
    assert [tuple(row) for row in tend(inbox)] == failed
    assert [tuple(row) for row in inbox.failures()] == failed
    assert inbox.retry() == 1
    assert inbox.claim().attempts_left == ATTEMPTS - 1


def test_a_worker_past_its_lease_cannot_close_the_event(inbox, clock):
    store(inbox, an_event())
    late = inbox.claim()
    clock.now += LEASE_SECONDS - 1
    assert inbox.claim() is None
    clock.now += LEASE_SECONDS
    claim = inbox.claim()
    for close in (
        inbox.done,
        partial(inbox.retry_later, error=ERROR),
        partial(inbox.set_aside, error=ERROR),
    ):
        with pytest.raises(LeaseLost):
            close(late)
    assert inbox.backlog().waiting == 1
    inbox.done(claim)
    with pytest.raises(LeaseLost):
        inbox.retry_later(claim, ERROR)


def test_a_late_worker_can_close_the_event_if_no_other_has_claimed_it(inbox, clock):
    store(inbox, an_event())
    late = inbox.claim()
    clock.now += YEAR
    inbox.done(late)
    assert inbox.claim() is None


def test_an_event_that_keeps_failing_delays_no_other(inbox, clock):
    store(inbox, an_event("poison"))
    clock.now += 1
    store(inbox, *(an_event(f"uuid-{number}") for number in range(20)))
    claimed = []
    while claim := inbox.claim():
        clock.now += 1
        claimed.append(claim.key)
        if claim.key == "poison":
            inbox.retry_later(claim, ERROR)
        else:
            inbox.done(claim)
    # It has its turn again when the others have had theirs.
    assert (claimed[0], claimed[-1], len(set(claimed)), len(claimed)) == (
        "poison",
        "poison",
        21,
        22,
    )


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_a_clock_that_jumps_by_a_year_loses_and_delays_no_event(jump, inbox, clock):
    """One event waits, one is with a worker, one has broken: it jumps, and jumps back."""
    for uuid in ("broken", "claimed", "waiting"):
        store(inbox, an_event(uuid))
        clock.now += 1
    inbox.retry_later(inbox.claim(), ERROR)
    claimed = inbox.claim()
    for number in range(2):
        clock.now += -jump if number else jump
        tend(inbox)
        assert inbox.backlog().oldest >= 0
        store(inbox, an_event(f"new-{number}"))
    inbox.done(claimed)
    handled = set()
    for _ in range(LONGEST_PAUSE_SECONDS // 600):
        for claim in claim_all(inbox):
            handled.add(claim.key)
            inbox.done(claim)
        tend(inbox)
        clock.now += 600
    assert handled == {"broken", "waiting", "new-0", "new-1"}
    assert inbox.backlog().waiting == 0


def test_workers_are_forgotten_after_a_week_or_if_the_clock_was_wrong(inbox, database, clock):
    for step in (WEEK + 1, -3600):
        inbox.show_worker("stopped", 2, 0)
        clock.now += step
        tend(inbox)
        with database.begin() as connection:
            assert connection.scalars(sa.select(workers_table.c.name)).all() == ["worker"]


def test_the_backlog_has_numbers_and_ages(inbox, clock):
    assert inbox.backlog() == Backlog(0, None, 0, 0, None, 0, None, 0)
    store(inbox, an_event())
    tend(inbox)
    clock.now += 30
    store(inbox, an_event("uuid-2"), an_event("uuid-3"))
    inbox.set_aside(inbox.claim(), ERROR)
    inbox.claim()
    tend(inbox, "another")
    clock.now += 5
    assert inbox.backlog() == Backlog(2, 5.0, 0, 1, 5.0, 1, 5.0, 0)
    # The worker has ended, so the event is not in hand.
    clock.now += 100
    assert inbox.backlog() == Backlog(2, 105.0, 0, 0, None, 1, 105.0, 0)
    inbox.retry_later(inbox.claim(), ERROR)
    assert inbox.backlog().retrying == 1


def test_a_backlog_has_no_worker_when_none_was_seen_for_a_minute(inbox, clock):
    assert not inbox.backlog().has_no_worker
    store(inbox, an_event())
    assert inbox.backlog().has_no_worker
    tend(inbox)
    clock.now += 59
    assert not inbox.backlog().has_no_worker
    clock.now += 2
    assert inbox.backlog().has_no_worker


def test_a_worker_whose_threads_all_hang_is_counted_while_it_is_seen(inbox, clock):
    for name, stuck in (("a", 0), ("b", 1), ("c", 2)):
        inbox.show_worker(name, 2, stuck)
    assert inbox.backlog().stuck_workers == 1
    inbox.show_worker("b", 2, 2)
    assert inbox.backlog().stuck_workers == 2
    clock.now += 61
    assert inbox.backlog().stuck_workers == 0


def test_a_worker_whose_clock_was_wrong_is_forgotten(inbox, clock):
    clock.now += YEAR
    tend(inbox, "wrong")
    clock.now -= YEAR
    tend(inbox)
    clock.now += 100
    assert inbox.backlog().worker_seen == 100
    # And what was not seen for long is forgotten.
    clock.now += 2 * WEEK
    tend(inbox, "new")
    clock.now += 5
    assert inbox.backlog().worker_seen == 5


def at_once(database_url, *works):
    """The keys that each of them gives, in a thread with an inbox of its own."""

    def run(work):
        with contextlib.closing(Database(database_url)) as database:
            return [*work(Inbox(database, lambda: NOW))]

    with ThreadPoolExecutor(len(works)) as pool:
        return sorted(chain.from_iterable(pool.map(run, works)))


def test_several_workers_never_claim_the_same_event(inbox, database_url):
    keys = [f"uuid-{number}" for number in range(60)]
    store(inbox, *map(an_event, keys))

    def work(mine):
        while claim := mine.claim():
            yield claim.key
            mine.done(claim)

    assert at_once(database_url, *[work] * 4) == sorted(keys)


def test_simultaneous_deliveries_of_the_same_events_are_stored_once(inbox, database_url):
    deliveries = [[f"{number}-{more}" for more in range(60)] for number in range(5)]

    def deliver(step, mine):
        for keys in deliveries:
            yield from store(mine, *map(an_event, keys[::step]))

    works = partial(deliver, 1), partial(deliver, -1)
    assert at_once(database_url, *works) == sorted(chain.from_iterable(deliveries))


def test_old_rows_are_deleted_in_batches(inbox, database, clock):
    store(inbox, *(an_event(f"uuid-{number}") for number in range(FORGOTTEN_AT_ONCE + 5)))
    with database.begin() as connection:
        connection.execute(sa.update(table).values(due_at=None, handled_at=clock.now))
    store(inbox, an_event("waiting"))
    clock.now += 2 * WEEK
    tend(inbox)
    with database.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 6
    tend(inbox)
    assert [claim.key for claim in claim_all(inbox)] == ["waiting"]


def test_the_workers_statements_use_an_index(inbox, database):
    fill = """
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 30000)
        INSERT INTO okta_events_2
            (key, type, received_at, due_at, handled_at, attempts, attempts_left)
        SELECT n, 'a', n, CASE WHEN n > 10000 THEN n END,
            CASE WHEN n <= 10000 THEN n + 1800000000 END, 0, 12 FROM numbers
    """
    statements = []

    def note(connection, cursor, statement, parameters, context, executemany):
        statements.append((statement, parameters))

    with database.begin() as connection:
        connection.execute(sa.text(fill))
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            # As its autovacuum does within a minute.
            connection.execute(sa.text("ANALYZE"))
        sa.event.listen(connection.engine, "before_cursor_execute", note)
    claim = inbox.claim(["a", "b"])
    inbox.extend([claim])
    inbox.retry_later(claim, ERROR)
    tend(inbox)
    changes = [pair for pair in statements if pair[0].startswith(("UPDATE okta_events", "DELETE"))]
    # A claim, its extension and its end, and what a worker does now and then.
    assert len(changes) == 7
    for statement, parameters in changes:
        with database.begin() as connection:
            explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
            plan = str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
        assert not re.search(r"SCAN okta_events_2\W(?! USING)|Seq Scan on okta_events_2", plan), (
            plan
        )
