"""Check whether this user can store events on this machine, in the place that the settings name."""

import os
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Settings

# The first with RETURNING.
OLDEST_SQLITE = (3, 35)


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
