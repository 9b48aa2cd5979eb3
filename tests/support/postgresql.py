"""PostgreSQL for the tests: their own server, or a database on one that is already running."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.gunicorn import children_of, free_port


def initdb() -> Path | None:
    """On Debian, it is not on the PATH."""
    installed = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = shutil.which("initdb")
    return Path(found) if found else max(installed, default=None)


def emptied(url: sa.URL) -> sa.URL:
    """The same database each time: creating another one takes longer than most tests."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


class ExistingPostgreSQL:
    """A running server. As a context manager, it creates a database for this process.

    `url`: its user must be allowed to create databases.
    """

    def __init__(self, url: str):
        self._server = sa.make_url(url)
        self._name = f"okta_hooks_tests_{os.getpid()}"

    def __enter__(self) -> "ExistingPostgreSQL":
        self._execute(f"CREATE DATABASE {self._name}")
        return self

    def __exit__(self, *exc_info) -> None:
        self._execute(f"DROP DATABASE {self._name} WITH (FORCE)")

    def empty_database(self) -> sa.URL:
        return emptied(self._server.set(database=self._name))

    def _execute(self, statement: str) -> None:
        engine = sa.create_engine(self._server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
        engine.dispose()


class PostgreSQL:
    """A server from the installed binaries, on a free loopback port.

    A context manager starts and stops it.
    """

    def __init__(self):
        self._port = free_port()
        self._url = sa.URL.create(
            "postgresql+psycopg", "okta", "p@ss/word", "127.0.0.1", self._port, "postgres"
        )

    def __enter__(self) -> "PostgreSQL":
        self._folder = Path(tempfile.mkdtemp(prefix="okta-hooks-postgresql-"))
        password_file = self._folder / "password"
        password_file.write_text(self._url.password)
        if os.geteuid() == 0:
            for path in (self._folder, password_file):
                shutil.chown(path, "nobody", "nogroup")
        options = ["-U", "okta", "-A", "scram-sha-256", "--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", *options, f"--pwfile={password_file}")
        self.start()
        return self

    def __exit__(self, *exc_info) -> None:
        # A test may have failed while it was stopped.
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._folder)

    def empty_database(self) -> sa.URL:
        return emptied(self._url)

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k '' -F"
        self._run("pg_ctl", "start", "-w", "-l", self._folder / "log", "-o", options)

    def stop(self) -> None:
        """Stop it, and break all connections."""
        self._run("pg_ctl", "stop", "-m", "fast")

    @contextlib.contextmanager
    def hanging(self):
        """The kernel accepts connections, but the server never answers."""
        server = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        processes = [server, *children_of(server)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _run(self, program: str, *arguments) -> None:
        # initdb refuses to be run by root.
        user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        command = [initdb().parent / program, "-D", self._folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)


@pytest.fixture(scope="session")
def postgresql():
    """The tests' own server, which they may stop."""
    if initdb() is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt install postgresql)")
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def any_postgresql(request):
    """The server that TEST_POSTGRESQL_URL names, or else the tests' own."""
    if url := os.environ.get("TEST_POSTGRESQL_URL"):
        with ExistingPostgreSQL(url) as server:
            yield server
    else:
        yield request.getfixturevalue("postgresql")


@pytest.fixture
def sqlite_url(tmp_path):
    return sa.URL.create("sqlite", database=str(tmp_path / "events.sqlite"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """An empty database of either kind."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("any_postgresql").empty_database()
