"""What the doctor reports about stored events."""

import click
from flask import current_app

from commands.events import NothingStored, duration, open_inbox, since
from commands.terminal import Report, say
from hooks.events import HANDLERS
from inbox.inbox import SEEN_LATELY_SECONDS, Backlog
from settings.events import can_be_written


def check_events(report: Report) -> None:
    settings = current_app.config["SETTINGS"]
    say(f"\nStored events {settings.events_database_url}", bold=True)
    try:
        with open_inbox() as inbox:
            backlog, unhandled = inbox.backlog(), inbox.waiting_without(HANDLERS.keys())
    except NothingStored as error:
        if can_be_written(settings.events_file) or settings.event_hooks_are_off:
            report.line("note", "database", error.message)
        else:
            advice = "set EVENTS_DATABASE_URL to another place"
            report.line(
                "wrong", "database", f"this user cannot write to {settings.events_file}: {advice}"
            )
        return
    except click.ClickException as error:
        report.line("wrong", "database", error.message)
        return
    report.line("ok", "waiting", amount(backlog.waiting, "the oldest for", backlog.oldest))
    in_hand = amount(backlog.in_hand, "the longest for", backlog.longest_in_hand)
    report.line("ok", "in hand", in_hand)
    if unhandled:
        types = f"{sum(unhandled.values())} of types without a handler here: {', '.join(unhandled)}"
        report.line("note", "no handler", types)
    failed = f"{backlog.failed}: flask events list --failed" if backlog.failed else "0"
    report.line("note" if backlog.failed else "ok", "failed", failed)
    check_workers(report, backlog)


def amount(number: int, what: str, seconds: float | None) -> str:
    return ", ".join(filter(None, (str(number), since(what, seconds))))


def check_workers(report: Report, backlog: Backlog) -> None:
    seen = backlog.worker_seen
    last = "never seen" if seen is None else f"last seen {duration(seen)} ago"
    if current_app.config["SETTINGS"].event_threads:
        advice = "the service handles events: is it running, with the same settings?"
    else:
        advice = "EVENT_THREADS is 0, so flask events work handles events: is it running?"
    if backlog.has_no_worker:
        report.line("wrong", "worker", f"{last}: {advice}")
    elif backlog.stuck_workers:
        hang = "every handler has hung for minutes: the log says which (handler still running)"
        report.line(
            "wrong", "worker", f"{hang}. Restart the service, and give handlers time limits"
        )
    else:
        # If no events are waiting, perhaps no worker is wanted.
        is_seen = seen is not None and seen < SEEN_LATELY_SECONDS
        report.line("ok" if is_seen else "note", "worker", last)
