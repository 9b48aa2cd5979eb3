"""`flask events …`: the worker, and what its operator needs. None shows what an event says."""

import atexit
import contextlib
import signal
import threading
from collections.abc import Iterator

import click
import sqlalchemy as sa
from flask import Flask, current_app
from flask.cli import AppGroup

from hooks.events import HANDLERS
from inbox.database import Database, reason_of
from inbox.inbox import Inbox
from inbox.worker import STOP_SECONDS, THREADS, Worker


class NothingStored(click.ClickException):
    """No event has come yet."""


event_commands = AppGroup("events", help="Handle the stored events, and look after them.")


@event_commands.command(short_help="Handle what is stored, until it is stopped.")
@click.option("--threads", default=THREADS, show_default=True, type=click.IntRange(1, 64))
def work(threads: int) -> None:
    """Give each stored event to its handler, until Ctrl-C or TERM.

    What was begun is ended then; a second Ctrl-C does not wait for it. As many of these as you like
    may run, with PostgreSQL on several machines.
    """
    database = _database()
    worker = Worker(current_app.app_context, Inbox(database), HANDLERS, threads)

    def stop(number, frame):
        signal.signal(number, signal.SIG_DFL)
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.run()


@event_commands.command("list", short_help="Say what waits, and what has failed.")
@click.option("--failed", is_flag=True, help="A line for each event that has failed.")
def list_events(failed: bool) -> None:
    """Say how many events wait, for how long, and how many have failed."""
    with open_inbox() as inbox:
        if failed:
            for event in inbox.failures():
                attempts = "1 attempt" if event.attempts == 1 else f"{event.attempts} attempts"
                click.echo(f"{event.key}  {event.type}  {attempts}  {event.error}")
            return
        backlog = inbox.backlog()
    oldest = f"the oldest for {duration(backlog.oldest)}" if backlog.waiting else ""
    which = "which: flask events list --failed" if backlog.failed else ""
    seen = "never" if backlog.worker_seen is None else f"{duration(backlog.worker_seen)} ago"
    for name, number, more in (
        ("waiting", backlog.waiting, oldest),
        ("failed", backlog.failed, which),
        ("worker seen", seen, ""),
    ):
        click.echo(f"{name:<12} {number:<6} {more}".rstrip())


@event_commands.command(short_help="Give failed events their attempts once more.")
@click.argument("uuid", required=False)
@click.option("--all", "every", is_flag=True, help="All that have failed.")
def retry(uuid: str | None, every: bool) -> None:
    """Give a failed event, or all of them, the attempts of a new one."""
    if every == (uuid is not None):
        raise click.UsageError("Name one UUID, or say --all.")
    with open_inbox() as inbox:
        number = inbox.retry(uuid)
    if uuid and not number:
        raise click.ClickException(f"No event {uuid} has failed: flask events list --failed")
    click.echo(f"{number} to be tried again.")


@event_commands.command(short_help="Give up an event that will never succeed.")
@click.argument("uuid")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(uuid: str, yes: bool) -> None:
    """Give up an event. What it says is deleted, and its handler will not get it again."""
    if not yes:
        click.confirm(f"Delete event {uuid}, which no handler will get then?", abort=True)
    with open_inbox() as inbox:
        removed = inbox.remove(uuid)
    if not removed:
        raise click.ClickException(f"No event {uuid} waits or has failed.")
    click.echo("Removed.")


def start_worker(app: Flask) -> None:
    """The worker of `flask run`, in the background."""
    database = Database(app.config["EVENTS_DATABASE_URL"])
    worker = Worker(app.app_context, Inbox(database), HANDLERS)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    # At Ctrl-C, what was begun is ended.
    atexit.register(thread.join, STOP_SECONDS)
    atexit.register(worker.stop)


@contextlib.contextmanager
def open_inbox() -> Iterator[Inbox]:
    """Ends the command with one plain line where the database cannot be used."""
    database = _database()
    if not database.exists():
        raise NothingStored(f"Nothing has been stored yet: there is no file {database.file}")
    try:
        yield Inbox(database)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise click.ClickException(f"The database cannot be used: {reason_of(error)}") from None
    finally:
        database.close()


def _database() -> Database:
    if error := current_app.config["SETTINGS_ERROR"]:
        raise error
    return Database(current_app.config["EVENTS_DATABASE_URL"])


def duration(seconds: float) -> str:
    """In the largest unit that says enough: 90 s, 45 min, 30 h, 12 days."""
    for size, unit in ((172_800, "days"), (7200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds // (size / 2):.0f} {unit}"
    return f"{seconds:.0f} s"
