"""A PostgreSQL server of the tests' own, from the installed binaries, on a free loopback port."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from tests.service import free_port

PASSWORD = "p@ss/word"


def initdb() -> Path | None:
    """Debian keeps it off the PATH."""
    installed = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = shutil.which("initdb")
    return Path(found) if found else max(installed, default=None)


class PostgreSQL:
    """As a context manager, the server runs; each test gets a database of its own in it."""

    def __init__(self):
        self._binaries = initdb().parent
        self._port = free_port()
        # initdb refuses to be run by root.
        self._user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        self._process = None

    def __enter__(self) -> "PostgreSQL":
        self._folder = Path(tempfile.mkdtemp(prefix="okta-hooks-postgresql-"))
        password_file = self._folder / "password"
        password_file.write_text(PASSWORD)
        if self._user:
            for path in (self._folder, password_file):
                shutil.chown(path, **self._user)
        options = ["-D", self._folder / "data", "-U", "okta", "-A", "scram-sha-256"]
        self._run("initdb", *options, f"--pwfile={password_file}", "--locale=C.UTF-8", "--no-sync")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.stop()
        shutil.rmtree(self._folder)

    def new_database(self) -> sa.URL:
        name = f"hooks_{secrets.token_hex(4)}"
        with self.connect("postgres") as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return self._url(name)

    @contextlib.contextmanager
    def connect(self, database: str):
        engine = sa.create_engine(self._url(database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection
        engine.dispose()

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
                with self.connect("postgres"):
                    return
            except sa.exc.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Break off all connections (SIGINT), or everything (SIGQUIT)."""
        self._process.send_signal(how)
        self._process.wait(60)

    @contextlib.contextmanager
    def hanging(self):
        """It accepts connections, as the kernel does, and says nothing more."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        processes = [self._process.pid, *map(int, children.read_text().split())]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _url(self, database: str) -> sa.URL:
        return sa.URL.create(
            "postgresql+psycopg", "okta", PASSWORD, "127.0.0.1", self._port, database
        )

    def _run(self, program: str, *arguments) -> None:
        command = [self._binaries / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._user)
