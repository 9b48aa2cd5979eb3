"""The log of a worker's faults: each is logged at once, and now and then while it persists."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import sqlalchemy as sa

from logs import places_of

from .database import reason_of

DATABASE_FAULT = "the database cannot be used; the worker keeps trying"

log = logging.getLogger(__name__)


class FaultLog:
    """Can be used by all threads of a worker."""

    def __init__(self, seconds: float):
        """A fault that persists is logged again after this many seconds."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._logged: dict[tuple[str, object], float] = {}
        self._database_fails = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Log an exception and suppress it. Also log when the database can be used again."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError) as error:
            self._database_fails = True
            self.log(logging.ERROR, DATABASE_FAULT, error=reason_of(error))
        # This is an error in this package. It must not end a thread, which nothing would replace.
        except Exception as error:
            where = f"{type(error).__name__} at {places_of(error)}"
            message = "event worker raised an exception, and continues"
            self.log(logging.ERROR, message, where, error=where)
        else:
            if self._database_fails:
                self._database_fails = False
                with self._lock:
                    self._logged.pop((DATABASE_FAULT, None), None)
                log.info("the database can be used again")

    def log(self, level: int, message: str, about: str | None = None, **fields: object) -> None:
        """Log a fault, unless the same message about the same thing was logged recently."""
        now = time.monotonic()
        with self._lock:
            lately = {key: at for key, at in self._logged.items() if now < at + self._seconds}
            is_new = (message, about) not in lately
            self._logged = {(message, about): now} | lately
        if is_new:
            log.log(level, message, extra={"fields": fields})
