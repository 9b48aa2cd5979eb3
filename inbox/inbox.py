"""The inbox: a table that keeps each accepted event until it is handled.

An event waits (`due_at`), was handled (`handled_at`) or has failed (`failed_at`): exactly one of
these times is set. A worker that claims an event moves its `due_at` to the end of a lease, and
extends the lease while the handler runs. If the worker is killed, the lease runs out and the event
is due again. A worker that was cut off for longer than the lease can no longer close the event,
since its number of attempts has changed. Each change is one short transaction, so nothing is lost
if a process is killed at any point.

The same statements serve SQLite and PostgreSQL. Times are seconds since 1970.
"""

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from .database import Database, metadata

LEASE_SECONDS = 60
"""How long a worker keeps an event without extending its lease, for example if it was killed."""

ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 3600
"""The pause doubles after each attempt, from the first to the longest. So a short fault delays an
event by only a few seconds, and a fault of two hours does not make it fail."""

SEEN_LATELY_SECONDS = 60
"""A worker not seen for this long has stopped, or cannot reach the database."""

REMEMBERED_SECONDS = 7 * 24 * 3600
"""How long to keep the `uuid` of a handled event, to recognize a second delivery. Okta repeats one
within seconds. The rest of the time is for people who want to know whether an event has arrived."""

FORGOTTEN_AT_ONCE = 1000
"""Old rows are deleted in batches, since no delivery can be stored while SQLite deletes."""

# A later version of the tables gets new names. This one does not change.
events = sa.Table(
    "okta_events_2",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("event", sa.Text),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double),
    sa.Column("taken_at", sa.Double),
    sa.Column("handled_at", sa.Double),
    sa.Column("failed_at", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("attempts_left", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
)
workers = sa.Table(
    "okta_event_workers_2",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
    sa.Column("stuck_threads", sa.Integer, nullable=False),
)
# Each index holds only the rows it is for, so handled events do not slow down claiming.
for column in (events.c.due_at, events.c.handled_at, events.c.failed_at):
    is_set = column.is_not(None)
    sa.Index(
        f"{events.name}_{column.name}",
        column,
        # With these two, another service's events are skipped without reading their rows.
        events.c.type,
        events.c.attempts_left,
        sqlite_where=is_set,
        postgresql_where=is_set,
    )

FAILURE = (events.c.key, events.c.type, events.c.attempts, events.c.error)

_PLAIN_UUID = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class GiveUp(Exception):
    """Raise this in a handler to set the event aside as failed, without another attempt."""


class LeaseLost(Exception):
    """The event no longer belongs to this worker."""


@dataclass(frozen=True)
class Claim:
    """An event that a worker has taken; `event` is its JSON."""

    key: str
    type: str
    event: str
    attempts: int
    attempts_left: int
    received_at: float


@dataclass(frozen=True)
class Backlog:
    """Ages in seconds; None if there are no such events."""

    waiting: int
    """All events that are neither handled nor failed, including those in hand."""
    oldest: float | None
    retrying: int
    """Those of them that have failed at least once."""
    in_hand: int
    longest_in_hand: float | None
    failed: int
    worker_seen: float | None
    stuck_workers: int
    """Workers seen lately whose threads have all hung for minutes."""

    @property
    def has_no_worker(self) -> bool:
        """Whether events are waiting, and no worker was seen lately."""
        seen_lately = self.worker_seen is not None and self.worker_seen < SEEN_LATELY_SECONDS
        return self.waiting > 0 and not seen_lately


def key_of(event: dict[str, Any]) -> str:
    """The unique key of an event: its `uuid`, or a digest of its content."""
    uuid = event.get("uuid")
    if isinstance(uuid, str) and _PLAIN_UUID.fullmatch(uuid):
        return uuid
    canonical = json.dumps(event, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


class Inbox:
    """The table's operations. Each raises SQLAlchemyError or OSError if the database fails."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        *,
        lease_seconds: float = LEASE_SECONDS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ):
        self._lease_seconds = lease_seconds
        self._begin = database.begin
        self._insert = database.insert
        self._clock = clock
        self._first_pause_seconds = first_pause_seconds

    def store(self, delivered: dict[str, dict[str, Any]]) -> set[str]:
        """Write all events, given by key, to disk, or none. Returns the keys of the new ones."""
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
            # Sorted, since two deliveries of the same events could otherwise deadlock.
            for key, event in sorted(delivered.items())
        ]
        insert = self._insert(events).on_conflict_do_nothing().returning(events.c.key)
        with self._begin() as connection:
            return set(connection.scalars(insert, rows))

    def claim(self, types: Collection[str] | None = None) -> Claim | None:
        """Claim the event that has been due the longest, if any; only of `types`, if given."""
        now = self._clock()
        due = sa.select(events.c.key).order_by(events.c.due_at).limit(1)
        due = due.where(events.c.due_at <= now, events.c.attempts_left > 0)
        if types is not None:
            due = due.where(events.c.type.in_(types))
        claim = (
            sa.update(events)
            # On PostgreSQL, other workers skip a row that is being claimed. On SQLite, which has no
            # FOR UPDATE, they wait for the whole statement.
            .where(events.c.key == due.with_for_update(skip_locked=True).scalar_subquery())
            .values(
                due_at=self._end_of_lease(),
                taken_at=now,
                attempts=events.c.attempts + 1,
                attempts_left=events.c.attempts_left - 1,
            )
            .returning(*(events.c[field.name] for field in fields(Claim)))
        )
        with self._begin() as connection:
            row = connection.execute(claim).one_or_none()
        return Claim(*row) if row else None

    def extend(self, claims: Iterable[Claim]) -> None:
        """Extend the leases of the events that still belong to this worker."""
        with self._begin() as connection:
            for claim in claims:
                extend = sa.update(events).where(_is_held(claim))
                connection.execute(extend.values(due_at=self._end_of_lease()))

    def done(self, claim: Claim) -> None:
        """Mark the event as handled, and delete its content, which is personal data."""
        self._close(claim, handled_at=self._clock(), due_at=None, event=None, error=None)

    def retry_later(self, claim: Claim, error: str) -> float | None:
        """Record a failed attempt. Returns the seconds until the next; None if it was the last.

        After the last attempt, the event is set aside.
        """
        if claim.attempts_left == 0:
            self.set_aside(claim, error)
            return None
        earlier = ATTEMPTS - claim.attempts_left - 1
        pause = min(self._first_pause_seconds * 2**earlier, LONGEST_PAUSE_SECONDS)
        self._close(claim, due_at=self._clock() + pause, error=error)
        return pause

    def set_aside(self, claim: Claim, error: str) -> None:
        """Keep the event as failed, for a person to look at."""
        self._close(claim, failed_at=self._clock(), due_at=None, error=error)

    def set_aside_killed(self) -> list[sa.Row]:
        """Set aside events whose worker was killed during the last attempt.

        Returns them as `failures` does.
        """
        now = self._clock()
        is_over = (events.c.due_at <= now) & (events.c.attempts_left == 0)
        error = "its worker was killed during the last attempt"
        fail = sa.update(events).where(is_over)
        fail = fail.values(failed_at=now, due_at=None, taken_at=None, error=error)
        with self._begin() as connection:
            return [*connection.execute(fail.returning(*FAILURE))]

    def retry(self, key: str | None = None) -> int:
        """Give a failed event, or all of them, the attempts of a new one. Returns how many."""
        retry = sa.update(events).where(events.c.failed_at.is_not(None))
        if key is not None:
            retry = retry.where(events.c.key == key)
        retry = retry.values(due_at=self._clock(), failed_at=None, attempts_left=ATTEMPTS)
        return self._change(retry)

    def remove(self, key: str) -> bool:
        """Treat an event as handled. Keeps its key, in case Okta delivers it again."""
        chosen = (events.c.key == key) & events.c.handled_at.is_(None)
        remove = sa.update(events).where(chosen)
        remove = remove.values(
            handled_at=self._clock(), due_at=None, taken_at=None, failed_at=None, event=None
        )
        return self._change(remove) > 0

    def show_worker(self, name: str, threads: int, stuck_threads: int) -> None:
        """Record that a worker is running."""
        seen = {"seen_at": self._clock(), "threads": threads, "stuck_threads": stuck_threads}
        show = self._insert(workers).values(name=name, **seen)
        self._change(show.on_conflict_do_update(index_elements=["name"], set_=seen))

    def clean_up(self) -> None:
        """Delete what is old, and correct what was written while the clock was wrong."""
        now = self._clock()
        oldest = now - REMEMBERED_SECONDS
        old = sa.select(events.c.key).where(events.c.handled_at < oldest).limit(FORGOTTEN_AT_ONCE)
        old = old.with_for_update(skip_locked=True)
        self._change(sa.delete(events).where(events.c.key.in_(old)))
        is_seen = workers.c.seen_at.between(oldest, now + SEEN_LATELY_SECONDS)
        self._change(sa.delete(workers).where(~is_seen))
        is_put_off = events.c.due_at > now + LONGEST_PAUSE_SECONDS
        self._change(sa.update(events).where(is_put_off).values(due_at=now))

    def backlog(self) -> Backlog:
        now, count = self._clock(), sa.func.count()
        waits, failed = events.c.due_at.is_not(None), events.c.failed_at.is_not(None)
        in_hand = events.c.taken_at.is_not(None) & (events.c.due_at > now)
        seen_lately = workers.c.seen_at > now - SEEN_LATELY_SECONDS
        is_stuck = seen_lately & (workers.c.stuck_threads >= workers.c.threads)
        first_received, first_taken = (
            sa.func.min(column) for column in (events.c.received_at, events.c.taken_at)
        )
        with self._begin() as connection:
            # Only an event with a failed attempt has an error, and count() skips the others.
            waiting, received, retrying = connection.execute(
                sa.select(count, first_received, sa.func.count(events.c.error)).where(waits)
            ).one()
            taken, taken_at = connection.execute(sa.select(count, first_taken).where(in_hand)).one()
            failures = connection.scalar(sa.select(count).where(failed).select_from(events))
            seen = connection.scalar(sa.select(sa.func.max(workers.c.seen_at)))
            stuck = connection.scalar(sa.select(count).where(is_stuck).select_from(workers))
        oldest, longest, seen_ago = (
            None if at is None else max(now - at, 0.0) for at in (received, taken_at, seen)
        )
        return Backlog(
            waiting=waiting,
            oldest=oldest,
            retrying=retrying,
            in_hand=taken,
            longest_in_hand=longest,
            failed=failures or 0,
            worker_seen=seen_ago,
            stuck_workers=stuck or 0,
        )

    def waiting_without(self, types: Collection[str]) -> dict[str, int]:
        """The number of waiting events for each type that is not in `types`."""
        others = events.c.due_at.is_not(None) & events.c.type.not_in(types)
        columns = (events.c.type, sa.func.count())
        count = sa.select(*columns).where(others).group_by(events.c.type).order_by(events.c.type)
        with self._begin() as connection:
            return dict(connection.execute(count).all())

    def failures(self) -> list[sa.Row]:
        """Key, type, attempts and error of each failed event, oldest first."""
        failed = sa.select(*FAILURE).where(events.c.failed_at.is_not(None))
        with self._begin() as connection:
            return [*connection.execute(failed.order_by(events.c.failed_at))]

    def _end_of_lease(self) -> float:
        # Of random length, so that the events of a killed worker become due one by one. If one of
        # them killed it, that event does not take the others down with it again.
        lease = self._lease_seconds * random.uniform(1, 1.2)  # noqa: S311 - no secret
        return self._clock() + lease

    def _close(self, claim: Claim, **values: Any) -> None:
        close = sa.update(events).where(_is_held(claim)).values(taken_at=None, **values)
        if self._change(close) == 0:
            raise LeaseLost

    def _change(self, statement: sa.UpdateBase) -> int:
        """Execute a statement in a transaction of its own. Returns the number of rows."""
        with self._begin() as connection:
            return connection.execute(statement).rowcount


def _is_held(claim: Claim) -> sa.ColumnElement[bool]:
    """Whether the worker with this claim still holds the event."""
    return (
        (events.c.key == claim.key)
        & (events.c.attempts == claim.attempts)
        & events.c.taken_at.is_not(None)
    )
