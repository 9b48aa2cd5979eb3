"""The inbox, on SQLite and on PostgreSQL: what becomes of an event between its delivery and the
end of its handler."""

import contextlib
import json
import re
import threading

import pytest
import sqlalchemy as sa

from hooks import inbox as inbox_module
from hooks.event_database import Database
from hooks.inbox import (
    ATTEMPTS,
    FORGOTTEN_AT_ONCE,
    LEASE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    REMEMBERED_SECONDS,
    Inbox,
    LeaseOver,
    key_of,
)
from hooks.inbox import events as table

YEAR = 365 * 24 * 3600


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(database_url):
    database = Database(database_url, busy_seconds=10)
    yield database
    database.close()


@pytest.fixture
def inbox(database, clock):
    return Inbox(database, clock)


def an_event(uuid="uuid-1", **more):
    return {"uuid": uuid, "eventType": "user.lifecycle.create"} | more


def store(inbox, *events):
    return inbox.store({key_of(event): event for event in events})


def row(database, key="uuid-1"):
    with database.begin() as connection:
        return connection.execute(sa.select(table).where(table.c.key == key)).one()


def claim_all(inbox):
    claims = []
    while claim := inbox.claim():
        claims.append(claim)
    return claims


def break_until_failed(inbox, clock, error="KeyError at handlers.py:1"):
    """Gives the pauses."""
    pauses = []
    while claim := inbox.claim():
        pause = inbox.broke(claim, error)
        if pause is None:
            break
        pauses.append(pause)
        clock.now += pause
    return pauses


def test_an_event_is_claimed_once_and_says_what_okta_said(inbox):
    event = an_event(target=[{"alternateId": "zo\xeb\ud83d\x00@example.com"}])
    assert store(inbox, event) == {"uuid-1"}
    claim = inbox.claim()
    assert (claim.key, claim.type, claim.attempts) == ("uuid-1", "user.lifecycle.create", 1)
    assert json.loads(claim.event) == event
    assert inbox.claim() is None


def test_what_was_handled_loses_its_content_and_is_known_for_a_week(inbox, database, clock):
    store(inbox, an_event())
    inbox.done(inbox.claim())
    assert row(database).event is None
    assert store(inbox, an_event()) == set()
    clock.now += REMEMBERED_SECONDS - 1
    inbox.tend("worker")
    assert store(inbox, an_event()) == set()
    assert inbox.claim() is None
    clock.now += 2
    inbox.tend("worker")
    assert store(inbox, an_event()) == {"uuid-1"}


def test_a_second_delivery_changes_nothing_while_the_first_is_being_handled(inbox):
    store(inbox, an_event())
    claim = inbox.claim()
    assert store(inbox, an_event(), an_event("uuid-2")) == {"uuid-2"}
    assert inbox.claim().key == "uuid-2"
    inbox.done(claim)
    assert store(inbox, an_event()) == set()
    assert inbox.claim() is None


def test_an_event_without_a_uuid_is_known_by_what_it_says(inbox):
    first, same = {"eventType": "a", "n": 1}, {"n": 1, "eventType": "a"}
    assert key_of(first) == key_of(same)
    others = [{"eventType": "a", "n": 2}, {"eventType": "a", "uuid": None}]
    others += [{"eventType": "a", "uuid": uuid} for uuid in ("", 5, "a b", "a\x00", "x" * 101, [])]
    keys = {key_of(event) for event in (first, *others)}
    assert len(keys) == 1 + len(others)
    assert store(inbox, first, *others) == keys
    assert store(inbox, same, *others) == set()
    assert len(claim_all(inbox)) == len(keys)


def test_a_delivery_is_stored_whole_or_not_at_all(inbox):
    not_text = {"uuid": "uuid-2", "eventType": None}
    with pytest.raises(sa.exc.IntegrityError) as raised:
        store(inbox, an_event(), not_text, an_event("uuid-3", target="ann@example.com"))
    assert "ann@example.com" not in str(raised.value)
    assert inbox.claim() is None
    assert len(store(inbox, *(an_event(f"uuid-{n}") for n in range(3000)))) == 3000


def test_the_pause_doubles_until_the_event_has_failed_and_is_kept(inbox, database, clock):
    store(inbox, an_event())
    pauses = break_until_failed(inbox, clock)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    clock.now += YEAR
    inbox.tend("worker")
    assert inbox.claim() is None
    [failure] = inbox.failures()
    assert tuple(failure) == (
        "uuid-1",
        "user.lifecycle.create",
        ATTEMPTS,
        "KeyError at handlers.py:1",
    )
    assert json.loads(row(database).event) == an_event()
    assert store(inbox, an_event()) == set()


def test_a_failed_event_can_be_tried_again_with_all_its_attempts(inbox, clock):
    store(inbox, an_event(), an_event("uuid-2"))
    while inbox.backlog().failed < 2:
        break_until_failed(inbox, clock)
    assert inbox.retry("uuid-3") == 0
    assert inbox.retry("uuid-2") == 1
    assert len(break_until_failed(inbox, clock)) == ATTEMPTS - 1
    assert inbox.retry() == 2
    assert [claim.key for claim in claim_all(inbox)] == ["uuid-1", "uuid-2"]
    assert inbox.retry() == 0


def test_an_event_can_be_given_up_at_once_and_removed(inbox, database):
    store(inbox, an_event())
    inbox.failed(inbox.claim(), "GiveUp at handlers.py:1")
    assert inbox.backlog().failed == 1
    assert inbox.remove("uuid-1")
    assert not inbox.remove("uuid-1")
    assert not inbox.remove("uuid-2")
    assert row(database).event is None
    assert (inbox.backlog().failed, inbox.backlog().waiting, inbox.claim()) == (0, 0, None)
    assert store(inbox, an_event()) == set()


def test_an_event_of_a_killed_worker_is_due_again_and_fails_in_the_end(inbox, clock):
    store(inbox, an_event())
    for attempt in range(1, ATTEMPTS + 1):
        claim = inbox.claim()
        assert (claim.attempts, claim.attempts_left) == (attempt, ATTEMPTS - attempt)
        clock.now += LEASE_SECONDS - 1
        assert inbox.claim() is None
        clock.now += LEASE_SECONDS
    claim = inbox.claim()
    assert claim.attempts_left < 0
    inbox.failed(claim, "killed")
    assert inbox.failures()[0].attempts == ATTEMPTS


@pytest.mark.parametrize(
    "close",
    [Inbox.done, lambda inbox, claim: inbox.broke(claim, "E"), lambda i, c: i.failed(c, "E")],
)
def test_a_worker_past_its_lease_cannot_close_the_event(close, inbox, clock):
    store(inbox, an_event())
    late = inbox.claim()
    clock.now += 2 * LEASE_SECONDS
    claim = inbox.claim()
    with pytest.raises(LeaseOver):
        close(inbox, late)
    assert inbox.backlog().waiting == 1
    inbox.done(claim)
    with pytest.raises(LeaseOver):
        close(inbox, late)


def test_a_late_worker_that_nobody_has_followed_can_close_the_event(inbox, clock):
    store(inbox, an_event())
    late = inbox.claim()
    clock.now += YEAR
    inbox.done(late)
    assert inbox.claim() is None


def test_one_that_keeps_failing_holds_up_no_other(inbox, clock):
    store(inbox, an_event("poison"))
    for number in range(100):
        clock.now += 1
        store(inbox, an_event(f"uuid-{number}"))
    handled = []
    while claim := inbox.claim():
        if claim.key == "poison":
            inbox.broke(claim, "E")
        else:
            inbox.done(claim)
            handled.append(claim.key)
    assert handled == [f"uuid-{number}" for number in range(100)]
    assert inbox.backlog().waiting == 1


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_a_clock_that_jumps_by_a_year_loses_and_holds_up_nothing(jump, inbox, clock):
    """One event waits, one is with a worker, one has broken: it jumps, and jumps back."""
    for uuid in ("broken", "claimed", "waiting"):
        store(inbox, an_event(uuid))
        clock.now += 1
    inbox.broke(inbox.claim(), "E")
    claimed = inbox.claim()
    for step in (jump, -jump):
        clock.now += step
        inbox.tend("worker")
        store(inbox, an_event(f"new {step}".replace(" ", "")))
        assert inbox.backlog().oldest >= 0
    inbox.done(claimed)
    handled = {"claimed"}
    end = clock.now + LONGEST_PAUSE_SECONDS
    while clock.now < end:
        for claim in claim_all(inbox):
            handled.add(claim.key)
            inbox.done(claim)
        inbox.tend("worker")
        clock.now += 60
    assert handled == {"broken", "claimed", "waiting", f"new{jump}", f"new{-jump}"}
    assert inbox.backlog().waiting == 0


def test_the_backlog_tells_numbers_and_ages(inbox, clock):
    assert inbox.backlog() == inbox_module.Backlog(0, None, 0, None)
    store(inbox, an_event())
    inbox.tend("worker")
    clock.now += 30
    store(inbox, an_event("uuid-2"), an_event("uuid-3"))
    inbox.failed(inbox.claim(), "E")
    store(inbox, an_event("uuid-1"))
    inbox.tend("another")
    clock.now += 5
    assert inbox.backlog() == inbox_module.Backlog(2, 5.0, 1, 5.0)


def test_several_workers_never_have_the_same_event(inbox, database_url, clock):
    keys = {f"uuid-{number}" for number in range(200)}
    store(inbox, *(an_event(key) for key in keys))
    claims = []

    def work():
        with contextlib.closing(Database(database_url, busy_seconds=10)) as own:
            mine = Inbox(own, clock)
            while claim := mine.claim():
                claims.append(claim.key)
                mine.done(claim)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(claims) == sorted(keys)


def test_deliveries_of_the_same_events_at_once_are_stored_once(inbox, database_url):
    events = [an_event(f"uuid-{number}") for number in range(50)]
    new = []

    def deliver(events):
        with contextlib.closing(Database(database_url, busy_seconds=10)) as own:
            for _ in range(5):
                new.extend(store(Inbox(own), *events))

    threads = [threading.Thread(target=deliver, args=(events[::step],)) for step in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(new) == sorted(key_of(event) for event in events)


def test_old_rows_are_forgotten_in_portions(inbox, database, clock):
    store(inbox, *(an_event(f"uuid-{number}") for number in range(FORGOTTEN_AT_ONCE + 5)))
    with database.begin() as connection:
        connection.execute(sa.update(table).values(due_at=None, handled_at=clock.now))
    store(inbox, an_event("waiting"))
    clock.now += 2 * REMEMBERED_SECONDS
    inbox.tend("worker")
    with database.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 6
    inbox.tend("worker")
    assert [claim.key for claim in claim_all(inbox)] == ["waiting"]


def test_what_workers_do_finds_its_rows_by_an_index_however_many_there_are(inbox, database, clock):
    fill = """
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 30000)
        INSERT INTO okta_events_1 (key, type, event, received_at, due_at, handled_at, attempts,
            attempts_left)
        SELECT 'uuid-' || n, 'a', '{}', n, CASE WHEN n > 10000 THEN n END,
            CASE WHEN n <= 10000 THEN 1800000000 END, 0, 12 FROM numbers
    """
    statements = []

    def note(connection, cursor, statement, parameters, context, executemany):
        statements.append((statement, parameters))

    with database.begin() as connection:
        connection.execute(sa.text(fill))
        if connection.dialect.name == "postgresql":
            # As its autovacuum does within a minute.
            connection.execute(sa.text("ANALYZE"))
        sa.event.listen(connection.engine, "before_cursor_execute", note)
    claim = inbox.claim()
    inbox.broke(claim, "E")
    inbox.tend("worker")
    changes = [pair for pair in statements if pair[0].startswith(("UPDATE okta_events", "DELETE"))]
    # A claim and its end, and what a worker does now and then.
    assert len(changes) == 5
    for statement, parameters in changes:
        with database.begin() as connection:
            is_sqlite = connection.dialect.name == "sqlite"
            explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
            rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
        plan = "\n".join(str(row) for row in rows)
        table_scan = r"SCAN okta_events_1( |$)(?!USING)|Seq Scan on okta_events_1"
        if "okta_event_workers" not in statement:
            assert not re.search(table_scan, plan), plan
