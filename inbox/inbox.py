"""The inbox: a table with every event that was answered, until it is handled.

An event waits (`due_at`), was handled (`handled_at`) or has failed (`failed_at`): one of the three
times is set. A worker that claims an event moves its `due_at` to the end of a lease. If the worker
is killed, the lease runs out and the event is due again; who comes back later than that can no
longer close it, since `attempts` has gone on. All writing is one short transaction each, so that
nothing is lost wherever a process is killed.

The same statements serve SQLite and PostgreSQL. Times are seconds since 1970.
"""

import hashlib
import json
import random
import re
import time
from dataclasses import dataclass

import sqlalchemy as sa

from .database import Database, metadata

LEASE_SECONDS = 300
"""So long a worker has an event for itself. It must be longer than any handler takes: a slower one
runs a second time beside itself. And no longer than that: after a `kill -9` the event waits for so
long."""

ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 3600
"""The pause after an attempt doubles from the first to the longest: a short fault is over within
seconds, and one of two hours is outlived."""

REMEMBERED_SECONDS = 7 * 24 * 3600
"""So long a handled event's `uuid` is kept, to know a second delivery. Okta repeats one within
seconds; the rest is for a person who asks whether an event has come."""

FORGOTTEN_AT_ONCE = 1000
"""Old rows are deleted in portions, since a delivery cannot be stored while SQLite deletes."""

# A later form of the tables gets names of its own, and this one stays as it is.
events = sa.Table(
    "okta_events_1",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("event", sa.Text),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double),
    sa.Column("handled_at", sa.Double),
    sa.Column("failed_at", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("attempts_left", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
)
workers = sa.Table(
    "okta_event_workers_1",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seen_at", sa.Double, nullable=False),
)
# Each holds only the rows that it is for: claiming does not slow down with what was handled.
for column in (events.c.due_at, events.c.handled_at, events.c.failed_at):
    is_set = column.is_not(None)
    sa.Index(f"{events.name}_{column.name}", column, sqlite_where=is_set, postgresql_where=is_set)

_PLAIN_UUID = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class GiveUp(Exception):
    """Raised by a handler that does not want the event again: it is set aside as failed."""


class LeaseOver(Exception):
    """The event is no longer this worker's."""


@dataclass(frozen=True)
class Claim:
    """An event that a worker has for `LEASE_SECONDS`; `event` is its JSON."""

    key: str
    type: str
    event: str
    attempts: int
    attempts_left: int
    """Below zero: the last attempt came to no end, since its worker was killed."""
    received_at: float


@dataclass(frozen=True)
class Backlog:
    """Ages in seconds; None where there is nothing."""

    waiting: int
    oldest: float | None
    failed: int
    worker_seen: float | None


def key_of(event: dict) -> str:
    """What tells an event from all others: its `uuid`, else a digest of what it says."""
    uuid = event.get("uuid")
    if isinstance(uuid, str) and _PLAIN_UUID.fullmatch(uuid):
        return uuid
    canonical = json.dumps(event, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


class Inbox:
    """Each method raises SQLAlchemyError or OSError where the database cannot be used."""

    def __init__(self, database: Database, clock=time.time):
        self._begin = database.begin
        self._insert = database.insert
        self._clock = clock

    def store(self, delivered: dict[str, dict]) -> set[str]:
        """Write all of them, by key, to the disk, or none. Gives the keys of those that are new."""
        now = self._clock()
        rows = [
            {
                "key": key,
                "type": event["eventType"],
                "event": json.dumps(event),
                "received_at": now,
                "due_at": now,
                "attempts": 0,
                "attempts_left": ATTEMPTS,
            }
            # In one order: two deliveries of the same events would wait for each other crosswise.
            for key, event in sorted(delivered.items())
        ]
        insert = self._insert(events).on_conflict_do_nothing().returning(events.c.key)
        with self._begin() as connection:
            return set(connection.scalars(insert, rows))

    def claim(self) -> Claim | None:
        """The event that has been due for longest, if any is."""
        now = self._clock()
        due = sa.select(events.c.key).where(events.c.due_at <= now).order_by(events.c.due_at)
        # Events of one killed worker fall due one after the other, since one of them may have
        # killed it, and would do so to the others again.
        lease = LEASE_SECONDS * random.uniform(1, 1.2)  # noqa: S311 - no secret
        claim = (
            sa.update(events)
            # On PostgreSQL other workers pass over a row that is just being claimed; on SQLite,
            # which has no FOR UPDATE, they wait for the whole statement.
            .where(events.c.key == due.limit(1).with_for_update(skip_locked=True).scalar_subquery())
            .values(
                due_at=now + lease,
                attempts=events.c.attempts + 1,
                attempts_left=events.c.attempts_left - 1,
            )
            .returning(
                events.c.key,
                events.c.type,
                events.c.event,
                events.c.attempts,
                events.c.attempts_left,
                events.c.received_at,
            )
        )
        with self._begin() as connection:
            row = connection.execute(claim).one_or_none()
        return Claim(*row) if row else None

    def done(self, claim: Claim) -> None:
        """It was handled, and what it says is nobody's business any more."""
        self._close(claim, handled_at=self._clock(), due_at=None, event=None, error=None)

    def broke(self, claim: Claim, error: str) -> float | None:
        """Its handler raised. Gives the pause until the next attempt, in seconds; None: failed."""
        if claim.attempts_left == 0:
            return self.failed(claim, error)
        earlier = ATTEMPTS - claim.attempts_left - 1
        pause = min(FIRST_PAUSE_SECONDS * 2**earlier, LONGEST_PAUSE_SECONDS)
        self._close(claim, due_at=self._clock() + pause, error=error)
        return pause

    def failed(self, claim: Claim, error: str) -> None:
        """It is set aside, and kept for a person to look at."""
        # To claim an event that had no attempt left was not an attempt.
        attempts = claim.attempts + min(claim.attempts_left, 0)
        self._close(claim, failed_at=self._clock(), due_at=None, error=error, attempts=attempts)

    def _close(self, claim: Claim, **values) -> None:
        is_mine = sa.and_(
            events.c.key == claim.key,
            events.c.attempts == claim.attempts,
            events.c.due_at.is_not(None),
        )
        with self._begin() as connection:
            closed = connection.execute(sa.update(events).where(is_mine).values(**values))
        if closed.rowcount == 0:
            raise LeaseOver

    def retry(self, key: str | None = None) -> int:
        """Give a failed event, or all of them, the attempts of a new one. Gives their number."""
        chosen = events.c.failed_at.is_not(None)
        if key is not None:
            chosen &= events.c.key == key
        values = {"due_at": self._clock(), "failed_at": None, "attempts_left": ATTEMPTS}
        with self._begin() as connection:
            return connection.execute(sa.update(events).where(chosen).values(**values)).rowcount

    def remove(self, key: str) -> bool:
        """Treat an event as handled. Its key stays known, so that Okta cannot bring it back."""
        chosen = (events.c.key == key) & events.c.handled_at.is_(None)
        values = {"handled_at": self._clock(), "due_at": None, "failed_at": None, "event": None}
        with self._begin() as connection:
            removed = connection.execute(sa.update(events).where(chosen).values(**values))
        return removed.rowcount > 0

    def tend(self, worker: str) -> None:
        """What a worker does now and then: it is seen, and it forgets what is old."""
        now = self._clock()
        old = sa.select(events.c.key).where(events.c.handled_at < now - REMEMBERED_SECONDS)
        old = old.limit(FORGOTTEN_AT_ONCE)
        seen = self._insert(workers).values(name=worker, seen_at=now)
        seen = seen.on_conflict_do_update(index_elements=["name"], set_={"seen_at": now})
        # Nothing is ever due later than this, unless a clock was wrong and has been set back.
        latest = now + max(LONGEST_PAUSE_SECONDS, 2 * LEASE_SECONDS)
        with self._begin() as connection:
            connection.execute(seen)
            connection.execute(
                sa.delete(workers).where(
                    (workers.c.seen_at < now - REMEMBERED_SECONDS) | (workers.c.seen_at > latest)
                )
            )
            connection.execute(
                sa.delete(events).where(events.c.key.in_(old.with_for_update(skip_locked=True)))
            )
            connection.execute(sa.update(events).where(events.c.due_at > latest).values(due_at=now))

    def backlog(self) -> Backlog:
        waits, failed = events.c.due_at.is_not(None), events.c.failed_at.is_not(None)
        now, count = self._clock(), sa.func.count()
        with self._begin() as connection:
            waiting, oldest = connection.execute(
                sa.select(count, sa.func.min(events.c.received_at)).where(waits)
            ).one()
            failures = connection.scalar(sa.select(count).where(failed).select_from(events))
            seen = connection.scalar(sa.select(sa.func.max(workers.c.seen_at)))
        ages = [None if at is None else max(now - at, 0.0) for at in (oldest, seen)]
        return Backlog(waiting, ages[0], failures, ages[1])

    def failures(self) -> list[sa.Row]:
        """Key, type, attempts and error of each failed event, the oldest first."""
        columns = (events.c.key, events.c.type, events.c.attempts, events.c.error)
        failed = sa.select(*columns).where(events.c.failed_at.is_not(None))
        with self._begin() as connection:
            return connection.execute(failed.order_by(events.c.failed_at)).all()
