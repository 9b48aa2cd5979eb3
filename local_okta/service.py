"""What the commands know of the service: its settings, its address, and if it answers."""

import socket
from urllib.parse import urlsplit

import click
from flask import current_app

from local_okta import client
from local_okta.terminal import say

SERVICE_URL = "http://127.0.0.1:5000"


def service_url(context, parameter, value: str) -> str:
    """Checks an address given as an option."""
    base = base_of(value)
    if base is None:
        raise click.BadParameter(f"{value} is not an address such as {SERVICE_URL}")
    if urlsplit(value).path.rstrip("/"):
        say(f"The path is left out, since each hook has its own: {base}\n", fg="yellow")
    return base


def base_of(address: str) -> str | None:
    """The address without a path, since each hook has its own; None where it is not one."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        # requests would send such a user and password in the place of the hook's.
        usable = usable and "@" not in parts.netloc
    except ValueError:
        usable = False
    return f"{parts.scheme}://{parts.netloc}" if usable else None


url_option = click.option(
    "--url",
    default=SERVICE_URL,
    show_default=True,
    callback=service_url,
    help="Where the service runs.",
)


def settings():
    """The service's settings. Ends the command with their own message where they are wrong."""
    read = current_app.config["SETTINGS"]
    if read.error:
        raise read.error
    return read


def basic_pair() -> tuple[str, str]:
    user, password = settings().basic_auth_user, settings().basic_auth_password
    if not password:
        raise click.ClickException(
            "There is no Basic pair: set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD in .env. "
            "Okta can send event hooks with nothing else."
        )
    return user, password


def event_hook_paths() -> list[str]:
    """The paths of the app's event hooks: those that answer Okta's one-time check."""
    return [
        rule.rule
        for rule in current_app.url_map.iter_rules()
        if "GET" in rule.methods
        and getattr(current_app.blueprints.get(rule.endpoint.rpartition(".")[0]), "kind", "")
        == "event"
    ]


def check_answers(url: str, command: str) -> None:
    """Ends the command with one plain message where nothing listens at `url`."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=client.SECONDS).close()
    except OSError:
        here = parts.hostname in ("127.0.0.1", "localhost")
        hint = f"Start it in another terminal: {command}" if here else "Does a tunnel lead there?"
        message = f"Nothing answers at {parts.scheme}://{parts.netloc}. {hint}"
        raise click.ClickException(message) from None
