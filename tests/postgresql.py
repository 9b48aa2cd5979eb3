"""A PostgreSQL server of the tests' own, from the installed binaries, on a free loopback port."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from tests.service import children_of, free_port

PASSWORD = "p@ss/word"


def initdb() -> Path | None:
    """Debian keeps it off the PATH."""
    installed = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = shutil.which("initdb")
    return Path(found) if found else max(installed, default=None)


class PostgreSQL:
    """As a context manager, the server runs."""

    def __init__(self):
        self._binaries = initdb().parent
        self._port = free_port()
        self._url = sa.URL.create(
            "postgresql+psycopg", "okta", PASSWORD, "127.0.0.1", self._port, "postgres"
        )
        # initdb refuses to be run by root.
        self._user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}

    def __enter__(self) -> "PostgreSQL":
        self._folder = Path(tempfile.mkdtemp(prefix="okta-hooks-postgresql-"))
        password_file = self._folder / "password"
        password_file.write_text(PASSWORD)
        if self._user:
            for path in (self._folder, password_file):
                shutil.chown(path, **self._user)
        options = ["-D", self._folder / "data", "-U", "okta", "-A", "scram-sha-256"]
        options += [f"--pwfile={password_file}", "--locale=C.UTF-8", "--no-sync"]
        command = [self._binaries / "initdb", *options]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._user)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info) -> None:
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder)

    def new_database(self) -> sa.URL:
        """The same one each time, emptied: to make another takes longer than most tests."""
        with self._connect() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        return self._url

    def start(self) -> None:
        options = ["-p", str(self._port), "-h", "127.0.0.1", "-k", "", "-F"]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._folder / "data", *options],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._user,
            )
        end = time.monotonic() + 60
        while True:
            try:
                with self._connect():
                    return
            except sa.exc.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Break off all connections."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    @contextlib.contextmanager
    def hanging(self):
        """It accepts connections, as the kernel does, and says nothing more."""
        processes = [self._process.pid, *children_of(self._process)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @contextlib.contextmanager
    def _connect(self):
        engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection
        engine.dispose()
