"""The settings of stored events: what their text may be, and whether this user can write there."""

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .values import shown

if TYPE_CHECKING:
    from . import Settings
    from .rules import UsedBy


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
    if url and url.drivername == "sqlite":
        return _sqlite_url(url)
    # Many platforms hand out the second, which SQLAlchemy does not know.
    if url and url.drivername in ("postgresql+psycopg", "postgres", "postgresql"):
        return _postgresql_url(url.set(drivername="postgresql+psycopg"))
    raise ValueError(
        "must be sqlite:////full/path/of/a/file or postgresql+psycopg://user:password@host/database"
        ", with an @ in the password written as %40"
    )


def _sqlite_url(url: sa.URL) -> sa.URL:
    file = url.database or ""
    if url.host or url.username or url.query or not os.path.isabs(file):
        raise ValueError(
            "must be the full path of a file, with four slashes and without options: "
            "sqlite:////full/path/of/the/file"
        )
    if os.path.isdir(file):
        raise ValueError(f"is a folder, {shown(file)}: name a file in it")
    if not os.path.isdir(folder := os.path.dirname(file)):
        raise ValueError(f"is in a folder that does not exist: {shown(folder)}")
    return url


def _postgresql_url(url: sa.URL) -> sa.URL:
    try:
        from psycopg.pq import Conninfo  # noqa: PLC0415 - it may not be installed
    except ImportError:
        raise ValueError("needs pip install -r requirements/postgresql.txt") from None
    if not url.database or "/" in url.database:
        raise ValueError("must name one database after the host: postgresql://…@host/database")
    options = {option.keyword.decode(): option for option in Conninfo.get_defaults()}
    for name in url.query:
        if name not in options:
            raise ValueError(f"has an option that PostgreSQL does not have: {shown(name)}")
        # An asterisk is libpq's mark for what must not be shown.
        if options[name].dispchar == b"*" or name.startswith("scram_"):
            raise ValueError(
                f"has a secret among its options ({name}), where it would be shown: a password "
                "goes between user and host (user:password@host), another secret into a service "
                "file (?service=…)"
            )
    return url


def problems(settings: "Settings", used_by: "UsedBy") -> dict[str, str]:
    """What is wrong with the file of events, if there is one, by the name of its setting."""
    file = settings.events_file
    if file is None or settings.event_hooks_are_off:
        return {}
    # The first with RETURNING.
    if sqlite3.sqlite_version_info < (3, 35):
        problem = (
            "is an SQLite file, which needs SQLite 3.35 or newer. Python has "
            f"{sqlite3.sqlite_version} here: use a newer system or image, or a PostgreSQL database"
        )
    elif used_by != "flask command" and not can_be_written(file):
        problem = (
            f"is {file}, which the user running the service cannot write to: name a file in a "
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
