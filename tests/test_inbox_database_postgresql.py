"""What the inbox asks of PostgreSQL beside what it asks of SQLite. The same with gunicorn is in
test_inbox_postgresql.py."""

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import sqlalchemy as sa

from inbox import database as database_module
from inbox.database import Database, reason_of
from inbox.inbox import Inbox


@pytest.fixture
def url(postgresql):
    return postgresql.empty_database()


@pytest.fixture
def database(url):
    with contextlib.closing(Database(url)) as database:
        yield database


@pytest.fixture
def inbox(database):
    return Inbox(database)


@pytest.fixture
def session(inbox, url):
    """Another program's, in a database that has the tables."""
    inbox.backlog()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield partial(connection.exec_driver_sql)


def store(inbox, *uuids):
    return inbox.store({uuid: {"eventType": "test"} for uuid in uuids})


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_statement_is_prepared_since_pgbouncer_may_change_the_server(inbox, database):
    for number in range(12):
        store(inbox, str(number))
        inbox.done(inbox.claim())
    with database.begin() as connection:
        prepared = "SELECT count(*) FROM pg_prepared_statements"
        assert connection.exec_driver_sql(prepared).scalar() == 0


@pytest.mark.parametrize("use", [lambda inbox: store(inbox, "a"), Inbox.claim, Inbox.failures])
def test_a_statement_waits_a_limited_time_for_the_lock_of_another_session(
    use, inbox, session, monkeypatch
):
    monkeypatch.setattr(database_module, "LOCK_SECONDS", 0.3)
    session("LOCK TABLE okta_events_2")
    with ThreadPoolExecutor(1) as pool:
        using = pool.submit(use, inbox)
        try:
            with pytest.raises(sa.exc.OperationalError, match="lock timeout") as raised:
                using.result(10)
        finally:
            session("ROLLBACK")
    assert "LockNotAvailable: canceling statement due to lock" in reason_of(raised.value)
    assert store(inbox, "a") == {"a"}


def test_the_time_limit_for_locks_does_not_stay_in_the_session(inbox, database):
    store(inbox, "a")
    with database.begin() as connection:
        connection.exec_driver_sql("COMMIT")
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "0"


def test_a_worker_skips_an_event_that_another_is_claiming(inbox, session, monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_SECONDS", 1)
    store(inbox, "a")
    store(inbox, "b")
    session("SELECT * FROM okta_events_2 WHERE key = 'a' FOR UPDATE")
    assert inbox.claim().key == "b"
    assert inbox.claim() is None


def test_a_worker_skips_old_rows_that_another_is_deleting(inbox, session, monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_SECONDS", 1)
    store(inbox, "a", "b")
    session("UPDATE okta_events_2 SET due_at = NULL, handled_at = 0")
    session("COMMIT")
    session("SELECT * FROM okta_events_2 WHERE key = 'a' FOR UPDATE")
    inbox.clean_up()
    session("COMMIT")
    assert session("SELECT key FROM okta_events_2").scalars().all() == ["a"]


def test_deliveries_of_the_same_events_do_not_deadlock(inbox, session):
    insert = (
        "INSERT INTO okta_events_2 (key, type, received_at, due_at, attempts, attempts_left) "
        "VALUES ('{}', 'test', 0, 0, 0, 12)"
    )
    session(insert.format("a"))
    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(store, inbox, "b", "a")
        # It waits for that transaction to end.
        wait_until(lambda: session("SELECT 1 FROM pg_locks WHERE NOT granted").all())
        session(insert.format("b"))
        session("COMMIT")
        assert storing.result() == set()


def test_a_process_has_one_connection_for_all_its_threads(database):
    def server(_):
        with database.begin() as connection:
            return connection.exec_driver_sql("SELECT pg_backend_pid() FROM pg_sleep(0.1)").scalar()

    with ThreadPoolExecutor(4) as pool:
        assert len({*pool.map(server, range(4))}) == 1


def test_a_connection_that_the_server_has_ended_is_made_again(inbox, session):
    store(inbox, "a")
    session(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    assert store(inbox, "b") == {"b"}


def test_a_server_that_disappears_without_closing_is_noticed(database):
    """Check what the kernel was told, since no test can take down a network."""
    with database.begin() as connection:
        number = connection.connection.driver_connection.fileno()
        with socket.socket(fileno=os.dup(number)) as copy:
            assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            tcp = partial(copy.getsockopt, socket.IPPROTO_TCP)
            idle, interval = tcp(socket.TCP_KEEPIDLE), tcp(socket.TCP_KEEPINTVL)
            assert idle + interval * tcp(socket.TCP_KEEPCNT) <= 15
            assert tcp(socket.TCP_USER_TIMEOUT) == 10_000


def test_an_option_in_the_url_takes_precedence(url):
    url = url.update_query_dict({"keepalives_idle": "33"})
    with contextlib.closing(Database(url)) as database, database.begin() as connection:
        number = connection.connection.driver_connection.fileno()
        with socket.socket(fileno=os.dup(number)) as copy:
            assert copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33


def test_a_server_that_accepts_a_connection_and_never_answers_is_given_up_on(url):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        contextlib.closing(Database(url.set(port=server.getsockname()[1]))) as database,
        ThreadPoolExecutor(1) as pool,
    ):
        asking = pool.submit(Inbox(database).backlog)
        try:
            with pytest.raises(sa.exc.OperationalError, match="timeout"):
                asking.result(20)
        finally:
            server.close()


def test_several_processes_can_create_the_tables_at_once(url):
    for _ in range(3):
        start = threading.Barrier(4)

        def begin(start):
            with contextlib.closing(Database(url)) as database:
                start.wait()
                return Inbox(database).backlog().waiting

        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(begin, [start] * 4)] == [0] * 4
        with contextlib.closing(Database(url)) as database, database.begin() as connection:
            connection.exec_driver_sql("DROP TABLE okta_events_2, okta_event_workers_2")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT CAST('ann@example.com' AS integer)", "InvalidTextRepresentation"),
        ("SELECT nothing", 'UndefinedColumn: column "nothing" does not exist'),
    ],
)
def test_a_reason_quotes_no_value(statement, said, database):
    with pytest.raises(sa.exc.DBAPIError) as raised, database.begin() as connection:
        connection.exec_driver_sql(statement)
    assert reason_of(raised.value) == said
