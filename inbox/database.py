"""The inbox's database: an SQLite file or PostgreSQL. Handles the differences between the two."""

import errno
import logging
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection

LOCK_SECONDS = 5
"""How long a statement waits for a lock that another process or session holds."""

CONNECT_ARGS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": LOCK_SECONDS},
    "postgresql": {
        # Notice within 15 seconds if a server disappears without closing the connection.
        "connect_timeout": 5,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        # PgBouncer may use another server for each transaction, without the prepared statements.
        "prepare_threshold": None,
    },
}

metadata = sa.MetaData()
log = logging.getLogger(__name__)


class FileNotUsable(OSError):
    """The SQLite file, or its folder, cannot be read and written."""

    def __init__(self, file: Path, reason: object):
        super().__init__(
            f"{file}: {reason}. EVENTS_DATABASE_URL must name a file that this user can write, in "
            "a folder that this user can write"
        )


class FileReplaced(OSError):
    """The SQLite file was removed or replaced in a transaction. The next one uses the new file."""

    def __init__(self, file: Path):
        super().__init__(f"{file} was removed or replaced while events were written to it")


class Database:
    """One connection, which threads take turns to use and which a fork must not inherit.

    A process that both stores and handles events needs two of these. With only one, a delivery
    would wait while a statement of the worker waits for a lock. More connections would not help:
    SQLite allows one writer at a time, and PostgreSQL's connections are limited.
    """

    def __init__(self, url: sa.URL):
        kind = url.get_backend_name()
        self.file = Path(url.database) if kind == "sqlite" and url.database else None
        self.insert = sqlite.insert if self.file else postgresql.insert
        # The pool is not enough: when a thread fails to connect, the pool does not wake the thread
        # that waits for the connection.
        self._turn = threading.Lock()
        self._engine = sa.create_engine(
            url,
            # An option of the URL takes precedence.
            connect_args={k: v for k, v in CONNECT_ARGS[kind].items() if k not in url.query},
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        if self.file:
            opener = _FileOpener(self.file)
            sa.event.listen(self._engine, "do_connect", opener.open)
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
            sa.event.listen(self._engine, "checkout", opener.check)
            sa.event.listen(self._engine, "handle_error", opener.explain)

    def exists(self) -> bool:
        """False before the first event. A command that only reads must not create the file."""
        return self.file is None or self.file.exists()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction in a database that has the tables.

        If it raises SQLAlchemyError or OSError, assume that it was not committed.
        """
        with self._turn, self._engine.connect() as connection:
            opened = connection.info.get("file")
            try:
                if "has_tables" not in connection.info:
                    self._make_tables(connection)
                with self._transaction(connection):
                    yield connection
            except BaseException:
                # A new connection reaches the current primary server, and creates lost tables.
                connection.invalidate()
                raise
            if self.file and opened != _identity(self.file):
                raise FileReplaced(self.file)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self, connection: sa.Connection) -> Iterator[None]:
        with connection.begin():
            if not self.file:
                # Not set for the connection, since PgBouncer may use another server each time. Not
                # statement_timeout, which would cut off a COMMIT that waits for a synchronous
                # standby.
                connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            yield

    def _make_tables(self, connection: sa.Connection) -> None:
        with self._transaction(connection):
            # Otherwise two processes that start together could both find no tables, and one of them
            # would fail.
            connection.execute(
                sa.text("BEGIN IMMEDIATE" if self.file else "SELECT pg_advisory_xact_lock(7101985)")
            )
            metadata.create_all(connection)
        connection.info["has_tables"] = True


def reason_of(error: Exception) -> str:
    """The database's error message, without the values of a statement."""
    cause = getattr(error, "orig", None) or error
    words = [type(cause).__name__]
    # PostgreSQL's other errors quote the row that it refuses.
    safe = sa.exc.OperationalError | sa.exc.ProgrammingError | sqlite3.Error | OSError
    if isinstance(error, safe) or isinstance(cause, safe):
        words += str(cause).splitlines()[:1]
    return ": ".join(words)


class _FileOpener:
    """Opens the SQLite file, and notices that another file has taken its place."""

    _lock = threading.Lock()

    def __init__(self, file: Path):
        self._file = file

    def open(
        self, dialect: sa.Dialect, record: Any, arguments: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        # Closing a file drops every lock that this process holds on it, SQLite's too (POSIX). So
        # open it here only to create it, and let no thread connect to it before it is closed.
        with self._lock:
            try:
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _make_private(self._file)
            except OSError as error:
                raise FileNotUsable(self._file, error.strerror) from error
            # Before SQLite opens it: if it is replaced in between, the next check notices.
            record.info["file"] = _identity(self._file)
            return dialect.connect(*arguments, **options)

    def check(self, opened: sqlite3.Connection, record: Any, proxy: Any) -> None:
        """Before each transaction. DisconnectionError makes the pool connect again."""
        if record.info["file"] != _identity(self._file):
            fields = {"file": str(self._file)}
            log.warning("events file was removed or replaced", extra={"fields": fields})
            raise sa.exc.DisconnectionError

    def explain(self, context: sa.ExceptionContext) -> None:
        """Name the file, which SQLite does not."""
        error = context.original_exception
        # The primary code is in the last byte: https://sqlite.org/rescode.html
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise FileNotUsable(self._file, error)


def _make_private(file: Path) -> None:
    """Create the file, or make an existing one private, since it holds personal data."""
    try:
        file.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        mode = file.stat().st_mode
        # SQLite itself refuses a folder.
        if stat.S_ISREG(mode) and mode & 0o077:
            try:
                file.chmod(0o600)
            except PermissionError:
                theirs = "other users can read it, and this user does not own it"
                raise OSError(errno.EPERM, theirs) from None
            fields = {"file": str(file), "mode_was": f"{stat.S_IMODE(mode):04o}"}
            log.warning("events file was accessible to other users", extra={"fields": fields})


def _identity(file: Path) -> tuple[int, int] | None:
    """The identity of a file, which another file of the same name does not have."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_up_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    # A write-ahead log would keep the content of handled events, and accept new events after its
    # file was removed. Converting a file that has one fails while another process uses it.
    connection.execute("PRAGMA journal_mode=DELETE")
    # At a lower level, a power failure could undo a commit.
    connection.execute("PRAGMA synchronous=EXTRA")
    # Overwrite the content of handled events, rather than only marking its place as free.
    connection.execute("PRAGMA secure_delete=ON")
