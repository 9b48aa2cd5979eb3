"""`flask events …`: the worker, and commands for its operator. None shows an event's content."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from flask.globals import app_ctx

from commands.terminal import say
from hooks.events import HANDLERS
from inbox.database import Database, reason_of
from inbox.inbox import Backlog, Inbox
from inbox.worker import Worker

THREADS = 4
"""More than in a process that serves: handlers mostly wait, and this process only handles."""


class NothingStored(click.ClickException):
    """No event has arrived yet."""


event_commands = AppGroup("events", help="Handle the stored events, and look after them.")


@event_commands.command(short_help="Handle stored events until stopped.")
@click.option(
    "--threads",
    default=THREADS,
    show_default=True,
    type=click.IntRange(1, 64),
    help="How many events to handle at the same time.",
)
def work(threads: int) -> None:
    """Give each stored event to its handler, until Ctrl-C or TERM.

    The server processes do the same, unless EVENT_THREADS is 0. When stopped, it waits for running
    handlers; a second Ctrl-C ends the wait. You can run as many of these as you like, and with
    PostgreSQL on several machines.
    """
    # Not current_app, a proxy that the worker's threads could not use.
    run_until_stopped(Worker(app_ctx.app, Inbox(open_database()), HANDLERS, threads))


def run_until_stopped(worker: Worker) -> None:
    """Run in the foreground. The first Ctrl-C or TERM stops the worker, the second the process."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.run()


@event_commands.command("list", short_help="Show what is waiting and what has failed.")
@click.option("--failed", is_flag=True, help="Show a line for each failed event.")
def list_events(failed: bool) -> None:
    """Show how many events are waiting, for how long, and how many have failed.

    The exit status is 1 if events are waiting and no worker is running, if a worker hangs, or if
    the database cannot be used or does not exist yet.
    """
    with open_inbox() as inbox:
        if failed:
            list_failures(inbox)
            return
        backlog, unhandled = inbox.backlog(), inbox.waiting_without(HANDLERS.keys())
    rows = [
        ("waiting", str(backlog.waiting), since("the oldest for", backlog.oldest)),
        ("in hand", str(backlog.in_hand), since("the longest for", backlog.longest_in_hand)),
    ]
    if unhandled:
        rows.append(("no handler", str(sum(unhandled.values())), ", ".join(unhandled)))
    if backlog.retrying:
        rows.append(
            ("retrying", str(backlog.retrying), "after an attempt that failed, see the log")
        )
    which = "which: flask events list --failed" if backlog.failed else ""
    rows.append(("failed", str(backlog.failed), which))
    rows.append(("worker seen", worker_seen(backlog), ""))
    for name, value, more in rows:
        say(f"{name:<12} {value:<6} {more}".rstrip())
    if backlog.has_no_worker or backlog.stuck_workers:
        raise SystemExit(1)


def list_failures(inbox: Inbox) -> None:
    failures = inbox.failures()
    if not failures:
        retrying = inbox.backlog().retrying
        say(f"No event has failed permanently. Waiting to be tried again: {retrying}.")
    for event in failures:
        attempts = "1 attempt" if event.attempts == 1 else f"{event.attempts} attempts"
        say(f"{event.key}  {event.type}  {attempts}  {event.error}")


def worker_seen(backlog: Backlog) -> str:
    """When a worker was last seen, and what is wrong."""
    seen = "never" if backlog.worker_seen is None else f"{duration(backlog.worker_seen)} ago"
    if backlog.has_no_worker:
        return f"{seen}, and events are waiting"
    if backlog.stuck_workers:
        return f"{seen}, but every handler is hanging in {backlog.stuck_workers} of the processes"
    return seen


@event_commands.command(short_help="Give failed events new attempts.")
@click.argument("uuid", required=False)
@click.option("--all", "every", is_flag=True, help="Retry all failed events.")
def retry(uuid: str | None, every: bool) -> None:
    """Give a failed event, or all of them, the attempts of a new one."""
    if every == (uuid is not None):
        raise click.UsageError("Give one UUID, or --all.")
    with open_inbox() as inbox:
        number = inbox.retry(uuid)
    if uuid and not number:
        raise click.ClickException(f"{uuid} is not a failed event: flask events list --failed")
    say(f"{number} will be tried again.")


@event_commands.command(short_help="Give up on an event that will never succeed.")
@click.argument("uuid")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(uuid: str, yes: bool) -> None:
    """Give up on an event. This deletes its content, and no handler will get it again."""
    if not yes:
        click.confirm(f"Delete event {uuid}? No handler will get it.", abort=True)
    with open_inbox() as inbox:
        removed = inbox.remove(uuid)
    if not removed:
        raise click.ClickException(f"{uuid} is not a waiting or failed event.")
    say("Removed.")


@contextlib.contextmanager
def open_inbox() -> Iterator[Inbox]:
    """Open the inbox. Ends the command with one plain line if the database cannot be used."""
    database = open_database()
    if not database.exists():
        raise NothingStored(f"Nothing has been stored yet: {database.file} does not exist")
    try:
        yield Inbox(database)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise click.ClickException(f"The database cannot be used: {reason_of(error)}") from None
    finally:
        database.close()


def open_database() -> Database:
    if error := current_app.config["SETTINGS_ERROR"]:
        raise error
    return Database(current_app.config["SETTINGS"].events_database_url)


def since(what: str, seconds: float | None) -> str:
    return "" if seconds is None else f"{what} {duration(seconds)}"


def duration(seconds: float) -> str:
    """A duration in a readable unit: 90 s, 45 min, 30 h, 12 days."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
