"""The database that the inbox lies in: an SQLite file, or PostgreSQL. What is special to one of
them stands here."""

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

WAL_IS_SAFE_FROM = (3, 51, 3)
"""Earlier releases of SQLite can damage a file with a write-ahead log that two processes write to:
https://sqlite.org/wal.html#walresetbug"""

metadata = sa.MetaData()


def database_url(text: str) -> sa.URL:
    """The setting as SQLAlchemy takes it. Printed, it has *** for the password."""
    url = sa.make_url(text)
    # Alone, the name stands for another driver.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


class Database:
    """One connection, which threads use by turns and which no fork may inherit.

    More of them would meet "database is locked" on SQLite, and gain nothing on PostgreSQL.
    """

    def __init__(self, url: sa.URL, *, busy_seconds: float):
        """`busy_seconds`: how long to wait for another process that writes to the SQLite file."""
        self._is_ready = False
        is_sqlite = url.get_backend_name() == "sqlite"
        self.file = Path(url.database) if is_sqlite else None
        self.insert = sqlite.insert if is_sqlite else postgresql.insert
        # A PostgreSQL that went away without a word is noticed within 15 seconds.
        postgresql_args = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
        postgresql_args |= {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}
        self._engine = sa.create_engine(
            url,
            connect_args={"timeout": busy_seconds} if is_sqlite else postgresql_args,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        if is_sqlite:
            sa.event.listen(self._engine, "connect", _set_up_sqlite)

    def exists(self) -> bool:
        """False before the first event. A command that only reads must not make and own it."""
        return self.file is None or self.file.exists()

    @contextmanager
    def begin(self):
        """A transaction, in a database that has the tables."""
        if not self._is_ready:
            self._make_tables()
            self._is_ready = True
        with self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _make_tables(self) -> None:
        if self.file:
            # Readable by nobody else from the first byte on: it holds personal data.
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600))
        with self._engine.begin() as connection:
            # Two processes that start together would both find no table, and one would fail.
            connection.execute(
                sa.text("BEGIN IMMEDIATE" if self.file else "SELECT pg_advisory_xact_lock(7101985)")
            )
            metadata.create_all(connection)


def reason_of(error: Exception) -> str:
    """What a database says of itself, without the values that a statement had."""
    cause = getattr(error, "orig", None) or error
    words = [type(cause).__name__]
    if isinstance(error, sa.exc.OperationalError | OSError):
        words += str(cause).splitlines()[:1]
    return ": ".join(words)


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    mode = "WAL" if sqlite3.sqlite_version_info >= WAL_IS_SAFE_FROM else "DELETE"
    connection.execute(f"PRAGMA journal_mode={mode}")
    # With less, a power cut could take back what was committed.
    connection.execute("PRAGMA synchronous=EXTRA")
    # What was handled is overwritten, not only unlinked.
    connection.execute("PRAGMA secure_delete=ON")
