"""`flask okta …`: what Okta does, from a terminal.

The service runs as another process; these commands know its settings, and send it requests.
"""

import os
import secrets
import sys
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from local_okta import client
from local_okta.demo import demo
from local_okta.preview import preview, verify_event_hook
from local_okta.serve import rotate_keys, serve
from local_okta.service import basic_pair
from local_okta.terminal import say

okta_commands = AppGroup("okta", help="Do what Okta does, and check what it needs.")


@click.command("new-env", short_help="Make .env, with a password of your own.")
@with_appcontext
def new_env() -> None:
    """Make .env from .env.example, with a password of your own.

    An .env that is there already stays as it is.
    """
    path = Path(current_app.root_path, ".env")
    example = path.with_name(".env.example").read_text(encoding="utf-8")
    text = "".join(
        f"BASIC_AUTH_PASSWORD={secrets.token_urlsafe(32)}\n"
        if line.startswith("BASIC_AUTH_PASSWORD=")
        else line
        for line in example.splitlines(keepends=True)
        # What .env.example says to somebody who copies it by hand.
        if not line.startswith("#!")
    )
    try:
        # Readable by nobody else from the first byte on.
        file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")  # noqa: SIM115
    except FileExistsError:
        raise click.ClickException(".env is there already, and stays as it is.") from None
    with file:
        file.write(text)
    say("Made .env from .env.example, with a password of your own.")


@click.command("auth-secret", short_help="Print what to paste as Authentication secret.")
@with_appcontext
def auth_secret() -> None:
    """Print the value for the Authentication secret field of a hook in Okta.

    It is made from BASIC_AUTH_USER and BASIC_AUTH_PASSWORD. The Authentication field beside it
    is: Authorization. Piped into another program, it comes without a line's end.
    """
    value = client.basic_header(*basic_pair())
    terminal = sys.stdout.isatty()
    if terminal:
        click.echo("Authentication field: Authorization. Authentication secret:", err=True)
    click.echo(value, nl=terminal)


for command in (new_env, auth_secret, preview, verify_event_hook, serve, rotate_keys, demo):
    okta_commands.add_command(command)
