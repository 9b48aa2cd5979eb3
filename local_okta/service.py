"""What the commands know about the service: its settings, its address, and whether it answers."""

import os
import socket
import textwrap
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import click
from flask import current_app

from local_okta import client
from local_okta.terminal import say, waiting

START = "make run (or flask run)"
# flask run uses the same variable.
SERVICE_URL = f"http://127.0.0.1:{os.environ.get('FLASK_RUN_PORT') or 5000}"


def service_url(context, parameter, value: str) -> str:
    """Check an address given as an option."""
    base = base_of(value)
    if base is None:
        raise click.BadParameter(f"{value} is not an address such as http://127.0.0.1:5000")
    return base


def without_hook_path(url: str, *more: str) -> str:
    """The address without a hook's path at its end. If it had one, a note is printed."""
    base = base_of(url, [*hook_paths(), *more])
    if base != url:
        say(f"Left out the hook's path at the end: {base}\n", fg="yellow")
    return base


def base_of(address: str, paths: Iterable[str] = ()) -> str | None:
    """The address that a hook's path is added to, or None if this is not an address.

    A path in it is kept: a gateway's prefix, or SCRIPT_NAME. If it ends with one of `paths`,
    that is left out: somebody pasted the URL of a hook.
    """
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        # A user and password would be sent instead of the hook's own.
        usable = usable and "@" not in parts.netloc
        prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    except ValueError:
        usable = False
    if not usable:
        return None
    pasted = max((path for path in paths if prefix.endswith(path)), key=len, default="")
    return f"{parts.scheme}://{parts.netloc}{prefix.removesuffix(pasted)}"


url_option = click.option(
    "--url",
    default=SERVICE_URL,
    show_default=True,
    callback=service_url,
    help="Where the service runs. A prefix in its path is kept.",
)


def settings():
    """The service's settings. If they are wrong, the command ends with a message that says why."""
    if error := current_app.config["SETTINGS_ERROR"]:
        raise error
    return current_app.config["SETTINGS"]


def basic_pair() -> tuple[str, str]:
    user, password = settings().basic_auth_user, settings().basic_auth_password
    if not password:
        raise click.ClickException(
            "There is no user and password for HTTP Basic, and Okta can send event hooks with "
            "nothing else: set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD in .env."
        )
    return user, password


def hook_paths() -> list[str]:
    """The paths of the app's hooks: all that accept a POST."""
    return [rule.rule for rule in current_app.url_map.iter_rules() if "POST" in rule.methods]


def event_hook_paths() -> list[str]:
    """The paths of the app's event hooks: those that answer Okta's one-time check."""
    return [
        rule.rule
        for rule in current_app.url_map.iter_rules()
        if "GET" in rule.methods
        and getattr(current_app.blueprints.get(rule.endpoint.rpartition(".")[0]), "kind", "")
        == "event"
    ]


def after_events() -> str:
    """What the service does with the events that it has accepted, as its settings say."""
    threads = current_app.config["SETTINGS"].event_threads
    if threads:
        handled = f"handles them in the background (EVENT_THREADS={threads})"
    else:
        handled = "flask events work handles them in a separate process (EVENT_THREADS=0)"
    return (
        f"The service stores events that have a handler, and {handled}. Its log then "
        "says “event handled” with their uuid. flask events list shows what is waiting and what "
        "has failed. (An example only logs them.)"
    )


def note_another_program(answers: Iterable[client.Answer]) -> None:
    """Say so if an answer does not look like one of this service."""
    if any(answer.is_from_another_program for answer in answers):
        say("\n" + textwrap.fill(client.ANOTHER_PROGRAM, 80), fg="yellow")


def check_answers(url: str, command: str) -> None:
    """End the command with one plain message if nothing listens at `url`."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with waiting(f"a connection to {parts.netloc}"):
            socket.create_connection((parts.hostname, port), timeout=client.SECONDS).close()
    # UnicodeError: not a valid host name, such as a..b
    except (OSError, UnicodeError):
        here = parts.hostname in ("127.0.0.1", "localhost")
        hint = f"Start it in another terminal: {command}" if here else "Is its tunnel running?"
        message = f"Nothing answers at {parts.scheme}://{parts.netloc}. {hint}"
        raise click.ClickException(message) from None
