"""The inbox: a table with every event that was answered, until it is handled.

An event waits (`due_at`), was handled (`handled_at`) or has failed (`failed_at`): one of the three
times is set. A worker that claims an event moves its `due_at` to the end of a lease, and extends
the lease while the handler runs. If the worker is killed, the lease runs out and the event is due
again. A worker that was cut off for longer than that can no longer close the event, since its
number of attempts has gone on. Each change is one short transaction, so that nothing is lost
wherever a process is killed.

The same statements serve SQLite and PostgreSQL. Times are seconds since 1970.
"""

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .database import Database, metadata

LEASE_SECONDS = 60
"""How long an event stays with a worker that does not extend its lease, such as a killed one."""

ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 3600
"""The pause after an attempt doubles from the first to the longest: a short fault is over within
seconds, and one of two hours is outlived."""

SEEN_LATELY_SECONDS = 60
"""A worker that was not seen for this long has stopped, or cannot reach the database."""

REMEMBERED_SECONDS = 7 * 24 * 3600
"""How long the `uuid` of a handled event is kept, to recognize a second delivery. Okta repeats one
within seconds; the rest is for a person who asks whether an event has come."""

FORGOTTEN_AT_ONCE = 1000
"""Old rows are deleted in portions, since a delivery cannot be stored while SQLite deletes."""

# A later form of the tables gets names of its own, and this one stays as it is.
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
# Each holds only the rows that it is for: claiming does not slow down with what was handled.
for column in (events.c.due_at, events.c.handled_at, events.c.failed_at):
    is_set = column.is_not(None)
    sa.Index(
        f"{events.name}_{column.name}",
        column,
        # Events of another service are passed over without a look at their rows.
        events.c.type,
        events.c.attempts_left,
        sqlite_where=is_set,
        postgresql_where=is_set,
    )

FAILURE = (events.c.key, events.c.type, events.c.attempts, events.c.error)

_PLAIN_UUID = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class GiveUp(Exception):
    """Raised by a handler that does not want the event again: it is set aside as failed."""


class LeaseLost(Exception):
    """The event is no longer this worker's."""


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
    """Ages in seconds; None where there is nothing."""

    waiting: int
    """All that have not come to an end, those in hand among them."""
    oldest: float | None
    in_hand: int
    longest_in_hand: float | None
    failed: int
    worker_seen: float | None
    stuck_workers: int
    """Those seen lately whose threads have all hung for minutes."""

    @property
    def has_no_worker(self) -> bool:
        """Whether events wait, and no worker that could handle them was seen lately."""
        seen_lately = self.worker_seen is not None and self.worker_seen < SEEN_LATELY_SECONDS
        return self.waiting > 0 and not seen_lately


def key_of(event: dict[str, Any]) -> str:
    """What tells an event from all others: its `uuid`, else a digest of what it says."""
    uuid = event.get("uuid")
    if isinstance(uuid, str) and _PLAIN_UUID.fullmatch(uuid):
        return uuid
    canonical = json.dumps(event, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


class Inbox:
    """Each method raises SQLAlchemyError or OSError where the database cannot be used."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        *,
        lease_seconds: float = LEASE_SECONDS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ):
        self.lease_seconds = lease_seconds
        self._begin = database.begin
        self._insert = database.insert
        self._clock = clock
        self._first_pause_seconds = first_pause_seconds

    def store(self, delivered: dict[str, dict[str, Any]]) -> set[str]:
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
            # In one order: two deliveries of the same events would deadlock.
            for key, event in sorted(delivered.items())
        ]
        insert = self._insert(events).on_conflict_do_nothing().returning(events.c.key)
        with self._begin() as connection:
            return set(connection.scalars(insert, rows))

    def claim(self, types: Collection[str] | None = None) -> Claim | None:
        """The event that has been due for longest, if there is one; only of `types`, if given."""
        now = self._clock()
        due = sa.select(events.c.key).order_by(events.c.due_at).limit(1)
        due = due.where(events.c.due_at <= now, events.c.attempts_left > 0)
        if types is not None:
            due = due.where(events.c.type.in_(types))
        claim = (
            sa.update(events)
            # On PostgreSQL other workers pass over a row that is just being claimed; on SQLite,
            # which has no FOR UPDATE, they wait for the whole statement.
            .where(events.c.key == due.with_for_update(skip_locked=True).scalar_subquery())
            .values(
                due_at=self._end_of_lease(),
                taken_at=now,
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

    def extend(self, claims: Iterable[Claim]) -> list[Claim]:
        """Begin their leases again. Gives those that are no longer this worker's."""
        lost = []
        with self._begin() as connection:
            for claim in claims:
                extend = sa.update(events).where(_is_held(claim))
                extend = extend.values(due_at=self._end_of_lease())
                if connection.execute(extend).rowcount == 0:
                    lost.append(claim)
        return lost

    def give_back(self, claim: Claim) -> None:
        """Undo a claim whose handler was not called."""
        attempts, left = events.c.attempts - 1, events.c.attempts_left + 1
        self._close(claim, due_at=self._clock(), attempts=attempts, attempts_left=left)

    def done(self, claim: Claim) -> None:
        """It was handled. Its content is personal data, and is deleted."""
        self._close(claim, handled_at=self._clock(), due_at=None, event=None, error=None)

    def broke(self, claim: Claim, error: str) -> float | None:
        """Its handler raised. Gives the seconds until the next attempt; None if it was the last."""
        if claim.attempts_left == 0:
            self.failed(claim, error)
            return None
        earlier = ATTEMPTS - claim.attempts_left - 1
        pause = min(self._first_pause_seconds * 2**earlier, LONGEST_PAUSE_SECONDS)
        self._close(claim, due_at=self._clock() + pause, error=error)
        return pause

    def failed(self, claim: Claim, error: str) -> None:
        """It is set aside, and kept for a person to look at."""
        self._close(claim, failed_at=self._clock(), due_at=None, error=error)

    def fail_killed(self) -> list[sa.Row]:
        """Set aside what was killed in its last attempt. Gives the same as `failures`, of these."""
        now = self._clock()
        is_over = (events.c.due_at <= now) & (events.c.attempts_left == 0)
        error = "its worker was killed in the last attempt"
        fail = sa.update(events).where(is_over)
        fail = fail.values(failed_at=now, due_at=None, taken_at=None, error=error)
        with self._begin() as connection:
            return [*connection.execute(fail.returning(*FAILURE))]

    def retry(self, key: str | None = None) -> int:
        """Give a failed event, or all of them, the attempts of a new one. Gives their number."""
        retry = sa.update(events).where(events.c.failed_at.is_not(None))
        if key is not None:
            retry = retry.where(events.c.key == key)
        retry = retry.values(due_at=self._clock(), failed_at=None, attempts_left=ATTEMPTS)
        with self._begin() as connection:
            return connection.execute(retry).rowcount

    def remove(self, key: str) -> bool:
        """Treat an event as handled. Its key stays known, so that Okta cannot bring it back."""
        chosen = (events.c.key == key) & events.c.handled_at.is_(None)
        remove = sa.update(events).where(chosen)
        remove = remove.values(
            handled_at=self._clock(), due_at=None, taken_at=None, failed_at=None, event=None
        )
        with self._begin() as connection:
            return connection.execute(remove).rowcount > 0

    def show_worker(self, name: str, threads: int, stuck_threads: int) -> None:
        """Note that a worker runs, and forget those that were not seen for long."""
        now = self._clock()
        seen = {"seen_at": now, "threads": threads, "stuck_threads": stuck_threads}
        show = self._insert(workers).values(name=name, **seen)
        is_old = workers.c.seen_at < now - REMEMBERED_SECONDS
        # A wrong clock, since set back, has noted it.
        is_wrong = workers.c.seen_at > now + SEEN_LATELY_SECONDS
        with self._begin() as connection:
            connection.execute(show.on_conflict_do_update(index_elements=["name"], set_=seen))
            connection.execute(sa.delete(workers).where(is_old | is_wrong))

    def forget_old(self) -> None:
        """Delete the keys of events that were handled long ago."""
        is_old = events.c.handled_at < self._clock() - REMEMBERED_SECONDS
        old = sa.select(events.c.key).where(is_old).limit(FORGOTTEN_AT_ONCE)
        with self._begin() as connection:
            connection.execute(
                sa.delete(events).where(events.c.key.in_(old.with_for_update(skip_locked=True)))
            )

    def mend_due_times(self) -> None:
        """Make due what a wrong clock, since set back, has put off for longer than any pause."""
        now = self._clock()
        latest = now + max(LONGEST_PAUSE_SECONDS, 2 * self.lease_seconds)
        with self._begin() as connection:
            connection.execute(sa.update(events).where(events.c.due_at > latest).values(due_at=now))

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
            waiting, received = connection.execute(
                sa.select(count, first_received).where(waits)
            ).one()
            taken, taken_at = connection.execute(sa.select(count, first_taken).where(in_hand)).one()
            failures = connection.scalar(sa.select(count).where(failed).select_from(events))
            seen = connection.scalar(sa.select(sa.func.max(workers.c.seen_at)))
            stuck = connection.scalar(sa.select(count).where(is_stuck).select_from(workers))
        oldest, longest, seen_ago = (
            None if at is None else max(now - at, 0.0) for at in (received, taken_at, seen)
        )
        return Backlog(waiting, oldest, taken, longest, failures or 0, seen_ago, stuck or 0)

    def waiting_without(self, types: Collection[str]) -> dict[str, int]:
        """How many events wait of each type that is not among `types`."""
        others = events.c.due_at.is_not(None) & events.c.type.not_in(types)
        columns = (events.c.type, sa.func.count())
        count = sa.select(*columns).where(others).group_by(events.c.type).order_by(events.c.type)
        with self._begin() as connection:
            return dict(connection.execute(count).all())

    def failures(self) -> list[sa.Row]:
        """Key, type, attempts and error of each failed event, the oldest first."""
        failed = sa.select(*FAILURE).where(events.c.failed_at.is_not(None))
        with self._begin() as connection:
            return [*connection.execute(failed.order_by(events.c.failed_at))]

    def _end_of_lease(self) -> float:
        # Events of one killed worker fall due one after the other, since one of them may have
        # killed it, and would do so to the others again.
        lease = self.lease_seconds * random.uniform(1, 1.2)  # noqa: S311 - no secret
        return self._clock() + lease

    def _close(self, claim: Claim, **values: Any) -> None:
        close = sa.update(events).where(_is_held(claim)).values(taken_at=None, **values)
        with self._begin() as connection:
            closed = connection.execute(close)
        if closed.rowcount == 0:
            raise LeaseLost


def _is_held(claim: Claim) -> sa.ColumnElement[bool]:
    """Whether the event is still in the hands of the worker with this claim."""
    return (
        (events.c.key == claim.key)
        & (events.c.attempts == claim.attempts)
        & events.c.taken_at.is_not(None)
    )
