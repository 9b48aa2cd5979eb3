"""The settings of stored events: what their text may be, and whether this user can write there."""

import os
import re
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .values import shown

if TYPE_CHECKING:
    from . import Settings

MOST_THREADS = 64
DATABASE_URLS = (
    "sqlite:////full/path/of/a/file or postgresql+psycopg://user:password@host/database, with an "
    "@ in the password written as %40"
)
# The first with RETURNING.
OLDEST_SQLITE = (3, 35)


def number_of_threads(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text.strip()) or int(text) > MOST_THREADS:
        raise ValueError(f"is {shown(text)}, but must be a whole number from 0 to {MOST_THREADS}")
    return int(text)


def database_url(text: str) -> sa.URL:
    """An SQLite file or a PostgreSQL database.

    No message quotes what may be part of a password.
    """
    text = text.strip()
    try:
        # SQLAlchemy would take what follows an @ in the password as part of the host.
        url = sa.make_url(text) if text.isprintable() and text.count("@") < 2 else None
    except (sa.exc.ArgumentError, ValueError):
        url = None
    if url is None:
        raise ValueError(f"is not a URL such as {DATABASE_URLS}")
    if url.drivername == "sqlite":
        return _sqlite_url(url)
    # Many platforms hand out the second, which SQLAlchemy does not know.
    if url.drivername in ("postgresql+psycopg", "postgres", "postgresql"):
        return _postgresql_url(url.set(drivername="postgresql+psycopg"))
    raise ValueError(f"is for another database or driver: it must be {DATABASE_URLS}")


def _sqlite_url(url: sa.URL) -> sa.URL:
    file = url.database or ":memory:"
    if url.host or url.username or url.query:
        raise ValueError("has a host or options, but an SQLite URL is only sqlite:/// and a path")
    if file == ":memory:":
        raise ValueError("is a database in memory, which ends with its process: name a file")
    if not os.path.isabs(file):
        raise ValueError("has a relative path: write sqlite:////full/path/of/the/file")
    if os.path.isdir(file):
        raise ValueError(f"is a folder, {shown(file)}: name a file in it")
    if not os.path.isdir(folder := os.path.dirname(file)):
        raise ValueError(f"is in a folder that does not exist: {shown(folder)}")
    return url


def _postgresql_url(url: sa.URL) -> sa.URL:
    try:
        from psycopg.pq import Conninfo  # noqa: PLC0415 - it may not be installed
    except ImportError:
        needed = "pip install -r requirements/postgresql.txt"
        raise ValueError(f"is PostgreSQL, which needs: {needed}") from None
    if not url.database or "/" in url.database:
        raise ValueError("must name one database after the host: postgresql://…@host/database")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("has a port that is not between 1 and 65535")
    options = {option.keyword.decode(): option for option in Conninfo.get_defaults()}
    for name, value in url.query.items():
        if name not in options:
            raise ValueError(f"has an option that PostgreSQL does not have: {shown(name)}")
        # An asterisk is libpq's mark for what must not be shown.
        if options[name].dispchar == b"*" or name.startswith("scram_"):
            raise ValueError(
                f"has a secret among its options ({name}), where it would be shown: a password "
                "goes between user and host (user:password@host), another secret into a service "
                "file (?service=…)"
            )
        # Only these may be given more than once.
        if not isinstance(value, str) and name not in ("host", "port"):
            raise ValueError(f"has the option {name} twice")
    return url


def problems(settings: "Settings", set_names: Collection[str], used_by: str) -> dict[str, str]:
    """What is wrong with the file of events, if there is one, by the name of its setting."""
    file = settings.events_file
    if file is None or settings.event_hooks_are_off:
        return {}
    is_set = "EVENTS_DATABASE_URL" in set_names
    where = f"is {file}" if is_set else f"is not set, and the default is {file}"
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        problem = (
            f"{where}: this needs SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer, and "
            f"Python has {sqlite3.sqlite_version} here. Use a newer system or image, or a "
            "PostgreSQL database"
        )
    elif used_by != "flask command" and not can_be_written(file):
        problem = (
            f"{where}, which the user that runs the service may not write: name a file in a "
            "folder that belongs to that user, or a PostgreSQL database"
        )
    else:
        return {}
    return {"EVENTS_DATABASE_URL": problem}


def can_be_written(file: Path) -> bool:
    """Whether this user can store events in an SQLite file, which may not exist yet."""
    # SQLite creates a second file beside it. The default's folder is created when it is needed.
    folder = next(folder for folder in file.parents if os.path.exists(folder))
    return os.access(folder, os.W_OK | os.X_OK) and (
        not os.path.exists(file) or os.access(file, os.R_OK | os.W_OK)
    )
