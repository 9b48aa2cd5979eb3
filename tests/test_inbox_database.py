"""The database itself: the SQLite file that is replaced, open to others or in an old mode, and what
is particular to PostgreSQL."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import sqlalchemy as sa

from inbox.database import Database, FileNotUsable, reason_of
from inbox.inbox import Inbox

SECRET = "ann@example.com"


@pytest.fixture
def file(sqlite_url):
    return Path(sqlite_url.database)


@pytest.fixture
def database(sqlite_url):
    with contextlib.closing(Database(sqlite_url)) as database:
        yield database


@pytest.fixture
def inbox(database):
    return Inbox(database)


def store(inbox, *uuids):
    return inbox.store({uuid: {"eventType": "test", "login": SECRET} for uuid in uuids})


def count(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT count(*) FROM okta_events_2").fetchone()[0]


def files_with(secret, folder):
    return [each.name for each in folder.iterdir() if secret.encode() in each.read_bytes()]


def mode_of(file):
    return oct(file.stat().st_mode & 0o777)


def test_a_thread_does_not_wait_for_a_connection_that_another_failed_to_make(database, file):
    file.write_text("no database, and longer than a header" * 10)

    def fail():
        with pytest.raises(sa.exc.DatabaseError), database.begin():
            pass

    with ThreadPoolExecutor(4) as threads:
        attempts = [threads.submit(fail) for _ in range(200)]
        # In the pool of SQLAlchemy, one would wait for half a minute.
        assert wait(attempts, timeout=25).not_done == set()


def test_the_content_of_a_handled_event_is_in_no_file(inbox, file):
    store(inbox, *map(str, range(50)))
    assert files_with(SECRET, file.parent) == [file.name]
    for claim in iter(inbox.claim, None):
        inbox.done(claim)
    assert files_with(SECRET, file.parent) == []


def test_a_file_with_a_write_ahead_log_is_converted(inbox, database, file):
    store(inbox, "kept")
    database.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE okta_events_2 SET attempts = 3")
        connection.commit()
        # While another process uses it, it cannot be converted, and nothing is stored.
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            store(inbox, "new")
    store(inbox, "new")
    # https://sqlite.org/fileformat2.html#file_format_version_numbers
    assert file.read_bytes()[18:20] == b"\x01\x01"
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert inbox.claim().attempts == 4


def remove(file):
    file.unlink()


def rename(file):
    file.rename(file.with_suffix(".away"))


def restore(file):
    shutil.copyfile(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


def remove_folder(file):
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("happens", [remove, rename, restore, remove_folder])
def test_a_file_that_was_removed_or_replaced_is_opened_again(happens, inbox, file, sqlite_url):
    with contextlib.closing(Database(sqlite_url)) as another:
        worker = Inbox(another)
        store(inbox, "old")
        worker.show_worker("worker", 1, 0)
        happens(file)
        assert store(inbox, "new") == {"new"}
        assert count(file) == (2 if happens is restore else 1)
        assert mode_of(file) == "0o600"
        claims = [claim.key for claim in iter(worker.claim, None)]
        assert claims == (["old", "new"] if happens is restore else ["new"])


@pytest.mark.parametrize("happens", [remove, rename, restore, remove_folder])
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_write_while_the_file_is_replaced_does_not_count_as_stored(
    is_begun, happens, inbox, database, file
):
    store(inbox, "old")
    change = sa.text("UPDATE okta_events_2 SET attempts_left = 0")

    def write():
        with database.begin() as connection:
            if is_begun:
                connection.execute(change)
            happens(file)
            connection.execute(change)

    # SQLite notices it itself only before the first write.
    with pytest.raises((sa.exc.SQLAlchemyError, OSError)):
        write()
    assert store(inbox, "new") == {"new"}


def test_a_connection_does_not_release_the_lock_of_another(database, sqlite_url, file):
    """The locks of SQLite are POSIX locks, which any close of the file in this process ends."""
    writes = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0)"
        ".execute('UPDATE okta_events_2 SET attempts = 0')"
    )
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE okta_events_2 SET attempts = 1"))
        with contextlib.closing(Database(sqlite_url)) as another:
            with another._engine.connect():
                pass
            done = subprocess.run(
                [sys.executable, "-c", writes, file], capture_output=True, text=True, check=False
            )
    assert "database is locked" in done.stderr


def test_a_file_that_others_can_read_is_made_private(inbox, file, caplog):
    store(inbox, "a")
    restore(file)
    file.chmod(0o644)
    store(inbox, "b")
    assert mode_of(file) == "0o600"
    [record] = [each for each in caplog.records if "accessible to other users" in each.message]
    assert record.fields == {"file": str(file), "mode_was": "0644"}


def test_a_file_of_another_owner_that_others_can_read_is_refused(inbox, file, monkeypatch):
    def chmod(path, mode):
        raise PermissionError(1, "Operation not permitted")

    file.touch()
    # Whatever the umask is.
    file.chmod(0o644)
    monkeypatch.setattr(Path, "chmod", chmod)
    with pytest.raises(FileNotUsable, match="other users can read it"):
        store(inbox, "a")


def a_folder(file):
    file.mkdir()
    file.chmod(0o755)


def no_database(file):
    file.write_bytes(b"x" * 4096)


def another_table(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE okta_events_2 (due_at, handled_at, failed_at)")


def read_only(file):
    """SQLite cannot make its journal, as in a folder of another user."""
    Path(f"{file}-journal").mkdir()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (a_folder, "unable to open database file. EVENTS_DATABASE_URL must name"),
        (read_only, "unable to open database file. EVENTS_DATABASE_URL must name"),
        (no_database, "DatabaseError: file is not a database"),
        (another_table, "has no column named key"),
    ],
)
def test_the_reason_names_what_is_wrong_with_the_file(what, reason, inbox, file):
    what(file)
    with pytest.raises((sa.exc.SQLAlchemyError, OSError)) as raised:
        store(inbox, "a")
    assert reason in reason_of(raised.value)
    if file.is_dir():
        assert mode_of(file) == "0o755"


def test_the_database_waits_for_a_file_that_another_process_has_locked(database, inbox, file):
    store(inbox, "a")
    database.close()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            storing = pool.submit(store, inbox, "b")
            with pytest.raises(TimeoutError):
                storing.result(0.5)
            locker.execute("ROLLBACK")
            assert storing.result() == {"b"}


def test_lost_tables_are_created_again(database_url):
    with contextlib.closing(Database(database_url)) as database:
        inbox = Inbox(database)
        store(inbox, "a")
        with database.begin() as connection:
            connection.execute(sa.text("DROP TABLE okta_events_2"))
        with pytest.raises(sa.exc.SQLAlchemyError):
            store(inbox, "b")
        assert store(inbox, "b") == {"b"}
